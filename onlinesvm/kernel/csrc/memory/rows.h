/* Samples as rows over ids, as scipy.sparse has them; the memory is the caller's. */
#ifndef ONLINESVM_ROWS_H
#define ONLINESVM_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "constants.h"
#include "memory/pages.h"

#define MOST_IDS (((uint32_t)1 << 31) - 2)

typedef struct {
    int64_t *indptr; /* samples + 1 */
    int32_t *indices;
    double *data;
} rows;

/* Add a duplicate's value; the sum keeps the magnitudes of a value, as the rules presume. */
static inline void bounded_add(double *sum, double value)
{
    const double total = *sum + value;
    if (total > -MIN_MAGNITUDE && total < MIN_MAGNITUDE)
        *sum = 0.0;
    else if (total > MAX_MAGNITUDE)
        *sum = MAX_MAGNITUDE;
    else
        *sum = total < -MAX_MAGNITUDE ? -MAX_MAGNITUDE : total;
}

/* Whether rows that came from outside can be walked: ends that rise within `stored` elements. */
static int indptr_holds(const int64_t *indptr, size_t samples, size_t stored)
{
    size_t i;
    int rising = indptr[0] >= 0;
    for (i = 0; i < samples; i++)
        rising &= indptr[i] <= indptr[i + 1];
    return rising && (uint64_t)indptr[samples] <= stored;
}

/* Elements of the longest row. */
static size_t rows_longest(const rows *r, size_t samples)
{
    int64_t most = 0;
    size_t i;
    for (i = 0; i < samples; i++)
        if (r->indptr[i + 1] - r->indptr[i] > most)
            most = r->indptr[i + 1] - r->indptr[i];
    return (size_t)most;
}

/* The largest id of the rows; one below `least`, 0 or less, counts as larger than any. */
static uint32_t rows_largest_id(const rows *r, size_t samples, int32_t least)
{
    int64_t k, end = r->indptr[samples];
    int32_t most = 0, found = 0;
    for (k = r->indptr[0]; k < end; k++) {
        most = r->indices[k] > most ? r->indices[k] : most;
        found = r->indices[k] < found ? r->indices[k] : found;
    }
    return found < least ? UINT32_MAX : (uint32_t)most;
}

#endif
