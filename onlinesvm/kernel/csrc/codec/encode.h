/* Batch -> msgpack, margins -> msgpack: the bytes that onlinesvm.data.codec writes. */
#ifndef ONLINESVM_ENCODE_H
#define ONLINESVM_ENCODE_H

#include "codec/batch.h"

#define HEAD_MOST 5
#define MARGIN_BYTES 9

static inline uint8_t *write_bytes(uint8_t *out, uint64_t number, int width)
{
    while (width--)
        *out++ = (uint8_t)(number >> (8 * width));
    return out;
}

static inline uint8_t *write_double(uint8_t *out, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, 8);
    *out++ = 0xCB;
    return write_bytes(out, bits, 8);
}

/* The head of an array, or of a map: `small` | count, or the code `wide` (16 bits), or the one
 * after it (32 bits). */
static inline uint8_t *write_container(uint8_t *out, uint8_t small, uint8_t wide, size_t count)
{
    if (count < 16) {
        *out++ = small | (uint8_t)count;
        return out;
    }
    *out++ = count < 65536 ? wide : wide + 1;
    return write_bytes(out, count, count < 65536 ? 2 : 4);
}

static inline uint8_t *write_array(uint8_t *out, size_t count)
{
    return write_container(out, 0x90, 0xDC, count);
}

typedef struct {
    const uint8_t *at;
    size_t length;
} packed_bytes;

/* Bytes that a body of `b` takes at most, with labels of at most `label_bytes`. */
static size_t encode_most(const batch *b, size_t label_bytes)
{
    return HEAD_MOST + b->samples * (1 + label_bytes + HEAD_MOST + MARGIN_BYTES)
        + b->count * (HEAD_MOST + MARGIN_BYTES) + b->name_bytes;
}

static uint8_t *write_features(uint8_t *out, const batch *b, size_t i)
{
    const feature *f = b->features + b->indptr[i], *end = b->features + b->indptr[i + 1], *g;
    const size_t count = (size_t)(end - f);
    int plain = 1;
    for (g = f; g < end; g++)
        plain &= g->value == 1.0;
    out = plain ? write_array(out, count) : write_container(out, 0x80, 0xDE, count);
    for (; f < end; f++) {
        /* A str, though it need not be UTF-8: its head is shorter than that of a bin. */
        const uint32_t length = feature_length(f);
        if (length < 32) {
            *out++ = 0xA0 | (uint8_t)length;
        } else {
            *out++ = length < 65536 ? 0xDA : 0xDB;
            out = write_bytes(out, length, length < 65536 ? 2 : 4);
        }
        memcpy(out, batch_name(b, f), length);
        out += length;
        if (!plain)
            out = write_double(out, f->value);
    }
    return out;
}

/* `b` as the body of a learn request, with the packed `labels` by their ids, or of a predict
 * request where `labels` is NULL, at `out`, of encode_most bytes and those of the records; its size.
 * `records` are of the samples that were left packed, at is NULL for any other; NULL for none. */
static size_t encode_batch(uint8_t *out, const batch *b, const packed_bytes *labels,
                           const packed_bytes *records)
{
    uint8_t *const start = out;
    size_t i;
    out = write_array(out, b->samples);
    for (i = 0; i < b->samples; i++) {
        const double importance = labels ? b->importances[i] : 1.0;
        if (labels) {
            const packed_bytes *label = labels + b->label_ids[i];
            *out++ = importance == 1.0 ? 0x92 : 0x93;
            memcpy(out, label->at, label->length);
            out += label->length;
        }
        if (records && records[i].at) {
            memcpy(out, records[i].at, records[i].length);
            out += records[i].length;
        } else {
            out = write_features(out, b, i);
        }
        if (importance != 1.0)
            out = write_double(out, importance);
    }
    return (size_t)(out - start);
}

/* `n` margins as the body of a reply, at `out`, of HEAD_MOST + 9 n bytes; its size. */
static size_t encode_margins(uint8_t *out, const double *margins, size_t n)
{
    uint8_t *const start = out;
    size_t i;
    out = write_array(out, n);
    for (i = 0; i < n; i++)
        out = write_double(out, margins[i]);
    return (size_t)(out - start);
}

#endif
