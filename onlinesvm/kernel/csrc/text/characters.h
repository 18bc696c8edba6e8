/* Characters of UTF-8 text: their classes and their lower case; onlinesvm.text.characters in C.
 *
 * The table is filled once, from Python's, when the module is loaded.
 */
#ifndef ONLINESVM_TEXT_CHARACTERS_H
#define ONLINESVM_TEXT_CHARACTERS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "constants.h"
#include "memory/pages.h"

#define TEXT_KINDS 256
#define COPY_SLACK 16 /* bytes that may be read and written beyond the end of what is copied */

static struct {
    uint8_t kind[TEXT_CODE_POINTS];
    uint8_t class_of[TEXT_KINDS];
    int32_t shift[TEXT_KINDS]; /* the lower case less the character */
    uint8_t ascii_class[128], ascii_lower[128]; /* the same, and a blank for any space */
} text_table;

static void text_set_kind(int kind, int class_of, int32_t shift)
{
    text_table.class_of[kind] = (uint8_t)class_of;
    text_table.shift[kind] = shift;
}

/* The characters from `first` up to `end` are of one kind. */
static void text_set_run(uint32_t first, uint32_t end, int kind)
{
    memset(text_table.kind + first, kind, end - first);
    for (; first < end && first < 128; first++) {
        const int class_of = text_table.class_of[kind];
        text_table.ascii_class[first] = (uint8_t)class_of;
        text_table.ascii_lower[first] =
            class_of == TEXT_SPACE ? ' ' : (uint8_t)((int32_t)first + text_table.shift[kind]);
    }
}

/* A text in lower case without its ignored characters, one space before it and one after, each
 * space one blank. Character i has the bytes lower[at[i]] to lower[at[i + 1]]. */
typedef struct {
    uint8_t *lower, *classes;
    uint32_t *at;
    size_t room;  /* characters, of which each has 2 bytes of `lower` for one of its own */
    size_t count; /* with the two spaces */
    int cut;      /* the text was longer */
} characters;

static void characters_clear(characters *c)
{
    free(c->lower);
    free(c->classes);
    free(c->at);
    memset(c, 0, sizeof *c);
}

/* Room for a text of `bytes` bytes; 0 without memory. */
static int characters_reserve(characters *c, size_t bytes)
{
    size_t room = bytes + bytes / 2 + 256;
    if (bytes + 3 <= c->room)
        return 1;
    characters_clear(c);
    c->lower = malloc(2 * room + COPY_SLACK);
    c->classes = malloc(room);
    c->at = malloc(room * sizeof *c->at);
    if (!c->lower || !c->classes || !c->at) {
        characters_clear(c);
        return 0;
    }
    c->room = room;
    return 1;
}

static inline int is_continuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

/* The character at p, before `end`; its bytes. A byte that is not UTF-8 is a character by itself. */
static inline size_t read_character(const uint8_t *p, const uint8_t *end, uint32_t *code)
{
    const size_t left = (size_t)(end - p);
    const uint8_t a = *p;
    if (LIKELY(a < 0x80)) {
        *code = a;
        return 1;
    }
    if (a >= 0xC2 && a <= 0xDF && left >= 2 && is_continuation(p[1])) {
        *code = (uint32_t)(a & 0x1F) << 6 | (p[1] & 0x3F);
        return 2;
    }
    if (a >= 0xE0 && a <= 0xEF && left >= 3 && is_continuation(p[1]) && is_continuation(p[2])) {
        *code = (uint32_t)(a & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
        if (*code >= 0x800 && (*code < 0xD800 || *code > 0xDFFF))
            return 3;
    }
    if (a >= 0xF0 && a <= 0xF4 && left >= 4 && is_continuation(p[1]) && is_continuation(p[2])
        && is_continuation(p[3])) {
        *code = (uint32_t)(a & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12
              | (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
        if (*code >= 0x10000 && *code < TEXT_CODE_POINTS)
            return 4;
    }
    *code = TEXT_ESCAPED + a;
    return 1;
}

/* `code`, a character of Unicode, as UTF-8 at `out`; its bytes. */
static inline size_t write_character(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

/* Read a text of `size` bytes, cut at `most`, into `c`, which has room for it. */
static void characters_read(characters *c, const uint8_t *p, size_t size, size_t most)
{
    const uint8_t *const end = p + size, *const stop = size <= most ? end : p + most;
    uint8_t *lower = c->lower, *classes = c->classes;
    uint32_t *at = c->at;
    *at++ = 0;
    *lower++ = ' ';
    *classes++ = TEXT_SPACE;
    while (p < stop) {
        uint32_t code;
        size_t width;
        int32_t shift;
        uint8_t class_of;
        if (LIKELY(*p < 0x80)) { /* ASCII has no ignored characters */
            *at++ = (uint32_t)(lower - c->lower);
            *classes++ = text_table.ascii_class[*p];
            *lower++ = text_table.ascii_lower[*p++];
            continue;
        }
        width = read_character(p, end, &code);
        if (UNLIKELY(width > (size_t)(stop - p)))
            break;
        class_of = text_table.class_of[text_table.kind[code]];
        shift = text_table.shift[text_table.kind[code]];
        if (UNLIKELY(class_of == TEXT_IGNORED)) {
            p += width;
            continue;
        }
        *at++ = (uint32_t)(lower - c->lower);
        *classes++ = class_of;
        if (class_of == TEXT_SPACE) {
            *lower++ = ' ';
        } else if (shift) {
            lower += write_character(lower, (uint32_t)((int32_t)code + shift));
        } else {
            memcpy(lower, p, width);
            lower += width;
        }
        p += width;
    }
    c->cut = p < end;
    *at++ = (uint32_t)(lower - c->lower);
    *lower++ = ' ';
    *classes++ = TEXT_SPACE;
    *at = (uint32_t)(lower - c->lower);
    c->count = (size_t)(classes - c->classes);
}

static inline const uint8_t *characters_at(const characters *c, size_t i)
{
    return c->lower + c->at[i];
}

/* `n` bytes of what lies in front of COPY_SLACK more, to where as many may be written. */
static inline uint8_t *put_loose(uint8_t *out, const uint8_t *from, size_t n)
{
    if (LIKELY(n <= COPY_SLACK))
        memcpy(out, from, COPY_SLACK);
    else
        memcpy(out, from, n);
    return out + n;
}

/* The bytes of characters `first` up to `end`. */
static inline size_t characters_size(const characters *c, size_t first, size_t end)
{
    return c->at[end] - c->at[first];
}

#endif
