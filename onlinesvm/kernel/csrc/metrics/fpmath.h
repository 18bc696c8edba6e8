/* exp and log of our own: see onlinesvm.metrics.fpmath, of which this is the same arithmetic. */
#ifndef ONLINESVM_ELEMENTARY_H
#define ONLINESVM_ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "memory/vector.h"

#define LOG2_E 1.4426950408889634
#define LN2_HIGH 0.6931471803691238
#define LN2_LOW 1.9082149292705877e-10

static inline double exp_reduced(double r)
{
    static const double series[12] = {
        1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
        1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
        1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        1.0 / 2.0,
    };
    double p = 0.0;
    int k;
    for (k = 0; k < 12; k++)
        p = series[k] + r * p;
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

static inline double elementary_exp(double x)
{
    double k;
    if (!(x >= -700.0))
        return 0.0;
    if (x > 700.0)
        x = 700.0;
    k = nearest(x * LOG2_E);
    return times_power(exp_reduced((x - k * LN2_HIGH) - k * LN2_LOW), k);
}

static inline double elementary_exp2(double x)
{
    double k, r;
    if (!(x >= -1000.0))
        x = -1000.0;
    if (x > 1000.0)
        x = 1000.0;
    k = nearest(x);
    r = x - k;
    return times_power(exp_reduced(r * LN2_HIGH + r * LN2_LOW), k);
}

/* x as log(m) and k, x = m 2^k with m from sqrt(1/2) to sqrt(2). */
static inline double log_split(double x, double *exponent)
{
    static const double series[11] = {
        2.0 / 21.0, 2.0 / 19.0, 2.0 / 17.0, 2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0,
        2.0 / 9.0,  2.0 / 7.0,  2.0 / 5.0,  2.0 / 3.0,  2.0,
    };
    int k, j;
    double m = frexp(x, &k), f, f2, p = 0.0;
    if (m < 0.7071067811865476) {
        m *= 2.0;
        k--;
    }
    f = (m - 1.0) / (m + 1.0);
    f2 = f * f;
    for (j = 0; j < 11; j++)
        p = series[j] + f2 * p;
    *exponent = (double)k;
    return f * p;
}

static inline double elementary_log2(double x)
{
    double k, part = log_split(x, &k);
    return k + part * LOG2_E;
}

/* Without a branch: the sign of x is anyone's guess. */
static inline double elementary_sigmoid(double x)
{
    const double e = elementary_exp(-fabs(x));
    return by_sign(x, 1.0, e) / (1.0 + e);
}

#endif
