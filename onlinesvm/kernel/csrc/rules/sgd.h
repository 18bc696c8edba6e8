/* The rule `sgd`: see onlinesvm.model.rules.Sgd, of which this is the same arithmetic in the same
 * order.
 *
 *     m = sum of w_i x_i + b;  y m < 1:  w_i += ((eta h) y) x_i,  b += (eta h) y
 *
 * A feature's state is its weight; with alpha also the running product P of (1 - eta alpha) when
 * the weight last changed, as mantissa and exponent: the weight then is w_i (P / P_i).
 */
#ifndef ONLINESVM_SGD_H
#define ONLINESVM_SGD_H

#include <math.h>

#include "memory/blocks.h"
#include "rules/score.h"

#define SGD_PLAIN 1
#define SGD_SHRUNK 3 /* weight, mantissa (0: never changed), exponent */
#define SGD_PREFETCH 48 /* elements ahead whose state is prefetched */
#define SGD_GROUP 256 /* elements of rows learned together: their state fits the first cache */

typedef struct {
    blocks state;
    double eta0;
    double alpha;
    int inverse; /* eta is eta0 / sqrt(t) */
    int has_bias;
    double bias;
    int64_t t;
    double mantissa;
    int64_t exponent;
} sgd;

static void sgd_init(sgd *r, double eta0, double alpha, int inverse, int has_bias)
{
    blocks_init(&r->state, alpha != 0.0 ? SGD_SHRUNK : SGD_PLAIN);
    r->eta0 = eta0;
    r->alpha = alpha;
    r->inverse = inverse;
    r->has_bias = has_bias;
    r->bias = 0.0;
    r->t = 0;
    r->mantissa = 1.0;
    r->exponent = 0;
}

/* The weight in a feature's state. The exponents never rise, so the power of two is at most 1;
 * down to 2^-1022 multiplying by it rounds once, as ldexp does. */
static inline __attribute__((always_inline)) double
sgd_weight(const sgd *r, const double *state, size_t stride)
{
    double weight, power;
    int64_t exponent;
    uint64_t bits;
    if (stride == SGD_PLAIN)
        return state[0];
    if (state[1] == 0.0)
        return state[0];
    weight = state[0] * (r->mantissa / state[1]);
    exponent = r->exponent - (int64_t)state[2];
    if (UNLIKELY(exponent < -1022 || exponent > 0)) {
        const int64_t most = 1 << 20;
        return ldexp(weight, (int)(exponent < -most ? -most : exponent > most ? most : exponent));
    }
    bits = (uint64_t)(exponent + 1023) << 52;
    memcpy(&power, &bits, 8);
    return weight * power;
}

/* The margin of the elements start .. end; those at or beyond `end_id` have no state yet. */
static inline __attribute__((always_inline)) double
sgd_margin(const sgd *r, const rows *x, int64_t start, int64_t end, int64_t last, size_t stride,
           uint64_t end_id)
{
    double margin = 0.0;
    int64_t k;
    for (k = start; k < end; k++) {
        const int64_t coming = k + SGD_PREFETCH < last ? k + SGD_PREFETCH : last;
        const uint32_t ahead = (uint32_t)x->indices[coming];
        const uint32_t id = (uint32_t)x->indices[k];
        if (LIKELY(ahead < end_id))
            PREFETCH(blocks_at(&r->state, ahead, stride));
        if (LIKELY(id < end_id))
            margin += sgd_weight(r, blocks_at(&r->state, id, stride), stride) * x->data[k];
    }
    return margin + r->bias;
}

/* What an update that is not one changes, and whether it is one. */
static inline __attribute__((always_inline)) int
sgd_violated(sgd *r, double y, double h, double margin, size_t stride, double *step)
{
    double eta = r->eta0;
    r->t++;
    if (r->inverse)
        eta = r->eta0 / sqrt((double)r->t);
    if (stride == SGD_SHRUNK) {
        int shift;
        r->mantissa = frexp(r->mantissa * (1.0 - eta * r->alpha), &shift);
        r->exponent += shift;
    }
    *step = (eta * h) * y;
    return y * margin < 1.0;
}

static inline __attribute__((always_inline)) void
sgd_step(const sgd *r, double *state, double step, double x, size_t stride)
{
    state[0] = sgd_weight(r, state, stride) + step * x;
    if (stride == SGD_SHRUNK) {
        state[1] = r->mantissa;
        state[2] = (double)r->exponent;
    }
}

/* Row i of any length: its margin, then, if `learning`, its update. */
static double sgd_long_margin(const sgd *r, const rows *x, size_t i, size_t stride)
{
    const int64_t end = x->indptr[i + 1];
    return sgd_margin(r, x, x->indptr[i], end, end - 1, stride, blocks_end(&r->state));
}

static void sgd_long_step(const sgd *r, const rows *x, size_t i, double step, size_t stride)
{
    int64_t k;
    for (k = x->indptr[i]; k < x->indptr[i + 1]; k++)
        sgd_step(r, blocks_at(&r->state, (uint32_t)x->indices[k], stride), step, x->data[k],
                 stride);
}

/* The rows go in groups: where the state of a group lies is found, and prefetched, before its
 * first row is learned. A longer row is a group of its own. */
static inline __attribute__((always_inline)) void
sgd_learn_rows(sgd *r, const rows *x, size_t samples, const double *labels,
               const double *importances, double *margins, size_t stride)
{
    double *at[SGD_GROUP], margin = 0.0, step;
    size_t i = 0, end, k, n;
    while (i < samples) {
        const int64_t first = x->indptr[i];
        for (end = i; end < samples && x->indptr[end + 1] - first <= SGD_GROUP; end++)
            ;
        n = (size_t)(x->indptr[end] - first);
        for (k = 0; k < n; k++) {
            at[k] = blocks_at(&r->state, (uint32_t)x->indices[first + (int64_t)k], stride);
            PREFETCH(at[k]);
        }
        const int single = end == i;
        do {
            const int64_t start = x->indptr[i];
            double *const *const states = at + (start - first);
            const double *const values = x->data + start;
            n = (size_t)(x->indptr[i + 1] - start);
            if (UNLIKELY(single)) {
                margin = sgd_long_margin(r, x, i, stride);
            } else {
                margin = 0.0;
                for (k = 0; k < n; k++)
                    margin += sgd_weight(r, states[k], stride) * values[k];
                margin += r->bias;
            }
            margins[i] = margin;
            if (importances[i] > 0
                && sgd_violated(r, labels[i], importances[i], margin, stride, &step)) {
                if (UNLIKELY(single))
                    sgd_long_step(r, x, i, step, stride);
                else
                    for (k = 0; k < n; k++)
                        sgd_step(r, states[k], step, values[k], stride);
                if (r->has_bias)
                    r->bias += step;
            }
        } while (++i < end);
    }
}

/* Score, then learn, row by row; the margins before each update. There must be state for every
 * id of the rows. */
static void sgd_learn(sgd *r, const rows *x, size_t samples, const double *labels,
                      const double *importances, double *margins)
{
    if (r->alpha != 0.0)
        sgd_learn_rows(r, x, samples, labels, importances, margins, SGD_SHRUNK);
    else
        sgd_learn_rows(r, x, samples, labels, importances, margins, SGD_PLAIN);
}

static inline double sgd_plain_at(const void *rule, uint32_t id)
{
    const sgd *r = rule;
    return sgd_weight(r, blocks_at(&r->state, id, SGD_PLAIN), SGD_PLAIN);
}

static inline double sgd_shrunk_at(const void *rule, uint32_t id)
{
    const sgd *r = rule;
    return sgd_weight(r, blocks_at(&r->state, id, SGD_SHRUNK), SGD_SHRUNK);
}

static inline void sgd_plain_fetch(const void *rule, uint32_t id)
{
    PREFETCH(blocks_at(&((const sgd *)rule)->state, id, SGD_PLAIN));
}

static inline void sgd_shrunk_fetch(const void *rule, uint32_t id)
{
    PREFETCH(blocks_at(&((const sgd *)rule)->state, id, SGD_SHRUNK));
}

/* The margins of the rows, as score_rows. */
static int sgd_score(const sgd *r, const rows *x, size_t samples, double *margins)
{
    const uint64_t end_id = blocks_end(&r->state);
    if (r->alpha != 0.0)
        return score_rows(x, samples, r, end_id, r->bias, margins, sgd_shrunk_at, sgd_shrunk_fetch,
                          SGD_PREFETCH);
    return score_rows(x, samples, r, end_id, r->bias, margins, sgd_plain_at, sgd_plain_fetch,
                      SGD_PREFETCH);
}

/* The weights of ids first .. first + n − 1. */
static void sgd_weights(const sgd *r, uint32_t first, size_t n, double *weights)
{
    const size_t stride = r->state.stride;
    const uint64_t end_id = blocks_end(&r->state);
    size_t i;
    for (i = 0; i < n; i++) {
        const uint64_t id = (uint64_t)first + i;
        weights[i] =
            id < end_id ? sgd_weight(r, blocks_at(&r->state, (uint32_t)id, stride), stride) : 0.0;
    }
}

/* The numbers of `n` records of the state, a column for each, from place `at` on; mantissas and
 * exponents only with alpha. What never changed has the product 1. */
static void sgd_unpack(const sgd *r, const double *records, size_t n, double *const *columns,
                       size_t at)
{
    const size_t stride = r->state.stride;
    size_t i;
    for (i = 0; i < n; i++) {
        const double *state = records + i * stride;
        columns[0][at + i] = state[0];
        if (stride == SGD_SHRUNK) {
            const int changed = state[1] != 0.0;
            columns[1][at + i] = changed ? state[1] : 1.0;
            ((int64_t *)columns[2])[at + i] = changed ? (int64_t)state[2] : 0;
        }
    }
}

/* Take the state of a dump; there must be state for ids up to n. */
static void sgd_restore(sgd *r, size_t n, const double *weights, const double *mantissas,
                        const int64_t *exponents)
{
    const size_t stride = r->state.stride;
    size_t i;
    for (i = 0; i < n; i++) {
        double *state = blocks_at(&r->state, (uint32_t)i + 1, stride);
        state[0] = weights[i];
        if (stride == SGD_SHRUNK) {
            state[1] = mantissas[i];
            state[2] = (double)exponents[i];
        }
    }
}

#endif
