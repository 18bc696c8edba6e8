/* The state of the features: `stride` doubles each, by id, in blocks that never move.
 *
 * Growing adds a block and copies at most the short array of their addresses, so it never waits for
 * a copy of the whole. All of a feature's numbers lie together: reading and writing them costs one
 * or two cache misses however many they are. Fresh state is zero.
 */
#ifndef ONLINESVM_BLOCKS_H
#define ONLINESVM_BLOCKS_H

#include "memory/pool.h"
#include "memory/rows.h"

#define BLOCK_BITS 14
#define BLOCK_IDS ((uint32_t)1 << BLOCK_BITS)

typedef struct {
    double **block;
    size_t count, room;
    size_t stride;
    pool pool;
} blocks;

static void blocks_init(blocks *b, size_t stride)
{
    b->block = NULL;
    b->count = b->room = 0;
    b->stride = stride;
    pool_init(&b->pool, BLOCK_IDS * stride * sizeof(double));
}

static void blocks_clear(blocks *b)
{
    free(b->block);
    pool_clear(&b->pool);
    blocks_init(b, b->stride);
}

/* Ids that there is state for: those below. */
static inline uint64_t blocks_end(const blocks *b) { return (uint64_t)b->count << BLOCK_BITS; }

/* Make sure that there is state for ids up to `id`. 0 without memory; nothing has changed then. */
static int blocks_reserve(blocks *b, uint32_t id)
{
    const size_t wanted = ((size_t)id >> BLOCK_BITS) + 1;
    if (LIKELY(wanted <= b->count))
        return 1;
    if (wanted > b->room) {
        const size_t room = wanted + wanted / 2 + 8;
        double **block = realloc(b->block, room * sizeof *block);
        if (!block)
            return 0;
        b->block = block;
        b->room = room;
    }
    if (!pool_reserve(&b->pool, wanted - b->count))
        return 0;
    while (b->count < wanted)
        b->block[b->count++] = pool_take(&b->pool);
    return 1;
}

/* The numbers of `id`, below blocks_end. */
static inline double *blocks_at(const blocks *b, uint32_t id, size_t stride)
{
    return b->block[id >> BLOCK_BITS] + (id & (BLOCK_IDS - 1)) * stride;
}

#endif
