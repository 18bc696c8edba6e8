/* The rules that keep a record of one to three doubles a feature, the weight first: passive-
 * aggressive, AROW, AdaGrad, NAG, averaged SGD. See the modules of the same names in
 * onlinesvm.model.rules, of which this is the same arithmetic in the same order.
 *
 * Fresh state is zero; an AROW variance of zero counts as the 1 that it starts at.
 */
#ifndef ONLINESVM_RECORDS_H
#define ONLINESVM_RECORDS_H

#include <math.h>

#include "constants.h"
#include "memory/blocks.h"
#include "rules/score.h"

#define RECORDS_PREFETCH 24 /* elements ahead whose state is prefetched */
#define RECORDS_MOST 3

enum { RULE_PA1, RULE_PA2, RULE_AROW, RULE_ADAGRAD, RULE_NAG, RULE_AVERAGE, RULES_OF_RECORDS };

/* The rules' names in the configuration, by kind; sgd is here where it averages. */
static const char *const record_rules[] = {"pa1", "pa2", "arow", "adagrad", "nag", "sgd"};

/* The kind of a rule; RULES_OF_RECORDS where it is none of these. */
static int records_kind(const char *name)
{
    int kind = 0;
    while (kind < RULES_OF_RECORDS && strcmp(record_rules[kind], name))
        kind++;
    return kind;
}

typedef struct {
    blocks state;
    int kind;
    int has_bias;
    int inverse;       /* of RULE_AVERAGE: eta is eta0 / sqrt(t) */
    double strength;   /* C, r or eta0 */
    double forgetting; /* of RULE_ADAGRAD */
    double bias[RECORDS_MOST];
    double norms, importance; /* of RULE_NAG */
    int64_t t;                /* of RULE_AVERAGE */
} records;

static size_t records_stride(int kind)
{
    return kind == RULE_NAG ? 3 : kind == RULE_PA1 || kind == RULE_PA2 ? 1 : 2;
}

static void records_init(records *r, int kind, int has_bias, int inverse, double strength,
                         double forgetting)
{
    memset(r, 0, sizeof *r);
    blocks_init(&r->state, records_stride(kind));
    r->kind = kind;
    r->has_bias = has_bias;
    r->inverse = inverse;
    r->strength = strength;
    r->forgetting = forgetting;
}

/* What a row is walked with: the records of its elements, then the bias's with value 1. */
typedef struct {
    const rows *x;
    int64_t start, end;
    size_t stride;
} row_span;

#define EACH(r, span, record, value, ...)                                                          \
    do {                                                                                           \
        int64_t k_;                                                                                \
        for (k_ = (span).start; k_ < (span).end; k_++) {                                           \
            double *record =                                                                       \
                blocks_at(&(r)->state, (uint32_t)(span).x->indices[k_], (span).stride);            \
            const double value = (span).x->data[k_];                                               \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if ((r)->has_bias) {                                                                       \
            double *record = (r)->bias;                                                            \
            const double value = 1.0;                                                              \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)

static inline void pa_update(records *r, row_span s, double y, double h, double margin)
{
    const double loss = 1.0 - y * margin;
    double q = 0.0, tau;
    if (!(loss > 0.0))
        return;
    EACH(r, s, record, x, {
        (void)record;
        q += x * x;
    });
    if (!(q > 0.0))
        return;
    if (r->kind == RULE_PA1) {
        const double most = r->strength * h;
        tau = loss > most * q ? most : loss / q;
    } else {
        tau = loss / (q + 1.0 / (2.0 * (r->strength * h)));
    }
    tau = tau * y;
    EACH(r, s, record, x, { record[0] += tau * x; });
}

static inline double arow_variance(const double *record)
{
    return record[1] == 0.0 ? 1.0 : record[1];
}

static inline void arow_update(records *r, row_span s, double y, double h, double margin)
{
    const double loss = 1.0 - y * margin;
    double v = 0.0, beta, step;
    if (!(loss > 0.0))
        return;
    EACH(r, s, record, x, { v += arow_variance(record) * (x * x); });
    beta = 1.0 / (v + r->strength / h);
    step = (loss * beta) * y;
    EACH(r, s, record, x, {
        const double variance = arow_variance(record), spread = variance * x;
        const double shrunk = variance - (beta * spread) * spread;
        record[0] += step * spread;
        record[1] = shrunk < AROW_LEAST_VARIANCE ? AROW_LEAST_VARIANCE : shrunk;
    });
}

static inline void adagrad_update(records *r, row_span s, double y, double h, double margin)
{
    const double rate = r->strength * y;
    if (!(y * margin < 1.0))
        return;
    EACH(r, s, record, x, {
        const double gradient = h * x;
        if (gradient != 0.0) {
            const double square = r->forgetting * record[1] + gradient * gradient;
            record[1] = square;
            record[0] += rate * (gradient / sqrt(square));
        }
    });
}

static inline void nag_update(records *r, row_span s, double y, double h)
{
    double p = 0.0, norm = 0.0, loss, average, reach = 0.0, most, step;
    EACH(r, s, record, x, {
        const double size = fabs(x);
        if (size > record[2]) {
            record[0] *= record[2] / size;
            record[2] = size;
        }
        if (size > 0.0) {
            const double ratio = x / record[2];
            norm += ratio * ratio;
        }
        p += record[0] * x;
    });
    r->norms += h * norm;
    r->importance += h;
    loss = 1.0 - y * (p > 1.0 ? 1.0 : p < -1.0 ? -1.0 : p);
    if (!(loss > 0.0 && norm > 0.0))
        return;
    average = sqrt(r->importance / r->norms);
    EACH(r, s, record, x, {
        if (x != 0.0) {
            record[1] += h * (x * x);
            reach += (x / record[2]) * (x / sqrt(record[1]));
        }
    });
    reach *= average;
    most = r->strength * h;
    step = most * reach < loss ? most : loss / reach;
    step = (step * y) * average;
    EACH(r, s, record, x, {
        if (x != 0.0)
            record[0] += step * ((x / sqrt(record[1])) / record[2]);
    });
}

static inline void average_update(records *r, row_span s, double y, double h)
{
    const double before = (double)r->t;
    double last = 0.0, eta, step;
    int64_t k;
    for (k = s.start; k < s.end; k++)
        last += blocks_at(&r->state, (uint32_t)s.x->indices[k], 2)[0] * s.x->data[k];
    last += r->bias[0];
    r->t++;
    eta = r->inverse ? r->strength / sqrt((double)r->t) : r->strength;
    if (!(y * last < 1.0))
        return;
    step = (eta * h) * y;
    EACH(r, s, record, x, {
        record[0] += step * x;
        record[1] += before * (step * x);
    });
}

/* The weight in a record; an averaged one is of the mean of all so far. */
static inline double records_weight(const records *r, const double *record)
{
    if (r->kind == RULE_AVERAGE)
        return r->t ? record[0] - record[1] / (double)r->t : 0.0;
    return record[0];
}

static inline double records_bias(const records *r) { return records_weight(r, r->bias); }

static inline double records_margin(const records *r, const rows *x, int64_t start, int64_t end,
                                    int64_t last, size_t stride, uint64_t end_id)
{
    double margin = 0.0;
    int64_t k;
    for (k = start; k < end; k++) {
        const uint32_t ahead =
            (uint32_t)x->indices[k + RECORDS_PREFETCH < last ? k + RECORDS_PREFETCH : last];
        const uint32_t id = (uint32_t)x->indices[k];
        if (LIKELY(ahead < end_id))
            PREFETCH(blocks_at(&r->state, ahead, stride));
        if (LIKELY(id < end_id))
            margin += records_weight(r, blocks_at(&r->state, id, stride)) * x->data[k];
    }
    return margin + records_bias(r);
}

/* Score, then learn, row by row; the margins before each update. There must be state for every
 * id of the rows. */
static void records_learn(records *r, const rows *x, size_t samples, const double *labels,
                          const double *importances, double *margins)
{
    const int64_t last = x->indptr[samples] - 1;
    const uint64_t end_id = blocks_end(&r->state);
    const size_t stride = r->state.stride;
    size_t i;
    for (i = 0; i < samples; i++) {
        const row_span s = {x, x->indptr[i], x->indptr[i + 1], stride};
        const double y = labels[i], h = importances[i];
        margins[i] = records_margin(r, x, s.start, s.end, last, stride, end_id);
        if (!(h > 0))
            continue;
        switch (r->kind) {
        case RULE_PA1:
        case RULE_PA2:
            pa_update(r, s, y, h, margins[i]);
            break;
        case RULE_AROW:
            arow_update(r, s, y, h, margins[i]);
            break;
        case RULE_ADAGRAD:
            adagrad_update(r, s, y, h, margins[i]);
            break;
        case RULE_NAG:
            nag_update(r, s, y, h);
            break;
        default:
            average_update(r, s, y, h);
        }
    }
}

static inline double records_at(const void *rule, uint32_t id)
{
    const records *r = rule;
    return records_weight(r, blocks_at(&r->state, id, r->state.stride));
}

static inline void records_fetch(const void *rule, uint32_t id)
{
    const records *r = rule;
    PREFETCH(blocks_at(&r->state, id, r->state.stride));
}

/* The margins of the rows, as score_rows. */
static int records_score(const records *r, const rows *x, size_t samples, double *margins)
{
    return score_rows(x, samples, r, blocks_end(&r->state), records_bias(r), margins, records_at,
                      records_fetch, RECORDS_PREFETCH);
}

/* The weights of ids first .. first + n - 1. */
static void records_weights(const records *r, uint32_t first, size_t n, double *weights)
{
    const uint64_t end_id = blocks_end(&r->state);
    size_t i;
    for (i = 0; i < n; i++) {
        const uint64_t id = (uint64_t)first + i;
        weights[i] = id && id < end_id
            ? records_weight(r, blocks_at(&r->state, (uint32_t)id, r->state.stride)) : 0.0;
    }
}

/* The numbers of `n` records, a column for each, from place `at` on. */
static void records_unpack(const records *r, const double *state, size_t n, double *const *columns,
                           size_t at)
{
    const size_t stride = r->state.stride;
    size_t i, k;
    for (i = 0; i < n; i++, state += stride) {
        for (k = 0; k < stride; k++)
            columns[k][at + i] = state[k];
        if (r->kind == RULE_AROW)
            columns[1][at + i] = arow_variance(state);
    }
}

/* Take number `column`; there must be state for ids up to n. */
static void records_restore(records *r, size_t n, size_t column, const double *numbers)
{
    size_t i;
    for (i = 0; i < n; i++)
        blocks_at(&r->state, (uint32_t)(i + 1), r->state.stride)[column] = numbers[i];
}

#undef EACH

#endif
