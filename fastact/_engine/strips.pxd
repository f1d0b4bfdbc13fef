# One call of a row operation on arrays [outer, n, inner] that its kernels can take.

cimport numpy as cnp

# Kinds of steps
cdef enum:
    EXTREME                         # the largest entry, or that of -x
    CONSTANTS                       # constants of the rows
    ACCUMULATE                      # sums over the entries
    RECOVER                         # what a sum lost beside its largest term
    SEARCH                          # a number that takes several passes over the row
    PATCH                           # single entries
    EMIT                            # the entries of the result

# Rows that a step is for
cdef enum:
    ALWAYS
    IF_LONG                         # those of more than SHORT_ROW entries
    IF_SHORT                        # the others
    IF_DOMINANT                     # short ones, and long ones whose maximum outweighs the others
    IF_LONG_AND_DOMINANT

cdef struct Step:
    int kind
    int condition
    void* rows                      # the kernel for contiguous rows
    void* columns                   # the same for columns side by side
    int x                           # the indices of the arrays that its formula names x and y
    int y
    int target                      # the index of the array that it writes to

cdef struct StripCall:
    const Step* steps
    int count
    char* arrays[3]                 # x, y, out
    Py_ssize_t itemsize
    Py_ssize_t rows                 # how many
    Py_ssize_t n                    # entries of a row
    Py_ssize_t inner                # distance of two entries of a row: 1, or the rows are columns side by side
    Py_ssize_t distance             # of two rows, unless they are columns
    Py_ssize_t width                # rows of a strip, at most
    Py_ssize_t strips               # of columns, for each index of the outer axes
    bint fetching
    double* results                 # one number a row, or NULL
    const double* scales            # the same, or NULL for `scale` everywhere
    double scale
    const double* sinks             # the same, or NULL
    bint sink_is_lse
    double factor                   # of x, and its low part
    double factor_low
    double smoothing                # of labels
    double z_loss
    double alpha                    # of entmax
    const cnp.npy_intp* labels      # the same, or NULL
    const double* inputs            # `inputs_each` numbers a row, or NULL
    int inputs_each

# Where rows lie that are computed together
cdef struct Place:
    Py_ssize_t first                # index of the first one
    Py_ssize_t width                # how many
    Py_ssize_t offset               # bytes to the first one in the arrays

# The place with this index, of `width` rows each; columns have so many `strips` for each index of the outer axes.
cdef inline Place place_of(const StripCall* call, Py_ssize_t index, Py_ssize_t width, Py_ssize_t strips) noexcept nogil:
    cdef Py_ssize_t outer, column, rest
    cdef Place place
    if call.inner == 1:
        place.first = index * width
        place.offset = place.first * call.distance * call.itemsize
        rest = call.rows - place.first
    else:
        outer, column = index // strips, index % strips * width
        place.first = outer * call.inner + column
        place.offset = (outer * call.n * call.inner + column) * call.itemsize
        rest = call.inner - column
    place.width = rest if rest < width else width
    return place


# One strip on the calling thread, in the floating-point environment that its caller has set
cdef void run_strip(const StripCall* call, Py_ssize_t index) noexcept nogil
# `count` strips on as many threads as the work pays for
cdef void run_all_strips(const StripCall* call, Py_ssize_t count, double nanoseconds) noexcept nogil
