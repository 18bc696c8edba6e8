/* A walk over the bytes that end something: whitespace, ":" and one more, 64 bytes at a time.
 *
 * Each step costs the same, however long the words between are. Reads nothing beyond the end.
 */
#ifndef ONLINESVM_SCAN_H
#define ONLINESVM_SCAN_H

#include <string.h>

#include "memory/pages.h"

#if defined(__SSE2__) && !defined(SCAN_PORTABLE)
#include <emmintrin.h>
#endif

#define SCAN_WIDTH 64

typedef struct {
    const uint8_t *base; /* of the 64 bytes at hand */
    const uint8_t *end;
    uint64_t stops; /* which of them end something and were not walked over yet */
} scan;

static inline int is_space(uint8_t c) { return c == ' ' || (uint8_t)(c - '\t') < 5; }

static inline uint64_t scan_stops(const uint8_t *p, uint8_t other)
{
    uint64_t stops = 0;
    int i;
#if defined(__SSE2__) && !defined(SCAN_PORTABLE)
    const __m128i blank = _mm_set1_epi8(' '), tab = _mm_set1_epi8('\t'), four = _mm_set1_epi8(4),
                  colon = _mm_set1_epi8(':'), third = _mm_set1_epi8((char)other);
    for (i = 0; i < SCAN_WIDTH; i += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(p + i)), y = _mm_sub_epi8(x, tab);
        const __m128i space = _mm_or_si128(_mm_cmpeq_epi8(x, blank),
                                           _mm_cmpeq_epi8(_mm_min_epu8(y, four), y));
        const __m128i point = _mm_or_si128(_mm_cmpeq_epi8(x, colon), _mm_cmpeq_epi8(x, third));
        stops |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_or_si128(space, point)) << i;
    }
#else
    for (i = 0; i < SCAN_WIDTH; i++)
        stops |= (uint64_t)(is_space(p[i]) | (p[i] == ':') | (p[i] == other)) << i;
#endif
    return stops;
}

static __attribute__((noinline)) uint64_t scan_last_stops(const uint8_t *p, size_t left,
                                                          uint8_t other)
{
    uint8_t last[SCAN_WIDTH] = {0};
    memcpy(last, p, left);
    return scan_stops(last, other);
}

static inline void scan_load(scan *s, uint8_t other)
{
    const size_t left = (size_t)(s->end - s->base);
    s->stops = LIKELY(left >= SCAN_WIDTH) ? scan_stops(s->base, other)
                                          : scan_last_stops(s->base, left, other);
}

/* Begin, or go on, at `p`, before the end. */
static inline void scan_from(scan *s, const uint8_t *p, uint8_t other)
{
    s->base = p;
    scan_load(s, other);
}

/* The next byte that ends something. There must be one: the last byte is a newline. */
static inline const uint8_t *scan_next(scan *s, uint8_t other)
{
    const uint8_t *p;
    while (UNLIKELY(!s->stops)) {
        s->base += SCAN_WIDTH;
        scan_load(s, other);
    }
    p = s->base + __builtin_ctzll(s->stops);
    s->stops &= s->stops - 1;
    return p;
}

#endif
