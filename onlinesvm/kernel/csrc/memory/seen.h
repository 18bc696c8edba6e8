/* The keys that the sample at hand has shown already, each with a number that goes with it: a hash
 * set that a new sample empties, as it counts its numbers from a new base.
 */
#ifndef ONLINESVM_SEEN_H
#define ONLINESVM_SEEN_H

#include <string.h>

#include "memory/pages.h"

typedef struct {
    uint32_t key;
    uint32_t at; /* the base and the number; below the base the slot is stale */
} seen_slot;

typedef struct {
    seen_slot *slots;
    uint32_t room; /* a power of two, or 0 */
    uint32_t base, next; /* of the sample at hand, and of the one after it */
    uint32_t last; /* the sample uses only as many slots as it needs */
} seen;

#define SEEN_FEWEST 256
#define SEEN_SPARSE 4 /* slots for a feature, at least: a taken one costs a wrong guess of a branch */

static void seen_init(seen *m) { memset(m, 0, sizeof *m); }

static void seen_clear(seen *m)
{
    free(m->slots);
    seen_init(m);
}

static inline uint32_t seen_size(size_t features)
{
    uint32_t size = SEEN_FEWEST;
    while (size / SEEN_SPARSE < features)
        size *= 2;
    return size;
}

/* Make sure that samples of up to `features` features fit. 0 without memory. */
static int seen_reserve(seen *m, size_t features)
{
    seen_slot *made;
    if (m->room && features <= m->room / SEEN_SPARSE)
        return 1;
    if (features > (size_t)1 << 28)
        return 0;
    made = calloc(seen_size(features), sizeof *made);
    if (!made)
        return 0;
    free(m->slots);
    m->slots = made;
    m->room = seen_size(features);
    m->next = 1;
    return 1;
}

/* Begin a sample of `features` features: its numbers are below that. */
static inline void seen_begin(seen *m, size_t features)
{
    const int few = LIKELY(features <= SEEN_FEWEST / SEEN_SPARSE);
    m->last = (few ? SEEN_FEWEST : seen_size(features)) - 1;
    if (UNLIKELY(features >= UINT32_MAX - m->next)) {
        memset(m->slots, 0, m->room * sizeof *m->slots);
        m->next = 1;
    }
    m->base = m->next;
    m->next += (uint32_t)features;
}

/* Where a key may be, by a hash of it; the next place after that. */
static inline uint32_t seen_place(const seen *m, uint64_t hash) { return (uint32_t)hash & m->last; }

static inline uint32_t seen_after(const seen *m, uint32_t place) { return (place + 1) & m->last; }

/* True where a key of the sample is at `place`. */
static inline int seen_taken(const seen *m, uint32_t place)
{
    return m->slots[place].at >= m->base;
}

static inline uint32_t seen_number(const seen *m, uint32_t place)
{
    return m->slots[place].at - m->base;
}

static inline void seen_put(seen *m, uint32_t place, uint32_t key, size_t number)
{
    m->slots[place] = (seen_slot){key, m->base + (uint32_t)number};
}

#endif
