/* Sums without a rounding error: every number is added, as the integer that it is, into limbs that cover the whole range
 * of double (R. M. Neal, Fast exact summation using small and large superaccumulators, 2015).  Only the end is rounded, to
 * the nearest double.  So a sum has the same bits in any order, layout, division into parts and number of threads; and a
 * mean is right where the sum of its numbers is beyond the range.
 *
 * Limb i counts 2^(32 i - 1074).  A limb is a signed integer of 64 bits, of which 32 remain for carries.
 */
#ifndef FASTACT_SUMS_H
#define FASTACT_SUMS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FASTACT_LIMBS 68
#define FASTACT_UNCARRIED 2000           /* numbers that are added before the carries are taken, of 2,048 at most */

#ifdef __SIZEOF_INT128__
typedef unsigned __int128 fastact_wide;
#else
typedef uint64_t fastact_wide;          /* where addresses have 32 bits, there are no 2^32 numbers to divide by */
#endif

typedef struct {
    int64_t limbs[FASTACT_LIMBS];
    double special;                     /* the sum of the infinities and NaNs */
    int uncarried;
} fastact_sum;

static inline void fastact_sum_start(fastact_sum *sum) { memset(sum, 0, sizeof *sum); }

/* Leaves all limbs but the last between 0 and 2^32. */
static inline void fastact_sum_carry(fastact_sum *sum) {
    for (int i = 0; i + 1 < FASTACT_LIMBS; i++) {
        int64_t carry = sum->limbs[i] >> 32;
        sum->limbs[i] -= carry * ((int64_t) 1 << 32);
        sum->limbs[i + 1] += carry;
    }
    sum->uncarried = 0;
}

/* For which there must be room: see FASTACT_UNCARRIED. */
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

/* The sum over `divisor`, to the nearest double, of two equally near the even one */
static inline double fastact_sum_rounded(const fastact_sum *given, uint64_t divisor) {
    fastact_sum sum = *given;
    uint32_t quotient[FASTACT_LIMBS + 1];           /* from the greatest on; the last counts 2^(-32 - 1074) */
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
        if (divisor == 1 || (rest == 0 && limb == 0))       /* a division takes as long as all the rest */
            continue;
        rest = rest << 32 | limb;
        quotient[k] = (uint32_t) (rest / divisor);
        rest %= divisor;
    }
    for (first = 0; first <= FASTACT_LIMBS && quotient[first] == 0; first++)
        ;
    if (first > FASTACT_LIMBS)
        return 0;
    /* The bits from `last` on count, where bit 0 is the last of the quotient: 53, or fewer of a subnormal number. */
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
