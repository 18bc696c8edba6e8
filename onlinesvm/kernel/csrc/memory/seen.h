/* The keys that the sample at hand has shown already, and where: a hash set that a new sample
 * empties by its stamp alone. */
#ifndef ONLINESVM_SEEN_H
#define ONLINESVM_SEEN_H

#include <string.h>

#include "memory/pages.h"

typedef struct {
    uint32_t stamp; /* of the sample that filled the slot; others are stale */
    uint32_t key;
    uint32_t feature; /* the feature of the batch, where the key alone does not tell */
    uint32_t row;     /* the place in the sample's row */
} seen_slot;

typedef struct {
    seen_slot *slots;
    uint32_t room; /* a power of two, or 0 */
    uint32_t stamp;
    int shift; /* of the sample at hand, which uses only as many slots as it needs */
    uint32_t last;
} seen;

#define SEEN_FEWEST 256

static void seen_init(seen *m)
{
    m->slots = NULL;
    m->room = m->stamp = m->last = 0;
    m->shift = 0;
}

static void seen_clear(seen *m)
{
    free(m->slots);
    seen_init(m);
}

static inline uint32_t seen_size(size_t features)
{
    uint32_t size = SEEN_FEWEST;
    while (size / 2 < features)
        size *= 2;
    return size;
}

/* Make sure that samples of up to `features` features fit. 0 without memory. */
static int seen_reserve(seen *m, size_t features)
{
    seen_slot *made;
    if (m->room && features <= m->room / 2)
        return 1;
    if (features > (size_t)1 << 30)
        return 0;
    made = calloc(seen_size(features), sizeof *made);
    if (!made)
        return 0;
    free(m->slots);
    m->slots = made;
    m->room = seen_size(features);
    m->stamp = 0;
    return 1;
}

/* Begin a sample of `features` features. */
static inline void seen_begin(seen *m, size_t features)
{
    uint32_t size = LIKELY(features <= SEEN_FEWEST / 2) ? SEEN_FEWEST : seen_size(features);
    m->last = size - 1;
    m->shift = 32 - __builtin_ctz(size);
    if (UNLIKELY(++m->stamp == 0)) {
        memset(m->slots, 0, m->room * sizeof *m->slots);
        m->stamp = 1;
    }
}

static inline uint32_t seen_place(const seen *m, uint32_t key)
{
    return key * 0x9E3779B1u >> m->shift;
}

#endif
