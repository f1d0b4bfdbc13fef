/* Exact sums: every number is added, as an integer, to limbs that cover the whole range of double (R. M. Neal, Fast
 * exact summation using small and large superaccumulators, 2015).  Only the result is rounded, to the nearest double.
 * So a sum has the same bits for any order, layout, division into parts and number of threads, and a mean is correct
 * also where the sum of its numbers overflows.
 *
 * Limb i has the weight 2^(32 i - 1074).  A limb is a signed 64-bit integer, 32 bits of which are for carries.
 */
#ifndef FASTACT_SUMS_H
#define FASTACT_SUMS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FASTACT_LIMBS 68
#define FASTACT_UNCARRIED 2000           /* numbers added between two carry passes; more than 2,048 could overflow */

#ifdef __SIZEOF_INT128__
typedef unsigned __int128 fastact_wide;
#else
typedef uint64_t fastact_wide;          /* with 32-bit addresses a divisor is below 2^32 */
#endif

typedef struct {
    int64_t limbs[FASTACT_LIMBS];
    double special;                     /* the sum of the infinities and NaNs */
    int uncarried;
} fastact_sum;

static inline void fastact_sum_start(fastact_sum *sum) { memset(sum, 0, sizeof *sum); }

/* Carries: all limbs but the last are then in [0, 2^32). */
static inline void fastact_sum_carry(fastact_sum *sum) {
    for (int i = 0; i + 1 < FASTACT_LIMBS; i++) {
        int64_t carry = sum->limbs[i] >> 32;
        sum->limbs[i] -= carry * ((int64_t) 1 << 32);
        sum->limbs[i + 1] += carry;
    }
    sum->uncarried = 0;
}

/* Adds one number. The caller carries in time: see FASTACT_UNCARRIED. */
static inline void fastact_sum_number(fastact_sum *sum, double x) {
    uint64_t bits, mantissa;
    int exponent, place;
    int64_t sign, low, high;
    memcpy(&bits, &x, sizeof bits);
    exponent = (int) (bits >> 52 & 0x7ff);
    if (exponent == 0x7ff) {
        sum->special += x;
        return;
    }
    place = exponent ? exponent - 1 : 0;
    mantissa = (bits & 0xfffffffffffff) | (uint64_t) (exponent != 0) << 52;
    sign = -(int64_t) (bits >> 63);
    low = (int64_t) ((mantissa << (place & 31)) & 0xffffffff);
    high = (int64_t) (mantissa >> (32 - (place & 31)));
    sum->limbs[place >> 5] += (low ^ sign) - sign;
    sum->limbs[(place >> 5) + 1] += (high ^ sign) - sign;
    sum->uncarried++;
}


static inline void fastact_sum_add(fastact_sum *sum, const fastact_sum *other) {
    fastact_sum_carry(sum);
    for (int i = 0; i < FASTACT_LIMBS; i++)
        sum->limbs[i] += other->limbs[i];
    sum->special += other->special;
    fastact_sum_carry(sum);
}

/* The sum divided by `divisor`, rounded to the nearest double, ties to even */
static inline double fastact_sum_rounded(const fastact_sum *given, uint64_t divisor) {
    fastact_sum sum = *given;
    uint32_t quotient[FASTACT_LIMBS + 1];           /* the highest limb first; the last has the weight 2^(-32 - 1074) */
    fastact_wide rest = 0;
    uint64_t top = 0;
    int negative, first, length, last, k, below = 0;
    double magnitude;
    if (sum.special != 0)                           /* NaN too */
        return sum.special == sum.special ? sum.special : NAN;
    fastact_sum_carry(&sum);
    negative = sum.limbs[FASTACT_LIMBS - 1] < 0;
    if (negative) {
        for (k = 0; k < FASTACT_LIMBS; k++)
            sum.limbs[k] = -sum.limbs[k];
        fastact_sum_carry(&sum);
    }
    for (k = 0; k <= FASTACT_LIMBS; k++) {
        uint64_t limb = k < FASTACT_LIMBS ? (uint64_t) sum.limbs[FASTACT_LIMBS - 1 - k] : 0;
        quotient[k] = (uint32_t) limb;
        if (divisor == 1 || (rest == 0 && limb == 0))       /* a division costs as much as the rest of this loop */
            continue;
        rest = rest << 32 | limb;
        quotient[k] = (uint32_t) (rest / divisor);
        rest %= divisor;
    }
    for (first = 0; first <= FASTACT_LIMBS && quotient[first] == 0; first++)
        ;
    if (first > FASTACT_LIMBS)
        return 0;
    /* The result has the bits of the quotient from bit `last` up: 53, or fewer if it is subnormal. */
    for (length = 32; !(quotient[first] >> (length - 1)); length--)
        ;
    length += 32 * (FASTACT_LIMBS - first);
    last = length - 53 > 32 ? length - 53 : 32;
    for (k = length - 1; k >= last - 1; k--)
        top = top << 1 | (quotient[FASTACT_LIMBS - k / 32] >> k % 32 & 1);
    for (k = last - 2; k >= 0 && !below; k--)
        below = quotient[FASTACT_LIMBS - k / 32] >> k % 32 & 1;
    below = below || rest != 0;
    top = (top >> 1) + (top & 1 && (below || top >> 1 & 1));
    magnitude = ldexp((double) top, last - 32 - 1074);
    return negative ? -magnitude : magnitude;
}

#endif
