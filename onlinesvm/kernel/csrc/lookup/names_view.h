/* The names at one instant, by id, copied in slices while more are entered, and while a prune moves
 * them.
 *
 * These entries stay as they are: a prune copies those that stay, and frees none while there is a
 * view. So they are read without a lock; `busy`, which is set and read under the lock, keeps them
 * from being replaced meanwhile. */
#ifndef ONLINESVM_NAMES_VIEW_H
#define ONLINESVM_NAMES_VIEW_H

#include "lookup/lookup.h"

typedef struct names_view {
    struct names_view *next; /* another one of the same names */
    arena_walk walk;
    const region *last; /* where the last name of the walk lies, and its end there */
    size_t last_used;
    arena_walk rest_walk; /* the names that a prune has not moved yet, after those */
    const region *rest_last;
    size_t rest_used;
    size_t n, copied;
    uint32_t *lengths;
    uint8_t *bytes; /* where the next name goes */
    int busy;       /* a slice is being copied */
} names_view;

#define NAMES_SLICE 4096 /* names */

/* Go on with the names that were not moved. */
static inline void names_turn(names_view *v)
{
    v->walk = v->rest_walk;
    v->last = v->rest_last;
    v->last_used = v->rest_used;
}

/* A view of the names of `l` among those of `*views`; where they go is the caller's to set. */
static void names_open(names_view *v, names_view **views, const lookup *l)
{
    const arena *const a = &l->arena;
    memset(v, 0, sizeof *v);
    v->n = l->count;
    v->walk.at = a->regions;
    v->last = a->current;
    v->last_used = a->current ? a->current->used : 0;
    if (l->is_sweeping) {
        v->rest_walk = l->unread;
        v->rest_last = v->last;
        v->rest_used = v->last_used;
        v->walk.at = l->moved.regions;
        v->last = l->moved.current;
        v->last_used = l->moved.current ? l->moved.current->used : 0;
        if (!v->rest_walk.at)
            v->rest_walk.at = a->regions;
        if (!l->low)
            names_turn(v);
    }
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
            if (v->walk.at == v->last) {
                names_turn(v);
                continue;
            }
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
