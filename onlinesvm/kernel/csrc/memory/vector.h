/* Two numbers at a time, as every 64-bit processor has them. */
#ifndef ONLINESVM_VECTOR_H
#define ONLINESVM_VECTOR_H

#include <stdint.h>
#include <string.h>

typedef double double2 __attribute__((vector_size(16)));
typedef int64_t long2 __attribute__((vector_size(16)));
typedef int32_t int4 __attribute__((vector_size(16)));

static inline double2 load_double2(const double *p)
{
    double2 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline int4 load_int4(const int32_t *p)
{
    int4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* x >= 0 ? a : b, without a branch. */
static inline double by_sign(double x, double a, double b)
{
    const double2 of = {x, 0.0}, zero = {0.0, 0.0}, first = {a, 0.0}, second = {b, 0.0};
    const long2 not_below = of >= zero;
    return ((double2)(((long2)first & not_below) | ((long2)second & ~not_below)))[0];
}

#endif
