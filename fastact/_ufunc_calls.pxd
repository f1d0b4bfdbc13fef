from fastact._engine.elementwise cimport KernelSet, Numbers

cdef class Parameters:
    cdef object defaults, domains       # mappings
    cdef Numbers numbers                # the defaults
    cdef bint are_numbers(self, dict given, Numbers* numbers) except *
    cdef dict replaced(self, str call, dict given, tuple others=?)

cdef list bits_of(object parameters)

cdef object call_ufunc(str call, KernelSet mode, tuple arrays, Parameters parameters, tuple arguments, dict keywords,
                       object output_domains=?)
