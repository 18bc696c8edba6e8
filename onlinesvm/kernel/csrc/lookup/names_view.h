/* The names of ids 1 .. n as they are at one instant, copied in slices while more are entered.
 *
 * These entries stay as they are, so they are read without a lock; `busy`, which is set and read
 * under the lock, keeps them from being dropped meanwhile. */
#ifndef ONLINESVM_NAMES_VIEW_H
#define ONLINESVM_NAMES_VIEW_H

#include "lookup/arena.h"

typedef struct names_view {
    struct names_view *next; /* another one of the same names */
    arena_walk walk;
    const region *last; /* where the last name lies, and its end there */
    size_t last_used;
    size_t n, copied;
    uint32_t *lengths;
    uint8_t *bytes; /* where the next name goes */
    int busy;       /* a slice is being copied */
} names_view;

#define NAMES_SLICE 4096 /* names */

/* A view of the `n` names of `a` among those of `*views`; where they go is the caller's to set. */
static void names_open(names_view *v, names_view **views, const arena *a, size_t n)
{
    memset(v, 0, sizeof *v);
    v->n = n;
    v->walk.at = a->regions;
    v->last = a->current;
    v->last_used = a->current ? a->current->used : 0;
    v->next = *views;
    *views = v;
}

/* Copy up to `limit` more names; how many that were, 0 at the end. */
static size_t names_copy(names_view *v, size_t limit)
{
    size_t i, count = v->n - v->copied;
    if (count > limit)
        count = limit;
    for (i = 0; i < count; i++) {
        const uint8_t *e;
        uint32_t length;
        while (v->walk.used == (v->walk.at == v->last ? v->last_used : v->walk.at->used)) {
            v->walk.at = v->walk.at->next;
            v->walk.used = 0;
        }
        e = v->walk.at->base + v->walk.used;
        length = entry_length(e);
        v->walk.used += ENTRY_HEAD + (size_t)length;
        v->lengths[v->copied++] = length;
        memcpy(v->bytes, entry_name(e), length);
        v->bytes += length;
    }
    return count;
}

/* Have nobody copy more for `v`, one of `*views` or not. */
static void names_leave(const names_view *v, names_view **views)
{
    while (*views && *views != v)
        views = &(*views)->next;
    if (*views)
        *views = v->next;
}

#endif
