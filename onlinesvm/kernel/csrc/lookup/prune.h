/* A step of a prune: some features are looked at, some of them leave, and the others move down.
 *
 * Which ones leave is decided in onlinesvm.model.pruning, for both kernels.
 */
#ifndef ONLINESVM_PRUNE_H
#define ONLINESVM_PRUNE_H

#include "lookup/lookup.h"
#include "memory/view.h"

/* Make sure that the names of the next `n` ids can be moved. 0 without memory; nothing has changed
 * then. */
static int lookup_reserve_sweep(lookup *l, size_t n)
{
    arena_walk walk = {0};
    size_t bytes = 0;
    if (l->is_sweeping)
        walk = l->unread;
    while (n--) {
        const uint8_t *e = arena_next(&l->arena, &walk);
        if (!e)
            break;
        bytes += ENTRY_HEAD + (size_t)entry_length(e);
    }
    return arena_reserve(&l->moved, bytes);
}

/* End a prune: all names are moved. */
static void sweep_end(lookup *l)
{
    region **end = &l->retired;
    while (*end)
        end = &(*end)->next;
    *end = l->arena.regions;
    region_free_all(l->arena.spare);
    l->arena = l->moved;
    arena_init(&l->moved);
    l->last = l->low;
    l->is_sweeping = 0;
}

/* Look at the next `n` ids; kept[i] is 0 for those that leave. The others get the lowest free ids,
 * in the old order. Begins a prune if none is under way; it ends with the last id. Room for the
 * names was reserved. `is_viewed`: names that a view reads are not freed. */
static void lookup_sweep(lookup *l, size_t n, const uint8_t *kept, int is_viewed)
{
    enum { AHEAD = 16 };
    uint64_t hashes[AHEAD];
    const uint8_t *entries[AHEAD];
    const uint32_t before = l->count;
    size_t i;
    if (!l->is_sweeping) {
        l->is_sweeping = 1;
        l->low = 0;
        l->next = 1;
        memset(&l->unread, 0, sizeof l->unread);
    }
    for (i = 0; i < n + AHEAD; i++) {
        const size_t k = i % AHEAD;
        if (i >= AHEAD) {
            const uint8_t *e = entries[k];
            l->arena.bytes -= entry_length(e);
            if (kept[i - AHEAD]) {
                const uint8_t *moved =
                    arena_add(&l->moved, ++l->low, entry_name(e), entry_length(e));
                table_move(&l->table, hashes[k], e, moved);
            } else {
                table_remove(&l->table, hashes[k], e);
                l->count--;
            }
        }
        if (i < n) {
            const uint8_t *e = entries[k] = arena_next(&l->arena, &l->unread);
            hashes[k] = hash_bytes(entry_name(e), entry_length(e));
            table_prefetch(&l->table, hashes[k]);
        }
    }
    l->next += (uint32_t)n;
    l->reserved -= l->reserved > before - l->count ? before - l->count : l->reserved;
    if (l->next > l->last)
        sweep_end(l);
    if (!is_viewed) {
        region_free_all(l->retired);
        l->retired = NULL;
        if (l->is_sweeping)
            region_free_all(arena_leave(&l->arena, &l->unread));
    }
}

/* Move the state of ids first .. first + n - 1 that stay to ids to, to + 1, ...; all others of these
 * are fresh then. `views` keep the records that were there. */
static void blocks_move(blocks *b, view *views, uint32_t to, uint32_t first, size_t n,
                        const uint8_t *kept)
{
    const size_t bytes = b->stride * sizeof(double);
    size_t i;
    for (i = 0; i < n && first + i < blocks_end(b); i++) {
        double *const record = blocks_at(b, (uint32_t)(first + i), b->stride);
        view *v;
        for (v = views; v; v = v->next)
            view_keep(v, b, (uint32_t)(first + i));
        if (kept[i]) {
            if (to == first + i) {
                to++;
                continue;
            }
            memcpy(blocks_at(b, to++, b->stride), record, bytes);
        }
        memset(record, 0, bytes);
    }
}

/* Move the state of ids first .. first + n - 1 up by `gap`; there must be state for these ids. */
static void blocks_raise(blocks *b, uint32_t first, size_t n, uint32_t gap)
{
    const size_t bytes = b->stride * sizeof(double);
    while (gap && n--) {
        double *const record = blocks_at(b, (uint32_t)(first + n), b->stride);
        memcpy(blocks_at(b, (uint32_t)(first + n) + gap, b->stride), record, bytes);
        memset(record, 0, bytes);
    }
}

#endif
