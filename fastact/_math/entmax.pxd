# The entmax family: probabilities of which those of small logits are exactly 0.
#
#   p_i = (g (x_i - m - u))^q  where that is positive, else 0;  q = 1 / (alpha - 1), g = (alpha - 1) scale / temperature
#
# with the maximum m of the row and the threshold u, which is where the sum of the p_i is 1.  The head of softmax.pxd
# explains the steps.
#
# The search for u.  It lies between -1 / g, where the maximum alone would have the probability 1, and 0.  So only the
# entries above m - 1 / g, the candidates, can be positive: usually few.  They are collected once, and Newton's method
# runs on them, upwards from -1 / g:  v_i = x_i - m - u,  (sum of v_i^q)^(1/q) = 1 / g  over the positive v_i.  For
# q >= 1 that norm is convex and decreasing in u, so that no step goes beyond the root; for q = 1 the steps are finitely
# many.
#
# Candidates and sums are doubles.  The last steps add in two parts, and u is in two parts: for the digits of float64,
# and for the support of sparsemax, which is exact where logits equal the threshold.  Candidates are in the order of the
# row and are added in one fixed tree: u has the same bits in any layout.

from libc.math cimport INFINITY, NAN, fabs, isinf

from fastact._math.primitives cimport (
    absolute, at_least, floating, fma, largest, product_in_two, remainder, square_root, sum_in_two)
from fastact._math.row_state cimport (
    FACTOR, FACTOR_REST, SCALE, SUM, SUM_LOW, THRESHOLD, THRESHOLD_LOW, THRESHOLD_REST, StripState)

cdef extern from "_math/candidates.h" nogil:
    enum:
        COMPARED "FASTACT_COMPARED"     # entries that are compared with the bound at once
        ADDED "FASTACT_ADDED"           # lanes of the sums
    ctypedef struct NewtonSums "fastact_terms":
        double values[ADDED]            # of v^q, in two parts
        double values_low[ADDED]
        double slopes[ADDED]            # of v^(q - 1)
    Py_ssize_t fastact_collect_float(const float* x, float bound, double maximum, double* candidates) noexcept
    Py_ssize_t fastact_collect_double(const double* x, double bound, double maximum, double* candidates) noexcept
    void fastact_add_terms_exactly(const double* candidates, Py_ssize_t count, double high, double low,
                                   NewtonSums* terms) noexcept
    void fastact_add_terms(int q, const double* candidates, Py_ssize_t count, double high, double low,
                           NewtonSums* terms) noexcept

cdef enum:
    CANDIDATES = 2048       # for which the stack has room; where there are more, each step reads the row again
    NEWTON_MAX = 1000       # steps, of which usual rows take about ten


# ------------------------------------------------------------------------------------------------------ candidates

# Writes x - m of the entries from `start` on that are not below the bound, NaN included, until the row ends or no room
# is left, and fills the last vector up.  Returns where it stopped.
cdef inline Py_ssize_t collect(const floating* x, Py_ssize_t n, Py_ssize_t distance, Py_ssize_t start, floating bound,
                               double maximum, double filler, double* candidates, Py_ssize_t* count) noexcept nogil:
    cdef floating block[COMPARED]
    cdef const floating* compared
    cdef Py_ssize_t found = 0, i
    while n - start >= COMPARED and found <= CANDIDATES - COMPARED:
        compared = x + start
        if distance != 1:
            for i in range(COMPARED):
                block[i] = x[(start + i) * distance]
            compared = block
        if floating is float:
            found += fastact_collect_float(compared, bound, maximum, candidates + found)
        else:
            found += fastact_collect_double(compared, bound, maximum, candidates + found)
        start += COMPARED
    if n - start < COMPARED and found <= CANDIDATES - COMPARED:
        for i in range(start, n):
            candidates[found] = <double> x[i * distance] - maximum
            found += not x[i * distance] < bound
        start = n
    for i in range(ADDED):
        candidates[found + i] = filler
    count[0] = found
    return start


# ------------------------------------------------------------------------------------------------------------ sums

# fastact_add_terms in two parts, for q = 2
cdef inline void add_squares_exactly(const double* candidates, Py_ssize_t count, double high, double low,
                                     NewtonSums* sums) noexcept nogil:
    cdef double v, v_low, square, square_low, lost
    cdef bint beyond
    cdef Py_ssize_t i
    cdef int j
    for i in range((count + ADDED - 1) // ADDED):
        for j in range(ADDED):
            v = sum_in_two(candidates[i * ADDED + j], -high, &v_low)
            v_low -= low
            beyond = not v + v_low <= 0
            v = v if beyond else 0
            v_low = v_low if beyond else 0
            square = product_in_two(v, v, &square_low)
            sums.values[j] = sum_in_two(sums.values[j], square, &lost)
            sums.values_low[j] += lost + fma(2 * v, v_low, square_low)
            sums.slopes[j] += v


# The totals of the lanes, in the first of them
cdef inline void add_lanes(NewtonSums* sums) noexcept nogil:
    cdef double lost
    cdef int half = ADDED // 2, j
    while half:
        for j in range(half):
            sums.values[j] = sum_in_two(sums.values[j], sums.values[j + half], &lost)
            sums.values_low[j] += sums.values_low[j + half] + lost
            sums.slopes[j] += sums.slopes[j + half]
        half //= 2


# ---------------------------------------------------------------------------------------------------------- search

# u in two parts, into first and second of the state.  `power` is q.
cdef inline void search_threshold(int power, const floating* x, Py_ssize_t n, Py_ssize_t distance, StripState* state,
                                  Py_ssize_t i) noexcept nogil:
    cdef double candidates[CANDIDATES + COMPARED]
    cdef NewtonSums sums
    cdef double maximum = state.maximum[i], factor = state.factor / power
    cdef double radius = 1 / factor                                                             # 1 / g, in two parts
    cdef double radius_low = (remainder(factor, radius, 1) - state.factor_low / power * radius) * radius
    cdef double target = radius, target_low = radius_low, high = -radius, low = 0, step = INFINITY
    cdef Py_ssize_t start, count = 0
    cdef bint collected = False, close
    cdef int _, j
    if power == 2:
        target = product_in_two(radius, radius, &target_low)
        target_low += 2 * radius * radius_low
    if isinf(maximum):
        high = NAN
    for _ in range(NEWTON_MAX if high == high else 0):
        close = fabs(step) <= 1e-12 * fabs(high)
        for j in range(ADDED):
            sums.values[j] = sums.values_low[j] = sums.slopes[j] = 0
        start = n if collected else 0
        while True:
            if not collected:
                collected = start == 0
                start = collect(x, n, distance, start, <floating> (maximum + (high - 1e-12 * radius)), maximum,
                                -4 * radius, candidates, &count)
                collected = collected and start >= n
            if close and power == 1:
                fastact_add_terms_exactly(candidates, count, high, low, &sums)
            elif close and floating is double:
                add_squares_exactly(candidates, count, high, low, &sums)
            else:
                fastact_add_terms(power, candidates, count, high, low, &sums)
            if start >= n:
                break
        add_lanes(&sums)
        step = ((sums.values[0] - target) + (sums.values_low[0] - target_low)) / sums.slopes[0]
        if power == 2:
            step /= 1 + radius / square_root(sums.values[0])
        high = sum_in_two(high, step + low, &low)
        if step != step or close and (power == 2 and floating is float or fabs(step) <= 1e-25 * fabs(high)):
            break
    state.first[i] = high
    state.second[i] = low


# -------------------------------------------------------------------------------------------------------- sparsemax

# p = f (x - m - u) where that is positive, else 0; f = scale / temperature
#
# Steps of sparsemax:
#   maximum of x
#   search_sparsemax of x
#   finish_sparsemax
#   emit_sparsemax of x

cdef inline void search_sparsemax(const floating* x, Py_ssize_t n, Py_ssize_t distance, StripState* state,
                                  Py_ssize_t i) noexcept nogil:
    search_threshold(1, x, n, distance, state, i)


# m + u in three parts, and the factor in two
cdef inline void finish_threshold(StripState* state, Py_ssize_t i, double factor, double factor_low,
                                  floating unused) noexcept nogil:
    cdef double lost
    cdef double total = sum_in_two(state.maximum[i], state.first[i], &lost)
    cdef floating high = <floating> total, rounded = <floating> factor
    cdef double rest_low = 0, rest = (total - high) + (lost + state.second[i])
    cdef floating low = <floating> rest
    if floating is double:                  # total - high is 0
        rest = low = sum_in_two(lost, state.second[i], &rest_low)
    state.threshold[i] = total
    state.constants[THRESHOLD + i] = high
    state.constants[THRESHOLD_LOW + i] = low
    state.constants[THRESHOLD_REST + i] = (rest - low) + rest_low
    state.constants[FACTOR + i] = rounded
    state.constants[FACTOR_REST + i] = (factor - rounded) + factor_low


cdef inline void finish_sparsemax(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_threshold(state, i, state.factor, state.factor_low, unused)


# g (x - m - u) where that is positive, else 0: of floats as a double, of doubles with a low part
cdef inline double beyond_threshold(floating x, const floating* c, double* low) noexcept nogil:
    cdef double v, v_low, product, factor = c[FACTOR], factor_rest = c[FACTOR_REST]
    if floating is float:
        low[0] = 0
        v = (<double> x - c[THRESHOLD]) - (<double> c[THRESHOLD_LOW] + c[THRESHOLD_REST])
        return at_least[double](v, 0) * (factor + factor_rest)
    else:
        v = sum_in_two(x, -c[THRESHOLD], &v_low)
        v_low = v_low - c[THRESHOLD_LOW] if absolute(v) <= largest(v) else 0
        v = sum_in_two(v, v_low, &v_low)
        v_low = 0 if v <= 0 else v_low - c[THRESHOLD_REST]
        v = at_least(v, 0)
        product = product_in_two(v, factor, low)
        low[0] += fma(v_low, factor, v * factor_rest)
        return product


cdef inline floating emit_sparsemax(floating x, floating y, const floating* c) noexcept nogil:
    cdef double low
    cdef double p = beyond_threshold(x, c, &low)
    return <floating> (p + low)


# The vector-Jacobian product.  x = dy, y = p: on the support, f (dy - mean of dy there)
#
# Steps of sparsemax_backward:
#   accumulate_support of x and y
#   finish_mean
#   emit_sparsemax_backward of x and y

# sums: dy and 1 on the support
cdef inline floating accumulate_support(floating x, floating y, const floating* c, floating* first,
                                        floating* second) noexcept nogil:
    first[0] = y - y if not y > 0 else x                        # y - y: NaN of NaN
    second[0] = <floating> 0 if not y > 0 else <floating> 1
    return 0


# The quotient of the sums in two parts
cdef inline void finish_mean(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    cdef double mean = state.first[i] / state.second[i]
    cdef floating high = <floating> mean
    state.constants[SUM + i] = high
    state.constants[SUM_LOW + i] = mean - high if floating is float else remainder(mean, state.second[i],
                                                                                   state.first[i]) / state.second[i]
    state.constants[SCALE + i] = state.factor


cdef inline floating emit_sparsemax_backward(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating gradient = ((x - c[SUM]) - c[SUM_LOW]) * c[SCALE]
    return y - y if not y > 0 else gradient
