cdef class Kinks:
    cdef object parameters, jumps, value
    cdef tuple sides
    cdef dict defaults
    cdef readonly bint from_output
    cdef tuple pairs(self)
    cdef list slopes(self, object parameters)
    cdef list find(self, tuple arrays, tuple arguments, dict keywords)


cdef tuple sides_of(str call, object kinks, int count)
cdef object corrected(object results, list found)
