/* Rows of a matrix as they came, read where they lie: column j is the feature named str(j). */
#ifndef ONLINESVM_MATRIX_H
#define ONLINESVM_MATRIX_H

#include <math.h>
#include <stddef.h>

#include "memory/pages.h"
#include "memory/vector.h"

typedef struct {
    const int64_t *indptr;
    const int32_t *narrow; /* the columns, in one of these two, the other is NULL */
    const int64_t *wide;
    const double *data;
    const double *importances; /* NULL to predict */
    size_t samples;
} matrix;

/* `wide` is a constant where this is called, and the choice made once. */
static inline int64_t matrix_column(const matrix *x, size_t k, int wide)
{
    return wide ? x->wide[k] : x->narrow[k];
}

/* Values checked together, small enough to be read twice; a multiple of 8. */
#define SCREEN_PIECE 2048
#define SCREEN_PREFETCH 1024 /* values ahead that are prefetched */

/* Whether of n values, 8 or a multiple, all are at most `most`, in magnitude; adds to `held` how
 * many are at least `least`. Counts, since compilers make branches of masks. */
static inline int values_fit(const double *values, size_t n, double least, double most,
                             size_t *held)
{
    const long2 magnitude = {INT64_MAX, INT64_MAX};
    const double2 low = {least, least}, high = {most, most};
    long2 fit = {0, 0}, from = {0, 0};
    size_t i, k;
    for (i = 0; i < n; i += 8) {
        PREFETCH(values + i + SCREEN_PREFETCH);
        for (k = 0; k < 8; k += 2) {
            const double2 x = (double2)((long2)load_double2(values + i + k) & magnitude);
            fit -= x <= high;
            from -= x >= low;
        }
    }
    *held += (size_t)(from[0] + from[1]);
    return (size_t)(fit[0] + fit[1]) == n;
}

/* The first of n values that is larger than `most`, in magnitude, or not a number; n if none is.
 * `small`: whether one of n that all fit is smaller than `least`. */
static size_t values_screen(const double *values, size_t n, double least, double most, int *small)
{
    size_t k, piece, held = 0;
    for (k = 0; n - k >= 8; k += piece) {
        piece = n - k < SCREEN_PIECE ? (n - k) & ~(size_t)7 : SCREEN_PIECE;
        if (!values_fit(values + k, piece, least, most, &held))
            break;
    }
    for (; k < n && fabs(values[k]) <= most; k++)
        held += fabs(values[k]) >= least;
    *small = held != n;
    return k;
}

/* The largest column of `count` elements; a negative one counts as larger than any other. */
static uint64_t matrix_largest(const matrix *x, size_t count)
{
    uint64_t largest = 0;
    size_t k = 0;
    if (!x->wide) {
        int4 most = {0, 0, 0, 0}, signs = {0, 0, 0, 0};
        int i;
        for (; count - k >= 8; k += 8) {
            const int4 a = load_int4(x->narrow + k), b = load_int4(x->narrow + k + 4);
            const int4 larger = a > b, of_both = (a & larger) | (b & ~larger);
            const int4 rises = of_both > most;
            most = (of_both & rises) | (most & ~rises);
            signs |= a | b;
        }
        for (i = 0; i < 4; i++)
            largest = (uint64_t)most[i] > largest ? (uint64_t)most[i] : largest;
        if ((signs[0] | signs[1] | signs[2] | signs[3]) < 0)
            return UINT64_MAX;
    }
    for (; k < count; k++) {
        const uint64_t column = (uint64_t)(x->wide ? x->wide[k] : x->narrow[k]);
        largest = column > largest ? column : largest;
    }
    return largest;
}

/* How many names `count` columns up to the largest can hold at most: what to reserve. */
static size_t matrix_names(size_t count, uint64_t largest)
{
    return largest < count ? (size_t)largest + 1 : count;
}

/* The ends of rows, as they came: in one of the two, the other is NULL. */
typedef struct {
    const int32_t *narrow;
    const int64_t *wide;
    size_t samples;
} row_ends;

static inline int64_t row_end(const row_ends *e, size_t i)
{
    return e->wide ? e->wide[i] : e->narrow[i];
}

/* The features of the longest row; −1 where rows cannot be walked within `stored` elements. */
static int64_t rows_screen(const row_ends *e, size_t stored)
{
    int64_t longest = 0, end = row_end(e, 0);
    int rising = end >= 0;
    size_t i;
    for (i = 1; i <= e->samples; i++) {
        const int64_t start = end;
        end = row_end(e, i);
        rising &= start <= end;
        longest = end - start > longest ? end - start : longest;
    }
    return rising && (uint64_t)end <= stored ? longest : -1;
}

/* The features that the longest row has. */
static size_t matrix_longest(const matrix *x)
{
    int64_t longest = 0;
    size_t i;
    for (i = 0; i < x->samples; i++)
        if (x->indptr[i + 1] - x->indptr[i] > longest)
            longest = x->indptr[i + 1] - x->indptr[i];
    return (size_t)longest;
}

#endif
