/* Tokens and the shapes of words: onlinesvm.text.words and onlinesvm.text.style in C. */
#ifndef ONLINESVM_TEXT_WORDS_H
#define ONLINESVM_TEXT_WORDS_H

#include "text/characters.h"

typedef struct {
    uint32_t first, end; /* characters: at most TOKEN_CHARACTERS of the token */
    uint8_t word;
    uint8_t mixed; /* 0 for a word whose characters are all of the class of the first */
} token;

/* The tokens of a text at `out`, from out[1] on; how many. Before the first and after the last one
 * comes an empty one, at the text's ends. There is room for two more than characters. */
static size_t tokens_cut(const characters *c, token *out)
{
    const uint8_t *classes = c->classes;
    size_t at = 1, n = c->count - 1; /* less the spaces at the ends */
    token *t = out;
    *t++ = (token){0, 0, 0, 0};
    while (at < n) {
        const size_t start = at;
        const uint8_t first = classes[at++];
        uint8_t mixed = 0;
        if (first == TEXT_SPACE)
            continue;
        if (first == TEXT_ALONE) {
            for (; at < n && classes[at] == TEXT_MARK; at++)
                mixed = 1;
        } else if (first >= TEXT_OTHER) {
            for (; at < n && classes[at] >= TEXT_OTHER && classes[at] != TEXT_ALONE; at++)
                mixed |= classes[at] ^ first;
        } else {
            const size_t size = characters_size(c, start, start + 1);
            while (at < n && classes[at] == first && characters_size(c, at, at + 1) == size
                   && !memcmp(characters_at(c, at), characters_at(c, start), size))
                at++;
        }
        t->first = (uint32_t)start;
        t->end = (uint32_t)(at - start <= TOKEN_CHARACTERS ? at : start + TOKEN_CHARACTERS);
        t->word = first >= TEXT_OTHER;
        t->mixed = mixed;
        t++;
    }
    *t = (token){(uint32_t)c->count, (uint32_t)c->count, 0, 0};
    return (size_t)(t - out - 1);
}

/* The shape of a word at `out`, of SHAPE_CHARACTERS bytes; its length. */
static size_t shape_write(const characters *c, const token *t, uint8_t *out)
{
    static const char letters[TEXT_ALONE + 1] = {
        [TEXT_OTHER] = 'o', [TEXT_UNDERSCORE] = '_', [TEXT_DIGIT] = 'd', [TEXT_LETTER] = 'o',
        [TEXT_UPPER] = 'X', [TEXT_LOWER] = 'x',      [TEXT_ALONE] = 'o',
    };
    size_t i, n = 0;
    char last = 0;
    for (i = t->first; i < t->end && n < SHAPE_CHARACTERS; i++) {
        const char letter = letters[c->classes[i]];
        if (!letter) /* a mark */
            continue;
        if (letter != last)
            out[n++] = (uint8_t)letter;
        else if (out[n - 1] != '+')
            out[n++] = '+';
        last = letter;
    }
    return n;
}

/* floor(2 log2(1 + n)) */
static unsigned level_of(uint64_t n)
{
    return 63u - (unsigned)__builtin_clzll((1 + n) * (1 + n));
}

#endif
