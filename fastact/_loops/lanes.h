/* Operations of loops that Cython lacks: prefetch, parts of vectors, sums over the lanes of vectors. */
#ifndef FASTACT_LANES_H
#define FASTACT_LANES_H

#include <stddef.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__GNUC__)
#define fastact_fetch(address) __builtin_prefetch(address)
#else
#define fastact_fetch(address) ((void) 0)
#endif

/* The first n < 16 numbers, and zeros; and n of 16 numbers written.  Copied one by one, the end of a row would cost as
 * much as 64 of its entries. */
#if defined(__AVX512F__)
static inline void fastact_read_floats(const float *x, ptrdiff_t n, float *sixteen) {
    _mm512_storeu_ps(sixteen, _mm512_maskz_loadu_ps((__mmask16) ((1u << n) - 1), x));
}
static inline void fastact_read_doubles(const double *x, ptrdiff_t n, double *sixteen) {
    unsigned mask = (1u << n) - 1;
    _mm512_storeu_pd(sixteen, _mm512_maskz_loadu_pd((__mmask8) mask, x));
    _mm512_storeu_pd(sixteen + 8, _mm512_maskz_loadu_pd((__mmask8) (mask >> 8), x + 8));
}
#elif defined(__AVX2__)
static const int fastact_chosen[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
static inline void fastact_read_floats(const float *x, ptrdiff_t n, float *sixteen) {
    const int *chosen = fastact_chosen + 16 - n;
    for (int j = 0; j < 16; j += 8)
        _mm256_storeu_ps(sixteen + j, _mm256_maskload_ps(x + j, _mm256_loadu_si256((const __m256i *) (chosen + j))));
}
static inline void fastact_read_doubles(const double *x, ptrdiff_t n, double *sixteen) {
    const int *chosen = fastact_chosen + 16 - n;
    for (int j = 0; j < 16; j += 4) {
        __m256i mask = _mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i *) (chosen + j)));
        _mm256_storeu_pd(sixteen + j, _mm256_maskload_pd(x + j, mask));
    }
}
#else
static inline void fastact_read_floats(const float *x, ptrdiff_t n, float *sixteen) {
    for (int j = 0; j < 16; j++) sixteen[j] = j < n ? x[j] : 0;
}
static inline void fastact_read_doubles(const double *x, ptrdiff_t n, double *sixteen) {
    for (int j = 0; j < 16; j++) sixteen[j] = j < n ? x[j] : 0;
}
#endif

#define FASTACT_WRITE(part) if (n & part) { memcpy(out, sixteen, part * sizeof *out); out += part; sixteen += part; }
static inline void fastact_write_floats(const float *sixteen, ptrdiff_t n, float *out) {
    FASTACT_WRITE(8) FASTACT_WRITE(4) FASTACT_WRITE(2) FASTACT_WRITE(1)
}
static inline void fastact_write_doubles(const double *sixteen, ptrdiff_t n, double *out) {
    FASTACT_WRITE(8) FASTACT_WRITE(4) FASTACT_WRITE(2) FASTACT_WRITE(1)
}

/* The total of 16, 32 or 64 floats, in double: first numbers 16 apart, in pairs, then lanes j and j + 8, j + 4, j + 2,
 * j + 1.  Written as loops, compilers do not vectorize these sums.  Four floats at a time are converted to double
 * without a shuffle.  fastact_four_of_lanes leaves four numbers per row; fastact_totals_of_fours adds these for four
 * rows at once. */
#if defined(__GNUC__)
typedef float fastact_float4 __attribute__((vector_size(16)));
typedef double fastact_double4 __attribute__((vector_size(32)));
typedef long long fastact_places4 __attribute__((vector_size(32)));

/* By address: how a vector is returned depends on the instruction set. */
static inline void fastact_four_doubles(const float *lanes, fastact_double4 *numbers) {
#if defined(__AVX__)
    *numbers = (fastact_double4) _mm256_cvtps_pd(_mm_loadu_ps(lanes));      /* gcc 12: convertvector takes 7 */
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
        /* A copy of all four would go through memory in halves, which stalls the loads behind it. */
        const double *four = fours + 4 * row;
        fastact_double4 a = (fastact_double4) _mm256_loadu_pd(four);
        fastact_double4 b = (fastact_double4) _mm256_loadu_pd(four + 4);
        fastact_double4 c = (fastact_double4) _mm256_loadu_pd(four + 8);
        fastact_double4 d = (fastact_double4) _mm256_loadu_pd(four + 12);
        fastact_double4 ac = __builtin_shuffle(a, c, lower) + __builtin_shuffle(a, c, upper);
        fastact_double4 bd = __builtin_shuffle(b, d, lower) + __builtin_shuffle(b, d, upper);
        ac = __builtin_shuffle(ac, bd, even) + __builtin_shuffle(ac, bd, odd);
        memcpy(totals + row, &ac, sizeof ac);
    }
#endif
    for (; row < rows; row++)
        totals[row] = (fours[4 * row] + fours[4 * row + 2]) + (fours[4 * row + 1] + fours[4 * row + 3]);
}

#endif
