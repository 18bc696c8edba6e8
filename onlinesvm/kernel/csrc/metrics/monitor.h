/* What is learned of the progressive margins: see onlinesvm.metrics.calibration, balance, drift and judge,
 * of which this is the same arithmetic in the same order.
 */
#ifndef ONLINESVM_JUDGE_H
#define ONLINESVM_JUDGE_H

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
} judge;

#define JUDGE_SIZE (sizeof(judge) / sizeof(double))

static void judge_init(judge *j)
{
    int k;
    memset(j, 0, sizeof *j);
    j->slope = j->aa = j->bb = j->gain = j->auc_gain = 1.0;
    for (k = 0; k < CALIBRATION_KNOTS; k++) {
        j->positive[k] = CALIBRATION_KNOT_PRIOR * k / (CALIBRATION_KNOTS - 1);
        j->weight[k] = CALIBRATION_KNOT_PRIOR;
    }
}

static inline double judge_scaled(const judge *j, double margin)
{
    const double mean = j->size > 0.0 ? j->size / j->count : 0.0;
    double z = mean > 0.0 ? margin / mean : margin;
    if (!(z <= CALIBRATION_CUT)) /* nan too */
        z = CALIBRATION_CUT;
    if (!(z >= -CALIBRATION_CUT))
        z = -CALIBRATION_CUT;
    return z;
}

/* The whole part of `at`, cut to 0 .. most; of nan, `most`: no number indexes out of bounds. */
static inline int judge_index(double at, int most)
{
    if (!(at <= most))
        return most;
    return at >= 0.0 ? (int)at : 0;
}

static inline int judge_knot(double p, double *part)
{
    const double at = p * (CALIBRATION_KNOTS - 1);
    const int k = judge_index(at, CALIBRATION_KNOTS - 2);
    *part = at - k;
    return k;
}

static inline double judge_mapped(const judge *j, double p)
{
    double part;
    const int k = judge_knot(p, &part);
    const double2 positive = {j->positive[k], j->positive[k + 1]};
    const double2 weight = {j->weight[k], j->weight[k + 1]}, share = positive / weight;
    return (1.0 - part) * share[0] + part * share[1];
}

static inline double judge_probability(const judge *j, double margin)
{
    return judge_mapped(j, fp_sigmoid(j->slope * judge_scaled(j, margin) + j->intercept));
}

/* The logistic model's part in learning a sample: the next one's waits for it, and for nothing
 * else. The probability before the knots. */
static inline double judge_follow(judge *j, double margin, double z, double y)
{
    const double truth = y > 0.0 ? 1.0 : 0.0;
    const double p = fp_sigmoid(j->slope * z + j->intercept);
    const double aa = j->aa, ab = j->ab, bb = j->bb;
    const double spread_a = aa * z + ab, spread_b = ab * z + bb, variance = p * (1.0 - p);
    const double k = 1.0 / (1.0 + variance * (spread_a * z + spread_b));
    const double step = k * (truth - p), shrink = variance * k;
    double size = fabs(margin);
    j->slope += step * spread_a;
    j->intercept += step * spread_b;
    j->aa = (aa - shrink * spread_a * spread_a) * (1.0 - CALIBRATION_RETURN) + CALIBRATION_RETURN;
    j->ab = (ab - shrink * spread_a * spread_b) * (1.0 - CALIBRATION_RETURN);
    j->bb = (bb - shrink * spread_b * spread_b) * (1.0 - CALIBRATION_RETURN) + CALIBRATION_RETURN;
    if (j->size > 0.0) {
        const double most = CALIBRATION_MOST_SIZE * (j->size / j->count);
        size = most < size ? most : size;
    }
    j->count = j->count * CALIBRATION_SIZE_DISCOUNT + 1.0;
    j->size = j->size * CALIBRATION_SIZE_DISCOUNT + size;
    return p;
}

/* The knots' part, where the logistic model said p; the probability. */
static inline double judge_calibrate(judge *j, double p, double y)
{
    const double truth = y > 0.0 ? 1.0 : 0.0, mapped = judge_mapped(j, p);
    double part, weight;
    const int knot = judge_knot(p, &part);
    int b;
    for (b = 0; b < 2; b++) {
        double keep;
        weight = b ? part : 1.0 - part;
        keep = 1.0 - CALIBRATION_KNOT_RATE * weight;
        j->positive[knot + b] = j->positive[knot + b] * keep + weight * truth;
        j->weight[knot + b] = j->weight[knot + b] * keep + weight;
    }
    if (j->gain > LARGEST_GAIN) {
        for (b = 0; b < 3 * CALIBRATION_BINS; b++)
            j->bins[b] /= j->gain;
        j->gain = 1.0;
    }
    b = 3 * judge_index(mapped * CALIBRATION_BINS, CALIBRATION_BINS - 1);
    j->bins[b] += j->gain;
    j->bins[b + 1] += j->gain * mapped;
    j->bins[b + 2] += j->gain * truth;
    j->gain /= RECENT_DISCOUNT;
    return mapped;
}

static inline void judge_balance(judge *j, double z, int predicted, double y, double h)
{
    static const uint8_t cells[4] = {2, 3, 1, 0};
    const int k = cells[2 * predicted + (y > 0.0)];
    double *histogram = y > 0.0 ? j->auc_positive : j->auc_negative;
    int b;
    j->counts[k] += h;
    for (b = 0; b < 4; b++)
        j->recent[b] *= RECENT_DISCOUNT;
    j->recent[k] += h;
    if (j->auc_gain > LARGEST_GAIN) {
        for (b = 0; b < AUC_BINS; b++) {
            j->auc_positive[b] /= j->auc_gain;
            j->auc_negative[b] /= j->auc_gain;
        }
        j->auc_gain = 1.0;
    }
    b = judge_index((z / (1.0 + fabs(z)) + 1.0) * (AUC_BINS / 2), AUC_BINS - 1);
    histogram[b] += j->auc_gain * h;
    j->auc_gain /= RECENT_DISCOUNT;
}

/* Of the judge's cut, what every sample asks for; made anew when the cut has moved. */
typedef struct {
    double n, wrong;
    double mean, bound;
} judge_cut;

/* log_one and log_two: of 1 and 2 over the confidence, as onlinesvm.metrics.drift has them. */
static inline void judge_drift(judge *j, judge_cut *cut, int wrong, double log_one,
                               double log_two)
{
    double2 of_n;
    double part;
    j->since += 1.0;
    j->n += 1.0;
    j->wrong += wrong; /* without a branch */
    of_n = (double2){j->wrong, log_one} / (double2){j->n, 2.0 * j->n};
    if (cut->n != j->cut_n || cut->wrong != j->cut_wrong) {
        cut->n = j->cut_n;
        cut->wrong = j->cut_wrong;
        cut->mean = cut->wrong / cut->n;
        cut->bound = cut->mean + sqrt(log_one / (2.0 * cut->n));
    }
    if (j->cut_n == 0.0 || of_n[0] + sqrt(of_n[1]) <= cut->bound) {
        j->cut_n = j->n;
        j->cut_wrong = j->wrong;
        return;
    }
    part = (j->n - j->cut_n) / (j->cut_n * j->n);
    if (of_n[0] - cut->mean >= sqrt(part / 2.0 * log_two)) {
        j->drifts += 1.0;
        j->since = j->n = j->wrong = j->cut_n = j->cut_wrong = 0.0;
    }
}

/* All but the logistic model's part in learning a sample; the probability of +1 that it had. */
static inline double judge_tally(judge *j, judge_cut *cut, double threshold, double log_one, double log_two,
                                 double margin, double z, double p, double y, double h)
{
    const int predicted = margin > threshold;
    const double probability = judge_calibrate(j, p, y);
    judge_balance(j, z, predicted, y, h);
    judge_drift(j, cut, predicted != (y > 0.0), log_one, log_two);
    return probability;
}

static void judge_learn(judge *j, double threshold, double log_one, double log_two,
                        const double *margins, const double *labels, const double *importances,
                        size_t samples, double *probabilities)
{
    judge_cut cut = {0.0, 0.0, 0.0, 0.0};
    size_t i;
    for (i = 0; i < samples; i++) {
        const double margin = margins[i], y = labels[i], h = importances[i];
        if (h > 0.0) {
            const double z = judge_scaled(j, margin), p = judge_follow(j, margin, z, y);
            probabilities[i] = judge_tally(j, &cut, threshold, log_one, log_two, margin, z, p, y,
                                           h);
        } else {
            probabilities[i] = judge_probability(j, margin);
        }
    }
}

static void judge_probabilities(const judge *j, const double *margins, size_t samples,
                                double *probabilities)
{
    size_t i;
    for (i = 0; i < samples; i++)
        probabilities[i] = judge_probability(j, margins[i]);
}

#endif
