cdef tuple with_float32_ends(tuple domain)
cdef str in_words(tuple domain)
cdef int check_domain(str call, str name, tuple domain, object value, object shown=?, str advice=?) except -1
