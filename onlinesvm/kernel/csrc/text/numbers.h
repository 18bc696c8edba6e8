/* Names of a number by sign, exponent and bits of its mantissa: onlinesvm.text.numbers in C.
 *
 * The texts of all lower ends are written by Python, once; no locale comes near them.
 */
#ifndef ONLINESVM_TEXT_NUMBERS_H
#define ONLINESVM_TEXT_NUMBERS_H

#include <stdint.h>
#include <string.h>

#include "constants.h"

#define NUMBER_LEAST_EXPONENT (-167) /* of MIN_MAGNITUDE */
#define NUMBER_MOST_EXPONENT 166     /* of MAX_MAGNITUDE */
#define NUMBER_NAMES ((1 << NUMBER_LEVELS) - 1) /* of one exponent, all levels */
#define NUMBER_TEXT 15

typedef struct {
    uint8_t length;
    uint8_t text[NUMBER_TEXT];
} number_text;

static number_text number_texts[NUMBER_MOST_EXPONENT - NUMBER_LEAST_EXPONENT + 1][NUMBER_NAMES];

/* The place of the lower end with `level` bits `mantissa`. */
static inline unsigned number_place(unsigned level, unsigned mantissa)
{
    return (1u << level) - 1 + mantissa;
}

static void number_set_text(int exponent, unsigned place, const uint8_t *text, size_t length)
{
    number_text *t = &number_texts[exponent - NUMBER_LEAST_EXPONENT][place];
    t->length = (uint8_t)length;
    memcpy(t->text, text, length);
}

/* The lower end of x, not 0 and within the magnitudes, of a level, without its sign. */
static inline const number_text *number_lower(double x, unsigned level)
{
    uint64_t bits;
    int exponent;
    memcpy(&bits, &x, 8);
    exponent = (int)(bits >> 52 & 0x7FF) - 1023;
    return &number_texts[exponent - NUMBER_LEAST_EXPONENT]
                        [number_place(level, (unsigned)(bits >> (52 - level)) & ((1u << level) - 1))];
}

#endif
