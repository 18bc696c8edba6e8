/* exp and log of our own: see onlinesvm.metrics.fpmath, of which this is the same arithmetic. */
#ifndef ONLINESVM_FPMATH_H
#define ONLINESVM_FPMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "constants.h"
#include "memory/vector.h"

static inline double exp_reduced(double r)
{
    double p = 0.0;
    int k;
    for (k = 0; k < (int)(sizeof EXP_SERIES / sizeof *EXP_SERIES); k++)
        p = EXP_SERIES[k] + r * p;
    return 1.0 + r * (1.0 + r * p);
}

/* The whole number nearest to x; halves away from 0. */
static inline double nearest(double x) { return (double)(int64_t)(x + copysign(0.5, x)); }

/* x 2^k, exact: x from 1/2 to 2, k a whole number of magnitude at most 1020. */
static inline double times_power(double x, double k)
{
    const uint64_t bits = (uint64_t)((int64_t)k + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return x * power;
}

static inline double fp_exp(double x)
{
    double k;
    if (!(x >= -EXP_MOST))
        return 0.0;
    if (x > EXP_MOST)
        x = EXP_MOST;
    k = nearest(x * LOG2_E);
    return times_power(exp_reduced((x - k * LN2_HIGH) - k * LN2_LOW), k);
}

static inline double fp_exp2(double x)
{
    double k, r;
    if (!(x >= -EXP2_MOST))
        x = -EXP2_MOST;
    if (x > EXP2_MOST)
        x = EXP2_MOST;
    k = nearest(x);
    r = x - k;
    return times_power(exp_reduced(r * LN2_HIGH + r * LN2_LOW), k);
}

/* x as log(m) and k, x = m 2^k with m from sqrt(1/2) to sqrt(2). */
static inline double log_split(double x, double *exponent)
{
    int k, j;
    double m = frexp(x, &k), f, f2, p = 0.0;
    if (m < SQRT_HALF) {
        m *= 2.0;
        k--;
    }
    f = (m - 1.0) / (m + 1.0);
    f2 = f * f;
    for (j = 0; j < (int)(sizeof LOG_SERIES / sizeof *LOG_SERIES); j++)
        p = LOG_SERIES[j] + f2 * p;
    *exponent = (double)k;
    return f * p;
}

static inline double fp_log2(double x)
{
    double k, part = log_split(x, &k);
    return k + part * LOG2_E;
}

/* Without a branch: the sign of x is anyone's guess. */
static inline double fp_sigmoid(double x)
{
    const double e = fp_exp(-fabs(x));
    return by_sign(x, 1.0, e) / (1.0 + e);
}

/* fp_sigmoid of 8 numbers, in place: eight chains of operations side by side. */
static inline void fp_sigmoids(double *x)
{
    enum { PAIRS = 4 };
    const double2 shift = {0x1.8p52, 0x1.8p52}; /* added, it rounds to a whole number */
    const double2 half = {0.5, 0.5}, one = {1.0, 1.0}, least = {-EXP_MOST, -EXP_MOST};
    const long2 sign = {INT64_MIN, INT64_MIN}, bias = {1023, 1023};
    double2 r[PAIRS], k[PAIRS], p[PAIRS];
    long2 within[PAIRS];
    int j, i;
    for (j = 0; j < PAIRS; j++) {
        const double2 below = (double2)((long2)load_double2(x + 2 * j) | sign);
        double2 power, whole;
        within[j] = below >= least;
        r[j] = (double2)((long2)below & within[j]);
        power = (double2)((long2)(r[j] * LOG2_E) & ~sign) + half;
        whole = (power + shift) - shift;
        whole -= (double2)((long2)one & (whole > power));
        k[j] = -whole;
        r[j] = (r[j] - k[j] * LN2_HIGH) - k[j] * LN2_LOW;
        p[j] = (double2){0.0, 0.0};
    }
    for (i = 0; i < (int)(sizeof EXP_SERIES / sizeof *EXP_SERIES); i++)
        for (j = 0; j < PAIRS; j++)
            p[j] = EXP_SERIES[i] + r[j] * p[j];
    for (j = 0; j < PAIRS; j++) {
        const double2 of = load_double2(x + 2 * j);
        const long2 above = of >= (double2){0.0, 0.0};
        const long2 exponent = (long2)(k[j] + shift) - (long2)shift + bias;
        double2 e = (one + r[j] * (one + r[j] * p[j])) * (double2)(exponent << 52);
        e = (double2)((long2)e & within[j]);
        e = (double2)(((long2)one & above) | ((long2)e & ~above)) / (one + e);
        memcpy(x + 2 * j, &e, sizeof e);
    }
}

#endif
