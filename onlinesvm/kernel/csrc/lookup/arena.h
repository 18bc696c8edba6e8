/* The names, in order of their ids, each with its id and its length before it.
 *
 * Append-only: an entry never moves and is never rewritten, so a reader that knows the number of
 * names at some moment can read exactly those at any later one. An entry lies in one region whole;
 * the regions, oldest first, hold the names by id from 1.
 */
#ifndef ONLINESVM_ARENA_H
#define ONLINESVM_ARENA_H

#include <string.h>

#include "memory/hash.h"
#include "memory/pages.h"

/* An entry, at any address: u32 id, u32 length, the name's bytes. */
#define ENTRY_HEAD 8

typedef struct {
    region *regions; /* the oldest first */
    region *current; /* where entries are added */
    region *spare;   /* reserved; not among the regions yet */
    size_t total;    /* bytes in all regions */
    uint64_t bytes;  /* of all names */
} arena;

static inline uint32_t entry_id(const uint8_t *e)
{
    uint32_t id;
    memcpy(&id, e, 4);
    return id;
}

static inline uint32_t entry_length(const uint8_t *e)
{
    uint32_t length;
    memcpy(&length, e + 4, 4);
    return length;
}

static inline const uint8_t *entry_name(const uint8_t *e) { return e + ENTRY_HEAD; }

static void arena_init(arena *a) { memset(a, 0, sizeof *a); }

static void arena_clear(arena *a)
{
    region_free_all(a->regions);
    region_free_all(a->spare);
    arena_init(a);
}

/* Make sure that entries of `bytes` bytes in all, heads included, can be added. 0 without memory;
 * nothing has changed then. All of them fit in the spare region, whatever part of them the
 * current one takes before. */
static int arena_reserve(arena *a, size_t bytes)
{
    region *r;
    for (r = a->current; r; r = r->next) /* those after the current one are empty */
        if (r->size - r->used >= bytes)
            return 1;
    if (a->spare && a->spare->size >= bytes)
        return 1;
    r = region_new(bytes, a->total);
    if (!r)
        return 0;
    region_free_all(a->spare);
    a->spare = r;
    return 1;
}

/* Add a name that room was reserved for. */
static inline uint8_t *arena_add(arena *a, uint32_t id, const uint8_t *name, uint32_t length)
{
    size_t size = ENTRY_HEAD + (size_t)length;
    uint8_t *e;
    while (UNLIKELY(!a->current || a->current->size - a->current->used < size)) {
        if (a->current && a->current->next) {
            a->current = a->current->next;
            continue;
        }
        if (a->current)
            a->current->next = a->spare;
        else
            a->regions = a->spare;
        a->current = a->spare;
        a->total += a->spare->size;
        a->spare = NULL;
    }
    e = a->current->base + a->current->used;
    a->current->used += size;
    a->bytes += length;
    memcpy(e, &id, 4);
    memcpy(e + 4, &length, 4);
    copy_bytes(e + ENTRY_HEAD, name, length);
    return e;
}

/* A walk over the names by id; start with {0}. The next entry, or NULL after the last one. Names
 * may be added between two steps. */
typedef struct {
    const region *at;
    size_t used;
} arena_walk;

static const uint8_t *arena_next(const arena *a, arena_walk *walk)
{
    const uint8_t *e;
    if (!walk->at) {
        walk->at = a->regions;
        walk->used = 0;
        if (!walk->at)
            return NULL;
    }
    while (walk->used == walk->at->used) {
        if (!walk->at->next)
            return NULL;
        walk->at = walk->at->next;
        walk->used = 0;
    }
    e = walk->at->base + walk->used;
    walk->used += ENTRY_HEAD + (size_t)entry_length(e);
    return e;
}

/* Take the regions that a walk has left from the arena: the caller frees them. */
static region *arena_leave(arena *a, const arena_walk *walk)
{
    region *const left = a->regions;
    region *r = left;
    if (!walk->at || r == walk->at)
        return NULL;
    while (r->next != walk->at) {
        a->total -= r->size;
        r = r->next;
    }
    a->total -= r->size;
    a->regions = r->next;
    r->next = NULL;
    return left;
}

#endif
