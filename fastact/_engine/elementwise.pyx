"""Elementwise passes: a kernel over its operands, and the NumPy ufuncs made of kernels.

Contiguous operands go to the kernel as they are, except for the last few elements, which are padded to a whole vector.
Any other operand is copied into blocks on the stack first, where 16-bit numbers become floats.  So element i is
computed by the same instructions whatever the layout, the length and the number of threads, and there is no temporary
array.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cython.parallel cimport prange
from libc.stdint cimport uint16_t
from libc.string cimport memmove

from fastact._engine.formats cimport (
    BFLOAT16, format_of, formats, is_plain, is_plain_out, is_plain_pair, nanoseconds_in, register_bfloat16,
    ufunc_owners)
from fastact._engine.runtime cimport (
    GIL_HELD_MAX, SIGNAL_INTERVAL, empty_like, end_pass, fastact_enter, fastact_environment, fastact_leave,
    prefetches, start_part, this_processor, threads_for)
from fastact._engine.strided cimport copy_elements
from fastact._loops.elementwise cimport ARRAYS, CACHE_LINE, FETCHING, LANES, NEUTRAL, NUMBERS, STRETCH, fetch

from fastact._engine.formats import DTYPES

cnp.import_array()
cnp.import_ufunc()

cdef extern from *:
    """
    /* NumPy calls a ufunc's type resolver for dtypes without a loop, and caches the answer.  That call is the last
     * moment to add the loops of bfloat16, because ml_dtypes may be imported at any time.  It is also the place to
     * choose double for integers and bool: NumPy's own resolver takes the first loop whose dtype holds every integer of
     * the given one, which for int8 is the loop of float16. */
    static PyUFunc_TypeResolutionFunc *fastact_resolver_of_numpy = NULL;
    static int (*fastact_register)(void) = NULL;

    /* Whether an operand takes the dtype of the others.  NumPy 2 marks Python integers with an internal flag; NumPy 1
     * treated all integers without a dimension that way. */
    static int fastact_takes_others_dtype(PyArrayObject *operand) {
        if (PyArray_RUNTIME_VERSION < NPY_2_0_API_VERSION)
            return PyArray_NDIM(operand) == 0;
        return (PyArray_FLAGS(operand) & (1 << 30)) != 0;
    }

    static int fastact_resolve(PyUFuncObject *ufunc, NPY_CASTING casting, PyArrayObject **operands, PyObject *types,
                               PyArray_Descr **dtypes) {
        int k, integers = 0, weak = 0, floats = 0, result;
        if (fastact_register() < 0)
            return -1;
        for (k = 0; k < ufunc->nin; k++) {
            int type = PyArray_TYPE(operands[k]);
            if (!PyTypeNum_ISBOOL(type) && !PyTypeNum_ISINTEGER(type))
                floats++;
            else if (fastact_takes_others_dtype(operands[k]))
                weak++;
            else
                integers++;
        }
        if ((types && types != Py_None) || !(integers || (weak && !floats)))
            return fastact_resolver_of_numpy(ufunc, casting, operands, types, dtypes);
        if (!(types = PyTuple_New(ufunc->nargs)))
            return -1;
        for (k = 0; k < ufunc->nargs; k++)
            PyTuple_SET_ITEM(types, k, (PyObject *) PyArray_DescrFromType(NPY_DOUBLE));
        result = fastact_resolver_of_numpy(ufunc, casting, operands, types, dtypes);
        Py_DECREF(types);
        return result;
    }
    static void fastact_set_resolver(PyObject *ufunc, int (*register_dtypes)(void)) {
        fastact_register = register_dtypes;
        fastact_resolver_of_numpy = ((PyUFuncObject *) ufunc)->type_resolver;
        ((PyUFuncObject *) ufunc)->type_resolver = fastact_resolve;
    }
    """
    void fastact_set_resolver(object ufunc, int (*register_dtypes)() except -1)

cdef enum:
    BLOCK = 1024                    # elements copied to the stack at a time, at most
    BLOCK_BYTES = 1 << 14           # of all operands of such a block; threads may have stacks of 64 KiB
    CHUNK = 64                      # the elements of a thread are a multiple of it: a whole cache line of any dtype

# Cheaper work per element is bound by memory in any case.
cdef double FETCHING_NANOSECONDS = 0.2


# One call of a kernel.  The elements of an operand lie at one stride, or in rows of `length` elements: the halves of a
# packed array.
cdef struct Call:
    const Kernel* kernel
    int form                        # of the parameters: ARRAYS, NUMBERS or NEUTRAL
    char* data[OPERANDS]
    Py_ssize_t strides[OPERANDS]    # 0: one number for all elements
    Py_ssize_t length               # 0: there are no rows
    Py_ssize_t row_strides[OPERANDS]


# The form of the parameters of a call whose operands are known
cdef int form_of(const Call* call) noexcept nogil:
    cdef int k, first = call.kernel.inputs, form = NEUTRAL
    cdef double number
    for k in range(call.kernel.parameters):
        if call.strides[first + k] != 0:
            return ARRAYS
        if call.kernel.format.number_size == 4:
            number = (<const float*> call.data[first + k])[0]
        else:
            number = (<const double*> call.data[first + k])[0]
        if number != call.kernel.neutral[k]:
            form = NUMBERS
    return form


cdef inline bint is_parameter(const Call* call, int k) noexcept nogil:
    return call.kernel.inputs <= k < call.kernel.inputs + call.kernel.parameters


# Whether operand k is a parameter given as one number
cdef inline bint is_number(const Call* call, int k) noexcept nogil:
    return call.form != ARRAYS and is_parameter(call, k)


# Whether operand k holds 16-bit numbers.  Parameters never do: they keep all digits they are given.
cdef inline bint is_packed(const Call* call, int k) noexcept nogil:
    return call.kernel.format.unpack != NULL and not is_parameter(call, k)


cdef inline Py_ssize_t itemsize_of(const Call* call, int k) noexcept nogil:
    return call.kernel.format.number_size if is_parameter(call, k) else call.kernel.format.itemsize


# Whether `padded` elements of operand k from `start` on are contiguous numbers of an array with that many elements
cdef inline bint is_contiguous(const Call* call, int k, Py_ssize_t start, Py_ssize_t n,
                               Py_ssize_t padded) noexcept nogil:
    return (n == padded and call.strides[k] == itemsize_of(call, k)
            and (call.length == 0 or start % call.length + n <= call.length))


cdef inline char* address_of(const Call* call, int k, Py_ssize_t start) noexcept nogil:
    if call.length == 0:
        return call.data[k] + start * call.strides[k]
    return call.data[k] + start // call.length * call.row_strides[k] + start % call.length * call.strides[k]


# Copies n elements of operand k to a contiguous block, or from there back.
cdef inline void copy_operand(const Call* call, int k, Py_ssize_t start, Py_ssize_t n, char* block,
                              bint back) noexcept nogil:
    cdef Py_ssize_t itemsize = itemsize_of(call, k), stride = call.strides[k], part = n
    cdef char* operand = address_of(call, k, start)
    cdef char* row = operand                    # the first element of its row
    if call.length != 0:
        row -= start % call.length * stride
        part = min(n, call.length - start % call.length)
    while True:
        if back:
            copy_elements(operand, stride, block, itemsize, part, itemsize)
        else:
            copy_elements(block, itemsize, operand, stride, part, itemsize)
        n -= part
        if n == 0:
            return
        block += part * itemsize
        row += call.row_strides[k]
        operand, part = row, min(n, call.length)


# The address of `padded` numbers of input k as the kernel needs them, from `start` on: in the array itself, or copied
# to `block`; 16-bit numbers are copied to `packed` before they are converted.
cdef inline void* gather(const Call* call, int k, Py_ssize_t start, Py_ssize_t n, Py_ssize_t padded, bint fetching,
                         void* block, uint16_t* packed) noexcept nogil:
    cdef Py_ssize_t itemsize = itemsize_of(call, k)
    cdef const char* source = address_of(call, k, start)
    cdef char* target = <char*> packed if is_packed(call, k) else <char*> block
    if not is_contiguous(call, k, start, n, padded):
        copy_operand(call, k, start, n, target, False)
        copy_elements(target + n * itemsize, itemsize, target, 0, padded - n, itemsize)
        source = target
    if not is_packed(call, k):
        return <void*> source
    if fetching:
        fetch(source + n * itemsize, n * itemsize)
    call.kernel.format.unpack(source, block, padded)
    return block


# The reverse, for output k
cdef inline void scatter(const Call* call, int k, Py_ssize_t start, Py_ssize_t n, Py_ssize_t padded, bint fetching,
                         const void* block, uint16_t* packed) noexcept nogil:
    cdef Py_ssize_t itemsize = itemsize_of(call, k)
    cdef char* target = address_of(call, k, start)
    if is_packed(call, k) and is_contiguous(call, k, start, n, padded):
        if fetching:
            fetch(target + n * itemsize, n * itemsize)
        call.kernel.format.pack(block, target, padded)
    elif is_packed(call, k):
        call.kernel.format.pack(block, packed, padded)
        copy_operand(call, k, start, n, <char*> packed, True)
    else:
        copy_operand(call, k, start, n, <char*> block, True)


# Elements `start` to `stop`, block by block; operands that the kernel cannot take as they are go through the stack
cdef void run_blocks(const Call* call, Py_ssize_t start, Py_ssize_t stop, bint fetching) noexcept nogil:
    cdef const Kernel* kernel = call.kernel
    cdef Py_ssize_t n, padded, block, room
    cdef int k, arrays = kernel.inputs + kernel.parameters, copied = 0
    cdef uint16_t packed[BLOCK]
    cdef char memory[BLOCK_BYTES + CACHE_LINE]
    cdef char* stack = <char*> ((<size_t> memory + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
    cdef char* blocks[OPERANDS]     # each operand's
    cdef void* operands[OPERANDS]
    for k in range(kernel.operands):
        copied += 0 if is_number(call, k) else 1
    block = BLOCK_BYTES // (copied * kernel.format.number_size) // STRETCH * STRETCH
    block = block if block < BLOCK else BLOCK
    room = block * kernel.format.number_size
    for k in range(kernel.operands):
        blocks[k] = stack
        if is_number(call, k):
            continue
        stack += room
        if k < arrays and call.strides[k] == 0:
            gather(call, k, 0, block, block, False, blocks[k], packed)
    while start < stop:
        n = stop - start if stop - start < block else block
        padded = (n + LANES - 1) // LANES * LANES
        for k in range(kernel.operands):
            operands[k] = blocks[k]
            if is_number(call, k):
                operands[k] = call.data[k]
            elif k < arrays and call.strides[k] != 0:
                operands[k] = gather(call, k, start, n, padded, fetching, operands[k], packed)
            elif k >= arrays and is_contiguous(call, k, start, n, padded) and not is_packed(call, k):
                operands[k] = address_of(call, k, start)
        kernel.run(operands, padded, call.form)
        for k in range(arrays, kernel.operands):
            if operands[k] == <void*> blocks[k]:
                scatter(call, k, start, n, padded, fetching, operands[k], packed)
        start += n


# n elements of a result that is its input, which the result may overlap as `depends_on_order` explains
cdef inline void copy_unconverted(const Call* call, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    cdef char* target = address_of(call, 1, start)
    cdef const char* source = address_of(call, 0, start)
    cdef Py_ssize_t itemsize = call.kernel.format.itemsize
    if call.strides[0] == itemsize and call.strides[1] == itemsize:
        memmove(target, source, n * itemsize)
    else:
        copy_elements(target, call.strides[1], source, call.strides[0], n, itemsize)


# Elements `start` to `stop` of one row
cdef void run_elements(const Call* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef const Kernel* kernel = call.kernel
    cdef Py_ssize_t whole = (stop - start) // LANES * LANES
    cdef bint contiguous = True, fetching
    cdef int k
    cdef void* operands[OPERANDS]
    if kernel.copies and is_packed(call, 0):
        copy_unconverted(call, start, stop - start)
        return
    for k in range(kernel.operands):
        if is_number(call, k):
            operands[k] = call.data[k]
            continue
        operands[k] = call.data[k] + start * itemsize_of(call, k)
        contiguous = contiguous and call.strides[k] == itemsize_of(call, k) and not is_packed(call, k)
    fetching = prefetches(whole * kernel.operands * kernel.format.itemsize)
    if contiguous and whole:
        fetching = fetching and call.form == NEUTRAL and kernel.cost > FETCHING_NANOSECONDS
        kernel.run(operands, whole, call.form + (FETCHING if fetching else 0))
        start += whole
    if start < stop:
        run_blocks(call, start, stop, fetching)


# The same of any rows.  Short ones are copied to a block together.
cdef void run_rows(const Call* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t length = call.length, first, last
    cdef int k
    cdef Call row = call[0]
    if length < STRETCH:
        run_blocks(call, start, stop, False)
        return
    row.length = 0
    while start < stop:
        first = start // length * length
        last = min(first + length, stop)
        for k in range(call.kernel.operands):
            row.data[k] = call.data[k] + start // length * call.row_strides[k]
        run_elements(&row, start - first, last - first)
        start = last


# Elements `start` to `stop` on the calling thread, in the default floating-point environment
cdef void run_range(const Call* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef fastact_environment callers
    if stop <= start:
        return
    callers = fastact_enter()
    if call.length == 0:
        run_elements(call, start, stop)
    else:
        run_rows(call, start, stop)
    fastact_leave(callers)


# The bytes that operand k takes
cdef inline void span_of(const Call* call, int k, Py_ssize_t n, const char** first, const char** last) noexcept nogil:
    cdef Py_ssize_t reach = (n - 1) * call.strides[k]
    first[0] = call.data[k] + (reach if reach < 0 else 0)
    last[0] = call.data[k] + (reach if reach > 0 else 0) + itemsize_of(call, k)


# Whether two operands are the halves of interleaved pairs, which share no byte although their spans overlap
cdef inline bint are_interleaved(const Call* call, int k, int other) noexcept nogil:
    cdef Py_ssize_t stride = call.strides[k], between
    if stride != call.strides[other] or stride == 0:
        return False
    stride = stride if stride > 0 else -stride
    between = ((call.data[k] - call.data[other]) % stride + stride) % stride
    return itemsize_of(call, other) <= between <= stride - itemsize_of(call, k)


# Whether a result overwrites other elements of an operand than its own: NumPy lets an output begin before an input that
# it overlaps, which is right only if the elements are computed in their order.
cdef bint depends_on_order(const Call* call, Py_ssize_t n) noexcept nogil:
    cdef const char* first
    cdef const char* last
    cdef const char* other_first
    cdef const char* other_last
    cdef int result, k
    for result in range(call.kernel.inputs + call.kernel.parameters, call.kernel.operands):
        span_of(call, result, n, &first, &last)
        for k in range(call.kernel.operands):
            if k == result or (call.data[k] == call.data[result] and call.strides[k] == call.strides[result]):
                continue
            span_of(call, k, n, &other_first, &other_last)
            if first < other_last and other_first < last and not are_interleaved(call, result, k):
                return True
    return False


# Elements `start` to `stop`, shared among threads.  Of rows the caller has checked that no result depends on the order.
cdef void run_pass(const Call* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t chunk, n = stop - start
    cdef int k, threads = threads_for(n * call.kernel.cost), processor
    if threads == 1 or call.length == 0 and depends_on_order(call, stop):
        run_range(call, start, stop)
        return
    chunk = ((n + threads - 1) // threads + CHUNK - 1) // CHUNK * CHUNK
    processor = this_processor()
    for k in prange(threads, num_threads=threads, schedule="static"):
        start_part(processor)
        run_range(call, start + k * chunk, min(start + (k + 1) * chunk, stop))
    end_pass()


# A pass without the GIL.  Ctrl-C ends a long one and leaves the rest unwritten.
cdef int run_unlocked(const Call* call, Py_ssize_t n) except -1:
    cdef Py_ssize_t start = 0, stop
    while True:
        stop = min(n, start + SIGNAL_INTERVAL)
        with nogil:
            run_pass(call, start, stop)
        start = stop
        if start == n:
            return 0
        PyErr_CheckSignals()


cdef void ufunc_loop(char** data, const cnp.npy_intp* dimensions, const cnp.npy_intp* strides,
                     void* kernel) noexcept nogil:
    cdef Call call
    cdef int k
    call.kernel = <Kernel*> kernel
    for k in range(call.kernel.operands):
        call.data[k] = data[k]
        call.strides[k] = strides[k]
    call.length = 0
    call.form = form_of(&call)
    run_pass(&call, 0, dimensions[0])


# NumPy 2.4 and later let a ufunc have attributes: the module in which pickle finds it, and replacements of its
# reductions, which would combine results as if they were arguments.
cdef object complete_ufunc(object ufunc):
    def refused(str method):
        def refuse(*arguments, **keywords):
            raise TypeError(f"fastact.ufuncs.{ufunc.__name__}.{method}: the two arguments of {ufunc.__name__} are "
                            f"different things, and it has no {method}; accepted are calls, outer and at")
        return refuse

    try:
        ufunc.__module__ = "fastact.ufuncs"
    except AttributeError:
        return
    if ufunc.nin == 2 and ufunc.nout == 1:
        for method in "reduce", "accumulate", "reduceat":
            setattr(ufunc, method, refused(method))


cdef class KernelSet:
    """One mode of one activation: its kernels, and the NumPy ufunc made of them.

    Parameters
    ----------
    addresses : dict
        Address of the kernel for each of `formats.DTYPES`.
    name, documentation : str
        Of the ufunc.
    inputs, parameters, outputs : int
        Number of arrays of each kind.
    cost : float
        Nanoseconds per float32 element on one thread, which decide when a second thread pays.
    neutral : tuple of float
        The parameters that the kernel removes, if a call has no others.
    copies : bool
        Whether the result is the input.
    """

    def __cinit__(self, dict addresses, str name, str documentation, int inputs, int parameters, int outputs,
                  double cost, tuple neutral, bint copies=False):
        cdef int k, j, operands = inputs + parameters + outputs
        cdef size_t address
        self.name, self.documentation = name.encode(), documentation.encode()
        for k, dtype in enumerate(DTYPES):
            address = addresses[dtype]
            self.kernels[k].run = <block_kernel> address
            self.kernels[k].inputs, self.kernels[k].parameters, self.kernels[k].operands = inputs, parameters, operands
            self.kernels[k].format, self.kernels[k].cost = &formats[k], nanoseconds_in(&formats[k], cost)
            self.kernels[k].copies = copies
            for j in range(parameters):
                self.kernels[k].neutral[j] = neutral[j]
            self.functions[k] = <cnp.PyUFuncGenericFunction> ufunc_loop
            self.kernels_of_ufunc[k] = &self.kernels[k]
            for j in range(operands):
                self.types[k * operands + j] = formats[k].type_number
                if inputs <= j < inputs + parameters and formats[k].number_size == 4:
                    self.types[k * operands + j] = cnp.NPY_FLOAT
        self.ufunc = cnp.PyUFunc_FromFuncAndData(
            self.functions, self.kernels_of_ufunc, self.types, BFLOAT16, inputs + parameters, outputs,
            cnp.PyUFunc_None, self.name, self.documentation, 0)
        fastact_set_resolver(self.ufunc, register_bfloat16)
        complete_ufunc(self.ufunc)
        ufunc_owners.append(self)
        if formats[BFLOAT16].type_number >= 0:
            self.add_bfloat16(formats[BFLOAT16].type_number)

    def add_bfloat16(self, int type_number):
        """Add the loop for bfloat16, whose number NumPy has just assigned."""
        cdef int types[OPERANDS]
        cdef int k, inputs = self.kernels[BFLOAT16].inputs, parameters = self.kernels[BFLOAT16].parameters
        for k in range(self.kernels[BFLOAT16].operands):
            types[k] = cnp.NPY_FLOAT if inputs <= k < inputs + parameters else type_number
        cnp.PyUFunc_RegisterLoopForType(self.ufunc, type_number, self.functions[BFLOAT16], types,
                                        self.kernels_of_ufunc[BFLOAT16])

    # The fast path: plain arrays of one shape and dtype, the parameters as numbers, `out` as an array or as a tuple of
    # both.  Returns the result or the tuple of results; None if an argument is anything else.
    cdef object call_plain(self, PyObject* const* inputs, object out, const Numbers* parameters):
        cdef Call call
        cdef const Kernel* kernel = &self.kernels[0]
        cdef cnp.ndarray first, target, other = None
        cdef fastact_environment callers
        cdef Py_ssize_t n
        cdef int k, results = kernel.inputs + kernel.parameters
        if kernel.inputs == 1 and not is_plain(<object> inputs[0]):
            return None
        for k in range(1, kernel.inputs):
            if not is_plain_pair(<object> inputs[0], <object> inputs[k]):
                return None
        first = <cnp.ndarray> inputs[0]
        kernel = call.kernel = &self.kernels[format_of(first)]
        if out is None:
            target = empty_like(first)
            if results + 1 < kernel.operands:
                other = empty_like(first)
        elif results + 1 == kernel.operands:
            if not is_plain_result(out, inputs, kernel.inputs):
                return None
            target = out
        else:
            if type(out) is not tuple or len(<tuple> out) != 2:
                return None
            target_or_none, other_or_none = <tuple> out
            if (not is_plain_result(target_or_none, inputs, kernel.inputs)
                    or not is_plain_result(other_or_none, inputs, kernel.inputs)
                    or not is_plain_out(target_or_none, other_or_none)
                    or cnp.PyArray_DATA(<cnp.ndarray> target_or_none) == cnp.PyArray_DATA(<cnp.ndarray> other_or_none)):
                return None
            target, other = target_or_none, other_or_none
        call.data[results] = <char*> cnp.PyArray_DATA(target)
        if other is not None:
            call.data[results + 1] = <char*> cnp.PyArray_DATA(other)
        for k in range(kernel.inputs):
            call.data[k] = <char*> cnp.PyArray_DATA(<cnp.ndarray> inputs[k])
        for k in range(kernel.operands):
            call.strides[k] = kernel.format.itemsize
        call.length = 0
        set_numbers(&call, parameters)
        n = cnp.PyArray_SIZE(target)
        if n <= GIL_HELD_MAX and n % LANES == 0 and n and kernel.format.unpack == NULL:
            callers = fastact_enter()       # all that run_pass would decide
            kernel.run(<void**> call.data, n, call.form)
            fastact_leave(callers)
        elif n <= GIL_HELD_MAX:
            run_pass(&call, 0, n)
        else:
            run_unlocked(&call, n)
        return target if other is None else (target, other)

    # A gated kernel on the halves of the plain array `x`: `rows` rows, each with `length` elements of the first half
    # and then as many of the second one.  Without dy, the value; with it, both gradients, `out` packed as `x` is.  The
    # caller has checked that dy, x and `out` are plain, of one dtype, and share no elements but with the same index.
    cdef void call_packed(self, object dy, cnp.ndarray x, Py_ssize_t rows, Py_ssize_t length, bint gate_last,
                          cnp.ndarray out, const Numbers* parameters) except *:
        cdef Call call
        cdef const Kernel* kernel = &self.kernels[format_of(x)]
        cdef Py_ssize_t itemsize = kernel.format.itemsize, n = rows * length
        cdef Py_ssize_t half = length * itemsize
        cdef int k, gate = kernel.inputs - 2, result = kernel.inputs + kernel.parameters
        call.kernel = kernel
        for k in range(kernel.operands):
            call.strides[k], call.row_strides[k] = itemsize, 2 * half
        call.data[gate] = <char*> cnp.PyArray_DATA(x) + (half if gate_last else 0)
        call.data[gate + 1] = <char*> cnp.PyArray_DATA(x) + (0 if gate_last else half)
        call.data[result] = <char*> cnp.PyArray_DATA(out)
        if dy is None:
            call.row_strides[result] = half
        else:
            call.data[0], call.row_strides[0] = <char*> cnp.PyArray_DATA(<cnp.ndarray> dy), half
            call.data[result + 1] = call.data[result] + (0 if gate_last else half)
            call.data[result] += half if gate_last else 0
        set_numbers(&call, parameters)
        call.length = 0 if rows == 1 or length == 1 else length
        if length == 1:
            for k in range(kernel.operands):
                call.strides[k] = 0 if is_parameter(&call, k) else call.row_strides[k]
        if n <= GIL_HELD_MAX:
            run_pass(&call, 0, n)
        else:
            run_unlocked(&call, n)


# Parameters that are numbers
cdef inline void set_numbers(Call* call, const Numbers* parameters) noexcept:
    cdef int k, first = call.kernel.inputs
    for k in range(call.kernel.parameters):
        call.data[first + k] = (<char*> &parameters.as_float[k] if call.kernel.format.number_size == 4
                                else <char*> &parameters.as_double[k])
        call.strides[first + k] = call.row_strides[first + k] = 0
    call.form = form_of(call)


# Whether a result for these plain arrays may be written to `out` directly
cdef inline bint is_plain_result(object out, PyObject* const* inputs, int count) noexcept:
    cdef int k
    for k in range(count):
        if not is_plain_out(out, <object> inputs[k]):
            return False
    return True
