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
    absolute, at_least, floating, fma, largest, line, product_in_two, remainder, square_root, sum_in_two)
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


# --------------------------------------------------------------------------------------------------------- entmax15

# p = (f / 2 (x - m - u))^2 where that is positive, else 0
#
# Steps of entmax15:
#   maximum of x
#   search_entmax15 of x
#   finish_entmax15
#   emit_entmax15 of x

cdef inline void search_entmax15(const floating* x, Py_ssize_t n, Py_ssize_t distance, StripState* state,
                                 Py_ssize_t i) noexcept nogil:
    search_threshold(2, x, n, distance, state, i)


cdef inline void finish_entmax15(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_threshold(state, i, state.factor / 2, state.factor_low / 2, unused)


cdef inline floating emit_entmax15(floating x, floating y, const floating* c) noexcept nogil:
    cdef double low, p, p_low
    cdef double root = beyond_threshold(x, c, &low)
    if floating is float:
        return <floating> (root * root)
    else:
        p = product_in_two(root, root, &p_low)
        return p + fma(2 * root, low, p_low)


# The vector-Jacobian product.  x = dy, y = p: f sqrt(p) (dy - mean of dy with the weights sqrt(p))
#
# Steps of entmax15_backward:
#   accumulate_roots of x and y
#   finish_mean
#   emit_entmax15_backward of x and y

# sums: sqrt(p) dy and sqrt(p)
cdef inline floating accumulate_roots(floating x, floating y, const floating* c, floating* first,
                                      floating* second) noexcept nogil:
    cdef floating root = square_root(at_least(y, <floating> 0))         # NaN of NaN
    first[0] = root * (x if y > 0 else <floating> 0)
    second[0] = root
    return 0


cdef inline floating emit_entmax15_backward(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating difference = ((x - c[SUM]) - c[SUM_LOW]) * c[SCALE]
    return square_root(at_least(y, <floating> 0)) * (difference if y > 0 else <floating> 0)


# ----------------------------------------------------------------------------------------------------------- losses

# Fenchel-Young losses, with the targets t, the entropy H of the family and its threshold T, x = T + p^(alpha - 1) /
# (alpha - 1) on the support:
#
#   (p - t) x + H(p) - H(t) = sum of d(t, p) + sum of t (T - x) outside the support + (1 - sum of t) (T + H'),
#   d(t, p) = (t^alpha - p^alpha - alpha p^(alpha - 1) (t - p)) / (alpha (alpha - 1)),  H' = 1 / (alpha (alpha - 1))
#
# None of the d is negative, so that nothing cancels in a loss that is almost 0.  The gradient is p - t.
#
# Steps of sparsemax_loss:
#   maximum of x
#   search_sparsemax of x
#   finish_sparsemax
#   accumulate_sparsemax_loss of x and y, stored
#   finish_sparsemax_loss
#   emit_scaled of out
#
# Steps of entmax15_loss:
#   maximum of x
#   search_entmax15 of x
#   finish_entmax15
#   accumulate_entmax15_loss of x and y, stored
#   finish_entmax15_loss
#   emit_scaled of out

# T - x for an entry outside of the support; NaN where that is no number
cdef inline floating below_threshold(floating x, const floating* c) noexcept nogil:
    return ((c[THRESHOLD] - x) + c[THRESHOLD_LOW]) + c[THRESHOLD_REST]


# stored: p - t                                         sums: d and t (T - x), t
cdef inline floating accumulate_sparsemax_loss(floating x, floating y, const floating* c, floating* first,
                                               floating* second) noexcept nogil:
    cdef double low
    cdef double p = beyond_threshold(x, c, &low)
    cdef floating difference = <floating> ((p - y) + low)
    cdef floating outside = y * below_threshold(x, c)
    first[0] = <floating> 0.5 * difference * difference + (<floating> 0 if p > 0 or y == 0 else outside)
    second[0] = y
    return difference


# d = 2/3 (a - s)^2 (2 a + s) with the roots a and s of t and p
cdef inline floating accumulate_entmax15_loss(floating x, floating y, const floating* c, floating* first,
                                              floating* second) noexcept nogil:
    cdef double low
    cdef double root = beyond_threshold(x, c, &low)
    cdef floating difference = <floating> (line(root, root, -<double> y) + 2 * root * low)
    cdef floating s = <floating> root, a = square_root(y)
    cdef floating apart = difference / (a + s)
    cdef floating outside = y * below_threshold(x, c)
    cdef floating term = <floating> 0.6666666666666666 * (apart * apart) * ((a + a) + s)
    term = <floating> 0 if difference == 0 else term
    first[0] = term + (<floating> 0 if root > 0 or y == 0 else outside)
    second[0] = y
    return difference


cdef inline void finish_loss(StripState* state, Py_ssize_t i, double slope, floating unused) noexcept nogil:
    cdef double lacking = 1 - state.second[i]
    state.result[i] = state.first[i] + (lacking * (state.threshold[i] + slope) if lacking != 0 else 0)
    state.constants[SCALE + i] = state.scale[i]


cdef inline void finish_sparsemax_loss(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_loss(state, i, 0.5, unused)


cdef inline void finish_entmax15_loss(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_loss(state, i, 1.3333333333333333, unused)


cdef inline floating emit_scaled(floating x, floating y, const floating* c) noexcept nogil:
    return x * c[SCALE]


# The same with one label: d(1, p) there, d(0, p) = p^alpha / alpha elsewhere
#
# Steps of sparsemax_loss_labels:
#   maximum of x
#   search_sparsemax of x
#   finish_sparsemax
#   emit_sparsemax of x
#   patch_sparsemax_label of x
#   accumulate_squares of out
#   finish_sparsemax_label
#   emit_scaled of out
#
# Steps of entmax15_loss_labels:
#   maximum of x
#   search_entmax15 of x
#   finish_entmax15
#   emit_entmax15 of x
#   patch_entmax15_label of x
#   accumulate_powers of out
#   finish_entmax15_label
#   emit_scaled of out

# 1 - g (x - m - u), of the label, which may be in the support and have all of the probability but little.  In `rest`
# of the state: T - x where it is not.
cdef inline double lacking_at_label(double x, double factor, StripState* state, Py_ssize_t i) noexcept nogil:
    cdef double difference_low, low, product_low
    cdef double difference = sum_in_two(x, -state.maximum[i], &difference_low)
    cdef double v = sum_in_two(difference, -state.first[i], &low)
    low = 0 if isinf(v) else low + (difference_low - state.second[i])
    state.rest[i] = -(v + low) if v + low <= 0 else 0
    if v + low <= 0:
        return 1
    v = product_in_two(v, factor, &product_low)
    return (1 - v) - (product_low + low * factor)


# p - 1 in place of p
cdef inline void patch_sparsemax_label(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                                       StripState* state, Py_ssize_t i) noexcept nogil:
    entry[0] = <floating> (0 - lacking_at_label(x[0], 1, state, i))


cdef inline void patch_entmax15_label(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                                      StripState* state, Py_ssize_t i) noexcept nogil:
    cdef double lacking = lacking_at_label(x[0], 0.5, state, i)
    state.rest[i] += lacking * lacking * (3 - lacking) / 1.5
    entry[0] = <floating> (0 - lacking * (2 - lacking))


# sum: of the squares, of which none is lost beside another
cdef inline floating accumulate_squares(floating x, floating y, const floating* c) noexcept nogil:
    return x * x


# sum: p^(3/2) of the other entries, which are not negative
cdef inline floating accumulate_powers(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating p = at_least(x, <floating> 0)
    return p * square_root(p)


cdef inline void finish_sparsemax_label(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.result[i] = state.first[i] / 2 + state.rest[i]
    state.constants[SCALE + i] = state.scale[i]


cdef inline void finish_entmax15_label(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.result[i] = state.first[i] / 1.5 + state.rest[i]
    state.constants[SCALE + i] = state.scale[i]
