/* Two or four numbers at a time, by the vectors of GNU C.
 *
 * Each lane is what the same operation on one number gives, so the bits do not depend on the
 * processor. Two doubles or four floats are what every 64-bit processor has; four doubles are one
 * instruction or two.
 */
#ifndef ONLINESVM_VECTOR_H
#define ONLINESVM_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "memory/pages.h"

typedef double double2 __attribute__((vector_size(16)));
typedef double double4 __attribute__((vector_size(32)));
typedef float float4 __attribute__((vector_size(16)));
typedef int64_t long2 __attribute__((vector_size(16)));
typedef int32_t int4 __attribute__((vector_size(16)));

#define INLINED inline __attribute__((always_inline))

/* A function that is compiled twice, the second time for processors with vectors of 32 bytes; which
 * one runs is decided when the library is loaded. Not under the sanitizer, which is not there yet
 * by then. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(PAGES_WATCHED)
#define WIDER __attribute__((noinline, target_clones("avx2", "default")))
#else
#define WIDER __attribute__((noinline))
#endif

static INLINED double2 load_double2(const double *p)
{
    double2 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static INLINED float4 load_float4(const float *p)
{
    float4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static INLINED void store_double2(double *p, double2 v) { memcpy(p, &v, sizeof v); }
static INLINED void store_double4(double *p, double4 v) { memcpy(p, &v, sizeof v); }
static INLINED void store_float4(float *p, float4 v) { memcpy(p, &v, sizeof v); }

static INLINED double2 all2(double x) { return (double2){x, x}; }
static INLINED double4 all4(double x) { return (double4){x, x, x, x}; }

/* Written out, as __builtin_convertvector is several instructions of gcc here. */
static INLINED double2 wide2(const float *p) { return (double2){p[0], p[1]}; }
static INLINED double4 wide4(float4 v) { return (double4){v[0], v[1], v[2], v[3]}; }

static INLINED float4 narrow4(double4 v) { return __builtin_convertvector(v, float4); }

/* The lanes of a where the mask is -1, those of b where it is 0. */
static INLINED float4 select4(int4 mask, float4 a, float4 b)
{
    return (float4)((mask & (int4)a) | (~mask & (int4)b));
}

static INLINED float4 sqrt_float4(float4 v)
{
#ifdef __SSE__
    return (float4)_mm_sqrt_ps((__m128)v);
#else
    return (float4){sqrtf(v[0]), sqrtf(v[1]), sqrtf(v[2]), sqrtf(v[3])};
#endif
}

/* x >= 0 ? a : b, without a branch. */
static INLINED double by_sign(double x, double a, double b)
{
    const double2 of = {x, 0.0}, zero = {0.0, 0.0}, first = {a, 0.0}, second = {b, 0.0};
    const long2 not_below = of >= zero;
    return ((double2)(((long2)first & not_below) | ((long2)second & ~not_below)))[0];
}

#endif
