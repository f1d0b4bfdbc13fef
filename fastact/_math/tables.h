/* Functions of float from tables: one polynomial for each of 32 intervals, looked up in registers.
 *
 * An AVX-512 permutation looks up 16 of 32 numbers, each by its own index, in the time of one addition.  So a function
 * costs one lookup and one multiply-add per degree: no exponential, no division.  tanh takes two thirds of the time of
 * its formula, with a smaller error.  Other instruction sets lack this permutation, and compilers do not generate it
 * from a loop.  So the function is written for 16 numbers at once (LANES of _loops); without AVX-512 its name is
 * NULL and the loops take the formula.
 *
 * tools/tables.py derives the numbers and explains them; tests/test_primitives.py repeats the derivation.
 */
#ifndef FASTACT_TABLES_H
#define FASTACT_TABLES_H

#include <stddef.h>

#if defined(__AVX512F__)
#include <immintrin.h>

/* tanh on [0, 9.999999] in 32 intervals, degree 5, weight 1 / tanh: error 0.015 ulp */
static const float fastact_tanh_table[7][32] __attribute__((aligned(64))) = {
/* middle */
    0.7499996f, 0.91666585f, 1.083335f, 1.2499983f,
    1.4166666f, 1.5833324f, 1.7499986f, 1.9166573f,
    2.166662f, 2.500004f, 2.8333344f, 3.1666708f,
    3.499997f, 3.833334f, 4.166637f, 4.5000525f,
    5.000098f, 5.6661077f, 6.3326187f, 6.998237f,
    7.691385f, 8.317766f, 8.66434f, 8.66434f,
    0.0f, 0.12500018f, 0.20833313f, 0.29166678f,
    0.37499952f, 0.45833373f, 0.54166746f, 0.6249931f,
/* value */
    0.6351487f, 0.7243163f, 0.7944326f, 0.8482832f,
    0.8889015f, 0.9191207f, 0.9413754f, 0.957641f,
    0.9740923f, 0.9866144f, 0.9931051f, 0.9964541f,
    0.9981779f, 0.9990641f, 0.99951935f, 0.99975324f,
    0.9999092f, 0.99997604f, 0.9999937f, 0.99999833f,
    0.9999996f, 0.9999999f, 0.99999994f, 0.99999994f,
    0.0f, 0.12435318f, 0.20537049f, 0.2836682f,
    0.35835698f, 0.42872518f, 0.49424914f, 0.55459493f,
/* c1 */
    0.5965861f, 0.4753659f, 0.36887687f, 0.28041565f,
    0.20985417f, 0.15521708f, 0.1138124f, 0.0829237f,
    0.05114418f, 0.026592014f, 0.0137422355f, 0.007079187f,
    0.0036409074f, 0.0018709486f, 0.000961073f, 0.00049346563f,
    0.00018154792f, 4.792164e-05f, 1.263616e-05f, 3.3378592e-06f,
    8.3448066e-07f, 2.384164e-07f, 1.1920025e-07f, 1.17982744e-07f,
    1.0f, 0.9845363f, 0.957823f, 0.91953236f,
    0.87158024f, 0.8161947f, 0.7557178f, 0.6924245f,
/* c2 */
    -0.3789212f, -0.34431568f, -0.29304823f, -0.23787203f,
    -0.18654032f, -0.14266361f, -0.10713972f, -0.07941159f,
    -0.049818877f, -0.026235847f, -0.013647438f, -0.0070539345f,
    -0.0036341758f, -0.0018691889f, -0.0009606162f, -0.00049334194f,
    -0.00018148814f, -4.7908907e-05f, -1.2632958e-05f, -3.337036e-06f,
    -8.3427375e-07f, -2.3836309e-07f, -1.1900259e-07f, -1.12370564e-07f,
    4.0140417e-08f, -0.12243022f, -0.19670878f, -0.260841f,
    -0.31233615f, -0.34992248f, -0.3735131f, -0.3840131f,
/* c3 */
    0.041815884f, 0.09093418f, 0.10984817f, 0.10831376f,
    0.09586574f, 0.07938815f, 0.06292182f, 0.04840758f,
    0.03148073f, 0.0170208f, 0.00897256f, 0.004669286f,
    0.002413987f, 0.0012437899f, 0.00063978456f, 0.0003287322f,
    0.00012097328f, 3.193972e-05f, 8.422509e-06f, 2.2249685e-06f,
    5.554877e-07f, 1.5903817e-07f, 7.797157e-08f, 6.392347e-08f,
    -0.33333766f, -0.31295997f, -0.2789041f, -0.23251891f,
    -0.17854334f, -0.122036114f, -0.067337476f, -0.017867422f,
/* c4 */
    0.09977942f, 0.049067512f, 0.010605029f, -0.012459423f,
    -0.022890283f, -0.025331523f, -0.023559246f, -0.019831467f,
    -0.014085034f, -0.008074902f, -0.00437707f, -0.0023139429f,
    -0.0012054582f, -0.0006221786f, -0.00032036024f, -0.00016489656f,
    -6.173273e-05f, -1.6304302e-05f, -4.300235e-06f, -1.1359103e-06f,
    -2.836842e-07f, -8.1089475e-08f, -3.4901202e-08f, -2.1113184e-08f,
    0.0001386716f, 0.07965003f, 0.12282735f, 0.15227988f,
    0.16765217f, 0.1685146f, 0.15780072f, 0.13692765f,
/* c5 */
    -0.06455832f, -0.054735515f, -0.036749166f, -0.019535664f,
    -0.007029008f, 6.735124e-05f, 0.003663648f, 0.004594206f,
    0.004321532f, 0.0028616972f, 0.0016513418f, 0.00089779944f,
    0.00047425673f, 0.00024688954f, 0.00012776924f, 6.578438e-05f,
    2.462712e-05f, 6.497871e-06f, 1.7131938e-06f, 4.514994e-07f,
    1.1980136e-07f, 3.1239704e-08f, 8.411776e-09f, 3.1154905e-09f,
    0.13185248f, 0.11866319f, 0.10059007f, 0.054563783f,
    -0.004173665f, -0.016918458f, -0.022203868f, -0.04211262f,
};

/* numbers[index], by the lowest five bits of each index */
static inline __m512 fastact_lookup(const float *numbers, __m512i index) {
    return _mm512_permutex2var_ps(_mm512_load_ps(numbers), index, _mm512_load_ps(numbers + 16));
}

static inline void fastact_tanh_lanes(const float *x, float *y) {
    const __m512i sign = _mm512_set1_epi32((int) 0x80000000);
    const __m512i bits = _mm512_castps_si512(_mm512_loadu_ps(x));
    const __m512 limit = _mm512_set1_ps(9.999999f), one = _mm512_set1_ps(1.0f), slope = _mm512_set1_ps(1.5f);
    /* In this order of operands the minimum returns a NaN of x. */
    __m512 a = _mm512_min_ps(limit, _mm512_castsi512_ps(_mm512_andnot_si512(sign, bits)));
    /* Two bits of the exponent of 1 + 3/2 |x| and three of its fraction; the lookup ignores the bits above. */
    __m512i interval = _mm512_srli_epi32(_mm512_castps_si512(_mm512_fmadd_ps(a, slope, one)), 20);
    __m512 r = _mm512_sub_ps(a, fastact_lookup(fastact_tanh_table[0], interval));
    __m512 total = fastact_lookup(fastact_tanh_table[6], interval);
    for (int power = 5; power >= 1; power--)
        total = _mm512_fmadd_ps(total, r, fastact_lookup(fastact_tanh_table[power], interval));
    /* total, with the sign of x */
    total = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(total), bits, sign, 0xf8));
    _mm512_storeu_ps(y, total);
}
#else
#define fastact_tanh_lanes NULL
#endif

#endif
