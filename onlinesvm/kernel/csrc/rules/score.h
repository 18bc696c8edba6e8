/* The margins of rows by weights as they stand, wherever these lie: the one loop of every
 * prediction, of a learning model and of fixed weights.
 *
 *     margin = ((0 + w_i x_i) + w_j x_j) + … + b, in the stored order of the row
 *
 * A row is short, so a loop over it is too: memory latency limits it. The rows are read once, from
 * start to end: they are prefetched without a place in the cache, so that they do not push the
 * weights out of it. Weights that do not fit the cache are prefetched too, by the next ids.
 */
#ifndef ONLINESVM_SCORE_H
#define ONLINESVM_SCORE_H

#include "memory/rows.h"

#define SCORE_STREAM 256 /* elements ahead whose place in the rows is prefetched */
#define SCORE_LINE 8     /* numbers in a line of the cache; twice as many ids */
#define FLAT_PREFETCH 96    /* elements ahead whose weight is prefetched */
#define FLAT_CACHED ((uint64_t)1 << 20) /* weights up to here are found in a cache without that */

#define PREFETCH_ONCE(p) __builtin_prefetch((const void *)(p), 0, 0)

/* The weight of an id, and a hint that it will be needed; ids are below the end of the weights. */
typedef double (*score_weight)(const void *weights, uint32_t id);
typedef void (*score_fetch)(const void *weights, uint32_t id);

/* Ask for the rows after these. As rows differ in length a loop that fits each would be
 * mispredicted, so
 * that a short one asks for as much as a common one needs. Addresses are only hints. */
static inline __attribute__((always_inline)) void score_stream(const rows *x, int64_t start,
                                                               int64_t end)
{
    const uintptr_t data = (uintptr_t)x->data + (uintptr_t)(end + SCORE_STREAM) * sizeof(double);
    const uintptr_t ids = (uintptr_t)x->indices + (uintptr_t)(end + SCORE_STREAM) * sizeof(int32_t);
    PREFETCH_ONCE(data);
    PREFETCH_ONCE(data + 64);
    PREFETCH_ONCE(data + 128);
    PREFETCH_ONCE(data + 192);
    PREFETCH_ONCE(ids);
    PREFETCH_ONCE(ids + 64);
    if (UNLIKELY(end - start > 8 * SCORE_LINE)) {
        uintptr_t k;
        for (k = 0; k < (uintptr_t)(end - start); k += 2 * SCORE_LINE) {
            PREFETCH_ONCE(data - k * sizeof(double));
            PREFETCH_ONCE(data - k * sizeof(double) - 64);
            PREFETCH_ONCE(ids - k * sizeof(int32_t));
        }
    }
}

/* Σ w_i x_i of the elements start .. end, from 0. Ids from `end_id` on have no weight. `outside` is
 * set where one cannot be an id. */
static inline __attribute__((always_inline)) double
score_sum(const rows *x, int64_t start, int64_t end, const void *weights, uint64_t end_id,
          score_weight weight, score_fetch fetch, int64_t ahead, int *outside)
{
    double sum = 0.0;
    int64_t k;
    for (k = start; k < end; k++) {
        const uint32_t id = (uint32_t)x->indices[k];
        if (fetch) {
            const uint32_t coming = (uint32_t)x->indices[k + ahead];
            if (LIKELY(coming < end_id))
                fetch(weights, coming);
        }
        if (LIKELY(id < end_id))
            sum += weight(weights, id) * x->data[k];
        else if (id > MOST_IDS)
            *outside = 1;
    }
    return sum;
}

/* The margins of the rows. 0 where an id cannot be one; the margins mean nothing then. */
static inline __attribute__((always_inline)) int
score_rows(const rows *x, size_t samples, const void *weights, uint64_t end_id, double bias,
           double *margins, score_weight weight, score_fetch fetch, int64_t ahead)
{
    const int64_t last = x->indptr[samples] - ahead;
    int outside = 0;
    size_t i;
    if (end_id > (uint64_t)MOST_IDS + 1)
        end_id = (uint64_t)MOST_IDS + 1;
    for (i = 0; i < samples; i++) {
        const int64_t start = x->indptr[i], end = x->indptr[i + 1];
        score_stream(x, start, end);
        if (fetch && end <= last)
            margins[i] = score_sum(x, start, end, weights, end_id, weight, fetch, ahead, &outside);
        else
            margins[i] = score_sum(x, start, end, weights, end_id, weight, NULL, 0, &outside);
        margins[i] += bias;
    }
    return !outside;
}

/* Fixed weights: a flat array by id. */

static inline __attribute__((always_inline)) double flat_weight(const void *weights, uint32_t id)
{
    return ((const double *)weights)[id];
}

static inline __attribute__((always_inline)) void flat_fetch(const void *weights, uint32_t id)
{
    PREFETCH((const double *)weights + id);
}

static int score_flat(const rows *x, size_t samples, const double *weights, uint64_t end_id,
                      double bias, double *margins)
{
    if (end_id <= FLAT_CACHED)
        return score_rows(x, samples, weights, end_id, bias, margins, flat_weight, NULL, 0);
    return score_rows(x, samples, weights, end_id, bias, margins, flat_weight, flat_fetch,
                      FLAT_PREFETCH);
}

#endif
