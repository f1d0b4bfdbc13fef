/* Newton's method on the candidates of a row (entmax.pxd): collecting them, and the sums of their terms.
 *
 * Compilers vectorize neither.  The sums have eight lanes on every instruction set, in vectors of its own width.  */
#ifndef FASTACT_CANDIDATES_H
#define FASTACT_CANDIDATES_H

#include <stddef.h>
#include <string.h>
#if defined(__SSSE3__)
#include <immintrin.h>
#endif

enum { FASTACT_COMPARED = 16, FASTACT_ADDED = 8 };

#if defined(__AVX512F__)
enum { FASTACT_WIDTH = 8 };
#elif defined(__AVX__)
enum { FASTACT_WIDTH = 4 };
#else
enum { FASTACT_WIDTH = 2 };
#endif
typedef double fastact_candidate_lanes __attribute__((vector_size(8 * FASTACT_WIDTH)));
typedef long long fastact_candidate_choice __attribute__((vector_size(8 * FASTACT_WIDTH)));

/* In lanes: of v^q, in two parts, and of v^(q - 1) */
typedef struct {
    double values[FASTACT_ADDED], values_low[FASTACT_ADDED], slopes[FASTACT_ADDED];
} fastact_terms;

/* x - maximum of those of 16 entries that are not below the bound; NaN is not.  Writes up to 16 numbers behind the
 * candidates too.  Returns how many candidates there are. */
#define FASTACT_COLLECT_EACH(number)                                                                                   \
    ptrdiff_t found = 0;                                                                                               \
    int any = 0;                                                                                                       \
    for (int i = 0; i < FASTACT_COMPARED; i++)                                                                         \
        any |= !(x[i] < bound);                                                                                        \
    for (int i = 0; any && i < FASTACT_COMPARED; i++) {                                                                \
        candidates[found] = (double) x[i] - maximum;                                                                   \
        found += !(x[i] < bound);                                                                                      \
    }                                                                                                                  \
    return found;

#if defined(__AVX512F__)
static inline ptrdiff_t fastact_collect_float(const float *x, float bound, double maximum, double *candidates) {
    __m512 entries = _mm512_loadu_ps(x);
    __mmask16 kept = _mm512_cmp_ps_mask(entries, _mm512_set1_ps(bound), _CMP_NLT_UQ);
    __m512 first = _mm512_maskz_compress_ps(kept, entries);
    __m512d m = _mm512_set1_pd(maximum);
    __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(first), 1));
    _mm512_storeu_pd(candidates, _mm512_sub_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(first)), m));
    _mm512_storeu_pd(candidates + 8, _mm512_sub_pd(_mm512_cvtps_pd(upper), m));
    return __builtin_popcount(kept);
}

static inline ptrdiff_t fastact_collect_double(const double *x, double bound, double maximum, double *candidates) {
    ptrdiff_t found = 0;
    for (int i = 0; i < FASTACT_COMPARED; i += 8) {
        __m512d entries = _mm512_loadu_pd(x + i);
        __mmask8 kept = _mm512_cmp_pd_mask(entries, _mm512_set1_pd(bound), _CMP_NLT_UQ);
        entries = _mm512_sub_pd(entries, _mm512_set1_pd(maximum));
        _mm512_storeu_pd(candidates + found, _mm512_maskz_compress_pd(kept, entries));
        found += __builtin_popcount(kept);
    }
    return found;
}
#else
#if defined(__SSSE3__)
/* For each set of four entries the bytes of these, in order, at the beginning */
#define FASTACT_BYTES(a, b, c, d)                                                                                      \
    {4 * a, 4 * a + 1, 4 * a + 2, 4 * a + 3, 4 * b, 4 * b + 1, 4 * b + 2, 4 * b + 3,                                   \
     4 * c, 4 * c + 1, 4 * c + 2, 4 * c + 3, 4 * d, 4 * d + 1, 4 * d + 2, 4 * d + 3}
static const unsigned char fastact_chosen_bytes[16][16] __attribute__((aligned(16))) = {
    FASTACT_BYTES(0, 0, 0, 0), FASTACT_BYTES(0, 0, 0, 0), FASTACT_BYTES(1, 0, 0, 0), FASTACT_BYTES(0, 1, 0, 0),
    FASTACT_BYTES(2, 0, 0, 0), FASTACT_BYTES(0, 2, 0, 0), FASTACT_BYTES(1, 2, 0, 0), FASTACT_BYTES(0, 1, 2, 0),
    FASTACT_BYTES(3, 0, 0, 0), FASTACT_BYTES(0, 3, 0, 0), FASTACT_BYTES(1, 3, 0, 0), FASTACT_BYTES(0, 1, 3, 0),
    FASTACT_BYTES(2, 3, 0, 0), FASTACT_BYTES(0, 2, 3, 0), FASTACT_BYTES(1, 2, 3, 0), FASTACT_BYTES(0, 1, 2, 3)};

static inline ptrdiff_t fastact_collect_float(const float *x, float bound, double maximum, double *candidates) {
    __m128 entries[4], kept[4], limit = _mm_set1_ps(bound);
    ptrdiff_t found = 0;
    for (int i = 0; i < 4; i++) {
        entries[i] = _mm_loadu_ps(x + 4 * i);
        kept[i] = _mm_cmpnlt_ps(entries[i], limit);
    }
    if (!_mm_movemask_ps(_mm_or_ps(_mm_or_ps(kept[0], kept[1]), _mm_or_ps(kept[2], kept[3]))))
        return 0;
    for (int i = 0; i < 4; i++) {
        int set = _mm_movemask_ps(kept[i]);
        __m128i bytes = _mm_load_si128((const __m128i *) fastact_chosen_bytes[set]), m = _mm_setzero_si128();
        __m128 first = _mm_castsi128_ps(_mm_shuffle_epi8(_mm_castps_si128(entries[i]), bytes));
        __m128d low = _mm_sub_pd(_mm_cvtps_pd(first), _mm_set1_pd(maximum));
        __m128d high = _mm_sub_pd(_mm_cvtps_pd(_mm_movehl_ps(_mm_castsi128_ps(m), first)), _mm_set1_pd(maximum));
        _mm_storeu_pd(candidates + found, low);
        _mm_storeu_pd(candidates + found + 2, high);
        found += __builtin_popcount(set);
    }
    return found;
}
#else
static inline ptrdiff_t fastact_collect_float(const float *x, float bound, double maximum, double *candidates) {
    FASTACT_COLLECT_EACH(float)
}
#endif

static inline ptrdiff_t fastact_collect_double(const double *x, double bound, double maximum, double *candidates) {
    FASTACT_COLLECT_EACH(double)
}
#endif

/* Adds the terms of the candidates beyond the threshold, v = candidate - high - low > 0 or NaN, for q = 1 or 2. */
static inline void fastact_add_terms(int q, const double *candidates, ptrdiff_t count, double high, double low,
                                     fastact_terms *terms) {
    fastact_candidate_lanes values[FASTACT_ADDED / FASTACT_WIDTH], slopes[FASTACT_ADDED / FASTACT_WIDTH], v;
    const fastact_candidate_lanes ones = (fastact_candidate_lanes) {} + 1.0;
    memcpy(values, terms->values, sizeof values);
    memcpy(slopes, terms->slopes, sizeof slopes);
    for (ptrdiff_t i = 0; i < count; i += FASTACT_ADDED)
        for (int j = 0; j < FASTACT_ADDED / FASTACT_WIDTH; j++) {
            memcpy(&v, candidates + i + j * FASTACT_WIDTH, sizeof v);
            v = (v - high) - low;
            fastact_candidate_choice beyond = ~(v <= 0.0);
            v = (fastact_candidate_lanes) ((fastact_candidate_choice) v & beyond);
            values[j] += q == 1 ? v : v * v;
            slopes[j] += q == 1 ? (fastact_candidate_lanes) ((fastact_candidate_choice) ones & beyond) : v;
        }
    memcpy(terms->values, values, sizeof values);
    memcpy(terms->slopes, slopes, sizeof slopes);
}

/* The same in two parts, for q = 1 */
static inline void fastact_add_terms_exactly(const double *candidates, ptrdiff_t count, double high, double low,
                                             fastact_terms *terms) {
    enum { VECTORS = FASTACT_ADDED / FASTACT_WIDTH };
    fastact_candidate_lanes values[VECTORS], values_low[VECTORS], slopes[VECTORS], entry, v, v_low, part, total;
    const fastact_candidate_lanes ones = (fastact_candidate_lanes) {} + 1.0;
    memcpy(values, terms->values, sizeof values);
    memcpy(values_low, terms->values_low, sizeof values_low);
    memcpy(slopes, terms->slopes, sizeof slopes);
    for (ptrdiff_t i = 0; i < count; i += FASTACT_ADDED)
        for (int j = 0; j < VECTORS; j++) {
            memcpy(&entry, candidates + i + j * FASTACT_WIDTH, sizeof entry);
            v = entry - high;
            part = v - entry;
            v_low = (entry - (v - part)) - (high + part) - low;
            fastact_candidate_choice beyond = ~(v + v_low <= 0.0);
            v = (fastact_candidate_lanes) ((fastact_candidate_choice) v & beyond);
            v_low = (fastact_candidate_lanes) ((fastact_candidate_choice) v_low & beyond);
            total = values[j] + v;
            part = total - values[j];
            values_low[j] += ((values[j] - (total - part)) + (v - part)) + v_low;
            values[j] = total;
            slopes[j] += (fastact_candidate_lanes) ((fastact_candidate_choice) ones & beyond);
        }
    memcpy(terms->values, values, sizeof values);
    memcpy(terms->values_low, values_low, sizeof values_low);
    memcpy(terms->slopes, slopes, sizeof slopes);
}

#endif
