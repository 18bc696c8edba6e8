/* Samples in columns; the names lie where they came, in the received bytes, or at their side. */
#ifndef ONLINESVM_BATCH_H
#define ONLINESVM_BATCH_H

#include <string.h>

#include "codec/labels.h"
#include "memory/pages.h"
#include "memory/spare.h"

#define IN_SIDE 0x80000000u /* on a length: the name lies at the side, not in the body */
#define LENGTH_BITS 0x7FFFFFFFu
#define DIGITS_MOST 20 /* of an integer name: -2^63 and 2^64 - 1 */

typedef struct {
    uint32_t offset;
    uint32_t length;
    uint64_t hash;
    double value;
} feature;

/* A category or a cross of two, and the fields that it is of: bytes of the name. */
typedef struct {
    size_t feature;
    uint32_t field;           /* the name begins with */
    uint32_t other_at, other; /* of a cross: the other field; at 0 for a category */
} mark;

typedef struct {
    const uint8_t *body;
    uint8_t *side; /* names that the body does not hold as they are: integers, composed ones */
    size_t side_used, side_room;
    feature *features;
    size_t count, room;
    /* Of the features, their views and OF_TEXT; NULL where all are 0. While records are read, those
     * of the first `tagged` features are there. */
    uint8_t *tags;
    size_t tags_room, tagged;
    mark *marks; /* in the order of the features, where categories are crossed */
    size_t mark_count, marks_room;
    size_t cut;  /* texts that were longer than a text may be */
    size_t texts; /* samples that are one text and nothing else: no name is twice in such a one */
    size_t made; /* features that records made, and for long names as many more */
    size_t name_bytes; /* of all names */
    size_t longest;    /* features that the longest sample has */
    size_t samples;
    size_t good; /* samples that were read without a fault */
    int64_t *indptr;      /* samples + 1 */
    label_spans labels;   /* the distinct ones */
    int32_t *label_ids;   /* samples, -1 without a label; NULL where none are wanted */
    double *importances;
} batch;

static void batch_init(batch *b) { memset(b, 0, sizeof *b); }

static void batch_clear(batch *b)
{
    free(b->side);
    spare_give(b->features, b->room * sizeof *b->features);
    free(b->tags);
    free(b->marks);
    label_spans_clear(&b->labels);
    batch_init(b);
}

static inline uint32_t feature_length(const feature *f) { return f->length & LENGTH_BITS; }

static inline const uint8_t *batch_name(const batch *b, const feature *f)
{
    const uint8_t *const in[2] = {b->body, b->side};
    return in[f->length >> 31] + f->offset;
}

#define EXPECTED_BYTES 16 /* of an input for a feature: its name, its value and their heads */

static double batch_density; /* features for a byte of the last input; under the interpreter's lock */

/* Before the first feature of an input of `size` bytes: room for as many as will come if it is as the
 * last one was, but beyond what names take at most `most`; in a buffer that was used before, if there
 * is one. Growing step by step would copy them, and clear pages for each step. */
static void batch_expect(batch *b, size_t size, size_t most)
{
    const size_t names = size / EXPECTED_BYTES;
    const double like = 1.125 * batch_density * (double)size;
    size_t wanted = like < (double)most ? (size_t)like : most, bytes;
    wanted = ((wanted > names ? wanted : names) + 16) * sizeof *b->features;
    bytes = wanted;
    b->features = spare_take(wanted, &bytes);
    if (!b->features && !(b->features = malloc(wanted)))
        bytes = 0; /* batch_reserve will tell */
    b->room = bytes / sizeof *b->features;
}

/* After the last feature of an input of `size` bytes. */
static void batch_ended(const batch *b, size_t size)
{
    if (size)
        batch_density = (double)b->count / (double)size;
}

/* Room for `more` further features, as 0 or 1. */
static int batch_reserve(batch *b, size_t more)
{
    size_t room = b->room + b->room / 2;
    feature *features;
    if (LIKELY(more <= b->room - b->count))
        return 1;
    if (room < b->count + more)
        room = b->count + more;
    features = realloc(b->features, room * sizeof *features);
    if (!features)
        return 0;
    b->features = features;
    b->room = room;
    return 1;
}

/* Mark a feature, which comes after those that are marked. 0 without memory. */
static int batch_mark(batch *b, size_t feature, size_t field, size_t other_at, size_t other)
{
    if (b->mark_count == b->marks_room) {
        const size_t room = 2 * b->marks_room + 16;
        mark *marks = realloc(b->marks, room * sizeof *marks);
        if (!marks)
            return 0;
        b->marks = marks;
        b->marks_room = room;
    }
    b->marks[b->mark_count++] =
        (mark){feature, (uint32_t)field, (uint32_t)other_at, (uint32_t)other};
    return 1;
}

/* The first mark of a feature from `from` on. */
static size_t marks_from(const batch *b, size_t from)
{
    size_t low = 0, high = b->mark_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (b->marks[middle].feature < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The marks of the features `start` .. `end` of a batch to its part of these. 0 without memory. */
static int batch_copy_marks(batch *b, const batch *all, size_t start, size_t end)
{
    size_t k = marks_from(all, start);
    for (; k < all->mark_count && all->marks[k].feature < end; k++) {
        const mark *m = &all->marks[k];
        if (!batch_mark(b, m->feature - start, m->field, m->other_at, m->other))
            return 0;
    }
    return 1;
}

/* The digits of a number: of its bits, by log10(2) = 1233 / 4096, and one more where it is no
 * smaller than that power of ten. */
static inline uint32_t digits_of(uint64_t magnitude)
{
    static const uint64_t powers[] = {
        1ull, 10ull, 100ull, 1000ull, 10000ull, 100000ull, 1000000ull, 10000000ull, 100000000ull,
        1000000000ull, 10000000000ull, 100000000000ull, 1000000000000ull, 10000000000000ull,
        100000000000000ull, 1000000000000000ull, 10000000000000000ull, 100000000000000000ull,
        1000000000000000000ull, 10000000000000000000ull};
    const uint32_t least = (uint32_t)(64 - __builtin_clzll(magnitude | 1)) * 1233 >> 12;
    return least + (magnitude >= powers[least] || !magnitude);
}

/* The decimal form of ±magnitude at `out`, of DIGITS_MOST bytes; its length. */
static uint32_t decimal(uint8_t *out, uint64_t magnitude, int negative)
{
    const uint32_t length = digits_of(magnitude) + (negative != 0);
    uint8_t *at = out + length;
    uint32_t low;
    if (negative)
        out[0] = '-';
    for (; magnitude >> 32; magnitude /= 10)
        *--at = (uint8_t)('0' + magnitude % 10);
    low = (uint32_t)magnitude; /* divided faster */
    do
        *--at = (uint8_t)('0' + low % 10);
    while (low /= 10);
    return length;
}

/* Room for `bytes` further bytes at the side, as 0 or 1: offsets have 32 bits. There is a side
 * then, for no bytes too. */
static int batch_reserve_side(batch *b, size_t bytes)
{
    size_t room = b->side_room ? 2 * b->side_room : 1024;
    uint8_t *side;
    if (LIKELY(b->side && bytes <= b->side_room - b->side_used))
        return 1;
    if (bytes > UINT32_MAX - b->side_used)
        return 0;
    if (room < b->side_used + bytes)
        room = b->side_used + bytes;
    side = realloc(b->side, room);
    if (!side)
        return 0;
    b->side = side;
    b->side_room = room;
    return 1;
}

/* An integer as a name at the side; its length, 0 without memory. */
static uint32_t batch_add_digits(batch *b, uint64_t magnitude, int negative)
{
    uint32_t length;
    if (!batch_reserve_side(b, DIGITS_MOST))
        return 0;
    length = decimal(b->side + b->side_used, magnitude, negative);
    b->side_used += length;
    return length;
}

#endif
