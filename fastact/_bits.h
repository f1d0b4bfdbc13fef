/* What Cython cannot say: multiply-add in one rounding, the bits of a floating-point number, a look ahead at memory.
 *
 * fused_multiply_add is the only contraction in the library (setup.py switches the compiler's own off), so that every
 * instruction set with the instruction gives the same bits whatever the loop around it.  Without the instruction
 * (x86-64-v2) it is two roundings: calling the C library's emulation would cost a hundred times the rest.
 */
#ifndef FASTACT_BITS_H
#define FASTACT_BITS_H

#include <stdint.h>
#include <string.h>

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

/* (l0 + l8 + l4 + l12) + ... of 16 floats, as doubles: lane j and lane j + 8, then j + 4, then j + 2, then j + 1.  As loops
 * the compiler takes them apart, number by number. */
static inline double fastact_total_of_lanes(const float *lanes) {
#if defined(__GNUC__)
    typedef float float8 __attribute__((vector_size(32)));
    typedef double double8 __attribute__((vector_size(64)));
    typedef double double4 __attribute__((vector_size(32)));
    float8 parts[2];
    double8 eight;
    double4 fours[2], four;
    memcpy(parts, lanes, sizeof parts);
    eight = __builtin_convertvector(parts[0], double8) + __builtin_convertvector(parts[1], double8);
    memcpy(fours, &eight, sizeof fours);
    four = fours[0] + fours[1];
    return (four[0] + four[2]) + (four[1] + four[3]);
#else
    double four[4];
    for (int j = 0; j < 4; j++)
        four[j] = ((double) lanes[j] + lanes[j + 8]) + ((double) lanes[j + 4] + lanes[j + 12]);
    return (four[0] + four[2]) + (four[1] + four[3]);
#endif
}

#endif
