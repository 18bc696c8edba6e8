/* The features of a text: words and style, word n-grams, character n-grams. _add_text of
 * onlinesvm.text.records in C, in the same order.
 */
#ifndef ONLINESVM_TEXT_TEXT_H
#define ONLINESVM_TEXT_TEXT_H

#include "text/extraction.h"

#define STYLE_BYTES 32 /* of a style's name without its field */

/* Read a text into x->characters and x->tokens; its tokens, or SIZE_MAX without memory. */
static size_t text_read(extraction *x, span text)
{
    const size_t most = x->left, bytes = text.length < most ? text.length : most;
    if (!characters_reserve(&x->characters, bytes))
        return SIZE_MAX;
    if (x->characters.room > x->tokens_room) {
        token *tokens = realloc(x->tokens, x->characters.room * sizeof *tokens);
        if (!tokens)
            return SIZE_MAX;
        x->tokens = tokens;
        x->tokens_room = x->characters.room;
    }
    characters_read(&x->characters, text.at, text.length, most);
    x->left -= bytes;
    return tokens_cut(&x->characters, x->tokens);
}

/* True for one word of at most TOKEN_CHARACTERS characters, and nothing beside it. */
static int text_is_one_word(span text)
{
    const uint8_t *p = text.at, *const end = p + text.length;
    size_t count = 0;
    int first = TEXT_SPACE;
    if (text.length > CATEGORY_BYTES)
        return 0;
    while (p < end) {
        uint32_t code;
        int class_of;
        p += read_character(p, end, &code);
        class_of = text_table.class_of[text_table.kind[code]];
        if (class_of == TEXT_IGNORED)
            continue;
        if (class_of < TEXT_OTHER || ++count > TOKEN_CHARACTERS)
            return 0;
        if (count == 1)
            first = class_of;
        else if (first == TEXT_ALONE ? class_of != TEXT_MARK : class_of == TEXT_ALONE)
            return 0;
    }
    return count > 0;
}

static inline uint8_t *put_characters(uint8_t *out, const characters *c, size_t first, size_t end)
{
    return put_loose(out, characters_at(c, first), characters_size(c, first, end));
}

/* Add the name of prefix and the `n` bytes of the text at `from`, once. 0 without memory. */
static inline int text_add_distinct(extraction *x, span prefix, const uint8_t *from, size_t n,
                                    int view)
{
    uint8_t *name;
    if (LIKELY(!prefix.length))
        return extraction_add_distinct(x, from, n, view);
    name = extraction_name(x, prefix.length + n);
    if (UNLIKELY(!name))
        return 0;
    put_loose(put_loose(name, prefix.at, prefix.length), from, n);
    return extraction_add_distinct(x, name, prefix.length + n, view);
}

static int text_add_words(extraction *x, span prefix, size_t count)
{
    const characters *c = &x->characters;
    const int all = x->options->text == TEXT_DEFAULT;
    const token *t;
    if (!extraction_begin_distinct(x, count))
        return 0;
    for (t = x->tokens + 1; t <= x->tokens + count; t++) {
        if (!t->word && !all)
            continue;
        if (UNLIKELY(!text_add_distinct(x, prefix, characters_at(c, t->first),
                                        characters_size(c, t->first, t->end),
                                        VIEW_WORDS + OF_TEXT)))
            return 0;
    }
    return 1;
}

/* head^what=number */
static int text_add_style(extraction *x, span head, const char *what, uint64_t number)
{
    const size_t size = strlen(what);
    uint8_t *const name = extraction_name(x, head.length + STYLE_BYTES), *end;
    if (!name)
        return 0;
    end = put(put_loose(name, head.at, head.length), (const uint8_t *)what, size);
    end += decimal(end, number, 0);
    extraction_add(x, (size_t)(end - name), 1.0, VIEW_WORDS + OF_TEXT);
    return 1;
}

/* The shape of a word, once. Most words are of one class: `*plain` has a bit for each of their
 * shapes that the text has shown. */
static inline int text_add_shape(extraction *x, span head, const token *t, uint32_t *plain)
{
    uint8_t *name, *end;
    if (!t->mixed) {
        const uint32_t bit = 1u << (2 * x->characters.classes[t->first] + (t->end - t->first > 1));
        if (LIKELY(*plain & bit))
            return 1;
        *plain |= bit;
    }
    name = extraction_name(x, head.length + STYLE_BYTES);
    if (UNLIKELY(!name))
        return 0;
    end = put(put_loose(name, head.at, head.length), (const uint8_t *)"shape=", 6);
    end += shape_write(&x->characters, t, end);
    return extraction_add_distinct(x, name, (size_t)(end - name), VIEW_WORDS + OF_TEXT);
}

/* Count the characters of each class but the spaces at the ends; in four arrays, as a count waits
 * for the one before it in the same place. */
static void text_count_classes(const characters *c, uint64_t *counts)
{
    uint32_t parts[4][TEXT_ALONE + 1] = {{0}};
    size_t i;
    int k;
    for (i = 1; i + 1 < c->count; i++)
        parts[i & 3][c->classes[i]]++;
    for (k = 0; k <= TEXT_ALONE; k++)
        counts[k] = (uint64_t)parts[0][k] + parts[1][k] + parts[2][k] + parts[3][k];
}

static int text_add_styles(extraction *x, span head, size_t count)
{
    const size_t length = x->characters.count - 2;
    uint64_t counts[TEXT_ALONE + 1], letters, n = length ? length : 1;
    uint32_t plain = 0;
    const token *t;
    if (!extraction_begin_distinct(x, count))
        return 0;
    for (t = x->tokens + 1; t <= x->tokens + count; t++)
        if (t->word && UNLIKELY(!text_add_shape(x, head, t, &plain)))
            return 0;
    text_count_classes(&x->characters, counts);
    letters = counts[TEXT_LETTER] + counts[TEXT_UPPER] + counts[TEXT_LOWER] + counts[TEXT_ALONE];
    return extraction_reserve(x, 5) && text_add_style(x, head, "chars=", level_of(length))
        && text_add_style(x, head, "words=", level_of(count))
        && text_add_style(x, head, "upper=", 10 * counts[TEXT_UPPER] / (letters ? letters : 1))
        && text_add_style(x, head, "digits=", 10 * counts[TEXT_DIGIT] / n)
        && text_add_style(x, head, "symbols=", 10 * counts[TEXT_SYMBOL] / n);
}

/* True where the text has one blank between a token, of which nothing is cut, and the next one; the
 * empty ones at its ends included. */
static inline int text_has_blank(const characters *c, const token *t)
{
    return t[0].end + 1 == t[1].first && c->classes[t[0].end] == TEXT_SPACE;
}

/* The name of n tokens joined by blanks, once. */
static inline int text_add_joined(extraction *x, span prefix, const token *t, size_t n)
{
    const characters *c = &x->characters;
    const size_t first = t[0].first, last = t[n - 1].end;
    size_t bytes = prefix.length + n - 1, j;
    uint8_t *name, *end;
    for (j = 0; j + 1 < n && text_has_blank(c, t + j); j++)
        ;
    if (LIKELY(j + 1 == n))
        return text_add_distinct(x, prefix, characters_at(c, first),
                                 characters_size(c, first, last), VIEW_NGRAMS + OF_TEXT);
    for (j = 0; j < n; j++)
        bytes += characters_size(c, t[j].first, t[j].end);
    name = extraction_name(x, bytes);
    if (UNLIKELY(!name))
        return 0;
    end = put_loose(name, prefix.at, prefix.length);
    for (j = 0; j < n; j++) {
        if (j)
            *end++ = ' ';
        end = put_characters(end, c, t[j].first, t[j].end);
    }
    return extraction_add_distinct(x, name, bytes, VIEW_NGRAMS + OF_TEXT);
}

/* 2 to `most` neighbours, joined by a blank; the empty token stands at both ends. */
static int text_add_word_grams(extraction *x, span prefix, size_t count, int most)
{
    size_t n, i;
    if (!count || most < 2)
        return 1;
    if (!extraction_begin_distinct(x, (size_t)(most - 1) * (count + 1)))
        return 0;
    for (n = 2; n <= (size_t)most; n++)
        for (i = 0; i + n <= count + 2; i++)
            if (UNLIKELY(!text_add_joined(x, prefix, x->tokens + i, n)))
                return 0;
    return 1;
}

/* The names ^~ and 4 bytes, n of them from one byte after the other, each once: the n-grams of most
 * runs of a bare text. A name is hashed before it is written: bytes just written in pieces cannot
 * be read at once. */
static inline int text_add_short_grams(extraction *x, const uint8_t *from, size_t n)
{
    const uint8_t *const end = from + n;
    uint8_t gram[COPY_SLACK] = "^~";
    if (UNLIKELY(!extraction_name(x, 6 * n)))
        return 0;
    for (; from < end; from++) {
        uint32_t first, last;
        uint64_t hash;
        memcpy(&last, from, 4);
        memcpy(gram + 2, from, 4);
        memcpy(&first, gram, 4);
        hash = hash_six(first, last);
        if (extraction_is_new(x, gram, 6, hash)) {
            memcpy(x->batch->side + x->batch->side_used, gram, 8);
            extraction_add_hashed(x, 6, hash, 1.0, VIEW_CHARACTERS + OF_TEXT);
        }
    }
    return 1;
}

/* The n-grams of the run of characters from `first`, a space, to `last`, a space too. */
static inline int text_add_run(extraction *x, span head, size_t first, size_t last, size_t size)
{
    const characters *c = &x->characters;
    const size_t width = last - first + 1 < size ? last - first + 1 : size;
    size_t i;
    if (LIKELY(width == 4 && head.length == 1)
        && LIKELY(characters_size(c, first, last + 1) == last + 1 - first))
        return text_add_short_grams(x, characters_at(c, first), last + 2 - width - first);
    for (i = first; i + width <= last + 1; i++) {
        const size_t bytes = head.length + 1 + characters_size(c, i, i + width);
        uint8_t *const name = extraction_name(x, bytes), *end;
        if (UNLIKELY(!name))
            return 0;
        end = put_loose(name, head.at, head.length);
        *end++ = '~';
        put_characters(end, c, i, i + width);
        if (UNLIKELY(!extraction_add_distinct(x, name, bytes, VIEW_CHARACTERS + OF_TEXT)))
            return 0;
    }
    return 1;
}

static int text_add_character_grams(extraction *x, span head)
{
    const text_options *o = x->options;
    const characters *c = &x->characters;
    size_t k, at, first;
    if (!extraction_begin_distinct(x, o->size_count * c->count))
        return 0;
    for (k = 0; k < o->size_count; k++) {
        first = 0; /* the space before the run */
        for (at = 1; at < c->count; at++) {
            if (c->classes[at] != TEXT_SPACE)
                continue;
            if (at - first > 1 && !text_add_run(x, head, first, at, o->sizes[k]))
                return 0;
            first = at;
        }
    }
    return 1;
}

/* The features of the text that was read, `count` tokens. head: the field and ^. */
static int text_add(extraction *x, span head, size_t count)
{
    const text_options *o = x->options;
    const span prefix = {head.at, head.length > 1 ? head.length : 0}; /* a bare text has none */
    x->cut += (size_t)x->characters.cut;
    if (!text_add_words(x, prefix, count))
        return EXTRACT_NO_MEMORY;
    if (o->text == TEXT_WORDS)
        return EXTRACTED;
    if (!text_add_styles(x, head, count) || !text_add_word_grams(x, prefix, count, o->ngrams)
        || !text_add_character_grams(x, head))
        return EXTRACT_NO_MEMORY;
    return EXTRACTED;
}

#endif
