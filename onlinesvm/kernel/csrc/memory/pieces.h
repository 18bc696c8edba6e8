/* Pieces of memory of growing size, for rows that grow: 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20,
 * ... entries, four sizes from each power of two to the next.
 *
 * Room is reserved before a change is begun and taken while it is made, so that taking cannot fail.
 * A piece that is given back is taken again by the next row of its size.
 */
#ifndef ONLINESVM_PIECES_H
#define ONLINESVM_PIECES_H

#include <string.h>

#include "memory/pages.h"

#define PIECE_SIZES 100
#define PIECE_ALIGN 16

typedef struct {
    size_t entry;              /* bytes */
    uint8_t *given[PIECE_SIZES]; /* of each size those given back, one linked to the next */
    region *regions, *current, *last;
    size_t total; /* bytes in all regions */
} pieces;

static inline uint32_t piece_entries(int size)
{
    return size < 4 ? (uint32_t)size + 1 : (uint32_t)(5 + (size & 3)) << ((size >> 2) - 1);
}

/* The smallest size of at least `n` entries, from 1 to 2^27. */
static inline int piece_size(size_t n)
{
    const uint32_t below = (uint32_t)n - 1;
    int shift;
    if (below < 4)
        return (int)below;
    shift = 29 - __builtin_clz(below);
    return 4 * shift + (int)(below >> shift);
}

static inline size_t piece_bytes(const pieces *p, int size)
{
    return (piece_entries(size) * p->entry + (PIECE_ALIGN - 1)) & ~(size_t)(PIECE_ALIGN - 1);
}

static void pieces_init(pieces *p, size_t entry)
{
    memset(p, 0, sizeof *p);
    p->entry = entry;
}

static void pieces_clear(pieces *p)
{
    region_free_all(p->regions);
    pieces_init(p, p->entry);
}

/* Make sure that pieces of `bytes` in all can be taken, none of more than `most` entries. The end
 * of a region may be too short for the next piece. 0 without memory; nothing has changed then. */
static int pieces_reserve(pieces *p, size_t bytes, size_t most)
{
    const size_t largest = piece_bytes(p, piece_size(most));
    size_t there = 0;
    region *r;
    for (r = p->current; r; r = r->next)
        if (r->size - r->used > largest)
            there += r->size - r->used - largest;
    if (LIKELY(bytes <= there))
        return 1;
    if (bytes > SIZE_MAX / 2)
        return 0;
    r = region_new(bytes + largest, p->total);
    if (!r)
        return 0;
    if (p->last)
        p->last->next = r;
    else
        p->regions = r;
    if (!p->current)
        p->current = r;
    p->last = r;
    p->total += r->size;
    return 1;
}

/* A piece of what was reserved. */
static uint8_t *piece_take(pieces *p, int size)
{
    const size_t bytes = piece_bytes(p, size);
    uint8_t *piece = p->given[size];
    if (piece) {
        memcpy(&p->given[size], piece, sizeof piece);
        return piece;
    }
    while (p->current->size - p->current->used < bytes)
        p->current = p->current->next;
    piece = p->current->base + p->current->used;
    p->current->used += bytes;
    return piece;
}

static void piece_give(pieces *p, uint8_t *piece, int size)
{
    memcpy(piece, &p->given[size], sizeof piece);
    p->given[size] = piece;
}

#endif
