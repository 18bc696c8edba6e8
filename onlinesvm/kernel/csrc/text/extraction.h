/* The features of one record as they are made: names at the side of a batch, and their views. */
#ifndef ONLINESVM_TEXT_EXTRACTION_H
#define ONLINESVM_TEXT_EXTRACTION_H

#include "codec/batch.h"
#include "memory/hash.h"
#include "memory/seen.h"
#include "text/words.h"

#define TEXT_SIZES 4 /* of character n-grams, at most */

enum { EXTRACTED = 0, NO_RECORD = 1, EXTRACT_NO_MEMORY = 2 };
enum { TEXT_OFF = 0, TEXT_WORDS, TEXT_DEFAULT };
enum { FIELD_ANY = 0, FIELD_TEXT, FIELD_CATEGORY, FIELD_DATE };

typedef struct {
    const uint8_t *at;
    size_t length;
} span;

/* By bytes, as Python orders them. */
static int span_order(span a, span b)
{
    const size_t least = a.length < b.length ? a.length : b.length;
    const int order = least ? memcmp(a.at, b.at, least) : 0;
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

typedef struct {
    span name;
    int kind;
} text_field;

typedef struct {
    size_t feature; /* of the batch */
    size_t field;   /* bytes of the field's name, with which the feature's begins */
} text_category;

typedef struct {
    int text, ngrams, prefixes;
    size_t sizes[TEXT_SIZES], size_count;
    const text_field *fields; /* in the order of their names */
    size_t field_count;
    int cross_all;
    const span *cross_fields; /* that have a cross, in order */
    size_t cross_field_count;
    const span *crosses; /* two fields each, the lesser first, in order */
    size_t cross_count;
    /* The dim numbers of a text, of which `most` bytes are read, at `out`; 0 without memory. */
    int (*vector_of)(void *vectors, const uint8_t *text, size_t length, size_t most, double *out);
    void *vectors;
    size_t dim;           /* 0 without word vectors */
    size_t most_bytes;    /* of the texts of a record */
    size_t most_features; /* given in one array or map */
    size_t most_name;     /* bytes of a given name */
} text_options;

typedef struct {
    const text_options *options;
    batch *batch;
    characters characters;
    token *tokens;
    size_t tokens_room;
    seen seen;
    text_category *categories;
    size_t category_count, category_room;
    uint8_t *head; /* the field's name and what follows it in every name of a text */
    size_t head_room;
    double *vector; /* the numbers of a text */
    int checks; /* nothing is made: the record is only checked, but for the values of its numbers */
    size_t left;  /* bytes of text that the record may still have */
    size_t first; /* of the features that are to be distinct */
    size_t cut, crosses;
    int is_text; /* the record is one text */
} extraction;

static void extraction_init(extraction *x)
{
    memset(x, 0, sizeof *x);
    seen_init(&x->seen);
}

static void extraction_clear(extraction *x)
{
    characters_clear(&x->characters);
    seen_clear(&x->seen);
    free(x->tokens);
    free(x->categories);
    free(x->head);
    free(x->vector);
    extraction_init(x);
}

/* Begin a record whose features are added to `b`. */
static void extraction_begin(extraction *x, batch *b)
{
    x->batch = b;
    x->category_count = 0;
    x->left = x->options->most_bytes;
    x->cut = x->crosses = 0;
    x->is_text = 0;
}

/* field and `more`, until the next call; at is NULL without memory. */
static span extraction_head(extraction *x, span field, const char *more)
{
    const size_t size = strlen(more);
    span head = {NULL, field.length + size};
    if (head.length > x->head_room) {
        uint8_t *made = realloc(x->head, 2 * head.length + COPY_SLACK);
        if (!made)
            return head;
        x->head = made;
        x->head_room = 2 * head.length;
    }
    memcpy(x->head, field.at, field.length);
    memcpy(x->head + field.length, more, size);
    head.at = x->head;
    return head;
}

/* Room for `more` features and their tags, as 0 or 1. */
static int extraction_reserve(extraction *x, size_t more)
{
    batch *b = x->batch;
    uint8_t *tags;
    if (!batch_reserve(b, more))
        return 0;
    if (LIKELY(b->room <= b->tags_room))
        return 1;
    tags = realloc(b->tags, b->room);
    if (!tags)
        return 0;
    b->tags = tags;
    b->tags_room = b->room;
    return 1;
}

/* Begin up to `most` names that are added once each. 0 without memory. */
static int extraction_begin_distinct(extraction *x, size_t most)
{
    if (!extraction_reserve(x, most) || !seen_reserve(&x->seen, most))
        return 0;
    seen_begin(&x->seen, most);
    x->first = x->batch->count;
    return 1;
}

/* Where the next name is to be written, of up to `most` bytes and COPY_SLACK; NULL without memory. */
static inline uint8_t *extraction_name(extraction *x, size_t most)
{
    return LIKELY(batch_reserve_side(x->batch, most + COPY_SLACK))
             ? x->batch->side + x->batch->side_used
             : NULL;
}

static inline void extraction_add_hashed(extraction *x, size_t length, uint64_t hash, double value,
                                         int view)
{
    batch *b = x->batch;
    feature *f = b->features + b->count;
    f->offset = (uint32_t)b->side_used;
    f->length = (uint32_t)length | IN_SIDE;
    f->hash = hash;
    f->value = value;
    b->tags[b->count++] = (uint8_t)view;
    b->side_used += length;
    b->name_bytes += length;
}

/* Add the name that was written there; there must be room for the feature. */
static inline void extraction_add(extraction *x, size_t length, double value, int view)
{
    const uint8_t *name = x->batch->side + x->batch->side_used;
    extraction_add_hashed(x, length, hash_bytes(name, length), value, view);
}

/* True where the name at `name` was not added since extraction_begin_distinct; it is to be added
 * now. */
static inline int extraction_is_new(extraction *x, const uint8_t *name, size_t length,
                                    uint64_t hash)
{
    const batch *b = x->batch;
    const uint32_t key = (uint32_t)(hash >> 32);
    seen *m = &x->seen;
    uint32_t place = seen_place(m, hash);
    for (; seen_taken(m, place); place = seen_after(m, place)) {
        const feature *other = b->features + x->first + seen_number(m, place);
        if (m->slots[place].key == key && feature_length(other) == length
            && same_bytes(b->side + other->offset, name, length))
            return 0;
    }
    seen_put(m, place, key, b->count - x->first);
    return 1;
}

/* Add a name of value 1, unless it was added since extraction_begin_distinct. It lies where the
 * next one is to be written, or not at the side, in front of COPY_SLACK bytes. 0 without memory. */
static inline int extraction_add_distinct(extraction *x, const uint8_t *name, size_t length,
                                          int view)
{
    const uint64_t hash = hash_bytes(name, length);
    uint8_t *at;
    if (!extraction_is_new(x, name, length, hash))
        return 1;
    at = extraction_name(x, length);
    if (UNLIKELY(!at))
        return 0;
    if (at != name)
        put_loose(at, name, length);
    extraction_add_hashed(x, length, hash, 1.0, view);
    return 1;
}

/* `n` bytes appended at `out`. */
static inline uint8_t *put(uint8_t *out, const uint8_t *from, size_t n)
{
    copy_bytes(out, from, n);
    return out + n;
}

#endif
