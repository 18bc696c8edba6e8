/* Rows of a matrix as a batch: column j is the feature named str(j). */
#ifndef ONLINESVM_COLUMNS_H
#define ONLINESVM_COLUMNS_H

#include "codec/batch.h"
#include "memory/hash.h"

/* Rows over columns; `narrow` or `wide` holds the columns, the other is NULL. */
typedef struct {
    const int64_t *indptr; /* from 0 on, rising */
    const int32_t *narrow;
    const int64_t *wide;
    const double *data;
    size_t samples;
} column_rows;

/* The features of the rows into an empty batch, whose indptr has room for them. 0 without memory. */
static int batch_of_columns(batch *b, const column_rows *x)
{
    const size_t count = (size_t)x->indptr[x->samples];
    size_t i, k;
    if (!batch_reserve(b, count) || !batch_reserve_side(b, count * DIGITS_MOST))
        return 0;
    for (k = 0; k < count; k++) {
        const int64_t j = x->wide ? x->wide[k] : x->narrow[k];
        uint8_t *const name = b->side + b->side_used;
        const uint32_t length = decimal(name, j < 0 ? 0 - (uint64_t)j : (uint64_t)j, j < 0);
        b->features[k] =
            (feature){(uint32_t)b->side_used, length | IN_SIDE, hash_bytes(name, length), x->data[k]};
        b->side_used += length;
    }
    b->count = count;
    b->name_bytes = b->side_used;
    b->longest = 0;
    b->indptr[0] = 0;
    for (i = 0; i < x->samples; i++) {
        const size_t length = (size_t)(x->indptr[i + 1] - x->indptr[i]);
        b->longest = length > b->longest ? length : b->longest;
        b->indptr[i + 1] = x->indptr[i + 1];
    }
    b->samples = b->good = x->samples;
    return 1;
}

#endif
