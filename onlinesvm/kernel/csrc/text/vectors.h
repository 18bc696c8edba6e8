/* Word vectors of a text as features vec[0], vec[1] ...: a function that the caller gives makes the
 * numbers. _add_vectors of onlinesvm.text.records in C.
 */
#ifndef ONLINESVM_VECTORS_H
#define ONLINESVM_VECTORS_H

#include "text/extraction.h"

/* prefix: the field and ^, or nothing. most: bytes of the text that are read. */
static int vectors_add(extraction *x, span prefix, span text, size_t most)
{
    const text_options *o = x->options;
    size_t i;
    if (!x->vector && !(x->vector = malloc(o->dim * sizeof *x->vector)))
        return EXTRACT_NO_MEMORY;
    if (!o->vector_of(o->vectors, text.at, text.length, most, x->vector)
        || !extraction_reserve(x, o->dim))
        return EXTRACT_NO_MEMORY;
    for (i = 0; i < o->dim; i++) {
        const double value = x->vector[i];
        uint8_t *name, *end;
        if (value > -MIN_MAGNITUDE && value < MIN_MAGNITUDE)
            continue;
        name = extraction_name(x, prefix.length + 5 + DIGITS_MOST);
        if (!name)
            return EXTRACT_NO_MEMORY;
        end = put(name, prefix.at, prefix.length);
        end = put(end, (const uint8_t *)"vec[", 4);
        end += decimal(end, i, 0);
        *end++ = ']';
        extraction_add(x, (size_t)(end - name), value, VIEW_NUMBERS);
    }
    return EXTRACTED;
}

#endif
