/* Probabilities over many classes: see onlinesvm.metrics.temperature, of which this is the same
 * arithmetic. Four labels at a time are four lanes. */
#ifndef ONLINESVM_TEMPERATURE_H
#define ONLINESVM_TEMPERATURE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "constants.h"
#include "memory/vector.h"
#include "metrics/fpmath.h"

typedef float lanes __attribute__((vector_size(16), aligned(4), may_alias));

/* All doubles, in the order of a dump. */
typedef struct {
    double theta, information, count, size;
    double right[CALIBRATION_KNOTS], weight[CALIBRATION_KNOTS];
} temperature;

typedef struct {
    double others, first, second; /* sums over the labels but the best: e, e z, e z z */
    double next;                  /* the largest e of those */
    float rate;
} temperature_shares;

static void temperature_init(temperature *t)
{
    int k;
    t->theta = TEMPERATURE_START;
    t->information = 1.0;
    t->count = t->size = 0.0;
    for (k = 0; k < CALIBRATION_KNOTS; k++) {
        t->right[k] = CALIBRATION_KNOT_PRIOR * k / (CALIBRATION_KNOTS - 1);
        t->weight[k] = CALIBRATION_KNOT_PRIOR;
    }
}

/* Four lanes of two vectors, those of the second counted from 4. */
#ifdef __clang__
#define LANES_PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define LANES_PICK(a, b, i, j, k, l) __builtin_shuffle(a, b, (int4){i, j, k, l})
#endif

static inline lanes lanes_of(float x) { return (lanes){x, x, x, x}; }

static inline lanes lanes_where(int4 mask, lanes a, lanes b)
{
    return (lanes)(((int4)a & mask) | ((int4)b & ~mask));
}

static inline int int4_any(int4 mask)
{
    const long2 two = (long2)mask;
    return (two[0] | two[1]) != 0;
}

static inline lanes lanes_most(lanes a, lanes b)
{
    return lanes_where((int4)(b > a), b, a);
}

/* e to the x, for -87 <= x <= 0. */
static inline lanes exp_single(lanes x)
{
    const lanes magic = lanes_of((float)EXP_SINGLE_ROUND), one = lanes_of(1.0f);
    const lanes k = (x * lanes_of((float)LOG2_E) + magic) - magic;
    const lanes r = (x - k * lanes_of((float)EXP_SINGLE_LN2_HIGH)) -
                     k * lanes_of((float)EXP_SINGLE_LN2_LOW);
    lanes p = lanes_of((float)EXP_SINGLE_SERIES[0]);
    int4 power;
    size_t i;
    for (i = 1; i < sizeof EXP_SINGLE_SERIES / sizeof *EXP_SINGLE_SERIES; i++)
        p = lanes_of((float)EXP_SINGLE_SERIES[i]) + r * p;
    power = (__builtin_convertvector(k, int4) + 127) << 23;
    return (one + r * (one + r * p)) * (lanes)power;
}

static inline float temperature_scaled(float rate, float score, float best)
{
    const float z = rate * (score - best), least = (float)-TEMPERATURE_CUT;
    return z > least ? z : least;
}

static inline double temperature_sum(lanes of)
{
    return (((double)of[0] + (double)of[1]) + (double)of[2]) + (double)of[3];
}

/* The shares of `n` labels, a multiple of 4, by their scores, -inf of those that are not known.
 * The score of the best is changed meanwhile. */
static temperature_shares temperature_look(const temperature *t, float *scores, size_t n,
                                           size_t best)
{
    const float most = scores[best];
    lanes e_lanes = lanes_of(0.0f), ez_lanes = e_lanes, ezz_lanes = e_lanes, next = e_lanes;
    temperature_shares s;
    double rate = fp_exp(t->theta);
    size_t k;
    if (t->size > 0.0) {
        const double least = TEMPERATURE_LEAST_SIZE * t->count;
        rate *= t->count / (least > t->size ? least : t->size);
    }
    s.rate = (float)rate;
    scores[best] = -INFINITY;
    for (k = 0; k < n; k += 4) {
        const lanes u = *(const lanes *)(scores + k);
        const int4 known = (int4)(u > lanes_of(-INFINITY));
        lanes z = lanes_of(s.rate) * (u - lanes_of(most)), e;
        z = (lanes)((int4)lanes_most(lanes_of((float)-TEMPERATURE_CUT), z) & known);
        e = (lanes)((int4)exp_single(z) & known);
        e_lanes += e;
        ez_lanes += e * z;
        ezz_lanes += e * z * z;
        next = lanes_most(next, e);
    }
    scores[best] = most;
    s.others = temperature_sum(e_lanes);
    s.first = temperature_sum(ez_lanes);
    s.second = temperature_sum(ezz_lanes);
    s.next = next[0];
    for (k = 1; k < 4; k++)
        if (next[k] > s.next)
            s.next = next[k];
    return s;
}

static inline int temperature_knot(double p, double *part)
{
    const double at = p * (CALIBRATION_KNOTS - 1);
    const int k = at <= CALIBRATION_KNOTS - 2 ? (at >= 0.0 ? (int)at : 0) : CALIBRATION_KNOTS - 2;
    *part = at - k;
    return k;
}

/* The probability of the best label. */
static double temperature_confidence(const temperature *t, const temperature_shares *s)
{
    double part, low, high, least, mapped;
    int k;
    if (!(s->others > 0.0))
        return 1.0;
    least = s->next / s->others;
    least = least / (1.0 + least);
    k = temperature_knot(1.0 / (1.0 + s->others), &part);
    low = t->right[k] / t->weight[k];
    high = t->right[k + 1] / t->weight[k + 1];
    mapped = (1.0 - part) * low + part * high;
    return least > mapped ? least : mapped;
}

/* Learn a sample of these shares. z: of its label, as temperature_scaled has it. */
static void temperature_learn(temperature *t, const temperature_shares *s, int right, double z,
                              double margin)
{
    const double total = 1.0 + s->others, first = s->first / total, second = s->second / total;
    const double truth = right ? 1.0 : 0.0;
    double part, gradient, information, square, step, size;
    const int at = temperature_knot(1.0 / total, &part);
    int k;
    for (k = 0; k < 2; k++) {
        const double w = k ? part : 1.0 - part, keep = 1.0 - CALIBRATION_KNOT_RATE * w;
        t->right[at + k] = t->right[at + k] * keep + w * truth;
        t->weight[at + k] = t->weight[at + k] * keep + w;
    }
    gradient = z - first;
    information = second - first * first;
    information = information > 0.0 ? information : 0.0;
    square = gradient * gradient;
    square = square < TEMPERATURE_MOST_SQUARE ? square : TEMPERATURE_MOST_SQUARE;
    t->information = t->information * TEMPERATURE_DISCOUNT + TEMPERATURE_RETURN +
                     0.5 * (information + square);
    step = gradient / t->information;
    step = step > -TEMPERATURE_STEP ? step : -TEMPERATURE_STEP;
    step = step < TEMPERATURE_STEP ? step : TEMPERATURE_STEP;
    t->theta += step;
    t->theta = t->theta > TEMPERATURE_LEAST ? t->theta : TEMPERATURE_LEAST;
    t->theta = t->theta < TEMPERATURE_MOST ? t->theta : TEMPERATURE_MOST;
    size = fabs(margin);
    size = size < TEMPERATURE_MOST_SIZE ? size : TEMPERATURE_MOST_SIZE;
    if (t->size > 0.0) {
        const double most = CALIBRATION_MOST_SIZE * (t->size / t->count);
        size = most < size ? most : size;
    }
    t->count = t->count * TEMPERATURE_DISCOUNT + 1.0;
    t->size = t->size * TEMPERATURE_DISCOUNT + size;
}

#endif
