/* The dictionary from feature to id: names in columns -> rows over ids.
 *
 * A large model's slots and names lie all over memory, so features are looked up in a pipeline:
 * FAR features ahead the slot is prefetched, NEAR features ahead it is read and the entry that it
 * points to prefetched, and at its turn the name is compared. The guess made ahead may be outdated
 * by then, as names are entered in between; what it does not settle is looked up afresh.
 */
#ifndef ONLINESVM_LOOKUP_H
#define ONLINESVM_LOOKUP_H

#include "codec/batch.h"
#include "lookup/fields.h"
#include "lookup/table.h"
#include "memory/rows.h"
#include "memory/seen.h"

#define FAR 40
#define NEAR 20
#define GUESSES 32 /* a power of two above NEAR */

/* The needs of a walk over samples beside the lookup: the keys of the sample at hand. A walk that is
 * over leaves it to the next, of whichever lookup: it is large for a small model, and in the cache. */
typedef struct walk {
    struct walk *next;
    seen known;       /* by id; the numbers are places in the sample's row */
    seen unknown;     /* by hash; the numbers are features of the sample */
    uint32_t *places; /* in the sample's row, of unknown features */
    size_t places_room;
} walk;

#define WALK_MOST_ROOM ((uint32_t)1 << 16) /* of the sets that are left to the next walk */

static walk *walks; /* those that nobody uses; under the interpreter's lock */

typedef struct {
    table table;
    arena arena;
    uint32_t count; /* names */
    uint32_t last;  /* the last id */
    /* While a prune is under way: ids 1 .. low were looked at and moved, ids next .. last were not,
     * and those between are nobody's. */
    int is_sweeping;
    uint32_t low, next;
    arena moved;       /* the names of ids 1 .. low; those of the rest are in `arena`, */
    arena_walk unread; /* from here on */
    region *retired;   /* of names that were moved, while there are views */
    size_t reserved; /* the count up to which the table's room was reserved */
    uint64_t refused; /* features that were left out, as the lookup was full */
    walk *walk; /* of the walk under way */
    uint8_t *tags; /* of the names that the last batch entered */
    size_t tags_room, tagged;
    counted_fields *fields; /* NULL before there is a category whose field is crossed */
} lookup;

static void walk_free(walk *w)
{
    if (!w)
        return;
    seen_clear(&w->known);
    seen_clear(&w->unknown);
    free(w->places);
    free(w);
}

/* Room for samples of up to `longest` features; 0 without memory. */
static int walk_reserve(walk *w, size_t longest)
{
    if (longest > w->places_room) {
        uint32_t *places = realloc(w->places, longest * sizeof *places);
        if (!places)
            return 0;
        w->places = places;
        w->places_room = longest;
    }
    return seen_reserve(&w->known, longest) && seen_reserve(&w->unknown, longest);
}

static void lookup_init(lookup *l)
{
    memset(l, 0, sizeof *l);
    arena_init(&l->arena);
    table_init(&l->table);
}

static void lookup_clear(lookup *l)
{
    table_clear(&l->table);
    arena_clear(&l->arena);
    arena_clear(&l->moved);
    region_free_all(l->retired);
    walk_free(l->walk);
    free(l->tags);
    fields_free(l->fields);
    lookup_init(l);
}

/* Room for the tags of up to `names` names that a batch enters; 0 without memory. */
static int lookup_reserve_tags(lookup *l, size_t names)
{
    uint8_t *tags;
    if (names <= l->tags_room)
        return 1;
    tags = realloc(l->tags, names);
    if (!tags)
        return 0;
    l->tags = tags;
    l->tags_room = names;
    return 1;
}

/* Room for the marks of `b`, and for their fields. 0 without memory. */
static int lookup_reserve_marks(lookup *l, const batch *b)
{
    size_t i, bytes = 0;
    if (!b->mark_count)
        return 1;
    if (!l->fields && !(l->fields = calloc(1, sizeof *l->fields)))
        return 0;
    for (i = 0; i < b->mark_count; i++)
        if (!b->marks[i].other_at)
            bytes += b->marks[i].field;
    return fields_reserve(l->fields, b->mark_count, bytes);
}

/* Ids that can be given to names; those that a prune frees can be when it has ended. */
static inline size_t lookup_room(const lookup *l, size_t limit)
{
    return limit > l->last ? limit - l->last : 0;
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
    const uint32_t id = ++l->last;
    l->count++;
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

/* How new names are entered. */
typedef struct {
    size_t first; /* the sample to begin with */
    size_t stop;  /* the sample to end before */
    size_t limit; /* the last id that there may be; further names are as if absent */
} growth;

/* `b` over ids, into rows with room for all its features; how many elements they hold. With `how`,
 * new names of samples with an importance above 0 become ids; other unknown names are id 0, and so
 * are all without it; where `tags` of the features are given, they are the negative of their tag.
 * Duplicates are summed at the place of the first. A cross of too many values is as if absent. The
 * sets of keys, the names to be entered, their tags and the marks must have been reserved.
 */
static inline __attribute__((always_inline)) size_t
lookup_rows(lookup *l, const batch *b, const growth *how, const uint8_t *tags, rows *out)
{
    const uint8_t *guesses[GUESSES];
    const feature *features = b->features;
    const size_t first = how ? how->first : 0, limit = how ? how->limit : 0;
    const size_t stop = how ? how->stop : b->samples, count = (size_t)b->indptr[stop];
    const int distinct = b->texts == b->samples;
    walk *const w = l->walk;
    size_t i, j = (size_t)b->indptr[first], k = 0;
    size_t m = b->mark_count ? marks_from(b, j) : 0;
    size_t marked = m < b->mark_count ? b->marks[m].feature : SIZE_MAX;
    for (i = j; i < j + FAR && i < count; i++)
        table_prefetch(&l->table, features[i].hash);
    for (i = j; i < j + NEAR && i < count; i++)
        lookup_guess(l, &features[i], &guesses[i % GUESSES]);
    out->indptr[0] = 0;
    if (how)
        l->tagged = 0;
    for (i = first; i < stop; i++) {
        const int growing = how && b->importances[i] > 0;
        const size_t start = k, begin = j, end = (size_t)b->indptr[i + 1];
        seen_begin(&w->known, end - j);
        seen_begin(&w->unknown, end - j);
        if (UNLIKELY(marked < end))
            fields_decide(l->fields, b, m, end);
        for (; j < end; j++) {
            const feature *f = &features[j];
            const uint8_t *name = batch_name(b, f), *e = guesses[j % GUESSES];
            const uint32_t length = feature_length(f);
            const mark *category = NULL;
            uint32_t id, place;
            if (LIKELY(j + FAR < count))
                table_prefetch(&l->table, features[j + FAR].hash);
            if (LIKELY(j + NEAR < count))
                lookup_guess(l, &features[j + NEAR], &guesses[(j + NEAR) % GUESSES]);
            if (UNLIKELY(j == marked)) {
                const size_t of = m++;
                marked = m < b->mark_count ? b->marks[m].feature : SIZE_MAX;
                if (l->fields->out[of])
                    continue;
                category = b->marks[of].other_at ? NULL : b->marks + of;
            }
            if (LIKELY(e && entry_is(e, name, length))) {
                id = entry_id(e);
            } else {
                vacancy end_of_search = {NULL, NULL};
                id = table_search(&l->table, f->hash, name, length, &end_of_search);
                if (!id && growing) {
                    if (l->last >= limit) {
                        l->refused++;
                        continue;
                    }
                    id = lookup_enter(l, f->hash, name, length, end_of_search);
                    if (b->tags)
                        l->tags[l->tagged++] = b->tags[j];
                    if (UNLIKELY(category != NULL))
                        fields_add(l->fields, name, category->field, 1);
                }
            }
            if (!distinct && LIKELY(id)) {
                seen *const set = &w->known;
                place = seen_place(set, f->hash);
                while (seen_taken(set, place) && set->slots[place].key != id)
                    place = seen_after(set, place);
                if (UNLIKELY(seen_taken(set, place))) {
                    bounded_add(&out->data[start + seen_number(set, place)], f->value);
                    continue;
                }
                seen_put(set, place, id, k - start);
            } else if (!distinct) {
                seen *const set = &w->unknown;
                place = seen_place(set, f->hash);
                for (; seen_taken(set, place); place = seen_after(set, place)) {
                    const feature *other = &features[begin + seen_number(set, place)];
                    if (other->hash == f->hash && feature_length(other) == length
                        && same_bytes(batch_name(b, other), name, length))
                        break;
                }
                if (UNLIKELY(seen_taken(set, place))) {
                    bounded_add(&out->data[start + w->places[seen_number(set, place)]], f->value);
                    continue;
                }
                seen_put(set, place, 0, j - begin);
                w->places[j - begin] = (uint32_t)(k - start);
            }
            out->indices[k] = LIKELY(id || !tags) ? (int32_t)id : -(int32_t)tags[j];
            out->data[k++] = f->value;
        }
        out->indptr[i - first + 1] = (int64_t)k;
    }
    return k;
}

/* Begin a walk over samples of up to `longest` features. 0 without memory. */
static int lookup_begin(lookup *l, size_t longest)
{
    if (!l->walk) {
        if ((l->walk = walks)) {
            walks = walks->next;
        } else if (!(l->walk = calloc(1, sizeof *l->walk))) {
            return 0;
        }
    }
    return walk_reserve(l->walk, longest);
}

/* End the walk, if one is under way. */
static void lookup_end(lookup *l)
{
    walk *const w = l->walk;
    l->walk = NULL;
    if (!w)
        return;
    if (w->known.room > WALK_MOST_ROOM || w->unknown.room > WALK_MOST_ROOM) {
        walk_free(w);
    } else {
        w->next = walks;
        walks = w;
    }
}

static size_t lookup_grow(lookup *l, const batch *b, const growth *how, const uint8_t *tags,
                          rows *out)
{
    return lookup_rows(l, b, how, tags, out);
}

static size_t lookup_find(lookup *l, const batch *b, const uint8_t *tags, rows *out)
{
    return lookup_rows(l, b, NULL, tags, out);
}

/* The names of a dump, `count` of them of `lengths`, end to end in `names`, into a lookup just
 * made; with `next`, a prune has moved `low` of them, and the others begin with that id. 1, 0 without
 * memory, −1 if two are equal. */
static int lookup_restore(lookup *l, const uint32_t *lengths, const uint8_t *names, size_t count,
                          uint32_t low, uint32_t next)
{
    enum { AHEAD = 32 };
    uint64_t hashes[AHEAD];
    const uint8_t *at[AHEAD];
    size_t i, bytes = 0;
    for (i = 0; i < count; i++)
        bytes += lengths[i];
    table_clear(&l->table);
    if (next) {
        l->is_sweeping = 1;
        l->low = low;
        l->next = next;
        if (!low)
            l->last = next - 1;
    }
    if (!table_open(&l->table, count) || !lookup_reserve(l, count, bytes))
        return 0;
    if (next && !arena_reserve(&l->moved, bytes + low * ENTRY_HEAD))
        return 0;
    for (i = 0; i < count + AHEAD; i++) {
        if (i >= AHEAD) {
            const size_t k = i % AHEAD;
            const uint32_t length = lengths[i - AHEAD];
            vacancy end = {NULL, NULL};
            if (table_search(&l->table, hashes[k], at[k], length, &end))
                return -1;
            if (i - AHEAD < low) {
                const uint32_t id = ++l->last;
                l->count++;
                table_insert(&l->table, hashes[k], arena_add(&l->moved, id, at[k], length), end);
                if (l->count == low)
                    l->last = next - 1;
            } else {
                lookup_enter(l, hashes[k], at[k], length, end);
            }
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

/* The ids of names, new ones entered while there are fewer than `limit`, 0 for the others; room for
 * all was reserved. */
static void lookup_join(lookup *l, const uint32_t *lengths, const uint8_t *names, size_t count,
                        size_t limit, int32_t *ids)
{
    enum { AHEAD = 32 };
    uint64_t hashes[AHEAD];
    const uint8_t *at[AHEAD];
    size_t i;
    for (i = 0; i < count + AHEAD; i++) {
        if (i >= AHEAD) {
            const size_t k = i % AHEAD;
            const uint32_t length = lengths[i - AHEAD];
            vacancy end = {NULL, NULL};
            uint32_t id = table_search(&l->table, hashes[k], at[k], length, &end);
            if (!id && l->last < limit)
                id = lookup_enter(l, hashes[k], at[k], length, end);
            ids[i - AHEAD] = (int32_t)id;
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
}

#endif
