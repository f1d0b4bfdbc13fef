/* Operations that Cython lacks: fused multiply-add, the bits of a floating-point number.
 *
 * Only these functions fuse a multiplication and an addition (setup.py switches the compiler's contraction off), so
 * every instruction set with the instruction gives the same bits in every loop.  Without it (x86-64-v2) a multiply-add
 * rounds twice: the C library's emulation would cost a hundred times the rest.
 */
#ifndef FASTACT_BITS_H
#define FASTACT_BITS_H

#include <float.h>
#include <stdint.h>
#include <string.h>

/* setup.py overrides these flags of the user, but a wrapper of the compiler may add them afterwards. */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "fastact needs infinities, NaN and exact sums: build without -ffast-math, -Ofast and -ffinite-math-only"
#elif defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "fastact needs the operations as they are written: build without -funsafe-math-optimizations and its parts"
#elif defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "fastact needs float and double to be computed as such: build without -mfpmath=387"
#endif

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__)
#define fastact_fma_float(a, b, c) __builtin_fmaf(a, b, c)
#define fastact_fma_double(a, b, c) __builtin_fma(a, b, c)
#else
#define fastact_fma_float(a, b, c) ((a) * (b) + (c))
#define fastact_fma_double(a, b, c) ((a) * (b) + (c))
#endif

/* One instruction, because setup.py passes -fno-math-errno */
#define fastact_sqrt_float(x) __builtin_sqrtf(x)
#define fastact_sqrt_double(x) __builtin_sqrt(x)

#define FASTACT_REINTERPRET(name, from, to) \
    static inline to name(from value) { to bits; memcpy(&bits, &value, sizeof bits); return bits; }

FASTACT_REINTERPRET(fastact_bits_of_float, float, uint32_t)
FASTACT_REINTERPRET(fastact_bits_of_double, double, uint64_t)
FASTACT_REINTERPRET(fastact_float_of_bits, uint32_t, float)
FASTACT_REINTERPRET(fastact_double_of_bits, uint64_t, double)

/* The smaller and the larger of x and a limit; a NaN in x is returned.
 *
 * The instructions for minimum and maximum do exactly this.  gcc uses them if it does not know the limit.  With a
 * constant it compares and blends, and computes the cases of two clamps in a row separately.  So the limit is hidden
 * from it, behind a call that it moves out of the loop. */
#if defined(__GNUC__) && !defined(__clang__)
#define FASTACT_HIDDEN(number) \
    __attribute__((const, noipa, unused)) static number fastact_hidden_##number(number limit) { return limit; }
#define FASTACT_LIMIT(number, limit) (__builtin_constant_p(limit) ? fastact_hidden_##number(limit) : (limit))
#define FASTACT_RECTIFIED(number, x) fastact_at_least_##number(x, (number) -0.0)
#else
#define FASTACT_HIDDEN(number)
#define FASTACT_LIMIT(number, limit) (limit)
#define FASTACT_RECTIFIED(number, x) \
    ((x) <= (number) (sizeof(number) == 4 ? -1.401298464324817e-45 : -5e-324) ? (number) -0.0 : (x))
#endif

#define FASTACT_CLAMP(number)                                                                                          \
    FASTACT_HIDDEN(number)                                                                                             \
    static inline number fastact_at_most_##number(number x, number limit) {                                            \
        number hidden = FASTACT_LIMIT(number, limit);                                                                  \
        return x > hidden ? hidden : x;                                                                                \
    }                                                                                                                  \
    static inline number fastact_at_least_##number(number x, number limit) {                                           \
        number hidden = FASTACT_LIMIT(number, limit);                                                                  \
        return x < hidden ? hidden : x;                                                                                \
    }                                                                                                                  \
    /* x for x >= 0, -0 for x < 0.  clang 14 would take -0 for 0 too, if the limit were -0. */                         \
    static inline number fastact_rectified_##number(number x) {                                                        \
        return FASTACT_RECTIFIED(number, x);                                                                           \
    }

FASTACT_CLAMP(float)
FASTACT_CLAMP(double)

/* c - a b, exact where c is a b but for rounding errors.  Without fused multiply-add it takes the exact product: for
 * float in double; for double as the products of halves of 26 and 27 bits (Dekker 1971), split by bit masks, which
 * cannot overflow. */
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

/* a b + c, accurate under cancellation.  Without fused multiply-add it takes the exact product, as above.  Results
 * beyond 2^60 come from the plain expression: little has cancelled there, and products of the halves might overflow. */
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

#endif
