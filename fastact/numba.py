"""Numba: the activations inside compiled functions, without the GIL, with the bits of the calls on arrays.

Nothing of this module has to be imported: Numba finds `init` by the entry point ``numba_extensions`` when it first
compiles.

>>> import fastact, numba, numpy
>>> @numba.njit(parallel=True)
... def attention(scores):
...     weights = numpy.empty_like(scores)
...     for k in numba.prange(len(scores)):
...         weights[k] = fastact.softmax(scores[k], scale=0.125)
...     return weights

Inside a compiled function, an elementwise or gated activation takes numbers or arrays of one shape; its parameters are
numbers. It has `derivative`, `value_and_derivative` and `backward`, a gated one `backward`. Functions of rows take
arrays, `axis` as an integer (`logsumexp`: the last), `scale`, `temperature` and `alpha`, and have `backward`. ``out=``
is accepted where the result is one array. An activation may also be an argument of a compiled function.

float32 and float64 are computed as they are, bool and integers in float64. Arrays that are not C-contiguous are copied
first, and the result is C-contiguous. What is not accepted is a typing error with the reason; shapes and parameters
that are not accepted raise ValueError.

A large array is shared among threads as outside of Numba. The workers of a parallel loop compute alone. On Numba's
threading layer tbb the calling thread is none of them: ``fastact.set_num_threads(1)`` keeps it from starting others.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    get_cython_function_address,
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    overload,
    register_jitable,
    register_model,
    typeof_impl,
)

from fastact import capi
from fastact._activation import ACCEPTED, Activation
from fastact.catalogue import activations
from fastact.elementwise import Elementwise, Kinked
from fastact.gated import Gated
from fastact.reduction import RowReduction
from fastact.rowwise import ALPHA_MAX, Rowwise

DTYPES = {types.float32: (1, np.float32), types.float64: (2, np.float64)}
"""Of what is computed: its number in capi.pxd, and NumPy's type."""

NO_MEMORY = 4  # FASTACT_NO_MEMORY of capi.pxd
LAST_AXIS = "accepted in a compiled function is the last axis"


@functools.cache
def init() -> None:
    """Make the C functions and operations known to Numba by name, so that compiled functions can be cached."""
    for name in "fastact_run", "fastact_rows":
        binding.add_symbol(name, get_cython_function_address("fastact.capi", name))
    for name in activations:
        for mode in capi.modes(name):
            for number, _ in DTYPES.values():
                binding.add_symbol(symbol_of(name, mode, number), capi.operation(name, mode, number))


def symbol_of(name: str, mode: str, number: int) -> str:
    return f"fastact_{name}_{mode}_{number}"


# ----------------------------------------------------------------------------------------------- types of activations

class ActivationType(types.Dispatcher):
    """The type of an activation. A call of it is that of a compiled function, and so are its methods."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation
        super().__init__(compiled(activation, "__call__"))
        self.name = repr(activation)


register_model(ActivationType)(models.OpaqueModel)


@typeof_impl.register(Elementwise)
@typeof_impl.register(Gated)
@typeof_impl.register(Rowwise)
@typeof_impl.register(RowReduction)
def type_of(activation: Activation, context: Any) -> ActivationType:
    return ActivationType(activation)


@infer_getattr
class Methods(AttributeTemplate):
    key = ActivationType

    def generic_resolve(self, owner: ActivationType, name: str) -> Any:
        if name in methods_of(owner.activation):
            return types.Dispatcher(compiled(owner.activation, name))
        return None


@lower_getattr_generic(ActivationType)
def load_method(context: Any, builder: Any, owner: ActivationType, value: Any, name: str) -> Any:
    return context.get_dummy_value()


VALUE = ("x, {parameters} out=None", "compute('{name}.value', (x,), ({numbers}), out)")
METHODS: dict[type[Activation], dict[str, tuple[str, str]]] = {
    Kinked: {"__call__": VALUE},  # the kernels have the right-hand derivative at kinks
    Elementwise: {
        "__call__": VALUE,
        "derivative": ("x, {parameters} out=None", "compute('{name}.derivative', (x,), ({numbers}), out)"),
        "value_and_derivative": ("x, {parameters}", "compute('{name}.value_and_derivative', (x,), ({numbers}), None)"),
        "backward": ("dy, x=None, {parameters} output=None, out=None",
                     "compute_gradient('{name}', dy, x, output, ({numbers}), out)"),
    },
    Gated: {
        "__call__": ("a, b, {parameters} out=None", "compute('{name}.value', (a, b), ({numbers}), out)"),
        "backward": ("dy, a, b, {parameters}", "compute('{name}.backward', (dy, a, b), ({numbers}), None)"),
    },
    Rowwise: {
        "__call__": ("x, axis=-1, {parameters} out=None", "compute_rows('{name}.value', (x,), axis, ({numbers}), out)"),
        "backward": ("dy, x=None, axis=-1, output=None, {parameters} out=None",
                     "compute_gradient_of_rows('{name}', dy, x, axis, output, ({numbers}), out)"),
    },
    RowReduction: {
        "__call__": ("x, axis=-1, {parameters}", "reduce_rows('{name}', x, axis, ({numbers}))"),
        "backward": ("dy, x, axis=-1, {parameters} out=None",
                     "expand_rows('{name}', dy, x, axis, ({numbers}), out)"),
    },
}
"""The arguments of each method, and the expression that it returns."""


def methods_of(activation: Activation) -> dict[str, tuple[str, str]]:
    return next(methods for kind, methods in METHODS.items() if isinstance(activation, kind))


@functools.cache
def compiled(activation: Activation, method: str) -> Any:
    """Make a function with the arguments of a method, to be compiled for the types that it is called with."""
    head, body = (text.format(
        name=activation.name,
        parameters="".join(f"{name}={default!r}, " for name, default in activation.parameters.items()),
        numbers="".join(f"{name}, " for name in activation.parameters),
    ) for text in methods_of(activation)[method])
    name = activation.name if method == "__call__" else f"{activation.name}_{method}"
    namespace = {"inf": math.inf, **{one.__name__: one for one in (
        compute, compute_gradient, compute_rows, compute_gradient_of_rows, reduce_rows, expand_rows)}}
    exec(f"def {name}({head}):\n    return {body}\n", namespace)
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)(namespace[name])


# ------------------------------------------------------------------------------------------------- checks of arguments

def call_of(name: str, mode: str) -> str:
    """Name a call as error messages do."""
    return f"fastact.{name}" if mode == "value" else f"fastact.{name}.{mode.removesuffix('_from_output')}"


def names_of_inputs(name: str, mode: str) -> tuple[str, ...]:
    arrays = ("a", "b") if isinstance(activations[name], Gated) else ("x",)
    if mode == "backward_from_output" or isinstance(activations[name], Rowwise):
        arrays = arrays if mode == "value" else ("output",)
    return ("dy", *arrays) if mode.startswith("backward") else arrays


def implements(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an overload. Numba would compare the annotations of arguments, which lambdas do not have."""
    return overload(function, prefer_literal=True, strict=False)


def text_of(literal: Any) -> str:
    """Return a constant string. Numba also tries types without constants, and reports the first error."""
    if not isinstance(literal, types.StringLiteral):
        raise TypingError(f"a constant string is wanted, not {literal}")
    return str(literal.literal_value)


def is_given(argument: Any) -> bool:
    return not isinstance(argument, types.NoneType)


def dtype_of(call: str, arguments: dict[str, Any]) -> Any:
    """Choose the dtype in which arguments of these types are computed."""
    for name, one in arguments.items():
        number = types.unliteral(one.dtype if isinstance(one, types.Array) else one)
        if number not in DTYPES and not isinstance(number, types.Integer | types.Boolean):
            raise TypingError(f"{call}: {name} is {one}; accepted in a compiled function are arrays and numbers of "
                              f"{ACCEPTED.replace('float16, bfloat16, ', '')}")
        if isinstance(one, types.Array) and one.ndim == 0:
            raise TypingError(f"{call}: {name} is an array without dimensions; accepted in a compiled function are "
                              f"numbers and arrays with dimensions")
    narrow = all(types.unliteral(getattr(one, "dtype", one)) == types.float32 for one in arguments.values())
    return types.float32 if narrow else types.float64


def check_parameters(call: str, name: str, parameters: Any) -> str:
    """Check their types, and return what the error says if a number is not accepted."""
    f = activations[name]
    for one, given in zip(f.parameters, parameters, strict=True):
        if not isinstance(given, types.Number | types.Boolean) or isinstance(given, types.Complex):
            raise TypingError(f"{call}: {one} is {given}; accepted in a compiled function are numbers")
    if isinstance(f, Elementwise | Gated):
        accepted = [f"{one} from {low:g} to {high:g}" + "".join(f", but not {number:g}" for number in excluded)
                    for one, (low, high, *excluded) in f.parameter_domain.items()]
    else:
        accepted = [f"alpha from 1 to {ALPHA_MAX:g}"] * ("alpha" in f.parameters)
        accepted.append("a positive scale and temperature, and scale / temperature from 1e-30 to 1e30")
    return f"{call}: a parameter is out of range; accepted are {'; '.join(accepted)}"


def check_out(call: str, out: Any, ndim: int, dtype: Any) -> None:
    if is_given(out) and ndim == 0:
        raise TypingError(f"{call}: out is {out}; accepted with numbers is none")
    if is_given(out) and not (isinstance(out, types.Array) and out.dtype == dtype and out.ndim == ndim
                              and out.layout == "C" and out.mutable and out.aligned):
        raise TypingError(f"{call}: out is {out}; accepted in a compiled function is a writeable, C-contiguous array "
                          f"of {dtype} with {ndim} dimensions")


def check_arrays(call: str, arguments: dict[str, Any]) -> int:
    """Return how many dimensions all arguments have."""
    dimensions = {getattr(one, "ndim", 0) for one in arguments.values()}
    if len(dimensions) > 1:
        raise TypingError(f"{call}: got {', '.join(f'{name} as {one}' for name, one in arguments.items())}; accepted "
                          f"in a compiled function are arrays of one shape, or numbers")
    return dimensions.pop()


# -------------------------------------------------------------------------------------------- calls of the C functions

def pointers(context: Any, builder: Any, values: list[Any]) -> Any:
    """Store addresses in an array on the stack."""
    address = ir.IntType(8).as_pointer()
    array = cgutils.alloca_once(builder, address, size=max(len(values), 1))
    for k, value in enumerate(values):
        builder.store(builder.bitcast(value, address), cgutils.gep_inbounds(builder, array, k))
    return array


def numbers_on_stack(context: Any, builder: Any, kind: Any, packed: Any) -> Any:
    """Store a tuple of numbers in an array of doubles on the stack."""
    double = ir.DoubleType()
    if not len(kind):
        return ir.Constant(double.as_pointer(), None)
    array = cgutils.alloca_once(builder, double, size=len(kind))
    for k, one in enumerate(kind):
        number = context.cast(builder, builder.extract_value(packed, k), one, types.float64)
        builder.store(number, cgutils.gep_inbounds(builder, array, k))
    return array


def call_c(context: Any, builder: Any, function: str, symbol: str, operands: list[Any], sizes: list[Any],
           parameters: Any) -> Any:
    """Call fastact_run or fastact_rows; returns the status."""
    byte, size = ir.IntType(8), context.get_value_type(types.intp)
    kind = ir.FunctionType(ir.IntType(32), [byte.as_pointer(), byte.as_pointer().as_pointer(), *[size] * len(sizes),
                                            ir.DoubleType().as_pointer()])
    module = builder.module
    operation = module.globals.get(symbol) or cgutils.add_global_variable(module, byte, symbol)
    return builder.call(cgutils.get_or_insert_function(module, kind, function),
                        [operation, pointers(context, builder, operands), *sizes, parameters])


def arrays_in(context: Any, builder: Any, kind: Any, packed: Any) -> list[Any]:
    return [context.make_array(one)(context, builder, builder.extract_value(packed, k)) for k, one in enumerate(kind)]


@intrinsic(prefer_literal=True)
def run(typing_context: Any, symbol: Any, arrays: Any, parameters: Any) -> Any:
    """Call fastact_run on arrays: the inputs, then the outputs."""
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        operands = arrays_in(context, builder, arrays, arguments[1])
        return call_c(context, builder, "fastact_run", symbol.literal_value, [one.data for one in operands],
                      [operands[0].nitems], numbers_on_stack(context, builder, parameters, arguments[2]))

    return types.int32(symbol, arrays, parameters), generate


@intrinsic(prefer_literal=True)
def run_numbers(typing_context: Any, symbol: Any, outputs: Any, dtype: Any, inputs: Any, parameters: Any) -> Any:
    """Call fastact_run on numbers; returns the status and the outputs."""
    number, count = dtype.dtype, outputs.literal_value
    result = types.Tuple((types.int32, *[number] * count))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = [cgutils.alloca_once(builder, context.get_value_type(number)) for _ in range(len(inputs) + count)]
        for k, one in enumerate(inputs):
            builder.store(context.cast(builder, builder.extract_value(arguments[3], k), one, number), places[k])
        status = call_c(context, builder, "fastact_run", symbol.literal_value, places,
                        [context.get_constant(types.intp, 1)],
                        numbers_on_stack(context, builder, parameters, arguments[4]))
        values = [builder.load(place) for place in places[len(inputs):]]
        return context.make_tuple(builder, result, [status, *values])

    return result(symbol, outputs, dtype, inputs, parameters), generate


@intrinsic(prefer_literal=True)
def run_rows(typing_context: Any, symbol: Any, arrays: Any, shape: Any, parameters: Any) -> Any:
    """Call fastact_rows on arrays of the shape (outer, n, inner)."""
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sizes = [builder.extract_value(arguments[2], k) for k in range(3)]
        return call_c(context, builder, "fastact_rows", symbol.literal_value,
                      [one.data for one in arrays_in(context, builder, arrays, arguments[1])], sizes,
                      numbers_on_stack(context, builder, parameters, arguments[3]))

    return types.int32(symbol, arrays, shape, parameters), generate


# -------------------------------------------------------------------------------------------------------------- arrays

def as_array(x: Any, dtype: Any) -> Any:
    """Return an array as it is, or copied to one that is C-contiguous, aligned and of this dtype."""


@implements(as_array)
def type_as_array(x: Any, dtype: Any) -> Callable[..., Any]:
    if x.layout == "C" and x.aligned and x.dtype == dtype.dtype:
        return lambda x, dtype: x

    def copied(x: Any, dtype: Any) -> Any:
        copy = np.empty(x.shape, dtype)
        copy[...] = x
        return copy

    return copied


@register_jitable
def new_result(out: Any, arrays: Any) -> Any:
    """Make an array like the first of `arrays`."""
    return np.empty(arrays[0].shape, arrays[0].dtype)


def result_for(call: str, out: Any) -> Callable[..., Any]:
    """Choose what returns the result: a new array, or `out`, if that can be written while the arguments are read."""
    if not is_given(out):
        return new_result
    other_shape = f"{call}: out has another shape; accepted is that of the arguments"
    overlapping = f"{call}: out overlaps an argument; accepted are an argument itself, or other memory"

    @register_jitable
    def given_result(out: Any, arrays: Any) -> Any:
        if out.shape != arrays[0].shape:
            raise ValueError(other_shape)
        if overlaps(out, arrays[0]) or overlaps(out, arrays[-1]):
            raise ValueError(overlapping)
        return out

    return given_result


@register_jitable
def overlaps(out: Any, x: Any) -> Any:
    """Tell whether writing one contiguous array would change what is yet to be read of the other."""
    a, b = out.ctypes.data, x.ctypes.data
    return a != b and a < b + x.size * x.itemsize and b < a + out.size * out.itemsize


@register_jitable
def one_array(inputs: Any, dtype: Any) -> Any:
    return (as_array(inputs[0], dtype),)


@register_jitable
def two_arrays(inputs: Any, dtype: Any) -> Any:
    return as_array(inputs[0], dtype), as_array(inputs[1], dtype)


@register_jitable
def three_arrays(inputs: Any, dtype: Any) -> Any:
    return as_array(inputs[0], dtype), as_array(inputs[1], dtype), as_array(inputs[2], dtype)


AS_ARRAYS = {1: one_array, 2: two_arrays, 3: three_arrays}


# -------------------------------------------------------------------------------------- elementwise and gated functions

def compute(key: str, inputs: Any, parameters: Any, out: Any) -> Any:
    """Compute a mode of an elementwise or gated activation, named as in "gelu.backward"."""


@implements(compute)
def type_compute(key: Any, inputs: Any, parameters: Any, out: Any) -> Callable[..., Any]:
    name, mode = text_of(key).split(".")
    call = call_of(name, mode)
    arguments = dict(zip(names_of_inputs(name, mode), inputs, strict=True))
    dtype, ndim = dtype_of(call, arguments), check_arrays(call, arguments)
    check_out(call, out, ndim, dtype)
    out_of_range = check_parameters(call, name, parameters)
    number, scalar = DTYPES[dtype]
    symbol = symbol_of(name, mode, number)
    as_arrays, count = AS_ARRAYS[len(inputs)], len(inputs)
    pair = mode == "value_and_derivative" or len(inputs) == 3
    outputs = 2 if pair else 1
    other_shape = f"{call}: {' and '.join(arguments)} have different shapes; accepted is one"
    result = result_for(call, out)

    def of_numbers(key: Any, inputs: Any, parameters: Any, out: Any) -> Any:
        results = run_numbers(symbol, outputs, scalar, inputs, parameters)
        if results[0] != 0:
            raise ValueError(out_of_range)
        return results[1:] if pair else results[1]

    def of_arrays(key: Any, inputs: Any, parameters: Any, out: Any) -> Any:
        arrays = as_arrays(inputs, scalar)
        if (count > 1 and arrays[0].shape != arrays[1].shape) or (count > 2 and arrays[0].shape != arrays[-1].shape):
            raise ValueError(other_shape)
        y = result(out, arrays)
        if run(symbol, (*arrays, y), parameters) != 0:
            raise ValueError(out_of_range)
        return y

    def both_of_arrays(key: Any, inputs: Any, parameters: Any, out: Any) -> Any:
        arrays = as_arrays(inputs, scalar)
        if (count > 1 and arrays[0].shape != arrays[1].shape) or (count > 2 and arrays[0].shape != arrays[-1].shape):
            raise ValueError(other_shape)
        y, other = np.empty(arrays[0].shape, scalar), np.empty(arrays[0].shape, scalar)
        if run(symbol, (*arrays, y, other), parameters) != 0:
            raise ValueError(out_of_range)
        return y, other

    if ndim == 0:
        return of_numbers
    return both_of_arrays if pair else of_arrays


def compute_gradient(name: str, dy: Any, x: Any, output: Any, parameters: Any, out: Any) -> Any:
    """Compute the backward of an elementwise activation from either of `x` and `output`."""


@implements(compute_gradient)
def type_compute_gradient(name: Any, dy: Any, x: Any, output: Any, parameters: Any, out: Any) -> Callable[..., Any]:
    call = f"fastact.{text_of(name)}.backward"
    if is_given(x) == is_given(output):
        raise TypingError(f"{call}: accepted is either x or output; got {'both' if is_given(x) else 'neither'}")
    key = f"{text_of(name)}.backward"
    if is_given(x):
        return lambda name, dy, x, output, parameters, out: compute(key, (dy, x), parameters, out)
    if "backward_from_output" not in capi.modes(text_of(name)):
        raise TypingError(f"{call}: output is not accepted, since the derivative is not a function of the value; "
                          f"pass x")
    key += "_from_output"
    return lambda name, dy, x, output, parameters, out: compute(key, (dy, output), parameters, out)


# ---------------------------------------------------------------------------------------------------- functions of rows

@register_jitable
def shape_of_rows(x: Any, axis: Any) -> Any:
    """Return the shape of an array as (outer, n, inner); n is -1 if the axis is out of bounds."""
    rows = axis + x.ndim if axis < 0 else axis
    if not 0 <= rows < x.ndim:
        return 0, -1, 0
    outer, inner = 1, 1
    for k in range(x.ndim):
        outer *= x.shape[k] if k < rows else 1
        inner *= x.shape[k] if k > rows else 1
    return outer, x.shape[rows], inner


def check_axis(call: str, axis: Any) -> None:
    if not isinstance(axis, types.Integer):
        raise TypingError(f"{call}: axis is {axis}; accepted in a compiled function is an integer")


def compute_rows(key: str, inputs: Any, axis: int, parameters: Any, out: Any) -> Any:
    """Compute a mode of a function of rows whose result has the shape of its inputs."""


@implements(compute_rows)
def type_compute_rows(key: Any, inputs: Any, axis: Any, parameters: Any, out: Any) -> Callable[..., Any]:
    name, mode = text_of(key).split(".")
    call = call_of(name, mode)
    arguments = dict(zip(names_of_inputs(name, mode), inputs, strict=True))
    dtype, ndim = dtype_of(call, arguments), check_arrays(call, arguments)
    if ndim == 0:
        raise TypingError(f"{call}: {' and '.join(arguments)} are numbers; accepted in a compiled function are arrays")
    check_axis(call, axis)
    check_out(call, out, ndim, dtype)
    out_of_range = check_parameters(call, name, parameters)
    number, scalar = DTYPES[dtype]
    symbol, as_arrays, count = symbol_of(name, mode, number), AS_ARRAYS[len(inputs)], len(inputs)
    other_shape = f"{call}: {' and '.join(arguments)} have different shapes; accepted is one"
    out_of_bounds = f"{call}: axis is out of bounds for an array of {ndim} dimensions"
    result = result_for(call, out)

    def of_arrays(key: Any, inputs: Any, axis: Any, parameters: Any, out: Any) -> Any:
        arrays = as_arrays(inputs, scalar)
        if count > 1 and arrays[0].shape != arrays[1].shape:
            raise ValueError(other_shape)
        shape = shape_of_rows(arrays[0], axis)
        if shape[1] < 0:
            raise ValueError(out_of_bounds)
        y = result(out, arrays)
        if run_rows(symbol, (*arrays, y), shape, parameters) != 0:
            raise ValueError(out_of_range)
        return y

    return of_arrays


def compute_gradient_of_rows(name: str, dy: Any, x: Any, axis: int, output: Any, parameters: Any, out: Any) -> Any:
    """Compute the backward of a function of rows from either of `x` and `output`."""


@implements(compute_gradient_of_rows)
def type_compute_gradient_of_rows(name: Any, dy: Any, x: Any, axis: Any, output: Any, parameters: Any,
                                  out: Any) -> Callable[..., Any]:
    if is_given(x) == is_given(output):
        raise TypingError(f"fastact.{text_of(name)}.backward: accepted is either x or output; got "
                          f"{'both' if is_given(x) else 'neither'}")
    value, backward = f"{text_of(name)}.value", f"{text_of(name)}.backward"
    if is_given(output):
        return lambda name, dy, x, axis, output, parameters, out: compute_rows(
            backward, (dy, output), axis, parameters, out)
    return lambda name, dy, x, axis, output, parameters, out: compute_rows(
        backward, (dy, compute_rows(value, (x,), axis, parameters, None)), axis, parameters, out)


def reduce_rows(name: str, x: Any, axis: int, parameters: Any) -> Any:
    """Compute one number for each row along the last axis."""


@implements(reduce_rows)
def type_reduce_rows(name: Any, x: Any, axis: Any, parameters: Any) -> Callable[..., Any]:
    call = call_of(text_of(name), "value")
    dtype = dtype_of(call, {"x": x})
    if not isinstance(x, types.Array):
        raise TypingError(f"{call}: x is a number; accepted in a compiled function are arrays")
    check_axis(call, axis)
    out_of_range, not_last = check_parameters(call, text_of(name), parameters), f"{call}: {LAST_AXIS}"
    number, scalar = DTYPES[dtype]
    symbol = symbol_of(text_of(name), "value", number)

    def of_rows(name: Any, x: Any, axis: Any, parameters: Any) -> Any:
        array = as_array(x, scalar)
        if axis != -1 and axis != array.ndim - 1:
            raise ValueError(not_last)
        results = np.empty(array.shape[:-1], np.float64)
        if run_rows(symbol, (array, results), shape_of_rows(array, -1), parameters) != 0:
            raise ValueError(out_of_range)
        return results.astype(scalar)

    def of_one_row(name: Any, x: Any, axis: Any, parameters: Any) -> Any:
        array = as_array(x, scalar)
        if axis != -1 and axis != 0:
            raise ValueError(not_last)
        results = np.empty(1, np.float64)
        if run_rows(symbol, (array, results), shape_of_rows(array, -1), parameters) != 0:
            raise ValueError(out_of_range)
        return scalar(results[0])

    return of_one_row if x.ndim == 1 else of_rows


@register_jitable
def doubles_of_array(dy: Any, x: Any, dtype: Any) -> Any:
    """Return a number of float64 for each row, and whether there are as many."""
    return np.ascontiguousarray(dy.astype(np.float64)), dy.shape == x.shape[:-1]


@register_jitable
def doubles_of_number(dy: Any, x: Any, dtype: Any) -> Any:
    """Do the same for one row; a number takes the dtype of x."""
    return np.full(1, dtype(dy)).astype(np.float64), True


def expand_rows(name: str, dy: Any, x: Any, axis: int, parameters: Any, out: Any) -> Any:
    """Compute the backward of a function that gives one number for each row along the last axis."""


@implements(expand_rows)
def type_expand_rows(name: Any, dy: Any, x: Any, axis: Any, parameters: Any, out: Any) -> Callable[..., Any]:
    call = call_of(text_of(name), "backward")
    dtype = dtype_of(call, {"dy": dy, "x": x} if isinstance(dy, types.Array) else {"x": x})
    dtype_of(call, {"dy": dy})
    if not isinstance(x, types.Array) or getattr(dy, "ndim", 0) != x.ndim - 1:
        raise TypingError(f"{call}: got dy as {dy} and x as {x}; accepted in a compiled function are an array x, and "
                          f"dy with one dimension less")
    check_axis(call, axis)
    check_out(call, out, x.ndim, dtype)
    out_of_range, not_last = check_parameters(call, text_of(name), parameters), f"{call}: {LAST_AXIS}"
    number, scalar = DTYPES[dtype]
    symbol = symbol_of(text_of(name), "backward", number)
    other_shape = f"{call}: dy has another shape than the rows; accepted is that of the value"
    no_memory = f"{call}: no memory for factors of the rows"
    result, doubles = result_for(call, out), doubles_of_number if x.ndim == 1 else doubles_of_array

    def of_rows(name: Any, dy: Any, x: Any, axis: Any, parameters: Any, out: Any) -> Any:
        array = as_array(x, scalar)
        if axis != -1 and axis != array.ndim - 1:
            raise ValueError(not_last)
        upstream, fits = doubles(dy, array, scalar)
        if not fits:
            raise ValueError(other_shape)
        y = result(out, (array,))
        status = run_rows(symbol, (upstream, array, y), shape_of_rows(array, -1), parameters)
        if status == NO_MEMORY:
            raise MemoryError(no_memory)
        if status != 0:
            raise ValueError(out_of_range)
        return y

    return of_rows
