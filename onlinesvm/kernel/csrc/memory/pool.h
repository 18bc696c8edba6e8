/* Pieces of one size, zeroed, that never move: segments of the table, blocks of a rule.
 *
 * Room is reserved before a change is begun and taken while it is made, so that taking cannot
 * fail. Pieces are given back all at once, with the pool.
 */
#ifndef ONLINESVM_POOL_H
#define ONLINESVM_POOL_H

#include "memory/pages.h"

typedef struct {
    size_t piece;    /* bytes, a multiple of a cache line */
    size_t total;    /* bytes in all regions */
    size_t free;     /* pieces that can be taken */
    region *regions; /* the oldest first */
    region *current; /* where the next piece is taken */
    region *last;
} pool;

static void pool_init(pool *p, size_t piece)
{
    p->piece = piece;
    p->total = p->free = 0;
    p->regions = p->current = p->last = NULL;
}

static void pool_clear(pool *p)
{
    region_free_all(p->regions);
    pool_init(p, p->piece);
}

/* Make sure that `n` pieces can be taken. 0 without memory; nothing has changed then. */
static int pool_reserve(pool *p, size_t n)
{
    region *r;
    if (LIKELY(n <= p->free))
        return 1;
    n -= p->free;
    if (n > SIZE_MAX / 2 / p->piece)
        return 0;
    r = region_new(n * p->piece, p->total);
    if (!r)
        return 0;
    if (p->last)
        p->last->next = r;
    else
        p->regions = p->current = r;
    p->last = r;
    p->total += r->size;
    p->free += r->size / p->piece;
    return 1;
}

/* A piece of what was reserved. */
static void *pool_take(pool *p)
{
    uint8_t *piece;
    while (p->current->size - p->current->used < p->piece)
        p->current = p->current->next;
    piece = p->current->base + p->current->used;
    p->current->used += p->piece;
    p->free--;
    return piece;
}

#endif
