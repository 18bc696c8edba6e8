/* A matrix walked in slabs: some rows at a time are brought over ids and learned or scored while
 * they are in the cache, and nothing of the size of the matrix is ever made.
 */
#ifndef ONLINESVM_SLAB_H
#define ONLINESVM_SLAB_H

#include "lookup/columns.h"

#define SLAB_ELEMENTS 4096 /* with ids, places and values 100 KiB: the cache has room for more */

typedef struct {
    int64_t *ends;   /* of the rows, in the matrix */
    int64_t *indptr; /* of the rows over ids */
    int32_t *indices;
    double *data;
    uint32_t *places;
    double *ones; /* importances, where none are given */
    size_t elements; /* there is room for; rows that are longer come alone */
    int mapped;      /* whether all columns are */
} slab;

static void slab_clear(slab *s)
{
    free(s->ends);
    free(s->indptr);
    free(s->indices);
    free(s->data);
    free(s->places);
    free(s->ones);
    memset(s, 0, sizeof *s);
}

/* Room for slabs of rows of up to `longest` elements. 0 without memory. */
static int slab_init(slab *s, size_t longest, int mapped)
{
    const size_t n = longest > SLAB_ELEMENTS ? longest : SLAB_ELEMENTS;
    size_t i;
    s->elements = n;
    s->mapped = mapped;
    s->ends = malloc((SLAB_SAMPLES + 1) * sizeof *s->ends);
    s->indptr = malloc((SLAB_SAMPLES + 1) * sizeof *s->indptr);
    s->indices = calloc(n, sizeof *s->indices); /* calloc: it knows what overflows */
    s->data = calloc(n, sizeof *s->data);
    s->places = calloc(n, sizeof *s->places);
    s->ones = malloc(SLAB_SAMPLES * sizeof *s->ones);
    if (!s->ends || !s->indptr || !s->indices || !s->data || !s->places || !s->ones) {
        slab_clear(s);
        return 0;
    }
    for (i = 0; i < SLAB_SAMPLES; i++)
        s->ones[i] = 1.0;
    return 1;
}

/* The next slab of `x` from row `start` on: as many of its rows as there is room for, one at
 * least. The ends of rows are those that were screened, or else rows are taken for empty: a
 * caller that changes the matrix meanwhile gets other margins, and no more. */
static matrix slab_next(slab *s, const matrix *x, const row_ends *e, size_t start, size_t stored)
{
    const int64_t first = row_end(e, start);
    int64_t end = (uint64_t)first <= stored ? first : 0;
    size_t n = 0;
    matrix part = *x;
    s->ends[0] = end;
    while (start + n < e->samples && n < SLAB_SAMPLES) {
        int64_t next = row_end(e, start + n + 1);
        if (next < end || (uint64_t)next > stored)
            next = end;
        if ((uint64_t)(next - s->ends[0]) > s->elements) {
            if (n > 0)
                break;
            next = end;
        }
        s->ends[++n] = end = next;
    }
    part.indptr = s->ends;
    part.importances = x->importances ? x->importances + start : s->ones;
    part.samples = n;
    return part;
}

/* The rows of a slab over ids, as lookup_columns has them; they lie in the slab or in the matrix,
 * until the next slab. */
static rows slab_rows(slab *s, lookup *l, const matrix *x, size_t limit, int entering)
{
    const size_t first = (size_t)x->indptr[0];
    rows out = {s->indptr, s->indices, s->data};
    size_t i;
    if (s->mapped && lookup_plain_columns(l, x, limit, entering, s->indices, s->places)) {
        for (i = 0; i <= x->samples; i++)
            s->indptr[i] = x->indptr[i] - x->indptr[0];
        out.data = (double *)(uintptr_t)(x->data + first); /* only read */
    } else {
        lookup_columns(l, x, limit, entering, &out);
    }
    return out;
}

#endif
