/* Column j of a matrix -> id of the name str(j), 0 where that is not known: a cache of the lookup.
 *
 * One array over the columns below a power of two. It is as long as the widest matrix asked for,
 * and a page of it that no column lies in costs nothing.
 */
#ifndef ONLINESVM_COLUMN_MAP_H
#define ONLINESVM_COLUMN_MAP_H

#include <string.h>

#include "memory/pages.h"

#define COLUMNS_FEWEST ((size_t)1 << 14)
#define COLUMNS_LIMIT ((size_t)1 << 24) /* those beyond are looked up by name */

typedef struct {
    uint32_t *ids;
    size_t size; /* a power of two; 0 in a lookup that never saw a matrix */
} column_map;

static void column_map_clear(column_map *m)
{
    if (m->ids)
        pages_unmap((uint8_t *)m->ids, m->size * sizeof *m->ids);
    m->ids = NULL;
    m->size = 0;
}

/* Make sure that columns up to `largest` are mapped, those that can be. 0 without memory; nothing
 * has changed then. */
static int column_map_reserve(column_map *m, uint64_t largest)
{
    size_t size = COLUMNS_FEWEST;
    uint32_t *made;
    while (size <= largest && size < COLUMNS_LIMIT)
        size *= 2;
    if (size <= m->size)
        return 1;
    made = (uint32_t *)pages_map(size * sizeof *made);
    if (!made)
        return 0;
    if (m->size)
        memcpy(made, m->ids, m->size * sizeof *made);
    column_map_clear(m);
    m->ids = made;
    m->size = size;
    return 1;
}

/* Where the id of column j is kept, NULL if it is not mapped. */
static inline uint32_t *column_id(const column_map *m, int64_t j)
{
    return LIKELY((uint64_t)j < m->size) ? &m->ids[j] : NULL;
}

#endif
