/* Metrics of the progressive margins: see onlinesvm.metrics.calibration, confusion, drift
 * and monitor, of which this is the same arithmetic in the same order.
 */
#ifndef ONLINESVM_MONITOR_H
#define ONLINESVM_MONITOR_H

#include <math.h>
#include <string.h>

#include "constants.h"
#include "metrics/fpmath.h"

/* All doubles, in the order of a dump. */
typedef struct {
    double slope, intercept, aa, ab, bb, count, size;
    double positive[CALIBRATION_KNOTS], weight[CALIBRATION_KNOTS];
    double gain, bins[3 * CALIBRATION_BINS];
    double counts[4], recent[4];
    double auc_gain, auc_positive[AUC_BINS], auc_negative[AUC_BINS];
    double drifts, since, n, wrong, cut_n, cut_wrong;
} monitor;

#define MONITOR_SIZE (sizeof(monitor) / sizeof(double))

static void monitor_init(monitor *m)
{
    int k;
    memset(m, 0, sizeof *m);
    m->slope = m->aa = m->bb = m->gain = m->auc_gain = 1.0;
    for (k = 0; k < CALIBRATION_KNOTS; k++) {
        m->positive[k] = CALIBRATION_KNOT_PRIOR * k / (CALIBRATION_KNOTS - 1);
        m->weight[k] = CALIBRATION_KNOT_PRIOR;
    }
}

static inline double monitor_scaled(const monitor *m, double margin)
{
    const double mean = m->size > 0.0 ? m->size / m->count : 0.0;
    double z = mean > 0.0 ? margin / mean : margin;
    if (!(z <= CALIBRATION_CUT)) /* nan too */
        z = CALIBRATION_CUT;
    if (!(z >= -CALIBRATION_CUT))
        z = -CALIBRATION_CUT;
    return z;
}

/* The whole part of `at`, cut to 0 .. most; of nan, `most`: no number indexes out of bounds. */
static inline int monitor_index(double at, int most)
{
    if (!(at <= most))
        return most;
    return at >= 0.0 ? (int)at : 0;
}

static inline int monitor_knot(double p, double *part)
{
    const double at = p * (CALIBRATION_KNOTS - 1);
    const int k = monitor_index(at, CALIBRATION_KNOTS - 2);
    *part = at - k;
    return k;
}

static inline double monitor_mapped(const monitor *m, double p)
{
    double part;
    const int k = monitor_knot(p, &part);
    const double2 positive = {m->positive[k], m->positive[k + 1]};
    const double2 weight = {m->weight[k], m->weight[k + 1]}, share = positive / weight;
    return (1.0 - part) * share[0] + part * share[1];
}

static inline double monitor_probability(const monitor *m, double margin)
{
    return monitor_mapped(m, fp_sigmoid(m->slope * monitor_scaled(m, margin) + m->intercept));
}

/* The logistic model's part in learning a sample: the next one's waits for it, and for nothing
 * else. The probability before the knots. */
static inline double monitor_follow(monitor *m, double margin, double z, double y)
{
    const double truth = y > 0.0 ? 1.0 : 0.0;
    const double p = fp_sigmoid(m->slope * z + m->intercept);
    const double aa = m->aa, ab = m->ab, bb = m->bb;
    const double spread_a = aa * z + ab, spread_b = ab * z + bb, variance = p * (1.0 - p);
    const double k = 1.0 / (1.0 + variance * (spread_a * z + spread_b));
    const double step = k * (truth - p), shrink = variance * k;
    double size = fabs(margin);
    m->slope += step * spread_a;
    m->intercept += step * spread_b;
    m->aa = (aa - shrink * spread_a * spread_a) * (1.0 - CALIBRATION_RETURN) + CALIBRATION_RETURN;
    m->ab = (ab - shrink * spread_a * spread_b) * (1.0 - CALIBRATION_RETURN);
    m->bb = (bb - shrink * spread_b * spread_b) * (1.0 - CALIBRATION_RETURN) + CALIBRATION_RETURN;
    if (m->size > 0.0) {
        const double most = CALIBRATION_MOST_SIZE * (m->size / m->count);
        size = most < size ? most : size;
    }
    m->count = m->count * CALIBRATION_SIZE_DISCOUNT + 1.0;
    m->size = m->size * CALIBRATION_SIZE_DISCOUNT + size;
    return p;
}

/* The knots' part, where the logistic model said p; the probability. */
static inline double monitor_calibrate(monitor *m, double p, double y)
{
    const double truth = y > 0.0 ? 1.0 : 0.0, mapped = monitor_mapped(m, p);
    double part, weight;
    const int knot = monitor_knot(p, &part);
    int b;
    for (b = 0; b < 2; b++) {
        double keep;
        weight = b ? part : 1.0 - part;
        keep = 1.0 - CALIBRATION_KNOT_RATE * weight;
        m->positive[knot + b] = m->positive[knot + b] * keep + weight * truth;
        m->weight[knot + b] = m->weight[knot + b] * keep + weight;
    }
    if (m->gain > LARGEST_GAIN) {
        for (b = 0; b < 3 * CALIBRATION_BINS; b++)
            m->bins[b] /= m->gain;
        m->gain = 1.0;
    }
    b = 3 * monitor_index(mapped * CALIBRATION_BINS, CALIBRATION_BINS - 1);
    m->bins[b] += m->gain;
    m->bins[b + 1] += m->gain * mapped;
    m->bins[b + 2] += m->gain * truth;
    m->gain /= RECENT_DISCOUNT;
    return mapped;
}

static inline void monitor_count(monitor *m, double z, int predicted, double y, double h)
{
    static const uint8_t cells[4] = {2, 3, 1, 0};
    const int k = cells[2 * predicted + (y > 0.0)];
    double *histogram = y > 0.0 ? m->auc_positive : m->auc_negative;
    int b;
    m->counts[k] += h;
    for (b = 0; b < 4; b++)
        m->recent[b] *= RECENT_DISCOUNT;
    m->recent[k] += h;
    if (m->auc_gain > LARGEST_GAIN) {
        for (b = 0; b < AUC_BINS; b++) {
            m->auc_positive[b] /= m->auc_gain;
            m->auc_negative[b] /= m->auc_gain;
        }
        m->auc_gain = 1.0;
    }
    b = monitor_index((z / (1.0 + fabs(z)) + 1.0) * (AUC_BINS / 2), AUC_BINS - 1);
    histogram[b] += m->auc_gain * h;
    m->auc_gain /= RECENT_DISCOUNT;
}

/* The cut of the drift detector: what every sample asks for, computed again when the cut moves. */
typedef struct {
    double n, wrong;
    double mean, bound;
} drift_cut;

/* log_one and log_two: of 1 and 2 over the confidence, as onlinesvm.metrics.drift has them. */
static inline void monitor_drift(monitor *m, drift_cut *cut, int wrong, double log_one,
                               double log_two)
{
    double2 of_n;
    double part;
    m->since += 1.0;
    m->n += 1.0;
    m->wrong += wrong; /* without a branch */
    of_n = (double2){m->wrong, log_one} / (double2){m->n, 2.0 * m->n};
    if (cut->n != m->cut_n || cut->wrong != m->cut_wrong) {
        cut->n = m->cut_n;
        cut->wrong = m->cut_wrong;
        cut->mean = cut->wrong / cut->n;
        cut->bound = cut->mean + sqrt(log_one / (2.0 * cut->n));
    }
    if (m->cut_n == 0.0 || of_n[0] + sqrt(of_n[1]) <= cut->bound) {
        m->cut_n = m->n;
        m->cut_wrong = m->wrong;
        return;
    }
    part = (m->n - m->cut_n) / (m->cut_n * m->n);
    if (of_n[0] - cut->mean >= sqrt(part / 2.0 * log_two)) {
        m->drifts += 1.0;
        m->since = m->n = m->wrong = m->cut_n = m->cut_wrong = 0.0;
    }
}

/* All but the logistic model's part in learning a sample; the probability of +1 that it had. */
static inline double monitor_tally(monitor *m, drift_cut *cut, double threshold, double log_one,
                                   double log_two, double margin, double z, double p, double y,
                                   double h)
{
    const int predicted = margin > threshold;
    const double probability = monitor_calibrate(m, p, y);
    monitor_count(m, z, predicted, y, h);
    monitor_drift(m, cut, predicted != (y > 0.0), log_one, log_two);
    return probability;
}

static void monitor_learn(monitor *m, double threshold, double log_one, double log_two,
                        const double *margins, const double *labels, const double *importances,
                        size_t samples, double *probabilities)
{
    drift_cut cut = {0.0, 0.0, 0.0, 0.0};
    size_t i;
    for (i = 0; i < samples; i++) {
        const double margin = margins[i], y = labels[i], h = importances[i];
        if (h > 0.0) {
            const double z = monitor_scaled(m, margin), p = monitor_follow(m, margin, z, y);
            probabilities[i] = monitor_tally(m, &cut, threshold, log_one, log_two, margin, z, p, y,
                                           h);
        } else {
            probabilities[i] = monitor_probability(m, margin);
        }
    }
}

static void monitor_probabilities(const monitor *m, const double *margins, size_t samples,
                                double *probabilities)
{
    size_t i;
    for (i = 0; i < samples; i++)
        probabilities[i] = monitor_probability(m, margins[i]);
}

#endif
