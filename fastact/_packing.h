/* 16-bit numbers: to float, which is exact, and back, to the nearest and in a tie to the even one.
 *
 * Block loops over a multiple of LANES numbers.  bfloat16 is the upper half of a float, and float16 is converted by the
 * processor where it can (F16C, AVX-512); elsewhere both are integer arithmetic that the compiler packs.  What is too
 * large becomes infinite, subnormal numbers are kept, and a NaN stays one.  The round trip through float adds nothing
 * that could be seen: a float has more than twice the digits.
 */
#ifndef FASTACT_PACKING_H
#define FASTACT_PACKING_H

#include <stddef.h>
#include "_bits.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

/* A float with the exponent and the digits of the float16 in place is 2^112 too small, which is put right in its
 * exponent field.  A subnormal number has no leading one: 2^-14 as the leading one of its exponent is taken off. */
static inline float fastact_float_of_float16(uint16_t packed) {
    uint32_t magnitude = (uint32_t) (packed & 0x7fff) << 13, sign = (uint32_t) (packed & 0x8000) << 16;
    uint32_t normal = magnitude + (112u << 23);
    uint32_t special = magnitude + (224u << 23);
    uint32_t subnormal = fastact_bits_of_float(fastact_float_of_bits(magnitude + (113u << 23))
                                               - fastact_float_of_bits(113u << 23));
    uint32_t bits = magnitude < 1u << 23 ? subnormal : magnitude >= 31u << 23 ? special : normal;
    return fastact_float_of_bits(bits | sign);
}

/* Rounding by adding just less than half a unit, and the last bit that stays; a carry goes into the exponent, at last
 * to infinity.  Numbers below 2^-14 are rounded by adding 2^-1, whose last bit is worth 2^-24. */
static inline uint16_t fastact_float16_of_float(float number) {
    uint32_t bits = fastact_bits_of_float(number), sign = bits & 0x80000000u, magnitude = bits ^ sign;
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1)) >> 13;
    uint32_t subnormal = fastact_bits_of_float(fastact_float_of_bits(magnitude) + 0.5f) - (126u << 23);
    uint32_t special = magnitude > 255u << 23 ? 0x7e00 : 0x7c00;
    uint32_t rounded = magnitude < 113u << 23 ? subnormal : normal;
    return (uint16_t) ((magnitude >= 143u << 23 ? special : rounded) | sign >> 16);
}

static inline float fastact_float_of_bfloat16(uint16_t packed) {
    return fastact_float_of_bits((uint32_t) packed << 16);
}

static inline uint16_t fastact_bfloat16_of_float(float number) {
    uint32_t bits = fastact_bits_of_float(number);
    uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1);
    return (uint16_t) ((number == number ? rounded : bits | 0x400000u) >> 16);
}

static inline void fastact_unpack_float16(const uint16_t *packed, float *numbers, ptrdiff_t n) {
#if defined(__AVX512F__)
    for (ptrdiff_t i = 0; i < n; i += 16)
        _mm512_storeu_ps(numbers + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) (packed + i))));
#elif defined(__F16C__)
    for (ptrdiff_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(numbers + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (packed + i))));
#else
    for (ptrdiff_t i = 0; i < n; i++) numbers[i] = fastact_float_of_float16(packed[i]);
#endif
}

static inline void fastact_pack_float16(const float *numbers, uint16_t *packed, ptrdiff_t n) {
#if defined(__AVX512F__)
    for (ptrdiff_t i = 0; i < n; i += 16)
        _mm256_storeu_si256((__m256i *) (packed + i), _mm512_cvtps_ph(_mm512_loadu_ps(numbers + i), 0));
#elif defined(__F16C__)
    for (ptrdiff_t i = 0; i < n; i += 8)
        _mm_storeu_si128((__m128i *) (packed + i), _mm256_cvtps_ph(_mm256_loadu_ps(numbers + i), 0));
#else
    for (ptrdiff_t i = 0; i < n; i++) packed[i] = fastact_float16_of_float(numbers[i]);
#endif
}

static inline void fastact_unpack_bfloat16(const uint16_t *packed, float *numbers, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) numbers[i] = fastact_float_of_bfloat16(packed[i]);
}

#if defined(__AVX512BW__)
/* The same, with the odd one and the NaN as masks */
static inline __m512i fastact_round_to_bfloat16(__m512 numbers) {
    __m512i bits = _mm512_castps_si512(numbers), one = _mm512_set1_epi32(1), rounded;
    rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    rounded = _mm512_mask_add_epi32(rounded, _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000)), rounded, one);
    return _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(numbers, numbers, _CMP_UNORD_Q), bits,
                                _mm512_set1_epi32(0x400000));
}
#endif

static inline void fastact_pack_bfloat16(const float *numbers, uint16_t *packed, ptrdiff_t n) {
    ptrdiff_t i = 0;
#if defined(__AVX512BW__)
    const __m512i upper_halves = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33,
                                                  31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    for (; i + 32 <= n; i += 32) {
        __m512i low = fastact_round_to_bfloat16(_mm512_loadu_ps(numbers + i));
        __m512i high = fastact_round_to_bfloat16(_mm512_loadu_ps(numbers + i + 16));
        _mm512_storeu_si512(packed + i, _mm512_permutex2var_epi16(low, upper_halves, high));
    }
#endif
    for (; i < n; i++) packed[i] = fastact_bfloat16_of_float(numbers[i]);
}

#endif
