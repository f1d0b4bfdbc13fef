# The entmax family with any alpha > 1 as a number of the call.  (entmax.pxd has alpha = 1.5 and alpha = 2, softmax.pxd
# has alpha = 1; the head of softmax.pxd explains the steps.)
#
#   p_i = (g (x_i - threshold))^q  where that is positive, else 0
#
# with q = 1 / (alpha - 1), g = (alpha - 1) scale / temperature, and the threshold for which the p_i add up to 1.
# Neither way to it sorts:
#
# alpha < 2: with the maximum m and d_i = m - x_i, p_i = r_i / R, r_i = (1 - c d_i)^q where that is positive, R = sum of
# the r_i.  The sum of the p_i is 1 for any c; the right one is that for which  c = g R^(alpha - 1).  R^(alpha - 1) is a
# norm of positive parts of lines, convex and decreasing in c, so that Newton's method, upwards from c = g, does not go
# beyond the root.  Only the entries with d_i < 1 / g, the candidates, can be positive.  log(1 - c d_i) is taken of
# c d_i, so that nothing is lost where alpha is almost 1 and c is almost 0.
#
# alpha > 2: the power q < 1 is steep at the threshold, and a probability that is not small may belong to a logit that
# is within rounding of it.  So the probability of the smallest logit of the support is searched and not the threshold.
# An entry x_k is in the support if and only if the sum of (g (x_i - x_k))^q over the larger entries is below 1, which
# finds the smallest one, x_k.  With its probability y and A_i = g (x_i - x_k) the others have (A_i + y^(alpha - 1))^q.
# Their sum is a sum of norms, convex and increasing in y, so that Newton's method, downwards from where the others are
# taken as constant, does not go beyond the root.
#
# Sums are of doubles, in two parts, in one fixed tree: a row has the same bits in any layout.

from libc.math cimport INFINITY, NAN, fabs, isinf

from fastact._math.entmax cimport (
    ADDED, CANDIDATES, COMPARED, NEWTON_MAX, NewtonSums, add_lanes, collect, finish_loss)
from fastact._math.primitives cimport (
    at_least, at_most, exp_of_two, exp_rest_polynomial, expm1_bounded, floating, fma, log_in_two, product_in_two,
    remainder, sum_in_two)
from fastact._math.row_state cimport (
    AT_REFERENCE, GAIN, GAIN_LOW, HEIGHT, HEIGHT_LOW, POWER, POWER_LOW, REFERENCE, SCALE, START, START_LOW, SUM,
    SUM_LOW, StripState)

# The candidates of a row, as many of them as there is room for
cdef struct Candidates:
    double values[CANDIDATES + COMPARED]
    Py_ssize_t count
    Py_ssize_t stop             # entries of the row that have been looked at
    bint complete               # they are all candidates of the row
    bint used                   # by this pass


# ----------------------------------------------------------------------------------------------------------- powers

# (v + lost)^(exponent + exponent_low) for a normal v > 0.  `rest` is v + lost - 1 and is taken instead where that has
# more digits, near 1; `rest_low` is its low part.  1 ulp.
cdef inline double power_of(double v, double lost, double rest, double rest_low, double exponent,
                            double exponent_low) noexcept nogil:
    cdef double low, product_low
    cdef double log = log_in_two(v, lost, rest, rest_low, &low)
    cdef double product = product_in_two(log, exponent, &product_low)
    product_low = fma(log, exponent_low, fma(low, exponent, product_low))
    product_low = product_low if product > -750 else 0          # of a vanishing power it may be large
    return exp_of_two(product, -product_low)


# The same for v alone.  NaN of NaN.
cdef inline double power(double v, double exponent, double exponent_low) noexcept nogil:
    cdef double result = power_of(v, 0, v - 1, 0, exponent, exponent_low)
    return result if v == v else v


# e^z - 1 for the exponents z that the powers have, below 40
cdef inline double exp_less_one(double z, double z_low) noexcept nogil:
    cdef double low
    cdef double high = expm1_bounded[double](at_least[double](z, -40), -z_low, &low)
    return high + low


# (1 + x)^exponent - 1 for x > -1
cdef inline double power_less_one(double x, double exponent) noexcept nogil:
    cdef double lost, low, product_low
    cdef double total = sum_in_two(1, x, &lost)
    cdef double log = log_in_two(total, lost, x, 0, &low)
    cdef double product = product_in_two(log, exponent, &product_low)
    return exp_less_one(product, fma(low, exponent, product_low)) if x == x else x


# 1 / (alpha - 1) in two parts; alpha - 1 is exact.
cdef inline double inverse_power(double alpha, double* low) noexcept nogil:
    cdef double inverse = 1 / (alpha - 1)
    low[0] = remainder(inverse, alpha - 1, 1) * inverse
    return inverse


# ------------------------------------------------------------------------------------------------------- candidates

cdef inline void begin_pass(Candidates* candidates) noexcept nogil:
    candidates.used = False
    if not candidates.complete:
        candidates.stop = 0


# The next candidates of a pass over the row, less `maximum`; False: there are no more.
cdef inline bint next_candidates(const floating* x, Py_ssize_t n, Py_ssize_t distance, double bound, double maximum,
                                 double filler, Candidates* candidates) noexcept nogil:
    cdef Py_ssize_t before = candidates.stop
    if candidates.used and candidates.stop >= n:
        return False
    if not candidates.complete:
        candidates.stop = collect(x, n, distance, before, <floating> bound, maximum, filler, candidates.values,
                                  &candidates.count)
        candidates.complete = before == 0 and candidates.stop >= n
    candidates.used = True
    return True


# Adds to the sums, of the candidates z with v = start + gain (z - reference) > 0, or NaN:
#   above: of those above the reference: v^q and v^(q - 1)
#   else: with the reference 0 and the start 1: v^q and -z v^(q - 1)
cdef inline void add_powers(bint above, const Candidates* candidates, double reference, double gain, double start,
                            double q, double q_low, NewtonSums* sums) noexcept nogil:
    cdef double d, v, safe, r, lost
    cdef Py_ssize_t i
    cdef int j
    for i in range((candidates.count + ADDED - 1) // ADDED):
        for j in range(ADDED):
            d = candidates.values[i * ADDED + j] - reference
            v = start + gain * d
            if above:
                v = v if not d <= 0 else 0
            safe = at_least[double](v, 2.2250738585072014e-308)
            r = power_of(safe, 0, safe - 1 if above else gain * d, 0, q, q_low)
            r = r if v > 0 else (0 if v <= 0 else v)
            sums.values[j] = sum_in_two(sums.values[j], r, &lost)
            sums.values_low[j] += lost
            sums.slopes[j] += (r if above else -d * r) / safe


cdef inline NewtonSums no_sums() noexcept nogil:
    cdef NewtonSums sums
    cdef int j
    for j in range(ADDED):
        sums.values[j] = sums.values_low[j] = sums.slopes[j] = 0
    return sums


# ----------------------------------------------------------------------------------------------------------- search

cdef inline void set_in_two(StripState* state, Py_ssize_t i, int place, int place_of_low, double number, double low,
                            floating unused) noexcept nogil:
    cdef floating rounded = <floating> number
    state.constants[place + i] = rounded
    state.constants[place_of_low + i] = (number - rounded) + low


# p = height (start + gain (x - reference))^q, and `least` at the reference
cdef inline void set_constants(StripState* state, Py_ssize_t i, double reference, double gain, double gain_low,
                               double start, double height, double height_low, double least,
                               floating unused) noexcept nogil:
    cdef double q_low
    cdef double q = inverse_power(state.alpha, &q_low)
    state.constants[REFERENCE + i] = reference
    state.constants[AT_REFERENCE + i] = least
    set_in_two(state, i, GAIN, GAIN_LOW, gain, gain_low, unused)
    set_in_two(state, i, START, START_LOW, start, 0, unused)
    set_in_two(state, i, POWER, POWER_LOW, q, q_low, unused)
    set_in_two(state, i, HEIGHT, HEIGHT_LOW, height, height_low, unused)


cdef inline void search_below_2(const floating* x, Py_ssize_t n, Py_ssize_t distance, double g, double g_low,
                                StripState* state, Py_ssize_t i) noexcept nogil:
    cdef Candidates candidates
    cdef NewtonSums sums
    cdef double maximum = state.maximum[i], alpha = state.alpha, c = g, c_low = g_low, total = NAN, step, norm, height
    cdef double q_low, product, product_low, others = NAN
    cdef double q = inverse_power(alpha, &q_low)
    cdef int _
    candidates.complete = False
    for _ in range(NEWTON_MAX):
        sums = no_sums()
        begin_pass(&candidates)
        while next_candidates(x, n, distance, maximum - (1 + 1e-12) / c, maximum, -4 / g, &candidates):
            add_powers(False, &candidates, 0, c, 1, q, q_low, &sums)
        add_lanes(&sums)
        total = sums.values[0] + sums.values_low[0]
        norm = power(total, alpha - 1, 0)
        product = product_in_two(norm, g, &product_low)
        step = ((product - c) + fma(norm, g_low, product_low)) / (1 + product * sums.slopes[0] / total)
        others = ((sums.values[0] - 1) + sums.values_low[0]) - q * sums.slopes[0] * step
        total = 1 + others
        c = sum_in_two(c, step, &c_low)         # the sums are those of c without its low part
        if not step > 1.4e-14 * c:              # the next one would be less than rounding
            break
    height = 1 / total
    state.rest[i] = others
    state.threshold[i] = (maximum - 1 / alpha) - power_less_one(others, 1 - alpha) / (alpha - 1)
    set_constants(state, i, maximum, c, c_low, 1, height, remainder(height, total, 1) * height, height, x[0])


# The candidate between two numbers that is the nearest to their middle; NaN: one is NaN.  Without one, `above`.
cdef inline double middle_candidate(const Candidates* candidates, double below, double above,
                                    double found) noexcept nogil:
    cdef double middle = below + (above - below) / 2, z
    cdef Py_ssize_t k
    for k in range(candidates.count):
        z = candidates.values[k]
        if below < z < above and not fabs(z - middle) >= fabs(found - middle) or z != z:
            found = z
        if z != z:
            break
    return found


cdef inline void search_above_2(const floating* x, Py_ssize_t n, Py_ssize_t distance, double g, double g_low,
                                StripState* state, Py_ssize_t i) noexcept nogil:
    cdef Candidates candidates
    cdef NewtonSums sums
    cdef double maximum = state.maximum[i], alpha = state.alpha, inside = maximum, of_larger = 0, pivot, y, start, step
    cdef double q_low, radius = 1 / g
    cdef double outside = (maximum - radius) - 1e-15 * (fabs(maximum) + radius), bound = outside, equal = 0
    cdef double q = inverse_power(alpha, &q_low)
    cdef double enough = 1 - 2.0 ** -44 if floating is float else 1
    cdef Py_ssize_t k
    cdef int _
    candidates.complete = False
    while True:
        pivot = INFINITY
        begin_pass(&candidates)
        while next_candidates(x, n, distance, bound, 0, -INFINITY, &candidates):
            pivot = middle_candidate(&candidates, outside, inside, pivot)
        if isinf(pivot) or pivot != pivot:
            break
        sums = no_sums()
        begin_pass(&candidates)
        while next_candidates(x, n, distance, bound, 0, -INFINITY, &candidates):
            add_powers(True, &candidates, pivot, g, 0, q, q_low, &sums)
        add_lanes(&sums)
        if sums.values[0] + sums.values_low[0] < enough:
            inside, of_larger = pivot, sums.values[0] + sums.values_low[0]
        else:
            outside = pivot
    begin_pass(&candidates)
    while next_candidates(x, n, distance, bound, 0, -INFINITY, &candidates):
        for k in range(candidates.count):
            equal += candidates.values[k] == inside
    y = (1 - of_larger) / equal + (0 if pivot == pivot else pivot)
    for _ in range(NEWTON_MAX if inside < maximum else 0):
        start = power(y, alpha - 1, 0)
        sums = no_sums()
        begin_pass(&candidates)
        while next_candidates(x, n, distance, bound, 0, -INFINITY, &candidates):
            add_powers(True, &candidates, inside, g, start, q, q_low, &sums)
        add_lanes(&sums)
        step = ((sums.values[0] - 1) + equal * y + sums.values_low[0]) / (equal + sums.slopes[0] * (start / y))
        y = y - step if y > step else 0
        if not step > 1.4e-14 * y:
            break
    start = power(at_least[double](y, 2.2250738585072014e-308), alpha - 1, 0)
    state.threshold[i] = (inside - start / g) + 1 / (alpha * (alpha - 1))
    inside += 0 * y                         # NaN: outputs below it are too
    set_constants(state, i, inside, g, g_low, start, 1, 0, y, x[0])


cdef inline void search_entmax(const floating* x, Py_ssize_t n, Py_ssize_t distance, StripState* state,
                               Py_ssize_t i) noexcept nogil:
    cdef double g_low
    cdef double g = product_in_two(state.alpha - 1, state.factor, &g_low)
    g_low += (state.alpha - 1) * state.factor_low
    if isinf(state.maximum[i]):
        state.rest[i] = state.threshold[i] = NAN
        set_constants(state, i, NAN, NAN, NAN, NAN, NAN, NAN, NAN, x[0])
    elif state.alpha < 2:
        search_below_2(x, n, distance, g, g_low, state, i)
    else:
        search_above_2(x, n, distance, g, g_low, state, i)


# ------------------------------------------------------------------------------------------------------------ value

# Steps of entmax:
#   maximum of x
#   search_entmax of x
#   emit_entmax of x

# For alpha > 2, where the power is below 1, entries below the reference are outside of the support, also where the
# probability at the reference is 1 and the line would still be positive: theirs is below 2^-53, of floats 2^-44.
#
# p of an entry of floats as a double, of doubles too; in root: p^(alpha - 1) / height^(alpha - 1)
cdef inline double probability(floating x, const floating* c, double* root) noexcept nogil:
    cdef double d, a, v, p, start, d_low, a_low, lost, low
    if floating is float:
        d = <double> x - c[REFERENCE]
        a = d * (<double> c[GAIN] + c[GAIN_LOW])
        start = <double> c[START] + c[START_LOW]
        v = start + a
        v = v if d >= 0 or <double> c[POWER] + c[POWER_LOW] > 1 else (d if d != d else 0)
        root[0] = at_least[double](v, 2.2250738585072014e-308)
        p = power_of(root[0], 0, a if start == 1 else root[0] - 1, 0, <double> c[POWER] + c[POWER_LOW], 0)
        p *= <double> c[HEIGHT] + c[HEIGHT_LOW]
    else:
        d = sum_in_two(x, -c[REFERENCE], &d_low)
        a = product_in_two(d, c[GAIN], &a_low)
        a_low += fma(d_low, c[GAIN], d * c[GAIN_LOW])
        a_low = a_low if a > -2 else 0                  # NaN where x is -inf
        a = at_least[double](a, -2)
        start = c[START]
        v = sum_in_two(start, a, &lost)
        lost += a_low
        v = sum_in_two(v, lost, &low)
        v = v if d >= 0 or c[POWER] > 1 or c[POWER] == 1 and c[POWER_LOW] > 0 else (d if d != d else 0)
        root[0] = at_least[double](v, 2.2250738585072014e-308)
        p = power_of(root[0], low, a if start == 1 else root[0] - 1, a_low if start == 1 else low, c[POWER],
                     c[POWER_LOW])
        p = fma(p, c[HEIGHT_LOW], p * c[HEIGHT])
    root[0] = v
    p = p if v > 0 else (0 if v <= 0 else v)
    return c[AT_REFERENCE] if x == c[REFERENCE] else p


cdef inline floating emit_entmax(floating x, floating y, const floating* c) noexcept nogil:
    cdef double root
    return <floating> probability(x, c, &root)


# --------------------------------------------------------------------------------------------------------- backward

# The vector-Jacobian product.  x = dy, y = p: f w (dy - mean of dy with the weights w) on the support,
# w = p^(2 - alpha)
#
# Steps of entmax_backward:
#   prepare_entmax_weights
#   accumulate_entmax_weights of x and y
#   finish_mean
#   emit_entmax_backward of x and y

cdef inline void prepare_entmax_weights(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    set_in_two(state, i, POWER, POWER_LOW, 2 - state.alpha, 0, unused)


# p^(2 - alpha) on the support, else 0; NaN of NaN.  For alpha > 2 it may be too large for the format; a limit keeps the
# sums of weights finite.
cdef inline floating entmax_weight(floating p, const floating* c) noexcept nogil:
    cdef double safe = at_least[double](p, 2.2250738585072014e-308)
    cdef double weight = power_of(safe, 0, safe - 1, 0, <double> c[POWER] + c[POWER_LOW], 0)
    weight = at_most[double](weight, 1e26 if floating is float else 1e260)
    return <floating> (weight if p > 0 else (0 if p <= 0 else <double> p))


# sums: w dy and w
cdef inline floating accumulate_entmax_weights(floating x, floating y, const floating* c, floating* first,
                                               floating* second) noexcept nogil:
    cdef floating weight = entmax_weight(y, c)
    first[0] = weight * (x if y > 0 else <floating> 0)
    second[0] = weight
    return 0


cdef inline floating emit_entmax_backward(floating x, floating y, const floating* c) noexcept nogil:
    cdef floating difference = ((x - c[SUM]) - c[SUM_LOW]) * c[SCALE]
    return entmax_weight(y, c) * (difference if y > 0 else <floating> 0)


# ------------------------------------------------------------------------------------------------------------- loss

# The losses of entmax.pxd for any alpha.  With L = log(t / p), d(t, p) is a sum of two terms that are not negative:
#
#   d(t, p) = p^(alpha - 1) t L^2 (phi2(-L) + (alpha - 1) phi2((alpha - 1) L)) / (2 alpha),
#   phi2(z) = 2 (e^z - 1 - z) / z^2
#
# Where t and p are far apart the definition does not cancel.
#
# Steps of entmax_loss:
#   maximum of x
#   search_entmax of x
#   accumulate_entmax_loss of x and y, stored
#   finish_entmax_loss
#   emit_scaled of out

# 2 (e^z - 1 - z) / z^2
cdef inline double rest_of_exp(double z) noexcept nogil:
    cdef bint small = fabs(z) <= 0.5
    cdef double near = 1 + exp_rest_polynomial[double](z if small else 0)
    cdef double large = 1 if small else z
    return near if small else 2 * ((exp_of_two[double](large, 0) - 1) - large) / (large * large)


# d(t, p) for t and p from 0 on
cdef inline double divergence(double t, double p, double less) noexcept nogil:
    cdef double alpha = 1 + less, low, log, ratio, apart, s, a, far, large
    cdef double t_safe = at_least[double](t, 2.2250738585072014e-308)
    cdef double p_safe = at_least[double](p, 2.2250738585072014e-308)
    cdef bint both = t > 0 and p > 0
    s = power(p_safe, less, 0)
    s = s if p > 0 else 0
    a = power(t_safe, less, 0)
    a = a if t > 0 else 0
    ratio = t_safe / p_safe
    ratio = at_least[double](ratio if ratio < 1e300 else 1e300, 2.2250738585072014e-308)
    apart = (t_safe - p_safe) / p_safe
    log = log_in_two(ratio, 0, apart, 0, &low)
    large = less * log if less < 0.5 else 0                                         # e^large does not overflow
    far = t * (log + log * large * rest_of_exp(large) / 2) * s if both and less < 0.5 else t * (a - s) / less
    far = (far - s * (t - p)) / alpha
    log = log if fabs(apart) <= 0.5 else 0
    return s * t * log * log * (rest_of_exp(-log) + less * rest_of_exp(less * log)) / (2 * alpha) if (
        both and fabs(apart) <= 0.5) else far


# stored: p - t                                         sums: d and t (T - x), t
cdef inline floating accumulate_entmax_loss(floating x, floating y, const floating* c, floating* first,
                                            floating* second) noexcept nogil:
    cdef double root
    cdef double p = probability(x, c, &root), t = y, less = 1 / (<double> c[POWER] + c[POWER_LOW])
    cdef double gap = (<double> c[START] + c[START_LOW]) / (<double> c[GAIN] + c[GAIN_LOW])
    gap = (<double> c[REFERENCE] - x) - gap
    cdef double term = divergence(t, p, less) + (t * gap if p <= 0 and t != 0 else 0)
    term = term if t >= 0 and p >= 0 else <double> NAN
    first[0] = <floating> term
    second[0] = y
    return <floating> (p - t)


cdef inline void finish_entmax_loss(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    finish_loss(state, i, 0, unused)


# The same with one label
#
# Steps of entmax_loss_labels:
#   maximum of x
#   search_entmax of x
#   emit_entmax of x
#   patch_entmax_label of x
#   accumulate_entmax_powers of out
#   finish_entmax_label
#   emit_scaled of out

# 1 - p^(alpha - 1) of an entry; 1 outside of the support
cdef inline double lacking_of_power(double x, StripState* state, Py_ssize_t i) noexcept nogil:
    cdef double* c = &state.constants[i]
    cdef double d_low, a_low, v, norm, start = c[START] + c[START_LOW]
    cdef double d = sum_in_two(x, -c[REFERENCE], &d_low)
    cdef double a = product_in_two(d, c[GAIN], &a_low)
    a_low = 0 if isinf(d) else a_low + fma(d_low, c[GAIN], d * c[GAIN_LOW])
    v = (start + a) + a_low
    if state.alpha > 2:
        return 1 if d < 0 or c[AT_REFERENCE] <= 0 else 1 - v
    norm = power_less_one(state.rest[i], state.alpha - 1)
    return 1 if v <= 0 else ((norm - a) - a_low) / (1 + norm)


# (1 - (1 - x)^b) / b - x for x from 0 to 1; `lacking` is 1 - (1 - x)^b.
cdef inline double beyond_line(double x, double b, double lacking) noexcept nogil:
    cdef double term = x, total = 0
    cdef int k
    if not x * (b if b > 1 else 1) < 0.25:
        return lacking / b - x
    for k in range(1, 100):
        term *= x * (k - b) / (k + 1)
        total += term
        if fabs(term) <= 1e-18 * fabs(total):
            break
    return total


# p - 1 in place of p.  In `rest` of the state: d(1, p), and T - x outside of the support.
cdef inline void patch_entmax_label(const floating* x, floating* entry, Py_ssize_t n, Py_ssize_t distance,
                                    StripState* state, Py_ssize_t i) noexcept nogil:
    cdef double* c = &state.constants[i]
    cdef double alpha = state.alpha, less = alpha - 1, low
    cdef double lacking = lacking_of_power(x[0], state, i), missing = 1
    if not lacking >= 1:
        missing = 1 - c[AT_REFERENCE] if alpha > 2 and x[0] == c[REFERENCE] else -power_less_one(
            -lacking, inverse_power(alpha, &low))
    state.rest[i] = (beyond_line(missing, less, lacking) + lacking * missing) / alpha
    if lacking >= 1:
        state.rest[i] += (c[REFERENCE] - x[0]) - (c[START] + c[START_LOW]) / (c[GAIN] + c[GAIN_LOW])
    set_in_two(state, i, POWER, POWER_LOW, alpha, 0, x[0])
    entry[0] = <floating> (0 - missing)


# sum: p^alpha of the other entries, which are not negative
cdef inline floating accumulate_entmax_powers(floating x, floating y, const floating* c) noexcept nogil:
    cdef double p = x
    cdef double result = power(at_least[double](p, 2.2250738585072014e-308), <double> c[POWER] + c[POWER_LOW], 0)
    return <floating> (result if p > 0 else (0 if p <= 0 else p))


cdef inline void finish_entmax_label(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.result[i] = state.first[i] / state.alpha + state.rest[i]
    state.constants[SCALE + i] = state.scale[i]


# ------------------------------------------------------------------------------------------------ gradient in alpha

# Of y, with b = alpha - 1 and the entropies h = y log y, u = h phi1(-b log y), w = y log^2 y phi2(-b log y) / 2:
#
#   (-w + y sum of w + h sum of u - u sum of h) / (1 - b sum of u),
#   phi1(z) = (e^z - 1) / z, phi2(z) = 2 (e^z - 1 - z) / z^2
#
# That is (y - G) / b^2 - (h - G sum of h) / b with the weights G, without what cancels where b is almost 0.
#
# Steps of entmax_parameter:
#   prepare_entmax_orders
#   accumulate_orders of x and y
#   finish_orders
#   accumulate_entropies of x and y
#   finish_entropies
#   accumulate_parameter of x and y
#   finish_parameter

# h and u of an entry, returns w; 0 outside of the support, NaN of NaN
cdef inline double orders_of(double y, double less, double* h, double* u) noexcept nogil:
    cdef double low, log, phi
    cdef double safe = at_least[double](y if y > 0 else 1, 2.2250738585072014e-308)
    log = log_in_two(safe, 0, safe - 1, 0, &low)
    phi = rest_of_exp(at_most[double](-less * log, 600))        # for alpha > 2 it could overflow
    h[0] = (y * log if y > 0 else (0 if y <= 0 else y))
    u[0] = h[0] * (1 - less * log * phi / 2)
    return h[0] * log * phi / 2


cdef inline void prepare_entmax_orders(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    set_in_two(state, i, POWER, POWER_LOW, state.alpha - 1, 0, unused)


# sums: w and u
cdef inline floating accumulate_orders(floating x, floating y, const floating* c, floating* first,
                                       floating* second) noexcept nogil:
    cdef double h, u
    first[0] = <floating> orders_of(y, <double> c[POWER] + c[POWER_LOW], &h, &u)
    second[0] = <floating> u
    return 0


cdef inline void finish_orders(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    set_in_two(state, i, START, START_LOW, state.first[i], 0, unused)
    set_in_two(state, i, GAIN, GAIN_LOW, state.second[i], 0, unused)
    state.rest[i] = 1 - (state.alpha - 1) * state.second[i]


# sum: h
cdef inline floating accumulate_entropies(floating x, floating y, const floating* c) noexcept nogil:
    cdef double h, u
    cdef double unused = orders_of(y, 0, &h, &u)
    return <floating> h


cdef inline void finish_entropies(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    set_in_two(state, i, HEIGHT, HEIGHT_LOW, state.first[i], 0, unused)


# sum: dy times the gradient, without its denominator
cdef inline floating accumulate_parameter(floating x, floating y, const floating* c) noexcept nogil:
    cdef double h, u
    cdef double w = orders_of(y, <double> c[POWER] + c[POWER_LOW], &h, &u)
    cdef double beside = y * (<double> c[START] + c[START_LOW]) - w
    cdef double slope = beside + (h * (<double> c[GAIN] + c[GAIN_LOW]) - u * (<double> c[HEIGHT] + c[HEIGHT_LOW]))
    return <floating> (slope * x if y > 0 else slope)


cdef inline void finish_parameter(StripState* state, Py_ssize_t i, floating unused) noexcept nogil:
    state.result[i] = state.first[i] / state.rest[i]
