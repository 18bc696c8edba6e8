/* The dictionary from feature to id: names in columns -> rows over ids.
 *
 * A large model's slots and names lie all over memory, so features are looked up in a pipeline:
 * FAR features ahead the slot is prefetched, NEAR features ahead it is read and the entry that it
 * points to prefetched, and at its turn the name is compared. The guess made ahead may be outdated
 * by then, as names are entered in between; what it does not settle is looked up afresh.
 */
#ifndef ONLINESVM_LOOKUP_H
#define ONLINESVM_LOOKUP_H

#include "batch.h"
#include "column_map.h"
#include "marks.h"
#include "rows.h"
#include "table.h"

#define FAR 40
#define NEAR 20
#define GUESSES 32 /* a power of two above NEAR */

typedef struct {
    table table;
    arena arena;
    uint32_t count; /* names, and so the last id */
    size_t reserved; /* the count up to which the table's room was reserved */
    marks known;    /* by id */
    marks unknown;  /* by hash or by column */
    column_map columns;
} lookup;

static int lookup_init(lookup *l)
{
    memset(l, 0, sizeof *l);
    arena_init(&l->arena);
    marks_init(&l->known);
    marks_init(&l->unknown);
    return table_open(&l->table, 0);
}

static void lookup_clear(lookup *l)
{
    table_clear(&l->table);
    arena_clear(&l->arena);
    marks_clear(&l->known);
    marks_clear(&l->unknown);
    column_map_clear(&l->columns);
    memset(l, 0, sizeof *l);
}

static inline size_t lookup_room(const lookup *l, size_t most)
{
    return most > l->count ? most - l->count : 0;
}

/* Make sure that up to `names` further names of `bytes` bytes in all can be entered. 0 without
 * memory; nothing has changed then. */
static int lookup_reserve(lookup *l, size_t names, size_t bytes)
{
    if (!names)
        return 1;
    if (!arena_reserve(&l->arena, bytes + names * ENTRY_HEAD))
        return 0;
    if (l->count + names <= l->reserved)
        return 1;
    if (!table_reserve(&l->table, names))
        return 0;
    l->reserved = l->count + names;
    return 1;
}

/* Enter a name that is not here; its id. Room was reserved. */
static inline uint32_t lookup_enter(lookup *l, uint64_t hash, const uint8_t *name,
                                    uint32_t length, vacancy end)
{
    const uint32_t id = ++l->count;
    table_insert(&l->table, hash, arena_add(&l->arena, id, name, length), end);
    return id;
}

static uint32_t lookup_id(const lookup *l, const uint8_t *name, size_t length)
{
    if (length > LENGTH_BITS)
        return 0;
    return table_find(&l->table, hash_bytes(name, length), name, (uint32_t)length);
}

static inline void lookup_guess(const lookup *l, const feature *f, const uint8_t **guess)
{
    const uint8_t *e = table_guess(&l->table, f->hash);
    *guess = e;
    if (e) {
        PREFETCH(e);
        PREFETCH(e + ENTRY_HEAD + feature_length(f));
    } else {
        table_prefetch_count(&l->table, f->hash);
    }
}

/* `b` over ids, into rows with room for all its features; how many elements they hold. While
 * `entering`, new names of samples with an importance above 0 become ids, up to `most` of them,
 * and are as if absent beyond; other unknown names are id 0. Duplicates are summed at the place of
 * the first. The marks and, while entering, the names must have been reserved. */
static inline __attribute__((always_inline)) size_t
lookup_rows(lookup *l, const batch *b, size_t most, int entering, rows *out)
{
    const uint8_t *guesses[GUESSES];
    const feature *features = b->features;
    size_t i, j = 0, k = 0, count = b->count;
    for (i = 0; i < FAR && i < count; i++)
        table_prefetch(&l->table, features[i].hash);
    for (i = 0; i < NEAR && i < count; i++)
        lookup_guess(l, &features[i], &guesses[i]);
    out->indptr[0] = 0;
    for (i = 0; i < b->samples; i++) {
        const int growing = entering && b->importances[i] > 0;
        const size_t start = k, end = (size_t)b->indptr[i + 1];
        marks_begin(&l->known, end - j);
        marks_begin(&l->unknown, end - j);
        for (; j < end; j++) {
            const feature *f = &features[j];
            const uint8_t *name = batch_name(b, f), *e = guesses[j % GUESSES];
            const uint32_t length = feature_length(f);
            uint32_t id, place, key;
            marks *m;
            if (LIKELY(j + FAR < count))
                table_prefetch(&l->table, features[j + FAR].hash);
            if (LIKELY(j + NEAR < count))
                lookup_guess(l, &features[j + NEAR], &guesses[(j + NEAR) % GUESSES]);
            if (LIKELY(e && entry_is(e, name, length))) {
                id = entry_id(e);
            } else {
                vacancy end_of_search = {NULL, NULL};
                id = table_search(&l->table, f->hash, name, length, &end_of_search);
                if (!id && growing) {
                    if (l->count >= most)
                        continue;
                    id = lookup_enter(l, f->hash, name, length, end_of_search);
                }
            }
            if (LIKELY(id)) {
                m = &l->known;
                key = id;
                place = marks_place(m, (uint32_t)f->hash);
                while (m->marks[place].stamp == m->stamp && m->marks[place].key != key)
                    place = (place + 1) & m->last;
            } else {
                m = &l->unknown;
                place = marks_place(m, key = (uint32_t)f->hash);
                while (m->marks[place].stamp == m->stamp) {
                    const feature *seen = &features[m->marks[place].feature];
                    if (seen->hash == f->hash && feature_length(seen) == length
                        && same_bytes(batch_name(b, seen), name, length))
                        break;
                    place = (place + 1) & m->last;
                }
            }
            if (UNLIKELY(m->marks[place].stamp == m->stamp)) {
                out->data[start + m->marks[place].row] += f->value;
                continue;
            }
            m->marks[place] = (mark){m->stamp, key, (uint32_t)j, (uint32_t)(k - start)};
            out->indices[k] = (int32_t)id;
            out->data[k++] = f->value;
        }
        out->indptr[i + 1] = (int64_t)k;
    }
    return k;
}

static int lookup_reserve_marks(lookup *l, size_t longest)
{
    return marks_reserve(&l->known, longest) && marks_reserve(&l->unknown, longest);
}

static size_t lookup_grow(lookup *l, const batch *b, size_t most, rows *out)
{
    return lookup_rows(l, b, most, 1, out);
}

static size_t lookup_find(lookup *l, const batch *b, rows *out)
{
    return lookup_rows(l, b, 0, 0, out);
}

/* The names of a dump, `count` of them of `lengths`, end to end in `names`, into a lookup just
 * made: 1, 0 without memory, −1 if two are equal. */
static int lookup_restore(lookup *l, const uint32_t *lengths, const uint8_t *names, size_t count)
{
    enum { AHEAD = 32 };
    uint64_t hashes[AHEAD];
    const uint8_t *at[AHEAD];
    size_t i, bytes = 0;
    for (i = 0; i < count; i++)
        bytes += lengths[i];
    table_clear(&l->table);
    if (!table_open(&l->table, count) || !lookup_reserve(l, count, bytes))
        return 0;
    for (i = 0; i < count + AHEAD; i++) {
        if (i >= AHEAD) {
            const size_t k = i % AHEAD;
            const uint32_t length = lengths[i - AHEAD];
            vacancy end = {NULL, NULL};
            if (table_search(&l->table, hashes[k], at[k], length, &end))
                return -1;
            lookup_enter(l, hashes[k], at[k], length, end);
        }
        if (i < count) {
            const size_t k = i % AHEAD;
            hashes[k] = hash_bytes(names, lengths[i]);
            at[k] = names;
            names += lengths[i];
            table_prefetch(&l->table, hashes[k]);
            table_prefetch_count(&l->table, hashes[k]);
        }
    }
    return 1;
}

#endif
