/* Decimal text -> float64, rounded to nearest as Python's float() does.
 *
 * Eisel and Lemire's algorithm (Lemire 2021, "Number parsing at a gigabyte per second", section 5):
 * the decimal significand, as 64 bits, times a power of five, as 128. That the product is always
 * precise enough is shown by Mushtak and Lemire 2023, "Fast number parsing without fallback".
 * Subnormals and overflow do not come up: the caller handles numbers that small or large.
 */
#ifndef ONLINESVM_NUMBER_H
#define ONLINESVM_NUMBER_H

#include <string.h>

#include "memory/pages.h"

/* Numbers that a file may hold lie within 1e-50 and 1e50 and take up to 19 digits here. */
#define POWER_LEAST (-80)
#define POWER_MOST 55

/* 5^q for q from POWER_LEAST, its upper 128 bits: rounded down, reciprocals up. Set once. */
static struct {
    uint64_t high, low;
} power_of_five[POWER_MOST - POWER_LEAST + 1];

static void number_set_power(int q, uint64_t high, uint64_t low)
{
    power_of_five[q - POWER_LEAST].high = high;
    power_of_five[q - POWER_LEAST].low = low;
}

enum { NO_NUMBER = 0, NUMBER = 1, UNSURE = 2 /* a number, but one that is not read here */ };

/* w 10^q for w > 0 and q from POWER_LEAST to POWER_MOST. */
static inline double scaled(uint64_t w, int q)
{
    const int zeros = __builtin_clzll(w);
    unsigned __int128 product;
    uint64_t high, low, mantissa, bits;
    int upper, exponent;
    double number;
    w <<= zeros;
    product = (unsigned __int128)w * power_of_five[q - POWER_LEAST].high;
    if (((uint64_t)(product >> 64) & 0x1FF) == 0x1FF) /* the lower half of the power may matter */
        product += (unsigned __int128)w * power_of_five[q - POWER_LEAST].low >> 64;
    high = (uint64_t)(product >> 64);
    low = (uint64_t)product;
    upper = (int)(high >> 63);
    mantissa = high >> (upper + 9); /* 53 bits and one to round by */
    /* floor(q log2 10) is (217706 q) >> 16 here. */
    exponent = ((217706 * q) >> 16) + 63 + upper - zeros + 1023;
    /* Half-way exactly, to even: only these powers leave no remainder. */
    if (low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1
        && mantissa << (upper + 9) == high)
        mantissa &= ~(uint64_t)1;
    mantissa += mantissa & 1;
    mantissa >>= 1;
    if (mantissa >> 53) {
        mantissa >>= 1;
        exponent++;
    }
    bits = (mantissa & (((uint64_t)1 << 52) - 1)) | (uint64_t)exponent << 52;
    memcpy(&number, &bits, 8);
    return number;
}

/* The number whose digits, with perhaps a point among them, are first ... last, times 10^exponent:
 * for more digits than 64 bits hold. */
static __attribute__((noinline)) int long_number(const uint8_t *first, const uint8_t *last,
                                                 int64_t exponent, double *number)
{
    uint64_t w = 0;
    int taken = 0, fraction = 0, more = 0;
    for (; first < last; first++) {
        const unsigned digit = *first - '0';
        if (*first == '.') {
            fraction = 1;
        } else if (taken == 19) {
            more |= digit != 0;
            exponent += !fraction;
        } else {
            taken += taken || digit;
            w = 10 * w + digit;
            exponent -= fraction;
        }
    }
    if (!w) {
        *number = 0.0;
        return NUMBER;
    }
    if (exponent < POWER_LEAST || exponent > POWER_MOST)
        return UNSURE;
    *number = scaled(w, (int)exponent);
    /* It lies between w and w + 1: sure if both round to the same. */
    return more && scaled(w + 1, (int)exponent) != *number ? UNSURE : NUMBER;
}

/* The text p ... end as a number: a sign, digits with at most one point, an exponent. */
static inline int read_decimal(const uint8_t *p, const uint8_t *end, double *number)
{
    const uint8_t *first, *last;
    uint64_t w = 0;
    int64_t q = 0;
    int negative = 0, point = 0, sure = NUMBER;
    if (LIKELY(end - p == 1)) {
        *number = (double)(*p - '0');
        return (uint8_t)(*p - '0') < 10 ? NUMBER : NO_NUMBER;
    }
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    first = p;
    while (p < end && (uint8_t)(*p - '0') < 10)
        w = 10 * w + (uint8_t)(*p++ - '0');
    if (p < end && *p == '.') {
        const uint8_t *fraction = ++p;
        point = 1;
        while (p < end && (uint8_t)(*p - '0') < 10)
            w = 10 * w + (uint8_t)(*p++ - '0');
        q = fraction - p;
    }
    last = p;
    if (last - first == point)
        return NO_NUMBER;
    if (p < end && (*p == 'e' || *p == 'E')) {
        int64_t exponent = 0;
        const uint8_t *digits;
        int down;
        p++;
        down = p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+');
        for (digits = p; p < end && (uint8_t)(*p - '0') < 10; p++)
            if (exponent < (int64_t)1 << 40) /* texts are shorter than that */
                exponent = 10 * exponent + (*p - '0');
        if (p == digits)
            return NO_NUMBER;
        exponent = down ? -exponent : exponent;
        q += exponent;
        if (UNLIKELY(last - first - point > 19))
            sure = long_number(first, last, exponent, number);
    } else if (UNLIKELY(last - first - point > 19)) {
        sure = long_number(first, last, 0, number);
    }
    if (p != end)
        return NO_NUMBER;
    if (LIKELY(last - first - point <= 19)) {
        if (!w)
            *number = 0.0;
        else if (UNLIKELY(q < POWER_LEAST || q > POWER_MOST))
            return UNSURE;
        else
            *number = scaled(w, (int)q);
    }
    if (negative)
        *number = -*number;
    return sure;
}

#endif
