/* Short rows to columns and back: the rows of a strip are laid side by side, so that a lane is a row.
 *
 * `rows` contiguous rows of n numbers become n contiguous lines of `rows` numbers.  Blocks of four by four numbers are
 * transposed in registers.  Where four does not divide n, the last block of a row overlaps the one before it, so that
 * nothing outside the arrays is read or written. */
#ifndef FASTACT_TRANSPOSE_H
#define FASTACT_TRANSPOSE_H

#include <stddef.h>
#include <string.h>

#if defined(__clang__) || __GNUC__ >= 12
typedef float fastact_four_float __attribute__((vector_size(16)));
typedef double fastact_four_double __attribute__((vector_size(32)));
#define FASTACT_TRANSPOSE_FOUR(number)                                                                                 \
    fastact_four_##number a, b, c, d, low_ab, high_ab, low_cd, high_cd;                                                \
    memcpy(&a, source, sizeof a);                                                                                      \
    memcpy(&b, source + from, sizeof b);                                                                               \
    memcpy(&c, source + 2 * from, sizeof c);                                                                           \
    memcpy(&d, source + 3 * from, sizeof d);                                                                           \
    low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);                                                                \
    high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);                                                               \
    low_cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);                                                                \
    high_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);                                                               \
    a = __builtin_shufflevector(low_ab, low_cd, 0, 1, 4, 5);                                                           \
    b = __builtin_shufflevector(low_ab, low_cd, 2, 3, 6, 7);                                                           \
    c = __builtin_shufflevector(high_ab, high_cd, 0, 1, 4, 5);                                                         \
    d = __builtin_shufflevector(high_ab, high_cd, 2, 3, 6, 7);                                                         \
    memcpy(target, &a, sizeof a);                                                                                      \
    memcpy(target + to, &b, sizeof b);                                                                                 \
    memcpy(target + 2 * to, &c, sizeof c);                                                                             \
    memcpy(target + 3 * to, &d, sizeof d);
#else
#define FASTACT_TRANSPOSE_FOUR(number)                                                                                 \
    for (int i = 0; i < 4; i++)                                                                                        \
        for (int j = 0; j < 4; j++)                                                                                    \
            target[i * to + j] = source[j * from + i];
#endif

#define FASTACT_TRANSPOSE(number)                                                                                      \
    /* four lines of four numbers, `from` apart in the source and `to` apart in the target */                          \
    static inline void fastact_transpose_four_##number(const number *source, ptrdiff_t from, number *target,           \
                                                       ptrdiff_t to) {                                                 \
        FASTACT_TRANSPOSE_FOUR(number)                                                                                 \
    }                                                                                                                  \
    /* rows of a length that the compiler knows, too short for a block: it vectorizes this loop */                     \
    static inline void fastact_transpose_few_##number(const number *source, number *target, ptrdiff_t rows,            \
                                                      ptrdiff_t n, int back) {                                         \
        for (ptrdiff_t row = 0; row < rows; row++)                                                                     \
            for (ptrdiff_t i = 0; i < n; i++)                                                                          \
                if (back)                                                                                              \
                    target[row * n + i] = source[i * rows + row];                                                      \
                else                                                                                                   \
                    target[i * rows + row] = source[row * n + i];                                                      \
    }                                                                                                                  \
    /* to columns, or back to rows */                                                                                  \
    static inline void fastact_transpose_##number(const number *source, number *target, ptrdiff_t rows, ptrdiff_t n,   \
                                                  int back) {                                                          \
        ptrdiff_t whole = n < 4 ? 0 : rows / 4 * 4, row, i;                                                            \
        if (n == 2) {                                                                                                  \
            fastact_transpose_few_##number(source, target, rows, 2, back);                                             \
            return;                                                                                                    \
        }                                                                                                              \
        if (n == 3) {                                                                                                  \
            fastact_transpose_few_##number(source, target, rows, 3, back);                                             \
            return;                                                                                                    \
        }                                                                                                              \
        for (row = 0; row < whole; row += 4)                                                                           \
            for (i = 0; i < n; i += 4) {                                                                               \
                i = i < n - 4 ? i : n - 4;                                                                             \
                if (back)                                                                                              \
                    fastact_transpose_four_##number(source + i * rows + row, rows, target + row * n + i, n);           \
                else                                                                                                   \
                    fastact_transpose_four_##number(source + row * n + i, n, target + i * rows + row, rows);           \
            }                                                                                                          \
        for (row = whole; row < rows; row++)                                                                           \
            for (i = 0; i < n; i++)                                                                                    \
                if (back)                                                                                              \
                    target[row * n + i] = source[i * rows + row];                                                      \
                else                                                                                                   \
                    target[i * rows + row] = source[row * n + i];                                                      \
    }

FASTACT_TRANSPOSE(float)
FASTACT_TRANSPOSE(double)

#endif
