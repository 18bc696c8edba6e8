/* msgpack -> batch, in one pass over the received bytes.
 *
 * It only notices that a body is faulty; onlinesvm.data.validation then finds where and says why.
 * What it takes and what it refuses is, byte for byte, what onlinesvm.data.codec does.
 */
#ifndef ONLINESVM_DECODE_H
#define ONLINESVM_DECODE_H

#include "codec/batch.h"
#include "constants.h"
#include "memory/hash.h"

enum { DECODED = 0, FAULTY = 1, NO_MEMORY = 2, FULL = 3, PAUSED = 4 };

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} reader;

/* Reads a record of text and fields, see text/decode.h: DECODED, or what is wrong. */
typedef int (*read_record)(void *records, batch *b, reader *r);

typedef struct {
    size_t samples;
    size_t features; /* a sample */
    size_t name_bytes;
    double value, importance; /* larger ones, in magnitude, are refused, or clipped */
    int clips;
    void *records; /* NULL where samples are names and numbers alone */
    read_record read_record;
    size_t most_made; /* features that records may make; there are more samples then: FULL */
    int checks;       /* the samples are only checked: their features are dropped */
    int reads_maps; /* maps of numbers are records, too */
    int pairs; /* samples are pairs of items, better and worse */
    size_t most_read; /* samples and features in one call: PAUSED after about so many */
} decode_limits;

static inline size_t remaining(const reader *r) { return (size_t)(r->end - r->at); }

/* A big-endian number of 1, 2, 4 or 8 bytes; 0 at the end of the bytes. */
static inline int read_bytes(reader *r, int width, uint64_t *number)
{
    uint64_t n = 0;
    if (remaining(r) < (size_t)width)
        return 0;
    while (width--)
        n = n << 8 | *r->at++;
    *number = n;
    return 1;
}

/* The head of an array (kind 0) or a map (kind 1); 0 for anything else. */
static inline int read_container(reader *r, int *kind, size_t *count)
{
    uint64_t n;
    uint8_t first;
    if (UNLIKELY(r->at == r->end))
        return 0;
    first = *r->at++;
    if (LIKELY((first & 0xE0) == 0x80)) {
        *kind = first < 0x90;
        *count = first & 0x0F;
        return 1;
    }
    if (first < 0xDC || first > 0xDF)
        return 0;
    if (!read_bytes(r, first & 1 ? 4 : 2, &n))
        return 0;
    *kind = first >= 0xDE;
    *count = (size_t)n;
    return 1;
}

/* An integer, ±magnitude, whose first byte was stepped over; 0 for anything else. */
static inline int read_integer(reader *r, uint8_t first, uint64_t *magnitude, int *negative)
{
    uint64_t n, sign;
    int width;
    if (first <= 0x7F || first >= 0xE0) {
        *negative = first >= 0xE0;
        *magnitude = *negative ? 256u - first : first;
        return 1;
    }
    if (first < 0xCC || first > 0xD3)
        return 0;
    width = 1 << (first & 3);
    if (!read_bytes(r, width, &n))
        return 0;
    sign = (uint64_t)1 << (8 * width - 1);
    *negative = first >= 0xD0 && n & sign;
    /* Two's complement of `width` bytes: |n| = 2^(8 width) - n, where 2^64 is 0. */
    *magnitude = *negative ? 2 * sign - n : n;
    return 1;
}

/* Any number as float64, rounded to nearest as Python's float() does; 0 for anything else. */
static inline int read_number(reader *r, double *number)
{
    uint64_t bits;
    int negative;
    uint8_t first;
    if (UNLIKELY(r->at == r->end))
        return 0;
    first = *r->at++;
    if (first == 0xCB) {
        if (!read_bytes(r, 8, &bits))
            return 0;
        memcpy(number, &bits, 8);
        return 1;
    }
    if (first == 0xCA) {
        uint32_t low;
        float narrow;
        if (!read_bytes(r, 4, &bits))
            return 0;
        low = (uint32_t)bits;
        memcpy(&narrow, &low, 4);
        *number = (double)narrow;
        return 1;
    }
    if (!read_integer(r, first, &bits, &negative))
        return 0;
    *number = negative ? -(double)bits : (double)bits;
    return 1;
}

/* The first byte of a number that read_number takes. */
static inline int begins_number(uint8_t first)
{
    return first <= 0x7F || first >= 0xE0 || (first >= 0xCA && first <= 0xD3);
}

/* Clip a number beyond `most`, in magnitude; 0 where it is refused. */
static __attribute__((noinline)) int clipped(double *number, double most,
                                             const decode_limits *limits)
{
    if (!limits->clips || !(*number >= -MAX_MAGNITUDE && *number <= MAX_MAGNITUDE))
        return 0;
    *number = *number > 0 ? most : -most;
    return 1;
}

/* A name into `f`, with its hash. */
static inline int read_name(batch *b, reader *r, const decode_limits *limits, feature *f)
{
    uint64_t length, magnitude;
    const uint8_t *name;
    uint8_t first;
    int negative;
    if (UNLIKELY(r->at == r->end))
        return FAULTY;
    first = *r->at++;
    if (LIKELY((first & 0xE0) == 0xA0)) {
        length = first & 0x1F;
    } else if (first >= 0xD9 && first <= 0xDB) {
        if (!read_bytes(r, 1 << (first - 0xD9), &length))
            return FAULTY;
    } else if (first >= 0xC4 && first <= 0xC6) {
        if (!read_bytes(r, 1 << (first - 0xC4), &length))
            return FAULTY;
    } else {
        if (!read_integer(r, first, &magnitude, &negative))
            return FAULTY;
        f->offset = (uint32_t)b->side_used;
        f->length = batch_add_digits(b, magnitude, negative);
        if (!f->length)
            return NO_MEMORY;
        if (f->length > limits->name_bytes)
            return FAULTY;
        f->hash = hash_bytes(b->side + f->offset, f->length);
        b->name_bytes += f->length;
        f->length |= IN_SIDE;
        return DECODED;
    }
    if (UNLIKELY(length > remaining(r) || length > limits->name_bytes))
        return FAULTY;
    name = r->at;
    r->at += length;
    f->offset = (uint32_t)(name - b->body);
    f->length = (uint32_t)length;
    f->hash = hash_bytes(name, (size_t)length);
    b->name_bytes += (size_t)length;
    return DECODED;
}

/* A sample that has more than names and numbers, from its first byte on. */
static __attribute__((noinline)) int read_fields(batch *b, reader *r, const decode_limits *limits)
{
    const size_t start = b->count;
    size_t i;
    const size_t side_used = b->side_used;
    const int problem = limits->read_record(limits->records, b, r);
    if (problem)
        return problem;
    b->made += b->count - start + (b->side_used - side_used) / MADE_NAME_BYTES;
    for (i = start; i < b->count; i++) {
        double *value = &b->features[i].value;
        if (!(*value >= -limits->value && *value <= limits->value)
            && !clipped(value, limits->value, limits))
            return FAULTY;
    }
    if (b->count - start > b->longest)
        b->longest = b->count - start;
    return DECODED;
}

static inline int read_features(batch *b, reader *r, const decode_limits *limits)
{
    const uint8_t *const begin = r->at;
    const size_t side_used = b->side_used, name_bytes = b->name_bytes;
    size_t i, count, start = b->count;
    const double most = limits->value;
    feature *f;
    int map, problem;
    if (!read_container(r, &map, &count)) {
        r->at = begin;
        return limits->records ? read_fields(b, r, limits) : FAULTY;
    }
    if (count > limits->features
        || count > remaining(r) >> map) /* every name and value takes a byte at least */
        return FAULTY;
    if (UNLIKELY(map && limits->reads_maps)) {
        r->at = begin;
        return read_fields(b, r, limits);
    }
    if (!batch_reserve(b, count))
        return NO_MEMORY;
    f = b->features + start;
    if (!map) {
        for (i = 0; i < count; i++, f++) {
            problem = read_name(b, r, limits, f);
            if (UNLIKELY(problem))
                return problem;
            f->value = 1.0;
        }
    } else {
        for (i = 0; i < count; i++) {
            double value;
            problem = read_name(b, r, limits, f);
            if (UNLIKELY(problem))
                return problem;
            if (UNLIKELY(limits->records && r->at < r->end && !begins_number(*r->at))) {
                r->at = begin; /* the names so far are read again */
                b->side_used = side_used;
                b->name_bytes = name_bytes;
                return read_fields(b, r, limits);
            }
            if (!read_number(r, &value)
                || (UNLIKELY(!(value >= -most && value <= most)) && !clipped(&value, most, limits)))
                return FAULTY;
            f->value = value;
            f += value >= MIN_MAGNITUDE || value <= -MIN_MAGNITUDE;
        }
    }
    b->count = (size_t)(f - b->features);
    if (b->count - start > b->longest)
        b->longest = b->count - start;
    return DECODED;
}

/* Step over a label: text, integer, boolean or float. 0 for anything else. */
static inline int skip_label(reader *r)
{
    uint64_t length = 0;
    uint8_t first;
    if (UNLIKELY(r->at == r->end))
        return 0;
    first = *r->at++;
    if (first >= 0xA0 && first <= 0xBF) {
        length = first & 0x1F;
    } else if ((first >= 0xD9 && first <= 0xDB) || (first >= 0xC4 && first <= 0xC6)) {
        if (!read_bytes(r, 1 << (first - (first < 0xD9 ? 0xC4 : 0xD9)), &length))
            return 0;
    } else if (first >= 0xCC && first <= 0xD3) {
        length = (uint64_t)1 << (first & 3);
    } else if (first == 0xCA || first == 0xCB) {
        length = first == 0xCA ? 4 : 8;
    } else if (!(first <= 0x7F || first >= 0xE0 || first == 0xC2 || first == 0xC3)) {
        return 0;
    }
    if (UNLIKELY(length > remaining(r)))
        return 0;
    r->at += length;
    return 1;
}

/* A label, or an array of labels; which of them are labels is for Python to say. */
static inline int read_label(batch *b, reader *r, int32_t *id)
{
    const uint8_t *const start = r->at;
    size_t parts;
    int map;
    if (LIKELY(r->at < r->end)
        && UNLIKELY((*r->at & 0xF0) == 0x90 || *r->at == 0xDC || *r->at == 0xDD)) {
        if (!read_container(r, &map, &parts) || parts > MOST_IN_SET)
            return FAULTY;
        for (; parts; parts--)
            if (!skip_label(r))
                return FAULTY;
    } else if (UNLIKELY(!skip_label(r))) {
        return FAULTY;
    }
    *id = label_spans_id(&b->labels, b->body, start, (size_t)(r->at - start));
    return LIKELY(*id >= 0) ? DECODED : NO_MEMORY;
}

/* The importance of a sample; 1 where it has none. */
static inline int read_given_importance(reader *r, const decode_limits *limits, int is_given,
                                        double *importance)
{
    double number = 1.0;
    if (is_given) {
        if (!read_number(r, &number) || !(number >= 0.0)
            || (UNLIKELY(!(number <= limits->importance))
                && !clipped(&number, limits->importance, limits)))
            return FAULTY;
        if (number < MIN_MAGNITUDE)
            number = 0.0;
    }
    *importance = number;
    return DECODED;
}

static inline int read_sample(batch *b, reader *r, const decode_limits *limits, size_t i)
{
    size_t parts;
    int map, problem;
    if (!read_container(r, &map, &parts) || map || parts < 2 || parts > 3)
        return FAULTY;
    problem = read_label(b, r, b->label_ids + i);
    if (UNLIKELY(problem))
        return problem;
    problem = read_features(b, r, limits);
    if (UNLIKELY(problem))
        return problem;
    return read_given_importance(r, limits, parts == 3, b->importances + i);
}

/* A pair: the features of the better item, then those of the worse one with their values negated;
 * the lookup sums those that both have. */
static __attribute__((noinline)) int read_pair(batch *b, reader *r, const decode_limits *limits,
                                               size_t i)
{
    const size_t start = b->count;
    size_t parts, j;
    int map, problem;
    if (!read_container(r, &map, &parts) || map || parts < 2 || parts > 3)
        return FAULTY;
    problem = read_features(b, r, limits);
    if (UNLIKELY(problem))
        return problem;
    j = b->count;
    problem = read_features(b, r, limits);
    if (UNLIKELY(problem))
        return problem;
    for (; j < b->count; j++)
        b->features[j].value = -b->features[j].value;
    if (b->count - start > b->longest)
        b->longest = b->count - start;
    b->texts = 0; /* both items may have a name */
    return read_given_importance(r, limits, parts == 3, b->importances + i);
}

/* The number of samples that a body announces, checked against the limit and against the bytes
 * present, so that memory may be reserved for it. */
static int decode_head(const uint8_t *body, size_t size, const decode_limits *limits,
                       size_t *samples, size_t *head)
{
    reader r = {body, body + size};
    int map;
    if (!read_container(&r, &map, samples) || map || *samples > limits->samples
        || *samples > remaining(&r))
        return FAULTY;
    *head = (size_t)(r.at - body);
    return DECODED;
}

/* The samples of a body into `b`, from b->good on, of `samples` for which its columns have room; `r`
 * stands before them. Pairs to learn where the limits say so, samples to learn where b->label_ids is
 * set, else to predict. FULL or PAUSED before the end of the samples: b->good of them are there. */
static int decode_body(batch *b, reader *r, size_t samples, const decode_limits *limits)
{
    const size_t count = b->count, side_used = b->side_used, name_bytes = b->name_bytes;
    const size_t read = b->good + b->count + b->made; /* what records make counts twice */
    size_t i;
    b->samples = samples;
    if (!b->good)
        b->indptr[0] = 0;
    if (!batch_reserve(b, limits->checks ? 0 : remaining(r) / 16 + 16))
        return NO_MEMORY;
    for (i = b->good; i < samples; i++) {
        int problem;
        if (UNLIKELY(limits->pairs))
            problem = read_pair(b, r, limits, i);
        else
            problem = b->label_ids ? read_sample(b, r, limits, i) : read_features(b, r, limits);
        if (UNLIKELY(problem))
            return problem;
        if (UNLIKELY(limits->checks)) {
            b->count = b->tagged = count;
            b->side_used = side_used;
            b->name_bytes = name_bytes;
        }
        b->indptr[i + 1] = (int64_t)b->count;
        b->good = i + 1;
        if (UNLIKELY(b->made > limits->most_made) && !limits->checks && i + 1 < samples)
            return FULL;
        if (UNLIKELY(b->good + b->count + b->made - read >= limits->most_read) && i + 1 < samples)
            return PAUSED;
    }
    return r->at == r->end ? DECODED : FAULTY;
}

#endif
