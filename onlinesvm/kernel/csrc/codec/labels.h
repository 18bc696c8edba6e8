/* The distinct raw labels of a batch: spans of its bytes, distinct and numbered from 0.
 *
 * Nearly every label is that of one of the two samples before: two comparisons find it. Others are
 * found by hash, so that a batch in which every label is another one costs no more than its names.
 */
#ifndef ONLINESVM_LABELS_H
#define ONLINESVM_LABELS_H

#include <stdlib.h>
#include <string.h>

#include "memory/hash.h"

typedef struct {
    uint32_t offset, length; /* in the body */
    uint64_t hash;
} label_span;

typedef struct {
    label_span *spans;
    size_t count, room;
    uint32_t *slots; /* number of a span + 1, 0 where there is none */
    size_t last;     /* slots - 1; there are at least twice as many as spans */
    int32_t recent[2];
} label_spans;

static inline void label_spans_clear(label_spans *t)
{
    free(t->spans);
    free(t->slots);
    memset(t, 0, sizeof *t);
}

/* Room for one more span, as 0 or 1. */
static int label_spans_reserve(label_spans *t)
{
    const size_t room = t->room ? 2 * t->room : 8, last = 2 * room - 1;
    label_span *spans;
    uint32_t *slots;
    size_t i, place;
    if (t->count < t->room)
        return 1;
    spans = realloc(t->spans, room * sizeof *spans);
    if (!spans)
        return 0;
    t->spans = spans;
    slots = calloc(last + 1, sizeof *slots);
    if (!slots)
        return 0;
    for (i = 0; i < t->count; i++) {
        for (place = spans[i].hash & last; slots[place]; place = (place + 1) & last)
            ;
        slots[place] = (uint32_t)i + 1;
    }
    free(t->slots);
    t->slots = slots;
    t->last = last;
    t->room = room;
    return 1;
}

/* True where `at`, of a byte at least, is the label `s`; most are of one byte, or differ there. */
static inline int label_is(const label_span *s, const uint8_t *body, const uint8_t *at,
                           size_t length)
{
    const uint8_t *known = body + s->offset;
    return s->length == length && *known == *at
        && (length == 1 || !memcmp(known + 1, at + 1, length - 1));
}

static __attribute__((noinline)) int32_t label_spans_find(label_spans *t, const uint8_t *body,
                                                          const uint8_t *at, size_t length)
{
    const uint64_t hash = hash_bytes(at, length);
    size_t place;
    int32_t id;
    if (!label_spans_reserve(t))
        return -1;
    for (place = hash & t->last; t->slots[place]; place = (place + 1) & t->last) {
        const label_span *s = t->spans + t->slots[place] - 1;
        if (s->hash == hash && label_is(s, body, at, length))
            break;
    }
    if (!t->slots[place]) {
        t->spans[t->count] = (label_span){(uint32_t)(at - body), (uint32_t)length, hash};
        t->slots[place] = (uint32_t)++t->count;
    }
    id = (int32_t)t->slots[place] - 1;
    t->recent[1] = t->recent[0];
    t->recent[0] = id;
    return id;
}

/* The number of the label at `at`, which lies in `body`; -1 without memory. */
static inline int32_t label_spans_id(label_spans *t, const uint8_t *body, const uint8_t *at,
                                     size_t length)
{
    if (LIKELY(t->count > 0)) {
        const int32_t first = t->recent[0], second = t->recent[1];
        if (label_is(t->spans + first, body, at, length))
            return first;
        if (label_is(t->spans + second, body, at, length))
            return second;
    }
    return label_spans_find(t, body, at, length);
}

#endif
