/* Which features a prune keeps: see onlinesvm.model.rules.rule.Rule.prune, which keeps the same
 * ones.
 *
 * Nothing here takes memory: a prune is part of learning, which cannot fail.
 */
#ifndef ONLINESVM_PRUNE_H
#define ONLINESVM_PRUNE_H

#include <math.h>

#include "lookup/lookup.h"
#include "memory/blocks.h"

#define PRUNE_DIGIT 16
#define PRUNE_COUNTS ((size_t)1 << PRUNE_DIGIT)

/* As the bits of non-negative doubles, these are ordered as the magnitudes are. */
static inline uint64_t magnitude_bits(double weight)
{
    const double magnitude = fabs(weight);
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    return bits;
}

/* kept[i] is 0 for the `leaving` ones, 1 at least, of smallest magnitude among weights[0 .. n − 1],
 * of equal ones those that come first. The largest of those that leave is found by its digits in
 * base 2^16, the highest first, in four passes; `counts` has room for PRUNE_COUNTS. */
static void prune_select(const double *weights, size_t n, size_t leaving, uint32_t *counts,
                         uint8_t *kept)
{
    uint64_t most = 0, known = 0;
    size_t i, rank = leaving - 1;
    int shift;
    for (shift = 64 - PRUNE_DIGIT; shift >= 0; shift -= PRUNE_DIGIT) {
        uint64_t digit = 0;
        memset(counts, 0, PRUNE_COUNTS * sizeof *counts);
        for (i = 0; i < n; i++) {
            const uint64_t bits = magnitude_bits(weights[i]);
            if ((bits & known) == most)
                counts[bits >> shift & (PRUNE_COUNTS - 1)]++;
        }
        while (rank >= counts[digit])
            rank -= counts[digit++];
        most |= digit << shift;
        known |= (uint64_t)(PRUNE_COUNTS - 1) << shift;
    }
    rank++; /* of those that equal it, so many leave */
    for (i = 0; i < n; i++) {
        const uint64_t bits = magnitude_bits(weights[i]);
        kept[i] = bits > most;
        if (bits == most) {
            kept[i] = !rank;
            rank -= rank > 0;
        }
    }
}

/* Move the state of the ids that stay to 1, 2, ... in the old order; the rest is fresh. */
static void blocks_prune(blocks *b, size_t n, const uint8_t *kept)
{
    const size_t bytes = b->stride * sizeof(double);
    size_t id, next = 1;
    for (id = 1; id <= n && id < blocks_end(b); id++) {
        if (!kept[id - 1])
            continue;
        if (next != id)
            memcpy(blocks_at(b, (uint32_t)next, b->stride),
                   blocks_at(b, (uint32_t)id, b->stride), bytes);
        next++;
    }
    for (; next <= n && next < blocks_end(b); next++)
        memset(blocks_at(b, (uint32_t)next, b->stride), 0, bytes);
}

/* Drop the names of the ids that leave; the others get ids 1, 2, ... in the old order. What room
 * was reserved for is still there. */
static void lookup_prune(lookup *l, const uint8_t *kept)
{
    enum { AHEAD = 32 };
    uint64_t hashes[AHEAD];
    uint8_t *moved[AHEAD];
    arena_walk walk = {0};
    arena_mover mover = {l->arena.regions, 0, 0};
    const uint8_t *e;
    uint32_t before = 0, id = 0, done = 0;
    table_empty(&l->table);
    while ((e = arena_next(&l->arena, &walk))) {
        uint32_t k;
        if (!kept[before++])
            continue;
        if (id >= AHEAD) {
            table_insert_again(&l->table, hashes[done % AHEAD], moved[done % AHEAD]);
            done++;
        }
        k = id++ % AHEAD;
        moved[k] = arena_move(&mover, e);
        memcpy(moved[k], &id, sizeof id);
        hashes[k] = hash_bytes(entry_name(moved[k]), entry_length(moved[k]));
        table_prefetch(&l->table, hashes[k]);
        table_prefetch_count(&l->table, hashes[k]);
    }
    for (; done < id; done++)
        table_insert_again(&l->table, hashes[done % AHEAD], moved[done % AHEAD]);
    arena_moved(&l->arena, &mover);
    l->reserved -= l->reserved > before - id ? before - id : l->reserved;
    l->count = id;
}

#endif
