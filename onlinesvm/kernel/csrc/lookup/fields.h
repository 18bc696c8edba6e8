/* How many values of each category a lookup has entered: what bounds the crosses of categories.
 *
 * A batch *marks* its categories and crosses with the fields that they are of. A cross a=x&b=y is a
 * feature of its sample only while values(a) * values(b) <= CROSS_MOST, as they stand before the
 * sample. The first CROSS_FIELDS fields are counted; those of others are not crossed.
 */
#ifndef ONLINESVM_FIELDS_H
#define ONLINESVM_FIELDS_H

#include "codec/batch.h"
#include "memory/hash.h"

#define FIELD_SLOTS (2 * CROSS_FIELDS) /* a power of two */

typedef struct {
    size_t at; /* of the name, in `names` */
    size_t length;
    uint64_t values;
} counted_field;

typedef struct {
    counted_field fields[CROSS_FIELDS]; /* in order of first sight */
    size_t count;
    uint8_t *names;
    size_t used, room;
    uint16_t slots[FIELD_SLOTS]; /* number of the field, and 1; 0 where there is none */
    uint8_t *out; /* of the marks of the batch at hand: crosses that are no features */
    size_t out_room;
} counted_fields;

static void fields_free(counted_fields *f)
{
    if (!f)
        return;
    free(f->names);
    free(f->out);
    free(f);
}

/* Room for `marks` marks, and for new fields of `bytes` bytes in all. 0 without memory. */
static int fields_reserve(counted_fields *f, size_t marks, size_t bytes)
{
    if (marks > f->out_room) {
        uint8_t *out = realloc(f->out, marks);
        if (!out)
            return 0;
        f->out = out;
        f->out_room = marks;
    }
    if (bytes > f->room - f->used) {
        const size_t room = f->used + bytes + f->room / 2;
        uint8_t *names = realloc(f->names, room);
        if (!names)
            return 0;
        f->names = names;
        f->room = room;
    }
    return 1;
}

/* The slot of a field, or the one that it would take. */
static uint16_t *fields_slot(counted_fields *f, const uint8_t *name, size_t length)
{
    size_t place = (size_t)hash_bytes(name, length) & (FIELD_SLOTS - 1);
    while (f->slots[place]) {
        const counted_field *field = f->fields + f->slots[place] - 1;
        if (field->length == length && same_bytes(f->names + field->at, name, length))
            break;
        place = (place + 1) & (FIELD_SLOTS - 1);
    }
    return f->slots + place;
}

/* Add `values` values of a field; room was reserved. */
static void fields_add(counted_fields *f, const uint8_t *name, size_t length, uint64_t values)
{
    uint16_t *slot = fields_slot(f, name, length);
    if (!*slot) {
        counted_field *made;
        if (f->count == CROSS_FIELDS)
            return;
        made = f->fields + f->count;
        *made = (counted_field){f->used, length, 0};
        if (length)
            memcpy(f->names + f->used, name, length);
        f->used += length;
        *slot = (uint16_t)++f->count;
    }
    f->fields[*slot - 1].values += values;
}

/* The values of a field; UINT64_MAX for one that is not counted. */
static uint64_t fields_values(counted_fields *f, const uint8_t *name, size_t length)
{
    const uint16_t slot = *fields_slot(f, name, length);
    if (slot)
        return f->fields[slot - 1].values;
    return f->count == CROSS_FIELDS ? UINT64_MAX : 0;
}

static int fields_cross(counted_fields *f, const batch *b, const mark *m)
{
    const uint8_t *name = batch_name(b, b->features + m->feature);
    const uint64_t a = fields_values(f, name, m->field);
    const uint64_t other = fields_values(f, name + m->other_at, m->other);
    if (a == UINT64_MAX || other == UINT64_MAX)
        return 0;
    return !a || other <= CROSS_MOST / a;
}

/* Decide about the crosses of the features before `end`, from mark `k` on. */
static void fields_decide(counted_fields *f, const batch *b, size_t k, size_t end)
{
    for (; k < b->mark_count && b->marks[k].feature < end; k++)
        f->out[k] = b->marks[k].other_at && !fields_cross(f, b, b->marks + k);
}

#endif
