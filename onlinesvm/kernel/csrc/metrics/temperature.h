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

typedef float float4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t mask4 __attribute__((vector_size(16)));

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
#define FLOAT4_PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define FLOAT4_PICK(a, b, i, j, k, l) __builtin_shuffle(a, b, (mask4){i, j, k, l})
#endif

static inline float4 float4_of(float x) { return (float4){x, x, x, x}; }

static inline float4 float4_where(mask4 mask, float4 a, float4 b)
{
    return (float4)(((mask4)a & mask) | ((mask4)b & ~mask));
}

static inline int mask4_any(mask4 mask)
{
    const long2 two = (long2)mask;
    return (two[0] | two[1]) != 0;
}

static inline float4 float4_most(float4 a, float4 b)
{
    return float4_where((mask4)(b > a), b, a);
}

/* e to the x, for -87 <= x <= 0. */
static inline float4 exp_single(float4 x)
{
    const float4 magic = float4_of((float)EXP_SINGLE_ROUND), one = float4_of(1.0f);
    const float4 k = (x * float4_of((float)LOG2_E) + magic) - magic;
    const float4 r = (x - k * float4_of((float)EXP_SINGLE_LN2_HIGH)) -
                     k * float4_of((float)EXP_SINGLE_LN2_LOW);
    float4 p = float4_of((float)EXP_SINGLE_SERIES[0]);
    mask4 power;
    size_t i;
    for (i = 1; i < sizeof EXP_SINGLE_SERIES / sizeof *EXP_SINGLE_SERIES; i++)
        p = float4_of((float)EXP_SINGLE_SERIES[i]) + r * p;
    power = (__builtin_convertvector(k, mask4) + 127) << 23;
    return (one + r * (one + r * p)) * (float4)power;
}

static inline float temperature_scaled(float rate, float score, float best)
{
    const float z = rate * (score - best), least = (float)-TEMPERATURE_CUT;
    return z > least ? z : least;
}

static inline double temperature_sum(float4 lanes)
{
    return (((double)lanes[0] + (double)lanes[1]) + (double)lanes[2]) + (double)lanes[3];
}

/* The shares of `n` labels, a multiple of 4, by their scores, -inf of those that are not known.
 * The score of the best is changed meanwhile. */
static temperature_shares temperature_look(const temperature *t, float *scores, size_t n,
                                           size_t best)
{
    const float most = scores[best];
    float4 e_lanes = float4_of(0.0f), ez_lanes = e_lanes, ezz_lanes = e_lanes, next = e_lanes;
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
        const float4 u = *(const float4 *)(scores + k);
        const mask4 known = (mask4)(u > float4_of(-INFINITY));
        float4 z = float4_of(s.rate) * (u - float4_of(most)), e;
        z = (float4)((mask4)float4_most(float4_of((float)-TEMPERATURE_CUT), z) & known);
        e = (float4)((mask4)exp_single(z) & known);
        e_lanes += e;
        ez_lanes += e * z;
        ezz_lanes += e * z * z;
        next = float4_most(next, e);
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
