/* What Cython cannot say: multiply-add in one rounding, the bits of a floating-point number, a look ahead at memory,
 * sums of vectors.
 *
 * fused_multiply_add is the only contraction in the library (setup.py switches the compiler's own off), so that every
 * instruction set with the instruction gives the same bits whatever the loop around it.  Without the instruction
 * (x86-64-v2) it is two roundings: calling the C library's emulation would cost a hundred times the rest.
 */
#ifndef FASTACT_BITS_H
#define FASTACT_BITS_H

#include <float.h>
#include <stdint.h>
#include <string.h>

/* setup.py overrides all of these behind the flags of the user, but a compiler's wrapper may add them after that. */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "fastact needs infinities, NaN and exact sums: build without -ffast-math, -Ofast and -ffinite-math-only"
#elif defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "fastact needs the operations as they are written: build without -funsafe-math-optimizations and its parts"
#elif defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "fastact needs float and double to be computed as such: build without -mfpmath=387"
#endif

#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__GNUC__)
#define fastact_fetch(address) __builtin_prefetch(address)
#else
#define fastact_fetch(address) ((void) 0)
#endif

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__)
#define fastact_fma_float(a, b, c) __builtin_fmaf(a, b, c)
#define fastact_fma_double(a, b, c) __builtin_fma(a, b, c)
#else
#define fastact_fma_float(a, b, c) ((a) * (b) + (c))
#define fastact_fma_double(a, b, c) ((a) * (b) + (c))
#endif

/* setup.py says -fno-math-errno: one instruction */
#define fastact_sqrt_float(x) __builtin_sqrtf(x)
#define fastact_sqrt_double(x) __builtin_sqrt(x)

#define FASTACT_REINTERPRET(name, from, to) \
    static inline to name(from value) { to bits; memcpy(&bits, &value, sizeof bits); return bits; }

FASTACT_REINTERPRET(fastact_bits_of_float, float, uint32_t)
FASTACT_REINTERPRET(fastact_bits_of_double, double, uint64_t)
FASTACT_REINTERPRET(fastact_float_of_bits, uint32_t, float)
FASTACT_REINTERPRET(fastact_double_of_bits, uint64_t, double)

/* c - a b where a b is c but for roundings: all digits of it.  Without fused multiply-add from the exact product, which
 * double holds for float; for double it is that of halves of 26 and 27 bits (Dekker 1971), split by their bits so that
 * nothing overflows. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__)
#define fastact_remainder_float(a, b, c) __builtin_fmaf(-(a), b, c)
#define fastact_remainder_double(a, b, c) __builtin_fma(-(a), b, c)
#else
static inline float fastact_remainder_float(float a, float b, float c) {
    return (float) ((double) c - (double) a * (double) b);
}

static inline double fastact_remainder_double(double a, double b, double c) {
    const uint64_t upper = ~(uint64_t) 0x7ffffff;
    double a_high = fastact_double_of_bits(fastact_bits_of_double(a) & upper), a_low = a - a_high;
    double b_high = fastact_double_of_bits(fastact_bits_of_double(b) & upper), b_low = b - b_high;
    return (((c - a_high * b_high) - a_high * b_low) - a_low * b_high) - a_low * b_low;
}
#endif

/* a b + c, right where the two cancel each other; with or without fused multiply-add.  Without it from the exact product,
 * as above; what is beyond 2^60 has cancelled nothing worth keeping, and there the halves might overflow. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__)
#define fastact_line_float(a, b, c) __builtin_fmaf(a, b, c)
#define fastact_line_double(a, b, c) __builtin_fma(a, b, c)
#else
static inline float fastact_line_float(float a, float b, float c) {
    return (float) ((double) a * (double) b + (double) c);
}

static inline double fastact_line_double(double a, double b, double c) {
    double plain = a * b + c, exact = fastact_remainder_double(-a, b, c);
    return __builtin_fabs(plain) < 1152921504606846976.0 ? exact : plain;
}
#endif

/* The total of 16, 32 or 64 floats, as doubles: numbers 16 apart first, in pairs, then lane j and j + 8, j + 4, j + 2,
 * j + 1.  As loops the compiler takes such sums apart, number by number.  Four floats at a time are read as doubles
 * without a shuffle; the last two steps are taken for several rows at once, and of each row four numbers are left for
 * them. */
#if defined(__GNUC__)
typedef float fastact_float4 __attribute__((vector_size(16)));
typedef double fastact_double4 __attribute__((vector_size(32)));
typedef long long fastact_places4 __attribute__((vector_size(32)));

/* By address: to return such a vector is a matter of the instruction set. */
static inline void fastact_four_doubles(const float *lanes, fastact_double4 *numbers) {
#if defined(__AVX__)
    *numbers = (fastact_double4) _mm256_cvtps_pd(_mm_loadu_ps(lanes));      /* of which gcc 12 makes seven instructions */
#else
    fastact_float4 four;
    memcpy(&four, lanes, sizeof four);
    *numbers = __builtin_convertvector(four, fastact_double4);
#endif
}

static inline void fastact_add_lines(const float *lanes, int lines, fastact_double4 *total) {
    fastact_double4 second, third, fourth;
    fastact_four_doubles(lanes, total);
    if (lines > 1) {
        fastact_four_doubles(lanes + 16, &second);
        *total += second;
    }
    if (lines > 2) {
        fastact_four_doubles(lanes + 32, &third);
        fastact_four_doubles(lanes + 48, &fourth);
        *total += third + fourth;
    }
}
#endif

static inline void fastact_four_of_lanes(const float *lanes, int lines, double *four) {
#if defined(__GNUC__)
    fastact_double4 first, second, third, fourth;
    fastact_add_lines(lanes, lines, &first);
    fastact_add_lines(lanes + 4, lines, &second);
    fastact_add_lines(lanes + 8, lines, &third);
    fastact_add_lines(lanes + 12, lines, &fourth);
    first = (first + third) + (second + fourth);
    memcpy(four, &first, sizeof first);
#else
    double sixteen[16];
    for (int j = 0; j < 16; j++)
        sixteen[j] = lines == 1   ? lanes[j]
                     : lines == 2 ? (double) lanes[j] + lanes[j + 16]
                                  : ((double) lanes[j] + lanes[j + 16]) + ((double) lanes[j + 32] + lanes[j + 48]);
    for (int j = 0; j < 4; j++)
        four[j] = (sixteen[j] + sixteen[j + 8]) + (sixteen[j + 4] + sixteen[j + 12]);
#endif
}

static inline void fastact_totals_of_fours(const double *fours, ptrdiff_t rows, double *totals) {
    ptrdiff_t row = 0;
#if defined(__AVX__) && defined(__GNUC__) && !defined(__clang__)
    const fastact_places4 lower = {0, 1, 4, 5}, upper = {2, 3, 6, 7}, even = {0, 4, 2, 6}, odd = {1, 5, 3, 7};
    for (; row + 4 <= rows; row += 4) {
        fastact_double4 four[4], ac, bd;
        memcpy(four, fours + 4 * row, sizeof four);
        ac = __builtin_shuffle(four[0], four[2], lower) + __builtin_shuffle(four[0], four[2], upper);
        bd = __builtin_shuffle(four[1], four[3], lower) + __builtin_shuffle(four[1], four[3], upper);
        ac = __builtin_shuffle(ac, bd, even) + __builtin_shuffle(ac, bd, odd);
        memcpy(totals + row, &ac, sizeof ac);
    }
#endif
    for (; row < rows; row++)
        totals[row] = (fours[4 * row] + fours[4 * row + 2]) + (fours[4 * row + 1] + fours[4 * row + 3]);
}

#endif
