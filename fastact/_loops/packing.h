/* Conversion of 16-bit numbers: to float, exactly, and back, to nearest even.
 *
 * The functions are block loops over a multiple of LANES numbers.  bfloat16 is the upper half of a float.  The
 * processor converts float16 where it can (F16C, AVX-512); elsewhere integer arithmetic does, which the compiler
 * vectorizes.  Overflow gives infinity, subnormal numbers are kept, and a NaN stays a NaN.
 */
#ifndef FASTACT_PACKING_H
#define FASTACT_PACKING_H

#include <stddef.h>
#include "_math/bits.h"

#if defined(__F16C__) || defined(__AVX2__)
#include <immintrin.h>
#endif

/* A float made of the exponent and the fraction of a float16 is 2^112 too small; an addition to its exponent field
 * corrects this.  A subnormal float16 has no leading one: it gets the leading one of 2^-14, which is then subtracted.
 * */
static inline float fastact_float_of_float16(uint16_t packed) {
    uint32_t magnitude = (uint32_t) (packed & 0x7fff) << 13, sign = (uint32_t) (packed & 0x8000) << 16;
    uint32_t normal = magnitude + (112u << 23);
    uint32_t special = magnitude + (224u << 23);
    uint32_t subnormal = fastact_bits_of_float(fastact_float_of_bits(magnitude + (113u << 23))
                                               - fastact_float_of_bits(113u << 23));
    uint32_t bits = magnitude < 1u << 23 ? subnormal : magnitude >= 31u << 23 ? special : normal;
    return fastact_float_of_bits(bits | sign);
}

/* Rounds by adding just less than half a unit plus the last remaining bit.  A carry goes into the exponent, up to
 * infinity.  Numbers below 2^-14 are rounded by adding 2^-1, whose last bit is 2^-24. */
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
/* fastact_bfloat16_of_float with masks for the last bit and for NaN; the result is in the upper halves */
static inline __m512i fastact_round_to_bfloat16(__m512 numbers) {
    __m512i bits = _mm512_castps_si512(numbers), one = _mm512_set1_epi32(1), rounded;
    rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    rounded = _mm512_mask_add_epi32(rounded, _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000)), rounded, one);
    return _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(numbers, numbers, _CMP_UNORD_Q), bits,
                                _mm512_set1_epi32(0x400000));
}
#endif

#if defined(__AVX2__) && !defined(__AVX512BW__)
/* The same for 16 numbers, in registers of their halves: one is added to the upper half if the lower half, plus the
 * last bit of the upper one, exceeds 0x8000. */
static inline void fastact_pack_16_bfloat16(const float *numbers, uint16_t *packed) {
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi16(1);
    __m256 first = _mm256_loadu_ps(numbers), second = _mm256_loadu_ps(numbers + 8);
    __m256i a = _mm256_castps_si256(first), b = _mm256_castps_si256(second);
    __m256i upper = _mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16));
    __m256i lower = _mm256_packus_epi32(_mm256_blend_epi16(a, zero, 0xaa), _mm256_blend_epi16(b, zero, 0xaa));
    __m256i excess = _mm256_subs_epu16(_mm256_adds_epu16(lower, _mm256_and_si256(upper, one)),
                                       _mm256_set1_epi16((short) 0x8000));
    __m256i is_nan = _mm256_packs_epi32(_mm256_castps_si256(_mm256_cmp_ps(first, first, _CMP_UNORD_Q)),
                                        _mm256_castps_si256(_mm256_cmp_ps(second, second, _CMP_UNORD_Q)));
    __m256i rounded = _mm256_add_epi16(upper, _mm256_min_epu16(excess, one));
    rounded = _mm256_blendv_epi8(rounded, _mm256_or_si256(upper, _mm256_set1_epi16(0x40)), is_nan);
    _mm256_storeu_si256((__m256i *) packed, _mm256_permute4x64_epi64(rounded, 0xd8));     /* packs keep to halves */
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
#elif defined(__AVX2__)
    for (; i + 16 <= n; i += 16) fastact_pack_16_bfloat16(numbers + i, packed + i);
#endif
    for (; i < n; i++) packed[i] = fastact_bfloat16_of_float(numbers[i]);
}

#endif
