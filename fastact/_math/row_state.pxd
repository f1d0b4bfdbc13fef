# The state of a strip: what the steps of a row operation (softmax.pxd) hand to each other.

cdef enum:
    STRIP = 32              # rows or columns computed together, so that the latency of one hides behind the others
    SHORT_ROW = 128         # entries up to which a row always takes the exact path: no test of dominance
    PIECE = 1024            # entries whose terms are held on the stack
    SEGMENT = 4096          # entries of a long row that one thread takes at a time

# Constants of a row that formulas read, as `c[OFFSET]`.  Each has an array of STRIP numbers, one for each row of the
# strip: the enumerators are the offsets of these arrays.  Names with one offset are never used together.
cdef enum:
    OFFSET = 0              # subtracted from x before it is reduced
    MAXIMUM = 0
    INVERSE = 0             # 1 / sum of the stored exponentials
    WEIGHT = 0              # factor of the stored exponentials ...
    WEIGHT_LOW = STRIP      # ... and a second one, where the product alone would underflow
    SUM = 0                 # in two parts
    SUM_LOW = STRIP
    REFERENCE = 0           # of entmax_alpha.pxd: p = height (start + gain (x - reference))^power
    THRESHOLD = 0           # of the entmax family, in three parts
    THRESHOLD_LOW = STRIP
    THRESHOLD_REST = 2 * STRIP
    GAIN = STRIP
    FLOOR = STRIP           # entries below it count as it
    FACTOR_LOW = STRIP      # low part of FACTOR
    LOG_REST = STRIP        # log of the sum of e^(x - m)
    TOTAL = STRIP           # sum of the targets
    GAIN_LOW = 2 * STRIP
    SHIFT = 2 * STRIP       # exp_shift less the integer of the maximum
    HALF = 2 * STRIP        # 1, or 1/2 where x - m could overflow
    REST = 2 * STRIP        # gradient of the maximum's own probability: scale (1 - p)
    BIAS = 2 * STRIP        # subtracted from every entry
    START = 3 * STRIP
    PEAK = 3 * STRIP        # the exponential of the maximum, times 2^guard
    HIGHEST = 3 * STRIP     # the maximum, where OFFSET is in use
    FACTOR_REST = 3 * STRIP  # low part of FACTOR, beside a threshold
    LOGITS_OFFSET = 3 * STRIP   # of divergences.pxd: those of x where OFFSET, FLOOR and SHIFT are those of y
    EXCESS = 3 * STRIP      # sum of what is subtracted from the gradient
    AT_REFERENCE = 4 * STRIP    # the probability there
    FACTOR = 4 * STRIP      # of x - m
    SCALE = 4 * STRIP       # of the gradient
    LOGITS_FLOOR = 4 * STRIP
    START_LOW = 5 * STRIP
    TOTAL_LOW = 5 * STRIP   # low part of TOTAL
    LOGITS_SHIFT = 5 * STRIP
    POWER = 6 * STRIP       # in two parts
    POWER_LOW = 7 * STRIP
    CENTRE = 6 * STRIP      # subtracted from differences, in two parts
    CENTRE_LOW = 7 * STRIP
    DIVERGENCE_WEIGHT = 6 * STRIP   # as WEIGHT, beside OFFSET
    DIVERGENCE_WEIGHT_LOW = 7 * STRIP
    HEIGHT = 8 * STRIP      # in two parts
    HEIGHT_LOW = 9 * STRIP
    RATIO = 8 * STRIP       # of the exponentials of y to those of x
    INVERSE_OF_TARGETS = 9 * STRIP  # 1 / sum of the exponentials of y
    CONSTANTS_OF_ROWS = 10 * STRIP

# Of the rows of a strip: arrays, so that the constants of all rows are computed at once
cdef struct StripState:
    double maximum[STRIP]
    double scale[STRIP]         # of the result: the gradient of a mean, the upstream gradient of a sum
    double peak[STRIP]          # the exponential of the maximum, times 2^guard
    double first[STRIP]         # sums of the last accumulation; of exponentials, times 2^guard
    double second[STRIP]
    double log_rest[STRIP]      # log of the sum of e^(x - m)
    double inverse[STRIP]       # 1 / sum of the exponentials, without 2^guard
    double rest[STRIP]          # 1 - p for the maximum's p
    double threshold[STRIP]     # of the entmax family
    double result[STRIP]        # of operations that give one number a row
    double at_label[STRIP]      # the logit at the label; the maximum of x while that of y is in use
    double distance[STRIP]      # sum of (m - x), times the targets if there are any
    double total[STRIP]         # sum of the targets
    double sink[STRIP]          # a logit of the denominator alone, not scaled, or the lse itself
    double constants[CONSTANTS_OF_ROWS]
    int dominant[STRIP]         # the maximum's exponential is more than half of the sum
    const double* inputs        # numbers that the caller gives for each row, beside each other
    double factor               # of x, and its low part
    double factor_low
    double smoothing            # of labels
    double z_loss               # weight of the square of the logarithm of the sum
    double alpha                # of entmax
    double entries              # of a row
    bint sink_is_lse
    bint fetching               # memory is prefetched

# The kernels take `width` <= STRIP rows of `n` entries.  Either the rows are contiguous, `stride` entries apart, or
# they are columns side by side, and `stride` is the distance of two entries of a column.
ctypedef void (*strip_reduction)(
    const void* x, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, StripState* state) noexcept nogil
ctypedef void (*strip_accumulation)(
    const void* x, const void* y, void* out, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, StripState* state
    ) noexcept nogil
ctypedef void (*strip_emission)(
    const void* x, const void* y, void* out, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width, const StripState* state
    ) noexcept nogil
ctypedef void (*strip_constants)(StripState* state, Py_ssize_t width) noexcept nogil
ctypedef void (*row_patch)(
    const void* x, void* entry, Py_ssize_t n, Py_ssize_t distance, StripState* state, Py_ssize_t index) noexcept nogil
