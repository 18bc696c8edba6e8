/* The rule `hedge`: see onlinesvm.model.rules.hedge, of which this is the same arithmetic in the
 * same order.
 *
 * A feature's state is one cache line. The experts' weights w0 … w5, variances S0 … S2 and squares
 * G3 … G5 are float32, 48 bytes; the scale's square is a double; the counts are packed in 64 bits:
 * seen << 24 | age << 6 | run. Arithmetic is in doubles and rounded where it is stored; only the
 * rates 1/sqrt(G) are float32. Fresh state is zero; it counts as S = 1, G = 1e-30.
 */
#ifndef ONLINESVM_HEDGE_H
#define ONLINESVM_HEDGE_H

#include "constants.h"
#include "memory/blocks.h"
#include "memory/vector.h"
#include "rules/mixture.h"
#include "rules/scale.h"
#include "rules/score.h"

#define HEDGE_STRIDE 8
#define HEDGE_PREFETCH 48 /* elements ahead whose state is prefetched */
#define HEDGE_METRICS 4
#define HEDGE_COUNTED (HEDGE_METRICS * (EXPERTS + 1))


typedef struct {
    float w[6]; /* SCW, SCW wide, AROW, adaptive: slow, fast, fastest */
    float s[6]; /* S of SCW, SCW wide, AROW; then G of the adaptive ones */
    double scale2;
    uint64_t counts;
} hedge_feature;

typedef struct {
    hedge_feature *feature;
    double x;     /* over the scale */
    float4 rates; /* 1/sqrt(G) of the adaptive experts in lanes 1 to 3, while they learn */
} hedge_element;

typedef struct {
    blocks state;
    int has_bias;
    hedge_feature bias;
    mixture mixture;
    double log_importance;
    int64_t samples;
    double metrics[HEDGE_METRICS][EXPERTS + 1]; /* errors, losses, recent errors, recent losses */
    double metrics_weights[2];
    hedge_element *row; /* room for the longest row, and the bias */
    size_t room;
} hedge;

static inline hedge_feature *hedge_at(const hedge *r, uint32_t id)
{
    return (hedge_feature *)(void *)blocks_at(&r->state, id, HEDGE_STRIDE);
}

static inline void hedge_fresh(hedge_feature *f)
{
    f->s[0] = f->s[1] = f->s[2] = 1.0f;
    f->s[3] = f->s[4] = f->s[5] = (float)HEDGE_LEAST_SQUARE;
}

static void hedge_init(hedge *r, int has_bias)
{
    memset(r, 0, sizeof *r);
    blocks_init(&r->state, HEDGE_STRIDE);
    r->has_bias = has_bias;
    hedge_fresh(&r->bias);
    r->bias.scale2 = 1.0;
    mixture_init(&r->mixture);
}

static void hedge_clear(hedge *r)
{
    blocks_clear(&r->state);
    free(r->row);
    r->row = NULL;
    r->room = 0;
}

static inline double *hedge_metrics(hedge *r) { return &r->metrics[0][0]; }

/* Room for rows of up to `longest` elements; 0 without memory. */
static int hedge_reserve_row(hedge *r, size_t longest)
{
    hedge_element *row;
    if (longest + 1 <= r->room)
        return 1;
    row = realloc(r->row, (longest + longest / 2 + 64) * sizeof *row);
    if (!row)
        return 0;
    r->row = row;
    r->room = longest + longest / 2 + 64;
    return 1;
}

static inline double hedge_of(const double *c, const hedge_feature *f)
{
    return c[0] * (double)f->w[0] + c[1] * (double)f->w[1] + c[2] * (double)f->w[2] +
           c[3] * (double)f->w[3] + c[4] * (double)f->w[4] + c[5] * (double)f->w[5];
}

/* The weight v of a feature. */
static inline double hedge_weight(const double *c, const hedge_feature *f)
{
    if (f->scale2 == 1.0)
        return hedge_of(c, f);
    if (!(f->scale2 > 0.0))
        return 0.0;
    return hedge_of(c, f) / sqrt(f->scale2);
}

static inline double hedge_bias(const hedge *r)
{
    return hedge_of(r->mixture.coefficients, &r->bias);
}

static inline double hedge_weight_at(const void *rule, uint32_t id)
{
    const hedge *r = rule;
    return hedge_weight(r->mixture.coefficients, hedge_at(r, id));
}

static inline void hedge_fetch(const void *rule, uint32_t id)
{
    PREFETCH(hedge_at(rule, id));
}

/* The margins of the rows, as score_rows. */
static int hedge_score(const hedge *r, const rows *x, size_t samples, double *margins)
{
    return score_rows(x, samples, r, blocks_end(&r->state), hedge_bias(r), margins,
                      hedge_weight_at, hedge_fetch, HEDGE_PREFETCH);
}

/* Alpha and beta of SCW-I. */
static inline void hedge_scw(double signed_margin, double v, double c, double phi, double *alpha,
                             double *beta)
{
    const double phi2 = phi * phi, psi = 1.0 + phi2 / 2.0, zeta = 1.0 + phi2;
    const double m = signed_margin;
    double root, a;
    *alpha = *beta = 0.0;
    if (!(m <= 0.0 || phi2 * v > m * m))
        return;
    root = sqrt(m * m * phi2 * phi2 / 4.0 + v * phi2 * zeta);
    a = v > 0.0 ? (-m * psi + root) / (v * zeta) : 0.0;
    if (!(a > 0.0))
        return;
    a = mixture_least(a, c);
    root = (sqrt(a * a * v * v * phi2 + 4.0 * v) - a * v * phi) / 2.0;
    *alpha = a;
    *beta = a * phi / (root + v * a * phi);
}

static inline double hedge_relative(hedge *r, double importance)
{
    double rate, h;
    r->samples++;
    if (importance == 1.0 && r->log_importance == 0.0)
        return 1.0;
    rate = 1.0 / mixture_least((double)r->samples, HEDGE_IMPORTANCE_MEMORY);
    r->log_importance += (fp_log2(importance) - r->log_importance) * rate;
    h = importance / fp_exp2(r->log_importance);
    return mixture_least(HEDGE_MOST_IMPORTANCE, mixture_most(HEDGE_LEAST_IMPORTANCE, h));
}

static inline void hedge_observe(hedge *r, const double *margins, const int *wrong, double y,
                               double h)
{
    int j;
    r->metrics_weights[0] += h;
    r->metrics_weights[1] = r->metrics_weights[1] * RECENT_DISCOUNT + h;
    for (j = 0; j <= EXPERTS; j++) {
        const double mistake = wrong[j] ? h : 0.0, m = y * margins[j];
        const double loss = m < 1.0 ? h * (1.0 - m) : 0.0;
        r->metrics[0][j] += mistake;
        r->metrics[2][j] = r->metrics[2][j] * RECENT_DISCOUNT + mistake;
        r->metrics[1][j] += loss;
        r->metrics[3][j] = r->metrics[3][j] * RECENT_DISCOUNT + loss;
    }
}

/* The adaptive experts' update from their losses: the squares G, then the steps. An expert without
 * loss makes steps of 0; they can turn a weight of -0.0 into 0.0. Lane 0 is the AROW's and stays. */
static INLINED void hedge_adapt(hedge_element *begin, hedge_element *stop, const double *lost,
                               double y, double h, double inverse)
{
    const double inverse2 = inverse * inverse;
    const double4 gradient = {0.0, lost[0] * lost[0] * (h * inverse2),
                              lost[1] * lost[1] * (h * inverse2),
                              lost[2] * lost[2] * (h * inverse2)};
    const double rates[3] = {HEDGE_ETA_SLOW * h, HEDGE_ETA_FAST * h, HEDGE_ETA_FASTEST * h};
    double4 reach = all4(0.0), steps = all4(0.0);
    hedge_element *e;
    int k;
    for (e = begin; e < stop; e++) {
        const double4 square = all4(e->x * e->x);
        float *at = &e->feature->s[2]; /* S2, then G3, G4, G5 */
        const float4 g = narrow4(wide4(load_float4(at)) + gradient * square);
        store_float4(at, g);
        e->rates = (float4){1.0f, 1.0f, 1.0f, 1.0f} / sqrt_float4(g);
        reach += square * wide4(e->rates);
    }
    for (k = 0; k < 3; k++)
        steps[k + 1] =
            rates[k] * lost[k] / (1.0 + rates[k] * (reach[k + 1] * inverse2)) * (y * inverse);
    for (e = begin; e < stop; e++) {
        float *at = &e->feature->w[2];
        const float4 w = load_float4(at);
        const double4 step = steps * all4(e->x) * wide4(e->rates);
        const float4 moved = narrow4(wide4(w) + step);
        store_float4(at, select4((int4){0, -1, -1, -1}, moved, w));
    }
}

/* The step of the experts with variances, SCW, SCW wide and AROW: lanes 0 to 2. */
static INLINED void hedge_move(hedge_element *begin, hedge_element *stop, double4 steps,
                              double4 shrinks)
{
    const float least = (float)HEDGE_LEAST_VARIANCE;
    const float4 floor = {least, least, least, least};
    const int4 mine = {-1, -1, -1, 0};
    hedge_element *e;
    for (e = begin; e < stop; e++) {
        float *const at_w = e->feature->w, *const at_s = e->feature->s;
        const float4 w = load_float4(at_w), s = load_float4(at_s);
        const double4 variance = wide4(s);
        const float4 moved =
            narrow4(wide4(w) + steps * variance * all4(e->x));
        const float4 shrunk =
            narrow4(variance - shrinks * variance * variance * all4(e->x * e->x));
        store_float4(at_w, select4(mine, moved, w));
        store_float4(at_s, select4(mine, select4(shrunk < floor, floor, shrunk), s));
    }
}

/* Sums over a row. old, scaled: the experts' weights times the values over the scales as they were,
 * and as they are with the row counted. v: the variances of SCW, SCW wide and AROW. */
typedef struct {
    double4 old03, scaled03, v;
    double2 old45, scaled45;
    double norm2, margin;
} hedge_sums;

/* Where the value and the scale are 1, as of plain names, all factors are. */
static inline int hedge_is_plain(const hedge_feature *f, double value)
{
    return value == 1.0 && f->scale2 == 1.0;
}

static inline void hedge_count_plain(hedge_feature *f)
{
    const uint64_t age = f->counts >> 6 & HEDGE_MOST_AGE;
    f->counts = ((f->counts >> 24) + 1) << 24
        | (age < HEDGE_MOST_AGE ? age + 1 : HEDGE_MOST_AGE) << 6;
}

/* c times w, added from left to right. */
static inline double hedge_mixed(double4 c03, double2 c45, double4 w03, double2 w45)
{
    const double4 p = c03 * w03;
    const double2 q = c45 * w45;
    return p[0] + p[1] + p[2] + p[3] + q[0] + q[1];
}

/* Count a value, not 0 and not plain, into the scale and the sums; the value over the scale. */
static inline double hedge_add_scaled(hedge_sums *sums, hedge_feature *f, const double *c,
                                      double value)
{
    double4 w03;
    double2 w45;
    double after, square;
    if (f->counts == 0)
        hedge_fresh(f);
    w03 = wide4(load_float4(f->w));
    w45 = wide2(f->w + 4);
    if (f->scale2 > 0.0) {
        const double s = sqrt(f->scale2), before = value / s;
        sums->margin += hedge_of(c, f) / s * value;
        sums->old03 += w03 * all4(before);
        sums->old45 += w45 * all2(before);
    }
    scale_count(&f->scale2, &f->counts, value);
    after = value / sqrt(f->scale2);
    square = after * after;
    sums->norm2 += square;
    sums->scaled03 += w03 * all4(after);
    sums->scaled45 += w45 * all2(after);
    sums->v += wide4(load_float4(f->s)) * all4(square);
    return after;
}

/* Walk row i: its elements into r->row, its sums, the scales counted. One after the last element. */
static INLINED hedge_element *hedge_walk(hedge *r, const rows *x, size_t i, int64_t last,
                                        hedge_sums *sums)
{
    const double *c = r->mixture.coefficients;
    const double4 c03 = {c[0], c[1], c[2], c[3]};
    const double2 c45 = {c[4], c[5]};
    const int64_t end = x->indptr[i + 1];
    hedge_element *row = r->row;
    hedge_sums at = *sums;
    int64_t j = x->indptr[i];
    /* While all are plain, scaled is old. */
    for (; j < end; j++) {
        const int64_t coming = j + HEDGE_PREFETCH < last ? j + HEDGE_PREFETCH : last;
        hedge_feature *f = hedge_at(r, (uint32_t)x->indices[j]);
        double4 w03;
        double2 w45;
        if (UNLIKELY(!hedge_is_plain(f, x->data[j])))
            break;
        PREFETCH(hedge_at(r, (uint32_t)x->indices[coming]));
        hedge_count_plain(f);
        w03 = wide4(load_float4(f->w));
        w45 = wide2(f->w + 4);
        at.margin += hedge_mixed(c03, c45, w03, w45);
        at.old03 += w03;
        at.old45 += w45;
        at.v += wide4(load_float4(f->s));
        at.norm2 += 1.0;
        row->feature = f;
        row->x = 1.0;
        row++;
    }
    at.scaled03 = at.old03;
    at.scaled45 = at.old45;
    for (; j < end; j++) {
        const int64_t coming = j + HEDGE_PREFETCH < last ? j + HEDGE_PREFETCH : last;
        hedge_feature *f = hedge_at(r, (uint32_t)x->indices[j]);
        const double value = x->data[j];
        PREFETCH(hedge_at(r, (uint32_t)x->indices[coming]));
        if (hedge_is_plain(f, value)) {
            const double4 w03 = wide4(load_float4(f->w));
            const double2 w45 = wide2(f->w + 4);
            hedge_count_plain(f);
            at.margin += hedge_mixed(c03, c45, w03, w45);
            at.old03 += w03;
            at.old45 += w45;
            at.scaled03 += w03;
            at.scaled45 += w45;
            at.v += wide4(load_float4(f->s));
            at.norm2 += 1.0;
            row->feature = f;
            row->x = 1.0;
            row++;
        } else if (value != 0.0) {
            row->x = hedge_add_scaled(&at, f, c, value);
            row->feature = f;
            row++;
        }
    }
    *sums = at;
    return row;
}

/* The margin of row i as the model stands; then, for an importance above 0, its update. */
static INLINED double hedge_learn_row(hedge *r, const rows *x, size_t i, int64_t last, double y,
                                     double importance)
{
    hedge_sums sums = {.norm2 = r->has_bias ? 1.0 : 0.0};
    double norm, h, inverse, inverse2, loss;
    double alpha[2], beta[2], arow_step = 0.0, arow_shrink = 0.0, lost[3];
    double margins[EXPERTS + 1];
    double4 scaled03;
    double2 scaled45;
    int wrong[EXPERTS + 1], moves, k;
    hedge_element *stop;
    if (r->has_bias)
        sums.v = wide4(load_float4(r->bias.s));
    stop = hedge_walk(r, x, i, last, &sums);
    sums.margin += hedge_bias(r);
    h = hedge_relative(r, importance);
    if (!(sums.norm2 > 0.0))
        return sums.margin;
    if (r->has_bias) {
        stop->feature = &r->bias;
        stop->x = 1.0;
        stop++;
    }

    norm = sqrt(sums.norm2);
    inverse = 1.0 / norm;
    inverse2 = inverse * inverse;
    store_double4(margins, (sums.old03 + wide4(load_float4(r->bias.w))) * all4(inverse));
    store_double2(margins + 4, (sums.old45 + wide2(r->bias.w + 4)) * all2(inverse));
    scaled03 = (sums.scaled03 + wide4(load_float4(r->bias.w))) * all4(inverse);
    scaled45 = (sums.scaled45 + wide2(r->bias.w + 4)) * all2(inverse);
    margins[EXPERTS] = mixture_learn(&r->mixture, margins, norm, y, h, wrong);
    hedge_observe(r, margins, wrong, y, importance);

    hedge_scw(y * scaled03[0], sums.v[0] * inverse2, HEDGE_C * h, HEDGE_PHI, &alpha[0], &beta[0]);
    hedge_scw(y * scaled03[1], sums.v[1] * inverse2, HEDGE_C_WIDE * h, HEDGE_PHI_WIDE, &alpha[1],
              &beta[1]);
    moves = alpha[0] != 0.0 || alpha[1] != 0.0;
    loss = 1.0 - y * scaled03[2];
    if (loss > 0.0) {
        const double b = 1.0 / (sums.v[2] * inverse2 + HEDGE_AROW_R / h);
        arow_step = loss * b * y * inverse;
        arow_shrink = b * inverse2;
        moves = 1;
    }
    lost[0] = 1.0 - y * mixture_cut(scaled03[3], 1.0);
    lost[1] = 1.0 - y * mixture_cut(scaled45[0], 1.0);
    lost[2] = 1.0 - y * mixture_cut(scaled45[1], 1.0);
    if (lost[0] > 0.0 || lost[1] > 0.0 || lost[2] > 0.0) {
        for (k = 0; k < 3; k++)
            lost[k] = lost[k] > 0.0 ? lost[k] : 0.0;
        hedge_adapt(r->row, stop, lost, y, h, inverse);
    }
    if (moves)
        hedge_move(r->row, stop,
                   (double4){alpha[0] * y * inverse, alpha[1] * y * inverse, arow_step, 0.0},
                   (double4){beta[0] * inverse2, beta[1] * inverse2, arow_shrink, 0.0});
    return sums.margin;
}

/* Score, then learn, row by row; the margins before each update. There must be state for every id
 * of the rows, and room for the longest. */
static WIDER void hedge_learn(hedge *r, const rows *x, size_t samples, const double *labels,
                              const double *importances, double *margins)
{
    const int64_t last = x->indptr[samples] - 1;
    size_t i;
    for (i = 0; i < samples; i++) {
        if (importances[i] > 0) {
            margins[i] = hedge_learn_row(r, x, i, last, labels[i], importances[i]);
        } else {
            const rows one = {x->indptr + i, x->indices, x->data};
            hedge_score(r, &one, 1, margins + i);
        }
    }
}

/* The weights of ids first .. first + n - 1. */
static void hedge_weights(const hedge *r, uint32_t first, size_t n, double *weights)
{
    const uint64_t end_id = blocks_end(&r->state);
    size_t i;
    for (i = 0; i < n; i++) {
        const uint64_t id = (uint64_t)first + i;
        weights[i] =
            id < end_id ? hedge_weight(r->mixture.coefficients, hedge_at(r, (uint32_t)id)) : 0.0;
    }
}

/* How many samples had the feature. */
static int64_t hedge_seen(const hedge *r, uint32_t id)
{
    return id && id < blocks_end(&r->state) ? (int64_t)(hedge_at(r, id)->counts >> 24) : 0;
}

#define HEDGE_SINGLES 12
#define HEDGE_NUMBERS 13

/* The experts' numbers of a feature, in the order of onlinesvm.model.rules.hedge.SINGLES. */
static void hedge_singles(const hedge_feature *f, float *numbers)
{
    const int fresh = f->counts == 0 && f->scale2 == 0.0;
    int k;
    memcpy(numbers, f->w, sizeof f->w);
    memcpy(numbers + 6, f->s, sizeof f->s);
    for (k = 0; fresh && k < 3; k++) {
        numbers[6 + k] = 1.0f;
        numbers[9 + k] = (float)HEDGE_LEAST_SQUARE;
    }
}

static void hedge_restore_numbers(hedge_feature *f, const double *numbers)
{
    int k;
    for (k = 0; k < 6; k++) {
        f->w[k] = (float)numbers[k];
        f->s[k] = (float)numbers[6 + k];
    }
    f->scale2 = numbers[HEDGE_SINGLES];
}

/* The numbers of `n` features, a column for each, from place `at` on: HEDGE_SINGLES of float32, the
 * scale's square, then age, run, seen. */
static void hedge_unpack(const double *records, size_t n, double *const *columns, size_t at)
{
    const hedge_feature *f = (const hedge_feature *)(const void *)records;
    size_t i, k;
    for (i = 0; i < n; i++, f++) {
        float numbers[HEDGE_SINGLES];
        hedge_singles(f, numbers);
        for (k = 0; k < HEDGE_SINGLES; k++)
            ((float *)(void *)columns[k])[at + i] = numbers[k];
        columns[HEDGE_SINGLES][at + i] = f->scale2;
        ((int64_t *)columns[HEDGE_NUMBERS])[at + i] = (int64_t)(f->counts >> 6 & HEDGE_MOST_AGE);
        ((int64_t *)columns[HEDGE_NUMBERS + 1])[at + i] = (int64_t)(f->counts & 63);
        ((int64_t *)columns[HEDGE_NUMBERS + 2])[at + i] = (int64_t)(f->counts >> 24);
    }
}

/* Take the state of a dump; there must be state for ids up to n. */
static void hedge_restore(hedge *r, size_t n, const double *numbers, const int64_t *counts)
{
    size_t i;
    for (i = 0; i < n; i++) {
        hedge_feature *f = hedge_at(r, (uint32_t)(i + 1));
        hedge_restore_numbers(f, numbers + i * HEDGE_NUMBERS);
        f->counts = (uint64_t)counts[3 * i + 2] << 24 | (uint64_t)counts[3 * i] << 6 |
                    (uint64_t)counts[3 * i + 1];
    }
}

#endif
