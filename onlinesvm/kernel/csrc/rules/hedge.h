/* The rule `hedge`: see onlinesvm.model.rules.hedge, of which this is the same arithmetic in the
 * same order.
 *
 * A feature's state is one cache line. The experts' weights w0 … w5, variances S0 … S2 and squares
 * G3 … G5 are float32, 48 bytes; the scale's square is a double; the counts are packed in 64 bits:
 * tag << 61 | seen << 24 | age << 6 | run, where the tag is the feature's view and OF_TEXT. Arithmetic
 * is in doubles and rounded where it is stored; only the rates 1/sqrt(G) are float32. Fresh state is
 * zero but for the tag; it counts as S = 1, G = 1e-30.
 *
 * A model whose tags are all 0 walks its rows by hedge_learn_row, any other by hedge_learn_views, of
 * which the first is a special case.
 */
#ifndef ONLINESVM_HEDGE_H
#define ONLINESVM_HEDGE_H

#include "constants.h"
#include "memory/blocks.h"
#include "memory/vector.h"
#include "rules/idf.h"
#include "rules/mixture.h"
#include "rules/scale.h"
#include "rules/score.h"

#define HEDGE_STRIDE 8
#define HEDGE_PREFETCH 48 /* elements ahead whose state is prefetched */
#define HEDGE_METRICS 4
#define HEDGE_TAG 61 /* the lowest bit of the tag in the counts */


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

/* The elements of the row at hand, and the bias; where views are, as many for each. A row that was
 * learned leaves it to the next, of whichever model. */
typedef struct hedge_row {
    struct hedge_row *next;
    size_t room;
    hedge_element at[];
} hedge_row;

#define HEDGE_MOST_ROOM ((size_t)1 << 15) /* of the elements that are left to the next row */

static hedge_row *hedge_rows; /* those that nobody uses; under the interpreter's lock */

typedef struct {
    blocks state;
    int has_bias;
    int plain; /* all tags are 0 */
    int wide;  /* rows have room for elements of all views */
    int views; /* that have come to be; view 0 always has */
    int slot[VIEWS]; /* of a view, in the order in which they came to be; -1 for none */
    int64_t with[VIEWS]; /* samples that had a text's feature of the view */
    double logs[VIEWS];  /* log2(1 + with) */
    hedge_feature bias[VIEWS]; /* by slot */
    mixture mixture;
    double log_importance;
    int64_t samples;
    /* errors, losses, recent errors, recent losses, each of all experts and the stack */
    double metrics[HEDGE_METRICS * (MIXTURE_MOST + 1)];
    double metrics_weights[2];
    hedge_row *row; /* while rows are learned */
    size_t room;    /* of it, for each view */
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

static void hedge_fresh_bias(hedge_feature *f)
{
    memset(f, 0, sizeof *f);
    hedge_fresh(f);
    f->scale2 = 1.0;
}

static void hedge_init(hedge *r, int has_bias)
{
    int k;
    memset(r, 0, sizeof *r);
    blocks_init(&r->state, HEDGE_STRIDE);
    r->has_bias = has_bias;
    r->plain = r->views = 1;
    for (k = 0; k < VIEWS; k++) {
        r->slot[k] = k ? -1 : 0;
        hedge_fresh_bias(&r->bias[k]);
    }
    mixture_init(&r->mixture, EXPERTS);
}

static void hedge_clear(hedge *r)
{
    blocks_clear(&r->state);
    free(r->row);
    r->row = NULL;
    free(r->mixture.many);
    r->mixture.many = NULL;
}

/* Make room for all views to come. 0 without memory. */
static int hedge_widen(hedge *r) { return mixture_widen(&r->mixture); }

/* Begin to learn rows of up to `longest` elements; 0 without memory. */
static int hedge_begin(hedge *r, size_t longest)
{
    const size_t views = r->wide ? VIEWS : 1;
    if (r->wide && !hedge_widen(r))
        return 0;
    if (!r->row && (r->row = hedge_rows))
        hedge_rows = hedge_rows->next;
    if (!r->row || r->row->room < views * (longest + 1)) {
        const size_t room = views * (longest + longest / 2 + 64);
        hedge_row *made = malloc(sizeof *made + room * sizeof *made->at);
        if (!made)
            return 0;
        made->room = room;
        free(r->row);
        r->row = made;
    }
    r->room = r->row->room / views;
    return 1;
}

/* End it, if it was begun. */
static void hedge_end(hedge *r)
{
    hedge_row *const row = r->row;
    r->row = NULL;
    if (!row)
        return;
    if (row->room > HEDGE_MOST_ROOM) {
        free(row);
    } else {
        row->next = hedge_rows;
        hedge_rows = row;
    }
}

/* Before rows are begun: features of any view may be in them. */
static void hedge_expect_views(hedge *r) { r->wide = 1; }

/* The tags of the new features `first` .. first + n - 1, that there is state for. */
static void hedge_enter(hedge *r, uint32_t first, const uint8_t *tags, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        hedge_at(r, first + (uint32_t)i)->counts |= (uint64_t)tags[i] << HEDGE_TAG;
        if (tags[i])
            r->plain = 0;
    }
}

static inline int hedge_tag(const hedge_feature *f) { return (int)(f->counts >> HEDGE_TAG); }

/* Samples that had the feature. */
static inline uint64_t hedge_seen_of(const hedge_feature *f)
{
    return f->counts << (64 - HEDGE_TAG) >> (64 - HEDGE_TAG + 24);
}

static inline int hedge_is_fresh(const hedge_feature *f)
{
    return f->counts << (64 - HEDGE_TAG) == 0;
}

static inline double hedge_of(const double *c, const hedge_feature *f)
{
    return c[0] * (double)f->w[0] + c[1] * (double)f->w[1] + c[2] * (double)f->w[2] +
           c[3] * (double)f->w[3] + c[4] * (double)f->w[4] + c[5] * (double)f->w[5];
}

/* The weight v of a feature, but for its idf. */
static inline double hedge_weight(const double *c, const hedge_feature *f)
{
    if (f->scale2 == 1.0)
        return hedge_of(c, f);
    if (!(f->scale2 > 0.0))
        return 0.0;
    return hedge_of(c, f) / sqrt(f->scale2);
}

/* 1 + ln((1 + N)/(1 + n)) of a feature that a text has, 1 of any other: n of the N samples that had
 * a text's feature of its view had it. */
static inline double hedge_idf(const hedge *r, const hedge_feature *f)
{
    const int tag = hedge_tag(f);
    if (!(tag & OF_TEXT))
        return 1.0;
    return idf_of(r->logs[tag & (VIEWS - 1)], hedge_seen_of(f));
}

/* The coefficients of the experts of a feature's view; any, where the view has not come to be: the
 * feature's weights are 0 then. */
static inline const double *hedge_coefficients(const hedge *r, const hedge_feature *f)
{
    const int slot = r->slot[hedge_tag(f) & (VIEWS - 1)];
    return r->mixture.coefficients + (slot > 0 ? slot * EXPERTS : 0);
}

static inline double hedge_bias(const hedge *r)
{
    double bias = hedge_of(r->mixture.coefficients, &r->bias[0]);
    int k;
    for (k = 1; k < r->views; k++)
        bias += hedge_of(r->mixture.coefficients + k * EXPERTS, &r->bias[k]);
    return bias;
}

static inline double hedge_weight_at(const void *rule, uint32_t id)
{
    const hedge *r = rule;
    return hedge_weight(r->mixture.coefficients, hedge_at(r, id));
}

static inline double hedge_weight_in_views(const void *rule, uint32_t id)
{
    const hedge *r = rule;
    const hedge_feature *f = hedge_at(r, id);
    return hedge_weight(hedge_coefficients(r, f), f) * hedge_idf(r, f);
}

static inline void hedge_fetch(const void *rule, uint32_t id)
{
    PREFETCH(hedge_at(rule, id));
}

/* The margins of the rows, as score_rows. */
static int hedge_score(const hedge *r, const rows *x, size_t samples, double *margins)
{
    if (UNLIKELY(!r->plain))
        return score_rows(x, samples, r, blocks_end(&r->state), hedge_bias(r), margins,
                          hedge_weight_in_views, hedge_fetch, HEDGE_PREFETCH);
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

static INLINED void hedge_observe(hedge *r, const int n, const double *margins, const int *wrong,
                                  double y, double h)
{
    double *const errors = r->metrics, *const losses = errors + n + 1;
    double *const recent_errors = losses + n + 1, *const recent_losses = recent_errors + n + 1;
    int j;
    r->metrics_weights[0] += h;
    r->metrics_weights[1] = r->metrics_weights[1] * RECENT_DISCOUNT + h;
    for (j = 0; j <= n; j++) {
        const double mistake = wrong[j] ? h : 0.0, m = y * margins[j];
        const double loss = m < 1.0 ? h * (1.0 - m) : 0.0;
        errors[j] += mistake;
        recent_errors[j] = recent_errors[j] * RECENT_DISCOUNT + mistake;
        losses[j] += loss;
        recent_losses[j] = recent_losses[j] * RECENT_DISCOUNT + loss;
    }
}

/* The adaptive experts' squares G from their losses, and with these their steps but for x and the
 * rates. An expert without loss makes steps of 0; they can turn a weight of -0.0 into 0.0. Lane 0 is
 * the AROW's. */
static INLINED double4 hedge_adapt(hedge_element *begin, hedge_element *stop, const double *lost,
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
    return steps;
}

/* The steps of all experts in one walk: of those with variances, SCW, SCW wide and AROW, where they
 * `move`, lanes 0 to 2 of w0 to w3; of the adaptive ones where they `adapt`, lanes 1 to 3 of w2 to
 * w5. */
static INLINED void hedge_step(hedge_element *begin, hedge_element *stop, const int move,
                               double4 steps, double4 shrinks, const int adapt, double4 adapted)
{
    const float least = (float)HEDGE_LEAST_VARIANCE;
    const float4 floor = {least, least, least, least};
    const int4 mine = {-1, -1, -1, 0}, others = {0, -1, -1, -1};
    hedge_element *e;
    for (e = begin; e < stop; e++) {
        float *const at_w = e->feature->w, *const at_s = e->feature->s;
        const float4 w = load_float4(at_w), last = load_float4(at_w + 2), s = load_float4(at_s);
        const double4 x = all4(e->x), variance = wide4(s);
        float4 moved = w, stepped = last;
        if (move) {
            const float4 shrunk = narrow4(variance - shrinks * variance * variance * (x * x));
            moved = narrow4(wide4(w) + steps * variance * x);
            store_float4(at_s, select4(mine, select4(shrunk < floor, floor, shrunk), s));
        }
        if (adapt)
            stepped = narrow4(wide4(last) + adapted * x * wide4(e->rates));
        store_float4(at_w, select4(mine, moved, w));
        if (adapt)
            store_float4(at_w + 2, select4(others, stepped, (float4){moved[2]}));
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
    if (hedge_is_fresh(f))
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
    hedge_element *row = r->row->at;
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

/* The experts' margins on a view of a sample, scaled to norm 1: as the model stands, and with the
 * scales that count the sample. */
static INLINED void hedge_margins(const hedge_sums *sums, const hedge_feature *bias, double inverse,
                                  double *standing, double *own)
{
    const double4 b03 = wide4(load_float4(bias->w));
    const double2 b45 = wide2(bias->w + 4);
    store_double4(standing, (sums->old03 + b03) * all4(inverse));
    store_double2(standing + 4, (sums->old45 + b45) * all2(inverse));
    store_double4(own, (sums->scaled03 + b03) * all4(inverse));
    store_double2(own + 4, (sums->scaled45 + b45) * all2(inverse));
}

/* The experts' update of the elements of a view, by their `own` margins; v: the sums' variances. */
static INLINED void hedge_update(hedge_element *begin, hedge_element *stop, const double *own,
                                 double4 v, double y, double h, double inverse)
{
    const double inverse2 = inverse * inverse;
    double alpha[2], beta[2], arow_step = 0.0, arow_shrink = 0.0, lost[3], loss;
    double4 adapted = all4(0.0), steps, shrinks;
    int moves, adapts, k;
    hedge_scw(y * own[0], v[0] * inverse2, HEDGE_C * h, HEDGE_PHI, &alpha[0], &beta[0]);
    hedge_scw(y * own[1], v[1] * inverse2, HEDGE_C_WIDE * h, HEDGE_PHI_WIDE, &alpha[1], &beta[1]);
    moves = alpha[0] != 0.0 || alpha[1] != 0.0;
    loss = 1.0 - y * own[2];
    if (loss > 0.0) {
        const double b = 1.0 / (v[2] * inverse2 + HEDGE_AROW_R / h);
        arow_step = loss * b * y * inverse;
        arow_shrink = b * inverse2;
        moves = 1;
    }
    for (k = 0; k < 3; k++)
        lost[k] = 1.0 - y * mixture_cut(own[3 + k], 1.0);
    adapts = lost[0] > 0.0 || lost[1] > 0.0 || lost[2] > 0.0;
    if (adapts) {
        for (k = 0; k < 3; k++)
            lost[k] = lost[k] > 0.0 ? lost[k] : 0.0;
        adapted = hedge_adapt(begin, stop, lost, y, h, inverse);
    }
    steps = (double4){alpha[0] * y * inverse, alpha[1] * y * inverse, arow_step, 0.0};
    shrinks = (double4){beta[0] * inverse2, beta[1] * inverse2, arow_shrink, 0.0};
    if (moves && adapts)
        hedge_step(begin, stop, 1, steps, shrinks, 1, adapted);
    else if (moves)
        hedge_step(begin, stop, 1, steps, shrinks, 0, adapted);
    else if (adapts)
        hedge_step(begin, stop, 0, steps, shrinks, 1, adapted);
}

static INLINED hedge_element *hedge_add_bias(hedge_element *stop, hedge_feature *bias)
{
    stop->feature = bias;
    stop->x = 1.0;
    return stop + 1;
}

/* The margin of row i as the model stands; then, for an importance above 0, its update. */
static INLINED double hedge_learn_row(hedge *r, const rows *x, size_t i, int64_t last, double y,
                                     double importance)
{
    hedge_sums sums = {.norm2 = r->has_bias ? 1.0 : 0.0};
    double norm, h, inverse, margins[EXPERTS + 1], own[EXPERTS];
    int wrong[EXPERTS + 1];
    hedge_element *stop;
    if (r->has_bias)
        sums.v = wide4(load_float4(r->bias[0].s));
    stop = hedge_walk(r, x, i, last, &sums);
    sums.margin += hedge_of(r->mixture.coefficients, &r->bias[0]);
    h = hedge_relative(r, importance);
    if (!(sums.norm2 > 0.0))
        return sums.margin;
    if (r->has_bias)
        stop = hedge_add_bias(stop, &r->bias[0]);
    norm = sqrt(sums.norm2);
    inverse = 1.0 / norm;
    hedge_margins(&sums, &r->bias[0], inverse, margins, own);
    margins[EXPERTS] = mixture_learn(&r->mixture, EXPERTS, margins, &norm, y, h, wrong);
    hedge_observe(r, EXPERTS, margins, wrong, y, importance);
    hedge_update(r->row->at, stop, own, sums.v, y, h, inverse);
    return sums.margin;
}

/* A view comes to be: a bias, and experts of its own. */
static void hedge_open_view(hedge *r, int view)
{
    const size_t old = (size_t)r->views * EXPERTS, n = old + EXPERTS;
    size_t k, j;
    r->slot[view] = r->views++;
    for (k = HEDGE_METRICS; k-- > 0;) { /* the rows get longer; the stack stays the last of each */
        const double stack = r->metrics[k * (old + 1) + old];
        for (j = old; j-- > 0;)
            r->metrics[k * (n + 1) + j] = r->metrics[k * (old + 1) + j];
        for (j = old; j < n; j++)
            r->metrics[k * (n + 1) + j] = 0.0;
        r->metrics[k * (n + 1) + n] = stack;
    }
    mixture_grow(&r->mixture);
}

/* Walk row i: its elements into r->row, those of a view from view * r->room on, up to `stops`; its
 * sums by view, the scales counted; which views have features of texts. The margin, without the
 * biases. */
static INLINED double hedge_walk_views(hedge *r, const rows *x, size_t i, int64_t last,
                                       hedge_sums *sums, hedge_element **stops, int *of_text)
{
    const int64_t end = x->indptr[i + 1];
    hedge_sums at = sums[0]; /* of the view at hand: a view's features mostly come together */
    hedge_element *stop = stops[0];
    const double *c = r->mixture.coefficients;
    double margin = 0.0;
    int view = 0;
    int64_t j;
    for (j = x->indptr[i]; j < end; j++) {
        const int64_t coming = j + HEDGE_PREFETCH < last ? j + HEDGE_PREFETCH : last;
        hedge_feature *f = hedge_at(r, (uint32_t)x->indices[j]);
        const double value = x->data[j], idf = hedge_idf(r, f);
        const int tag = hedge_tag(f);
        double4 w03;
        double2 w45;
        double after, square;
        PREFETCH(hedge_at(r, (uint32_t)x->indices[coming]));
        if (value == 0.0)
            continue;
        if (UNLIKELY((tag & (VIEWS - 1)) != view)) {
            sums[view] = at;
            stops[view] = stop;
            view = tag & (VIEWS - 1);
            at = sums[view];
            stop = stops[view];
            c = hedge_coefficients(r, f);
        }
        if (hedge_is_fresh(f))
            hedge_fresh(f);
        w03 = wide4(load_float4(f->w));
        w45 = wide2(f->w + 4);
        if (hedge_is_plain(f, value)) {
            margin += hedge_of(c, f) * idf;
            hedge_count_plain(f);
            after = idf;
            at.old03 += w03 * all4(after);
            at.old45 += w45 * all2(after);
        } else {
            if (f->scale2 > 0.0) {
                const double s = sqrt(f->scale2), before = value / s * idf;
                margin += hedge_of(c, f) / s * idf * value;
                at.old03 += w03 * all4(before);
                at.old45 += w45 * all2(before);
            }
            scale_count(&f->scale2, &f->counts, value);
            after = value / sqrt(f->scale2) * idf;
        }
        square = after * after;
        at.norm2 += square;
        at.scaled03 += w03 * all4(after);
        at.scaled45 += w45 * all2(after);
        at.v += wide4(load_float4(f->s)) * all4(square);
        of_text[view] |= tag & OF_TEXT;
        stop->feature = f;
        stop++->x = after;
    }
    sums[view] = at;
    stops[view] = stop;
    return margin;
}

/* As hedge_learn_row, for a sample of several views, each with a norm, a bias and experts of its
 * own; a text's features count by their idf. */
static INLINED double hedge_learn_views(hedge *r, const rows *x, size_t i, int64_t last, double y,
                                        double importance)
{
    hedge_sums sums[VIEWS];
    hedge_element *begins[VIEWS], *stops[VIEWS];
    double margin, h, norms[VIEWS], inverses[VIEWS];
    double margins[MIXTURE_MOST + 1], own[MIXTURE_MOST];
    int wrong[MIXTURE_MOST + 1], of_text[VIEWS] = {0}, view, some = 0;
    memset(sums, 0, sizeof sums);
    for (view = 0; view < VIEWS; view++) {
        const hedge_feature *bias = &r->bias[r->slot[view] < 0 ? VIEWS - 1 : r->slot[view]];
        begins[view] = stops[view] = r->row->at + (size_t)view * r->room;
        if (!r->has_bias)
            continue;
        sums[view].norm2 = 1.0;
        sums[view].v = wide4(load_float4(bias->s)); /* the last is fresh while any is */
    }
    margin = hedge_walk_views(r, x, i, last, sums, stops, of_text) + hedge_bias(r);
    h = hedge_relative(r, importance);
    for (view = 0; view < VIEWS; view++) {
        if (of_text[view])
            r->logs[view] = idf_log((uint64_t)++r->with[view]);
        if (r->slot[view] < 0 && stops[view] > begins[view])
            hedge_open_view(r, view);
        some |= sums[view].norm2 > 0.0;
    }
    if (!some)
        return margin;
    for (view = 0; view < VIEWS; view++) {
        const int slot = r->slot[view];
        if (slot < 0)
            continue;
        norms[slot] = inverses[slot] = 0.0;
        memset(margins + slot * EXPERTS, 0, EXPERTS * sizeof *margins);
        if (r->has_bias)
            stops[view] = hedge_add_bias(stops[view], &r->bias[slot]);
        if (!(sums[view].norm2 > 0.0))
            continue;
        norms[slot] = sqrt(sums[view].norm2);
        inverses[slot] = 1.0 / norms[slot];
        hedge_margins(&sums[view], &r->bias[slot], inverses[slot], margins + slot * EXPERTS,
                      own + slot * EXPERTS);
    }
    margins[r->mixture.experts] =
        mixture_learn(&r->mixture, r->mixture.experts, margins, norms, y, h, wrong);
    hedge_observe(r, r->mixture.experts, margins, wrong, y, importance);
    for (view = 0; view < VIEWS; view++) {
        const int slot = r->slot[view];
        if (slot >= 0 && norms[slot] > 0.0)
            hedge_update(begins[view], stops[view], own + slot * EXPERTS, sums[view].v, y, h,
                         inverses[slot]);
    }
    return margin;
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
            margins[i] = LIKELY(r->plain)
                ? hedge_learn_row(r, x, i, last, labels[i], importances[i])
                : hedge_learn_views(r, x, i, last, labels[i], importances[i]);
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
        weights[i] = id < end_id ? hedge_weight_in_views(r, (uint32_t)id) : 0.0;
    }
}

/* How many samples had the feature. */
static int64_t hedge_seen(const hedge *r, uint32_t id)
{
    return id && id < blocks_end(&r->state) ? (int64_t)hedge_seen_of(hedge_at(r, id)) : 0;
}

#define HEDGE_SINGLES 12
#define HEDGE_NUMBERS 13

/* The experts' numbers of a feature, in the order of onlinesvm.model.rules.hedge.SINGLES. */
static void hedge_singles(const hedge_feature *f, float *numbers)
{
    const int fresh = hedge_is_fresh(f) && f->scale2 == 0.0;
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
 * scale's square, then age, run, seen; and the tags, where there is a column for them. */
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
        ((int64_t *)columns[HEDGE_NUMBERS + 2])[at + i] = (int64_t)hedge_seen_of(f);
        if (columns[HEDGE_NUMBERS + 3])
            ((uint8_t *)columns[HEDGE_NUMBERS + 3])[at + i] = (uint8_t)hedge_tag(f);
    }
}

/* Take the state of a dump; there must be state for ids up to n. tags: NULL where all are 0. */
static void hedge_restore(hedge *r, size_t n, const double *numbers, const int64_t *counts,
                          const uint8_t *tags)
{
    size_t i;
    for (i = 0; i < n; i++) {
        hedge_feature *f = hedge_at(r, (uint32_t)(i + 1));
        hedge_restore_numbers(f, numbers + i * HEDGE_NUMBERS);
        f->counts = (uint64_t)counts[3 * i + 2] << 24 | (uint64_t)counts[3 * i] << 6 |
                    (uint64_t)counts[3 * i + 1] | (uint64_t)(tags ? tags[i] : 0) << HEDGE_TAG;
    }
}

#define HEDGE_SCALARS_MOST \
    (1 + VIEWS * HEDGE_SINGLES + sizeof(mixture) / sizeof(double) + MIXTURE_MOST * MIXTURE_MOST \
     + 2 + HEDGE_METRICS * (MIXTURE_MOST + 1))

/* The numbers that belong to no feature, but for whole ones, in the order of a dump; how many.
 * With `restores` they are taken from there; r->plain, r->views and r->slot must be set then. */
static size_t hedge_copy(hedge *r, double *numbers, int restores)
{
    const size_t metrics = HEDGE_METRICS * ((size_t)r->views * EXPERTS + 1);
    size_t at = 1;
    int k, j;
    if (restores)
        r->log_importance = numbers[0];
    else
        numbers[0] = r->log_importance;
    for (k = 0; k < r->views; k++) {
        hedge_feature *bias = &r->bias[k];
        float singles[HEDGE_SINGLES];
        if (restores) {
            double given[HEDGE_NUMBERS];
            memcpy(given, numbers + at, HEDGE_SINGLES * sizeof *given);
            given[HEDGE_SINGLES] = 1.0; /* the bias's scale */
            hedge_restore_numbers(bias, given);
        } else {
            hedge_singles(bias, singles);
            for (j = 0; j < HEDGE_SINGLES; j++)
                numbers[at + (size_t)j] = singles[j];
        }
        at += HEDGE_SINGLES;
    }
    if (restores)
        mixture_init(&r->mixture, r->views * EXPERTS);
    at += mixture_copy(&r->mixture, numbers + at, !r->plain, restores);
    if (restores) {
        memcpy(r->metrics_weights, numbers + at, sizeof r->metrics_weights);
        memcpy(r->metrics, numbers + at + 2, metrics * sizeof(double));
    } else {
        memcpy(numbers + at, r->metrics_weights, sizeof r->metrics_weights);
        memcpy(numbers + at + 2, r->metrics, metrics * sizeof(double));
    }
    return at + 2 + metrics;
}

#endif
