/* Metrics of the progressive margins: see onlinesvm.metrics.calibration, confusion, drift
 * and monitor, of which this is the same arithmetic in the same order.
 */
#ifndef ONLINESVM_MONITOR_H
#define ONLINESVM_MONITOR_H

#include <math.h>
#include <string.h>

#include "constants.h"
#include "memory/pages.h"
#include "metrics/fpmath.h"

/* All doubles, in the order of a dump. */
typedef struct {
    double samples;
    double slope, intercept, aa, ab, bb;
    double count, size;                                 /* of the mean magnitude */
    double g_a, g_b, h_aa, h_ab, h_bb, sizes;           /* the sums of a group */
    double positive[CALIBRATION_KNOTS], weight[CALIBRATION_KNOTS], map[CALIBRATION_KNOTS];
    double gain, bins[3 * CALIBRATION_BINS];
    double counts[4], recent[4];
    double auc_gain, auc_positive[AUC_BINS], auc_negative[AUC_BINS];
    double drifts, since, n, wrong, cut_n, cut_wrong;
} monitor;

#define MONITOR_SIZE (sizeof(monitor) / sizeof(double))

/* The shares of the knots, pooled until they rise: see onlinesvm.metrics.calibration.rising. */
static void monitor_pool(monitor *m)
{
    double positive[CALIBRATION_KNOTS], weight[CALIBRATION_KNOTS];
    int last[CALIBRATION_KNOTS], pools = 0, j, k = 0;
    for (j = 0; j < CALIBRATION_KNOTS; j++) {
        double one = m->positive[j], of = m->weight[j];
        while (pools > 0 && positive[pools - 1] * of >= one * weight[pools - 1]) {
            pools--;
            one = positive[pools] + one;
            of = weight[pools] + of;
        }
        positive[pools] = one;
        weight[pools] = of;
        last[pools++] = j;
    }
    for (j = 0; j < pools; j++)
        for (; k <= last[j]; k++)
            m->map[k] = positive[j] / weight[j];
}

static inline void monitor_map(monitor *m)
{
    int k, falls = 0;
    for (k = 1; k < CALIBRATION_KNOTS; k++)
        falls |= m->positive[k - 1] * m->weight[k] >= m->positive[k] * m->weight[k - 1];
    if (falls) {
        monitor_pool(m);
        return;
    }
    for (k = 0; k < CALIBRATION_KNOTS; k++)
        m->map[k] = m->positive[k] / m->weight[k];
}

static void monitor_init(monitor *m)
{
    int k;
    memset(m, 0, sizeof *m);
    m->slope = m->aa = m->bb = m->gain = m->auc_gain = 1.0;
    for (k = 0; k < CALIBRATION_KNOTS; k++) {
        m->positive[k] = CALIBRATION_KNOT_PRIOR * k / (CALIBRATION_KNOTS - 1);
        m->weight[k] = CALIBRATION_KNOT_PRIOR;
    }
    monitor_map(m);
}

static inline double monitor_mean(const monitor *m)
{
    return m->size > 0.0 ? m->size / m->count : 0.0;
}

/* The margin over the mean magnitude, cut; in this form nan is cut too, and nothing branches. */
static inline double monitor_scaled(double mean, double margin)
{
    double z = mean > 0.0 ? margin / mean : margin;
    z = z < CALIBRATION_CUT ? z : CALIBRATION_CUT;
    return z > -CALIBRATION_CUT ? z : -CALIBRATION_CUT;
}

/* The whole part of `at`, cut to 0 .. most; of nan, `most`: no number indexes out of bounds. */
static inline int monitor_index(double at, int most)
{
    at = at < (double)most ? at : (double)most;
    return (int)(at > 0.0 ? at : 0.0);
}

static inline int monitor_knot(double p, double *part)
{
    const double at = p * (CALIBRATION_KNOTS - 1);
    const int k = monitor_index(at, CALIBRATION_KNOTS - 2);
    *part = at - k;
    return k;
}

static inline double monitor_mapped(const monitor *m, int k, double part)
{
    return m->map[k] + part * (m->map[k + 1] - m->map[k]);
}

static inline double monitor_probability(const monitor *m, double z)
{
    double part;
    const int k = monitor_knot(fp_sigmoid(m->slope * z + m->intercept), &part);
    return monitor_mapped(m, k, part);
}

/* Learn the group of n samples, whose magnitudes discount those before by `discount`. */
static void monitor_move(monitor *m, double n, double discount)
{
    const double drawn = CALIBRATION_RETURN * n, kept = 1.0 - drawn;
    const double determinant = m->aa * m->bb - m->ab * m->ab;
    double aa = m->aa, ab = m->ab, bb = m->bb, a, b;
    double whole = 1.0 + aa * m->h_aa + 2.0 * ab * m->h_ab + bb * m->h_bb;
    whole = whole + determinant * (m->h_aa * m->h_bb - m->h_ab * m->h_ab);
    aa = (aa + determinant * m->h_bb) / whole;
    ab = (ab - determinant * m->h_ab) / whole;
    bb = (bb + determinant * m->h_aa) / whole;
    a = m->slope + (aa * m->g_a + ab * m->g_b);
    b = m->intercept + (ab * m->g_a + bb * m->g_b);
    if (a < 0.0) {
        b -= ab / aa * a;
        a = 0.0;
    }
    m->slope = a;
    m->intercept = b;
    m->aa = aa * kept + drawn;
    m->ab = ab * kept;
    m->bb = bb * kept + drawn;
    m->count = m->count * discount + n;
    m->size = m->size * discount + m->sizes;
    m->g_a = m->g_b = m->h_aa = m->h_ab = m->h_bb = m->sizes = 0.0;
    monitor_map(m);
}

/* The samples of a group that are learned together. */
typedef struct {
    size_t n;
    size_t at[CALIBRATION_GROUP]; /* among those of the call */
    double z[CALIBRATION_GROUP], p[CALIBRATION_GROUP];
} monitor_group;

/* Learn samples of one group: none waits for the one before. */
static inline void monitor_calibrate(monitor *m, double mean, monitor_group *g,
                                     const double *margins, const double *labels)
{
    const double most = mean > 0.0 ? CALIBRATION_MOST_SIZE * mean : INFINITY;
    double g_a = m->g_a, g_b = m->g_b, h_aa = m->h_aa, h_ab = m->h_ab, h_bb = m->h_bb;
    double sizes = m->sizes, gain = m->gain;
    size_t i;
    for (i = 0; i < g->n; i++) {
        g->z[i] = monitor_scaled(mean, margins[g->at[i]]);
        g->p[i] = m->slope * g->z[i] + m->intercept;
    }
    if (g->n == 1) {
        g->p[0] = fp_sigmoid(g->p[0]);
    } else {
        for (; i < CALIBRATION_GROUP; i++)
            g->p[i] = 0.0;
        fp_sigmoids(g->p);
    }
    for (i = 0; i < g->n; i++) {
        const double truth = labels[g->at[i]] > 0.0 ? 1.0 : 0.0, size = fabs(margins[g->at[i]]);
        const double p = g->p[i], z = g->z[i], off = truth - p, variance = p * (1.0 - p);
        const double of_z = variance * z;
        double part, mapped, *bin;
        const int knot = monitor_knot(p, &part);
        const double2 weight = {1.0 - part, part}, keep = 1.0 - CALIBRATION_KNOT_RATE * weight;
        /* One by one: as pairs they would wait for the pairs that were written before. */
        double2 positive = {m->positive[knot], m->positive[knot + 1]};
        double2 all = {m->weight[knot], m->weight[knot + 1]};
        mapped = monitor_mapped(m, knot, part);
        g_a += off * z;
        g_b += off;
        h_aa += of_z * z;
        h_ab += of_z;
        h_bb += variance;
        sizes += most < size ? most : size;
        positive = positive * keep + weight * truth;
        all = all * keep + weight;
        memcpy(m->positive + knot, &positive, sizeof positive);
        memcpy(m->weight + knot, &all, sizeof all);
        if (UNLIKELY(gain > LARGEST_GAIN)) {
            int b;
            for (b = 0; b < 3 * CALIBRATION_BINS; b++)
                m->bins[b] /= gain;
            gain = 1.0;
        }
        bin = m->bins + 3 * monitor_index(mapped * CALIBRATION_BINS, CALIBRATION_BINS - 1);
        bin[0] += gain;
        bin[1] += gain * mapped;
        bin[2] += gain * truth;
        gain *= RECENT_GROWTH;
    }
    m->g_a = g_a;
    m->g_b = g_b;
    m->h_aa = h_aa;
    m->h_ab = h_ab;
    m->h_bb = h_bb;
    m->sizes = sizes;
    m->gain = gain;
}

/* The area's histograms of the samples of a group. */
static inline void monitor_area(monitor *m, const monitor_group *g, const double *labels,
                                const double *importances)
{
    size_t i;
    for (i = 0; i < g->n; i++) {
        const double z = g->z[i], h = importances[g->at[i]];
        double *histogram = labels[g->at[i]] > 0.0 ? m->auc_positive : m->auc_negative;
        if (UNLIKELY(m->auc_gain > LARGEST_GAIN)) {
            int b;
            for (b = 0; b < AUC_BINS; b++) {
                m->auc_positive[b] /= m->auc_gain;
                m->auc_negative[b] /= m->auc_gain;
            }
            m->auc_gain = 1.0;
        }
        histogram[monitor_index((z / (1.0 + fabs(z)) + 1.0) * (AUC_BINS / 2), AUC_BINS - 1)] +=
            m->auc_gain * h;
        m->auc_gain *= RECENT_GROWTH;
    }
}

/* The probabilities as they move, group by group; those that the samples had, unless NULL. */
static void monitor_follow(monitor *m, const double *margins, const double *labels,
                           const double *importances, size_t samples, double *probabilities)
{
    monitor_group g;
    size_t i = 0, j, end;
    while (i < samples) {
        const double mean = monitor_mean(m);
        const int single = m->samples < CALIBRATION_SINGLE;
        const size_t room =
            single ? 1 : CALIBRATION_GROUP - (uint64_t)m->samples % CALIBRATION_GROUP;
        for (g.n = 0, end = i; end < samples && g.n < room; end++) {
            g.at[g.n] = end;
            g.n += importances[end] > 0.0;
        }
        if (probabilities)
            for (j = i; j < end; j++)
                probabilities[j] = monitor_probability(m, monitor_scaled(mean, margins[j]));
        monitor_calibrate(m, mean, &g, margins, labels);
        monitor_area(m, &g, labels, importances);
        m->samples += (double)g.n;
        if (g.n == room) {
            if (single)
                monitor_move(m, 1.0, CALIBRATION_SIZE_DISCOUNT);
            else
                monitor_move(m, CALIBRATION_GROUP, CALIBRATION_SIZE_DISCOUNT_GROUP);
        }
        i = end;
    }
}

/* Right and wrong by class. */
static void monitor_confuse(monitor *m, double threshold, const double *margins,
                            const double *labels, const double *importances, size_t samples)
{
    static const int64_t cells[4] = {2, 3, 1, 0};
    const long2 low = {0, 1}, high = {2, 3};
    double2 all_low = load_double2(m->counts), all_high = load_double2(m->counts + 2);
    double2 low_now = load_double2(m->recent), high_now = load_double2(m->recent + 2);
    size_t i;
    for (i = 0; i < samples; i++) {
        const int64_t k = cells[2 * (margins[i] > threshold) + (labels[i] > 0.0)];
        const double h = importances[i];
        const long2 cell = {k, k}, of = (long2)(double2){h, h};
        const double2 to_low = (double2)(of & (cell == low));
        const double2 to_high = (double2)(of & (cell == high));
        if (!(h > 0.0))
            continue;
        all_low += to_low;
        all_high += to_high;
        low_now = low_now * RECENT_DISCOUNT + to_low;
        high_now = high_now * RECENT_DISCOUNT + to_high;
    }
    memcpy(m->counts, &all_low, sizeof all_low);
    memcpy(m->counts + 2, &all_high, sizeof all_high);
    memcpy(m->recent, &low_now, sizeof low_now);
    memcpy(m->recent + 2, &high_now, sizeof high_now);
}

/* log_one and log_two: of 1 and 2 over the confidence, as onlinesvm.metrics.drift has them. */
static void monitor_drift(monitor *m, double threshold, double log_one, double log_two,
                          const double *margins, const double *labels, const double *importances,
                          size_t samples)
{
    double n = m->n, wrong = m->wrong, since = m->since, cut_n = m->cut_n;
    double cut_mean = 0.0, cut_bound = INFINITY; /* a sample that has no cut before it is one */
    size_t i;
    if (cut_n > 0.0) {
        cut_mean = m->cut_wrong / cut_n;
        cut_bound = cut_mean + sqrt(log_one / (2.0 * cut_n));
    }
    for (i = 0; i < samples; i++) {
        double2 of_n;
        double bound, off;
        if (!(importances[i] > 0.0))
            continue;
        since += 1.0;
        n += 1.0;
        wrong += (margins[i] > threshold) != (labels[i] > 0.0); /* without a branch */
        of_n = (double2){wrong, log_one} / (double2){n, 2.0 * n};
        bound = of_n[0] + sqrt(of_n[1]);
        if (bound <= cut_bound) {
            cut_n = n;
            m->cut_wrong = wrong;
            cut_mean = of_n[0];
            cut_bound = bound;
            continue;
        }
        off = of_n[0] - cut_mean;
        if (off >= 0.0 && off >= sqrt((n - cut_n) / (cut_n * n) / 2.0 * log_two)) {
            m->drifts += 1.0;
            since = n = wrong = cut_n = m->cut_wrong = 0.0;
            cut_bound = INFINITY;
        }
    }
    m->n = n;
    m->wrong = wrong;
    m->since = since;
    m->cut_n = cut_n;
}

/* Learn samples; the probabilities of +1 that they had, unless NULL. */
static void monitor_learn(monitor *m, double threshold, double log_one, double log_two,
                          const double *margins, const double *labels, const double *importances,
                          size_t samples, double *probabilities)
{
    monitor_follow(m, margins, labels, importances, samples, probabilities);
    monitor_confuse(m, threshold, margins, labels, importances, samples);
    monitor_drift(m, threshold, log_one, log_two, margins, labels, importances, samples);
}

static void monitor_probabilities(const monitor *m, const double *margins, size_t samples,
                                  double *probabilities)
{
    const double mean = monitor_mean(m);
    size_t i;
    for (i = 0; i < samples; i++)
        probabilities[i] = monitor_probability(m, monitor_scaled(mean, margins[i]));
}

#endif
