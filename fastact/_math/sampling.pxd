# Sampling an index from the softmax of a row: which entries stay, and their weights.
#
# Every filter leaves the entries from some number up: top_k those from the k-th largest entry, top_p those from the
# entry at which the probabilities of the largest ones add up to p, min_p those from  m + T log(min_p).  So the entries
# that stay are described by one number, the lowest of them, and equal entries are treated alike.
#
# The weight of an entry that stays is e^((x - m) / T) times 2^guard, up to a factor of the row: the exponential of
# softmax.pxd, rounded to the dtype.  An entry whose probability is less than half of the smallest subnormal double has
# the weight 0 in any dtype.

from libc.math cimport fabs
from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint32_t, uint64_t

from fastact._math.primitives cimport (
    exp_limit, fastact_bits_of_double, fastact_bits_of_float, fastact_double_of_bits, fastact_float_of_bits, floating,
    largest, log_of_one_more, remainder, two_to)
from fastact._math.row_state cimport (
    FACTOR, FACTOR_LOW, HALF, OFFSET, StripState)
from fastact._math.softmax cimport (
    accumulate_exponentials, accumulate_scaled_exponentials, prepare_exponentials)

# What each row is sampled with, as numbers beside each other
cdef enum:
    UNIFORM                 # in [0, 1)
    TEMPERATURE
    TOP_K
    TOP_P
    LOG_MIN_P               # -inf leaves everything
    REQUEST                 # how many they are

# Results that are no index
cdef enum:
    HOLDS_NAN = -1
    HOLDS_INFINITY = -2
    NOTHING_LEFT = -3


# ------------------------------------------------------------------------------------------------------- weights

# Below this e^x is 0 in double.
cdef inline double log_of_nothing() noexcept nogil:
    return -745.13321910194122


# Whether (x - m) / T has to be computed as a product; else the exponential of x itself is split.
cdef inline bint has_factor(double maximum, double temperature, floating unused) noexcept nogil:
    return temperature != 1 or fabs(maximum) > 2 * <double> exp_limit(unused)


# The temperature, or a larger one that is near enough to 0 to leave the same entries, and of which the dtype has the
# inverse, times a power of two.  Other numbers are at least 2^-54 of the maximum below it, and 2^-149 (float); where
# that is 745 temperatures, none but the maximum is left.
cdef inline double temperature_of(double maximum, double temperature, floating unused) noexcept nogil:
    cdef double least = fabs(maximum) * 8.470329472543003e-22      # 2^-70
    if floating is float:
        least = least if least > 6.681911775230489e-52 else 6.681911775230489e-52      # 2^-170
    return temperature if temperature > least else least


# Constants of the weights of row i, whose maximum is finite.  Numbers are multiplied by the power of two that brings
# the temperature near to 1, as far as the dtype has one.
cdef inline void prepare_weights(StripState* state, Py_ssize_t i, double temperature, bint factor,
                                 floating unused) noexcept nogil:
    cdef int exponent = <int> (fastact_bits_of_double(temperature) >> 52) - 1022
    cdef int limit = 120 if floating is float else 1000
    cdef double power, scaled, high
    cdef floating rounded
    if not factor:
        prepare_exponentials(state, i, unused)
        return
    exponent = limit if exponent > limit else -limit if exponent < -limit else exponent
    power = two_to[double](-exponent, 0)
    scaled = temperature * power
    high = 1 / scaled
    rounded = <floating> high
    state.constants[OFFSET + i] = state.maximum[i] * power
    state.constants[HALF + i] = power
    state.constants[FACTOR + i] = rounded
    state.constants[FACTOR_LOW + i] = (high - rounded) + remainder[double](high, scaled, 1) / scaled


# The logarithm of a share up to 1, and 0 for more
cdef inline double log_of_share(double share) noexcept nogil:
    return -log_of_one_more(1 / share - 1) if share < 1 else 0


# c are the constants of the row.
cdef inline floating weight(floating x, floating lowest, const floating* c) noexcept nogil:
    cdef floating e = accumulate_exponentials(x, x, c)
    return e if x >= lowest else <floating> 0


cdef inline floating weight_with_factor(floating x, floating lowest, const floating* c) noexcept nogil:
    cdef floating e = accumulate_scaled_exponentials(x, x, c)
    return e if x >= lowest else <floating> 0


# ------------------------------------------------------------------------------------------- numbers in their order

# An integer that is in the order of the numbers; the same for 0 and -0
cdef inline int64_t order_of(floating x) noexcept nogil:
    cdef int32_t bits
    cdef int64_t wide
    if floating is float:
        bits = <int32_t> fastact_bits_of_float(x + 0)
        return bits ^ (bits >> 31 & INT32_MAX)
    else:
        wide = <int64_t> fastact_bits_of_double(x + 0)
        return wide ^ (wide >> 63 & INT64_MAX)


# The number of such an integer
cdef inline floating number_of(int64_t order, floating unused) noexcept nogil:
    cdef int32_t bits
    if floating is float:
        bits = <int32_t> order
        return fastact_float_of_bits(<uint32_t> (bits ^ (bits >> 31 & INT32_MAX)))
    else:
        return fastact_double_of_bits(<uint64_t> (order ^ (order >> 63 & INT64_MAX)))


# The smallest finite number of the dtype that is not below x
cdef inline floating not_below(double x, floating unused) noexcept nogil:
    cdef floating rounded
    if not x > -<double> largest(unused):
        return -largest(unused)
    rounded = <floating> x
    return number_of(order_of(rounded) + 1, unused) if rounded < x else rounded


# A number above `low` and up to `high`, where low < high: between them, or between their integers, which takes at most
# as many steps as a number has bits to find any number
cdef inline floating between(floating low, floating high, bint by_order) noexcept nogil:
    cdef int64_t bottom = order_of(low)
    cdef floating middle = low / 2 + high / 2
    if by_order:
        return number_of(<int64_t> (<uint64_t> bottom + (<uint64_t> order_of(high) - <uint64_t> bottom + 1) // 2), low)
    return middle if low < middle < high else high
