/* Rows of a matrix -> rows over ids. Columns are features under their decimal names, in the lookup
 * like all others; the map of the columns only spares a name that was seen as a column before.
 */
#ifndef ONLINESVM_COLUMNS_H
#define ONLINESVM_COLUMNS_H

#include "codec/matrix.h"
#include "lookup/lookup.h"

#define COLUMNS_PREFETCH 32 /* new columns ahead whose place in the table is prefetched */

static inline uint32_t hash_column(int64_t j)
{
    return (uint32_t)((hash_key128(0) + hash_key128(1) * (uint64_t)j) >> 64);
}

static inline uint32_t column_name(uint8_t *name, int64_t j)
{
    return decimal(name, j < 0 ? 0 - (uint64_t)j : (uint64_t)j, j < 0);
}

/* The id of column j by its name; entered if it is new and there is `room`. */
static inline uint32_t column_find(lookup *l, int64_t j, const uint8_t *name, uint32_t length,
                                   uint64_t hash, int room)
{
    vacancy end = {NULL, NULL};
    uint32_t *kept, id = table_search(&l->table, hash, name, length, &end);
    if (!id && room)
        id = lookup_enter(l, hash, name, length, end);
    if (id && (kept = column_id(&l->columns, j)))
        *kept = id;
    return id;
}

static __attribute__((noinline)) uint32_t column_look_up(lookup *l, int64_t j, int room)
{
    uint8_t name[DIGITS_MOST];
    const uint32_t length = column_name(name, j);
    return column_find(l, j, name, length, hash_bytes(name, length), room);
}

static inline __attribute__((always_inline)) size_t
columns_rows(lookup *l, const matrix *x, size_t limit, int entering, rows *out, int wide)
{
    int32_t *const restrict indices = out->indices; /* restrict: nothing else is written there */
    double *const restrict data = out->data;
    seen *const m = &l->walk->unknown;
    size_t i, k = 0;
    out->indptr[0] = 0;
    for (i = 0; i < x->samples; i++) {
        const int growing = entering && x->importances[i] > 0;
        const size_t first = (size_t)x->indptr[i], end = (size_t)x->indptr[i + 1], start = k;
        const uint64_t refused = l->refused;
        int64_t previous = INT64_MIN;
        int rising = 1;
        size_t j;
        for (j = first; j < end; j++) {
            const int64_t column = matrix_column(x, j, wide);
            const uint32_t *const kept = column_id(&l->columns, column);
            uint32_t id = kept ? *kept : 0;
            if (UNLIKELY(!id)) {
                id = column_look_up(l, column, growing && l->count < limit);
                if (!id && growing) {
                    l->refused++;
                    continue;
                }
            }
            if (UNLIKELY(column <= previous && rising)) {
                /* Only in a row like this can a column come twice: begin it again, with a set of
                 * keys. */
                seen_begin(m, end - first);
                rising = 0;
                l->refused = refused;
                k = start;
                j = first - 1;
                continue;
            }
            previous = column;
            if (UNLIKELY(!rising)) {
                uint32_t place = seen_place(m, hash_column(column));
                while (seen_taken(m, place)
                       && matrix_column(x, first + seen_number(m, place), wide) != column)
                    place = seen_after(m, place);
                if (seen_taken(m, place)) {
                    bounded_add(&data[start + l->walk->places[seen_number(m, place)]], x->data[j]);
                    continue;
                }
                seen_put(m, place, 0, j - first);
                l->walk->places[j - first] = (uint32_t)(k - start);
            }
            indices[k] = (int32_t)id;
            data[k++] = x->data[j];
        }
        out->indptr[i + 1] = (int64_t)k;
    }
    return k;
}

/* As lookup_rows, for the rows of a matrix; there must be a map of the columns. */
static size_t lookup_columns(lookup *l, const matrix *x, size_t limit, int entering, rows *out)
{
    if (x->wide)
        return columns_rows(l, x, limit, entering, out, 1);
    return columns_rows(l, x, limit, entering, out, 0);
}

/* The ids of the elements that the map did not know, `count` of them in stored order; each is a
 * place among the elements from `first` on. New names are entered while `entering`. */
static inline __attribute__((always_inline)) void
columns_settle(lookup *l, const matrix *x, size_t first, const uint32_t *places, size_t count,
               int entering, int32_t *ids, int wide)
{
    struct {
        uint64_t hash;
        uint32_t length;
        uint8_t name[DIGITS_MOST];
    } ahead[COLUMNS_PREFETCH], *a;
    size_t i;
    for (i = 0; i < count + COLUMNS_PREFETCH; i++) {
        a = &ahead[i % COLUMNS_PREFETCH];
        if (i >= COLUMNS_PREFETCH) {
            const uint32_t place = places[i - COLUMNS_PREFETCH];
            const int64_t column = matrix_column(x, first + place, wide);
            const uint32_t *const kept = column_id(&l->columns, column);
            uint32_t id = kept ? *kept : 0; /* it may have come meanwhile */
            if (!id)
                id = column_find(l, column, a->name, a->length, a->hash, entering);
            ids[place] = (int32_t)id;
        }
        if (i < count) {
            a->length = column_name(a->name, matrix_column(x, first + places[i], wide));
            a->hash = hash_bytes(a->name, a->length);
            table_prefetch(&l->table, a->hash);
            table_prefetch_count(&l->table, a->hash);
        }
    }
}

/* Whether every row has its columns in rising order, so that none comes twice: where a column is
 * followed by one that is not larger, a row has to end. */
static inline __attribute__((always_inline)) int columns_rise(const matrix *x, int wide)
{
    const size_t first = (size_t)x->indptr[0], end = (size_t)x->indptr[x->samples];
    size_t i, k = first + 1, falls = 0, ends = 0;
    if (!wide) {
        int4 seen = {0, 0, 0, 0};
        for (; k + 4 <= end; k += 4)
            seen -= load_int4(x->narrow + k) <= load_int4(x->narrow + k - 1);
        falls = (size_t)(seen[0] + seen[1] + seen[2] + seen[3]);
    }
    for (; k < end; k++)
        falls += matrix_column(x, k, wide) <= matrix_column(x, k - 1, wide);
    for (i = 1; i < x->samples; i++) {
        const size_t start = (size_t)x->indptr[i];
        if (start > first && start < end && start > (size_t)x->indptr[i - 1])
            ends += matrix_column(x, start, wide) <= matrix_column(x, start - 1, wide);
    }
    return falls == ends;
}

static inline __attribute__((always_inline)) int
columns_plain(lookup *l, const matrix *x, size_t limit, int entering, int32_t *ids,
              uint32_t *places, int wide)
{
    enum { PIECE = 16 };
    const size_t first = (size_t)x->indptr[0], count = (size_t)x->indptr[x->samples] - first;
    const uint32_t *const map = l->columns.ids;
    const uint64_t mask = l->columns.size - 1;
    const int4 none = {0, 0, 0, 0};
    size_t i, k, j, unknown = 0;
    for (i = 0; entering && i < x->samples; i++)
        if (!(x->importances[i] > 0))
            return 0;
    if (!columns_rise(x, wide))
        return 0;
    /* All are mapped, or so it was found: whatever they are by now, the mask keeps them within. */
    for (k = 0; k < count; k++)
        ids[k] = (int32_t)map[(uint64_t)matrix_column(x, first + k, wide) & mask];
    for (k = 0; count - k >= PIECE; k += PIECE) {
        const int4 known = (load_int4(ids + k) != none) & (load_int4(ids + k + 4) != none)
            & (load_int4(ids + k + 8) != none) & (load_int4(ids + k + 12) != none);
        const long2 both = (long2)known;
        if ((both[0] & both[1]) == -1)
            continue;
        for (j = k; j < k + PIECE; j++) {
            places[unknown] = (uint32_t)j;
            unknown += !ids[j];
        }
    }
    for (; k < count; k++) {
        places[unknown] = (uint32_t)k;
        unknown += !ids[k];
    }
    if (entering && unknown > lookup_room(l, limit))
        return 0;
    columns_settle(l, x, first, places, unknown, entering, ids, wide);
    return 1;
}

/* The ids of plain rows: no column twice, nothing left out, so that their values can stay where
 * they lie. 0 for other rows, which lookup_columns has to walk; nothing has changed then. All
 * columns have to be mapped; `places` has room for as many elements as `ids`. */
static int lookup_plain_columns(lookup *l, const matrix *x, size_t limit, int entering,
                                int32_t *ids, uint32_t *places)
{
    if (x->wide)
        return columns_plain(l, x, limit, entering, ids, places, 1);
    return columns_plain(l, x, limit, entering, ids, places, 0);
}

#endif
