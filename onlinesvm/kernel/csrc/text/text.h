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

static inline uint8_t *put_token(uint8_t *out, const characters *c, const token *t)
{
    return put_characters(out, c, t->first, t->end);
}

static inline size_t token_bytes(const characters *c, const token *t)
{
    return characters_size(c, t->first, t->end);
}

static int text_add_words(extraction *x, span prefix, size_t count)
{
    const characters *c = &x->characters;
    const int all = x->options->text == TEXT_DEFAULT;
    const token *t;
    if (!extraction_begin_distinct(x, count))
        return 0;
    for (t = x->tokens; t < x->tokens + count; t++) {
        uint8_t *name, *end;
        if (!t->word && !all)
            continue;
        name = extraction_name(x, prefix.length + token_bytes(c, t));
        if (UNLIKELY(!name))
            return 0;
        end = put_token(put_loose(name, prefix.at, prefix.length), c, t);
        extraction_note(x, (size_t)(end - name));
    }
    extraction_keep_distinct(x, VIEW_WORDS + OF_TEXT);
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

static int text_add_styles(extraction *x, span head, size_t count)
{
    const characters *c = &x->characters;
    const size_t length = c->count - 2;
    uint64_t counts[TEXT_ALONE + 1] = {0}, letters, n = length ? length : 1;
    const token *t;
    size_t i;
    if (!extraction_begin_distinct(x, count))
        return 0;
    for (t = x->tokens; t < x->tokens + count; t++) {
        uint8_t *name, *end;
        if (!t->word)
            continue;
        name = extraction_name(x, head.length + STYLE_BYTES);
        if (UNLIKELY(!name))
            return 0;
        end = put(put_loose(name, head.at, head.length), (const uint8_t *)"shape=", 6);
        end += shape_write(c, t, end);
        extraction_note(x, (size_t)(end - name));
    }
    extraction_keep_distinct(x, VIEW_WORDS + OF_TEXT);
    for (i = 1; i <= length; i++)
        counts[c->classes[i]]++;
    letters = counts[TEXT_LETTER] + counts[TEXT_UPPER] + counts[TEXT_LOWER] + counts[TEXT_ALONE];
    return extraction_reserve(x, 5) && text_add_style(x, head, "chars=", level_of(length))
        && text_add_style(x, head, "words=", level_of(count))
        && text_add_style(x, head, "upper=", 10 * counts[TEXT_UPPER] / (letters ? letters : 1))
        && text_add_style(x, head, "digits=", 10 * counts[TEXT_DIGIT] / n)
        && text_add_style(x, head, "symbols=", 10 * counts[TEXT_SYMBOL] / n);
}

/* 2 to `most` neighbours, joined by a blank; the empty token stands at both ends. */
static int text_add_word_grams(extraction *x, span prefix, size_t count, int most)
{
    const characters *c = &x->characters;
    const token *const tokens = x->tokens;
    size_t n, i, j;
    if (!count || most < 2)
        return 1;
    if (!extraction_begin_distinct(x, (size_t)(most - 1) * (count + 1)))
        return 0;
    for (n = 2; n <= (size_t)most; n++) {
        for (i = 0; i + n <= count + 2; i++) { /* 0 and count + 1 are the empty tokens */
            size_t bytes = prefix.length + n - 1;
            uint8_t *name, *end;
            for (j = i; j < i + n; j++)
                if (j && j <= count)
                    bytes += token_bytes(c, tokens + j - 1);
            name = extraction_name(x, bytes);
            if (UNLIKELY(!name))
                return 0;
            end = put_loose(name, prefix.at, prefix.length);
            for (j = i; j < i + n; j++) {
                if (j > i)
                    *end++ = ' ';
                if (j && j <= count)
                    end = put_token(end, c, tokens + j - 1);
            }
            extraction_note(x, bytes);
        }
    }
    extraction_keep_distinct(x, VIEW_NGRAMS + OF_TEXT);
    return 1;
}

/* The n-grams of the run of characters from `first`, a space, to `last`, a space too. */
static inline int text_add_run(extraction *x, span head, size_t first, size_t last, size_t size)
{
    const characters *c = &x->characters;
    const size_t width = last - first + 1 < size ? last - first + 1 : size;
    size_t i;
    for (i = first; i + width <= last + 1; i++) {
        const size_t bytes = head.length + 1 + characters_size(c, i, i + width);
        uint8_t *const name = extraction_name(x, bytes), *end;
        if (UNLIKELY(!name))
            return 0;
        end = put_loose(name, head.at, head.length);
        *end++ = '~';
        put_characters(end, c, i, i + width);
        extraction_note(x, bytes);
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
    extraction_keep_distinct(x, VIEW_CHARACTERS + OF_TEXT);
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
