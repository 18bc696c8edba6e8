/* Name -> entry of the arena: extendible hashing (Fagin, Nievergelt, Pippenger, Strong 1979,
 * "Extendible hashing - a fast access method for dynamic files").
 *
 * The upper bits of a hash choose, through a directory, a segment of fixed size; within it probing
 * is linear. A full segment splits in two by one more bit of its hashes, so no insertion ever
 * costs more than one segment's work (and now and then a copy of the directory, about 30 bytes for
 * a thousand names): there is no rehash of the whole that a turn of the loop would wait for.
 * Segments fill evenly, so that if all were full at the same count, all would split at about the
 * same time; each is full at a count of its own, and they split one after the other.
 *
 *     hash    22 bits directory | 16 bits tag | 26 bits place in the segment
 *     slot    16 bits tag | 48 bits address of the entry; 0 is empty
 *
 * A slot whose tag agrees is compared in full. Splitting reads the names again, since a slot does
 * not hold the hash; that is one cache miss for each name, paid about once in its life.
 *
 * Where a segment cannot split, because memory has run out or because more names than fit agree in
 * all bits that choose, it fills to the brim and further ones are chained to it: slower, never
 * wrong, never endless.
 *
 * A small table has one smaller segment, which is replaced by one of twice its size when room is
 * reserved for more names than it holds; an empty one has no memory of its own.
 */
#ifndef ONLINESVM_TABLE_H
#define ONLINESVM_TABLE_H

#include "lookup/arena.h"
#include "memory/hash.h"
#include "memory/pool.h"

#define SEGMENT_SLOTS 1022 /* with its head 8 KiB */
#define SMALL_SLOTS 30     /* of the smallest; the next have 62, 126, 254, 510 */
/* A segment is full, and splits, at a count of its own from FULL_LEAST on, below twice that; linear
 * probing is fast up to about three quarters. */
#define FULL_LEAST 400
#define FULL_MOST (2 * FULL_LEAST)
#define SEGMENT_BRIM (SEGMENT_SLOTS - 1) /* one stays empty: it ends every probe */
#define TABLE_MOST_BITS 22
#define TABLE_SPARSE_BITS 4 /* the directory may be this sparse: 2^4 times as long as segments */

#define TAG_SHIFT 48
#define SLOT_ADDRESS (((uint64_t)1 << TAG_SHIFT) - 1)

typedef struct segment {
    uint32_t count;
    uint16_t bits; /* how many upper bits all its hashes share */
    uint16_t full; /* the count at which it splits */
    struct segment *next;
    uint64_t slots[];
} segment;

#define SEGMENT_BYTES(slots) (sizeof(segment) + (slots) * sizeof(uint64_t))

typedef struct {
    uint32_t slots;      /* of every segment */
    segment **directory; /* 2^bits */
    int bits;            /* from 1 on */
    size_t segments;
    size_t promised; /* segments that were reserved for chains */
    size_t overfull; /* segments that are more than full */
    uint32_t drawn;  /* counts at which to be full that were given out */
    size_t chained;  /* segments in chains; while there are none, nobody looks for the next one */
    pool pool;
} table;

static inline uint64_t slot_tag(uint64_t hash) { return (hash >> 26) << TAG_SHIFT; }

static inline uint32_t slot_place(const table *t, uint64_t hash)
{
    return (uint32_t)((hash & (((uint64_t)1 << 26) - 1)) * t->slots >> 26);
}

static inline const uint8_t *slot_entry(uint64_t slot)
{
    return (const uint8_t *)(uintptr_t)(slot & SLOT_ADDRESS);
}

static inline segment *table_segment(const table *t, uint64_t hash)
{
    return t->directory[hash >> (64 - t->bits)];
}

/* Every empty table: one slot, which ends every search. Never written. */
static union {
    segment segment;
    uint64_t words[(SEGMENT_BYTES(1) + 7) / 8];
} table_nothing;
static segment *table_nowhere[2] = {&table_nothing.segment, &table_nothing.segment};

static inline int table_is_empty(const table *t) { return t->directory == table_nowhere; }

/* True where the table is one segment of its own memory. */
static inline int table_is_small(const table *t)
{
    return t->slots < SEGMENT_SLOTS && !table_is_empty(t);
}

/* An empty table, which has no room. */
static void table_init(table *t)
{
    memset(t, 0, sizeof *t);
    pool_init(&t->pool, SEGMENT_BYTES(SEGMENT_SLOTS));
    t->directory = table_nowhere;
    t->slots = t->bits = 1;
}

static void table_clear(table *t)
{
    if (table_is_small(t))
        free(t->directory[0]);
    if (!table_is_empty(t))
        free(t->directory);
    pool_clear(&t->pool);
    table_init(t);
}

/* The count at which the next segment is full: spread evenly, as the multiples of the golden
 * section are (Knuth, The Art of Computer Programming, volume 3, section 6.4). */
static uint16_t table_draw_full(table *t, uint32_t least)
{
    const uint64_t place = t->drawn++ * 0x9E3779B9u; /* modulo 2^32 */
    return (uint16_t)(least + (place * (FULL_MOST - least) >> 32));
}

/* Names that a small segment holds. */
static inline size_t small_most(uint32_t slots) { return slots - slots / 4; }

/* The slots of a small segment for so many names, SEGMENT_SLOTS where none holds them. */
static inline uint32_t small_slots(size_t names)
{
    uint32_t slots = SMALL_SLOTS;
    while (slots < SEGMENT_SLOTS && small_most(slots) < names)
        slots = 2 * slots + 2;
    return slots;
}

static inline void segment_put(const table *t, segment *s, uint64_t hash, const uint8_t *e)
{
    uint32_t place = slot_place(t, hash);
    while (s->slots[place])
        if (UNLIKELY(++place == t->slots))
            place = 0;
    s->slots[place] = slot_tag(hash) | (uintptr_t)e;
    s->count++;
}

/* Have an empty or small table be one segment of `slots` slots, more than before. 0 without memory;
 * nothing has changed then. */
static int table_enlarge(table *t, uint32_t slots)
{
    const int was_small = table_is_small(t);
    segment **directory = table_is_empty(t) ? malloc(2 * sizeof *directory) : t->directory;
    segment *made = NULL, *old = t->directory[0];
    const uint32_t before = t->slots;
    uint32_t i;
    if (!directory)
        return 0;
    if (slots < SEGMENT_SLOTS)
        made = calloc(1, SEGMENT_BYTES(slots));
    else if (pool_reserve(&t->pool, 1))
        made = pool_take(&t->pool);
    if (!made) {
        if (table_is_empty(t))
            free(directory);
        return 0;
    }
    t->slots = slots;
    t->segments = 1;
    made->full = slots < SEGMENT_SLOTS ? UINT16_MAX : table_draw_full(t, FULL_LEAST);
    for (i = 0; was_small && i < before; i++) {
        const uint8_t *e = old->slots[i] ? slot_entry(old->slots[i]) : NULL;
        if (e)
            segment_put(t, made, hash_bytes(entry_name(e), entry_length(e)), e);
    }
    t->directory = directory;
    t->directory[0] = t->directory[1] = made;
    if (was_small)
        free(old);
    return 1;
}

/* A table just made, with room for about `names` without a split. 0 without memory. */
static int table_open(table *t, size_t names)
{
    int bits = 1;
    uint32_t least;
    size_t i, length;
    segment **directory;
    while (bits < TABLE_MOST_BITS && (names >> bits) > FULL_LEAST + FULL_LEAST / 4)
        bits++;
    /* Segments are filled evenly, but for chance: leave it four standard deviations. */
    least = (uint32_t)(names >> bits) + 90;
    least = least < FULL_LEAST ? FULL_LEAST : least < FULL_MOST ? least : FULL_MOST - 1;
    length = (size_t)1 << bits;
    if (small_slots(names) < SEGMENT_SLOTS)
        return table_enlarge(t, small_slots(names));
    directory = malloc(length * sizeof *directory);
    if (!directory || !pool_reserve(&t->pool, length)) {
        free(directory);
        return 0;
    }
    t->directory = directory;
    t->slots = SEGMENT_SLOTS;
    t->bits = bits;
    t->segments = length;
    for (i = 0; i < length; i++) {
        t->directory[i] = pool_take(&t->pool);
        t->directory[i]->bits = (uint16_t)bits;
        t->directory[i]->full = table_draw_full(t, least);
    }
    return 1;
}

/* Make sure that `names` further names can be inserted, whatever memory there is then. 0 without
 * memory; nothing has changed then. */
static int table_reserve(table *t, size_t names)
{
    size_t promised;
    if (t->slots < SEGMENT_SLOTS) {
        const size_t all = t->directory[0]->count + names;
        const uint32_t slots = small_slots(all);
        if (slots > t->slots && !table_enlarge(t, slots))
            return 0;
        if (slots < SEGMENT_SLOTS)
            return 1;
    }
    promised = names / (SEGMENT_BRIM - FULL_MOST) + 1 + t->overfull;
    if (!pool_reserve(&t->pool, promised))
        return 0;
    t->promised = promised;
    return 1;
}

static inline void table_prefetch(const table *t, uint64_t hash)
{
    PREFETCH(&table_segment(t, hash)->slots[slot_place(t, hash)]);
}

/* Where a name is inserted, its segment's count is needed too. */
static inline void table_prefetch_count(const table *t, uint64_t hash)
{
    PREFETCH(table_segment(t, hash));
}

/* The entry that most likely is the name with this hash, NULL if there is none in sight. Only a
 * guess, to be compared: made ahead, so that the entry can be prefetched. */
static inline const uint8_t *table_guess(const table *t, uint64_t hash)
{
    const segment *s = table_segment(t, hash);
    uint32_t place = slot_place(t, hash);
    uint64_t tag = slot_tag(hash);
    uint64_t slot;
    while ((slot = s->slots[place]) != 0) {
        if ((slot ^ tag) <= SLOT_ADDRESS)
            return slot_entry(slot);
        if (UNLIKELY(++place == t->slots))
            place = 0;
    }
    return NULL;
}

/* Whether `e` is the entry of a name. */
static inline int entry_is(const uint8_t *e, const uint8_t *name, uint32_t length)
{
    return entry_length(e) == length && same_bytes(entry_name(e), name, length);
}

/* Where the search for a name that is not here ended. */
typedef struct {
    segment *segment;
    uint64_t *slot;
} vacancy;

/* The id of a name, 0 if it is not here; `end` may then be given to table_insert. */
static inline uint32_t table_search(const table *t, uint64_t hash, const uint8_t *name,
                                    uint32_t length, vacancy *end)
{
    segment *s = table_segment(t, hash);
    const uint64_t tag = slot_tag(hash);
    do {
        uint32_t place = slot_place(t, hash);
        uint64_t slot;
        while ((slot = s->slots[place]) != 0) {
            if ((slot ^ tag) <= SLOT_ADDRESS && entry_is(slot_entry(slot), name, length))
                return entry_id(slot_entry(slot));
            if (UNLIKELY(++place == t->slots))
                place = 0;
        }
        end->segment = s;
        end->slot = &s->slots[place];
    } while (UNLIKELY(t->chained) && (s = s->next));
    return 0;
}

static uint32_t table_find(const table *t, uint64_t hash, const uint8_t *name, uint32_t length)
{
    vacancy end;
    return table_search(t, hash, name, length, &end);
}

static int table_double(table *t)
{
    size_t i, length = (size_t)1 << t->bits;
    segment **directory;
    if (t->bits >= TABLE_MOST_BITS || length >> TABLE_SPARSE_BITS > t->segments)
        return 0;
    directory = malloc(2 * length * sizeof *directory);
    if (!directory)
        return 0;
    for (i = 0; i < length; i++)
        directory[2 * i] = directory[2 * i + 1] = t->directory[i];
    free(t->directory);
    t->directory = directory;
    t->bits++;
    return 1;
}

/* Split the segment of `hash`. 0 if that cannot be done; nothing has changed then. */
static int table_split(table *t, uint64_t hash)
{
    segment *low = table_segment(t, hash), *high;
    const uint8_t *entries[SEGMENT_SLOTS];
    uint32_t i, count = 0;
    size_t first, length;
    if (low->next || !pool_reserve(&t->pool, t->promised + 1))
        return 0;
    if ((int)low->bits == t->bits && !table_double(t))
        return 0;
    for (i = 0; i < SEGMENT_SLOTS; i++)
        if (low->slots[i])
            entries[count++] = slot_entry(low->slots[i]);
    t->overfull -= low->count > low->full;
    memset(low->slots, 0, SEGMENT_SLOTS * sizeof *low->slots);
    low->count = 0;
    low->bits++;
    high = pool_take(&t->pool);
    high->bits = low->bits;
    low->full = table_draw_full(t, FULL_LEAST);
    high->full = table_draw_full(t, FULL_LEAST);
    t->segments++;
    length = (size_t)1 << (t->bits - (int)low->bits); /* of each half, in the directory */
    first = (size_t)(hash >> (64 - low->bits) & ~(uint64_t)1) << (t->bits - (int)low->bits);
    for (i = 0; i < length; i++)
        t->directory[first + length + i] = high;
    for (i = 0; i < count; i++) {
        uint64_t h;
        if (i + 24 < count) {
            PREFETCH(entries[i + 24]);
            PREFETCH(entries[i + 24] + ENTRY_HEAD + 24);
        }
        h = hash_bytes(entry_name(entries[i]), entry_length(entries[i]));
        segment_put(t, h >> (64 - low->bits) & 1 ? high : low, h, entries[i]);
    }
    t->overfull += (low->count > low->full) + (high->count > high->full);
    return 1;
}

/* Insert a name where there is no place for it without a split or a chain. */
static __attribute__((noinline)) void table_insert_full(table *t, uint64_t hash, const uint8_t *e)
{
    segment *s = table_segment(t, hash);
    while (s->count >= s->full) {
        if (!s->next && table_split(t, hash)) {
            s = table_segment(t, hash);
            continue;
        }
        if (s->count < SEGMENT_BRIM) {
            if (s->count == s->full)
                t->overfull++;
            break;
        }
        if (!s->next) {
            s->next = pool_take(&t->pool);
            s->next->full = FULL_MOST;
            t->promised--;
            t->chained++;
        }
        s = s->next;
    }
    segment_put(t, s, hash, e);
}

/* The segment and the slot of an entry that is here. */
static inline uint64_t *table_slot(const table *t, uint64_t hash, const uint8_t *e, segment **in)
{
    const uint64_t slot = slot_tag(hash) | (uintptr_t)e;
    segment *s = table_segment(t, hash);
    for (;; s = s->next) {
        uint32_t place = slot_place(t, hash);
        while (s->slots[place] && s->slots[place] != slot)
            if (UNLIKELY(++place == t->slots))
                place = 0;
        if (LIKELY(s->slots[place])) {
            *in = s;
            return &s->slots[place];
        }
    }
}

/* Have the slot of entry `e` lead to its copy `moved`. */
static inline void table_move(table *t, uint64_t hash, const uint8_t *e, const uint8_t *moved)
{
    segment *s;
    *table_slot(t, hash, e, &s) = slot_tag(hash) | (uintptr_t)moved;
}

/* Remove entry `e`: later slots of its run move back (Knuth, The Art of Computer Programming,
 * volume 3, section 6.4, algorithm R). */
static inline void table_remove(table *t, uint64_t hash, const uint8_t *e)
{
    segment *s;
    uint32_t hole = (uint32_t)(table_slot(t, hash, e, &s) - s->slots), at = hole;
    for (;;) {
        uint32_t home;
        const uint8_t *other;
        if (UNLIKELY(++at == t->slots))
            at = 0;
        if (!s->slots[at])
            break;
        other = slot_entry(s->slots[at]);
        home = slot_place(t, hash_bytes(entry_name(other), entry_length(other)));
        /* It stays where its place lies in (hole, at], around the end. */
        if (hole < at ? hole < home && home <= at : hole < home || home <= at)
            continue;
        s->slots[hole] = s->slots[at];
        hole = at;
    }
    s->slots[hole] = 0;
    t->overfull -= s->count == (uint32_t)s->full + 1;
    s->count--;
}

/* Insert a name that table_search did not find, its end being `end`; room was reserved. */
static inline void table_insert(table *t, uint64_t hash, const uint8_t *e, vacancy end)
{
    if (LIKELY(end.segment->count < end.segment->full)) {
        *end.slot = slot_tag(hash) | (uintptr_t)e;
        end.segment->count++;
    } else {
        table_insert_full(t, hash, e);
    }
}

#endif
