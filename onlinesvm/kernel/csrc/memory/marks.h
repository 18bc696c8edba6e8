/* Which keys the sample at hand has shown already, and where. */
#ifndef ONLINESVM_MARKS_H
#define ONLINESVM_MARKS_H

#include <string.h>

#include "memory/pages.h"

typedef struct {
    uint32_t stamp; /* of the sample that made the mark; others are void */
    uint32_t key;
    uint32_t feature; /* the feature of the batch, where the key alone does not tell */
    uint32_t row;     /* the place in the sample's row */
} mark;

typedef struct {
    mark *marks;
    uint32_t room; /* a power of two, or 0 */
    uint32_t stamp;
    int shift; /* of the sample at hand, which uses only as many marks as it needs */
    uint32_t last;
} marks;

#define MARKS_FEWEST 256

static void marks_init(marks *m)
{
    m->marks = NULL;
    m->room = m->stamp = m->last = 0;
    m->shift = 0;
}

static void marks_clear(marks *m)
{
    free(m->marks);
    marks_init(m);
}

static inline uint32_t marks_size(size_t features)
{
    uint32_t size = MARKS_FEWEST;
    while (size / 2 < features)
        size *= 2;
    return size;
}

/* Make sure that samples of up to `features` features can be marked. 0 without memory. */
static int marks_reserve(marks *m, size_t features)
{
    mark *made;
    if (m->room && features <= m->room / 2)
        return 1;
    if (features > (size_t)1 << 30)
        return 0;
    made = calloc(marks_size(features), sizeof *made);
    if (!made)
        return 0;
    free(m->marks);
    m->marks = made;
    m->room = marks_size(features);
    m->stamp = 0;
    return 1;
}

/* Begin a sample of `features` features. */
static inline void marks_begin(marks *m, size_t features)
{
    uint32_t size = LIKELY(features <= MARKS_FEWEST / 2) ? MARKS_FEWEST : marks_size(features);
    m->last = size - 1;
    m->shift = 32 - __builtin_ctz(size);
    if (UNLIKELY(++m->stamp == 0)) {
        memset(m->marks, 0, m->room * sizeof *m->marks);
        m->stamp = 1;
    }
}

static inline uint32_t marks_place(const marks *m, uint32_t key)
{
    return key * 0x9E3779B1u >> m->shift;
}

#endif
