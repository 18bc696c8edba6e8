/* The state of ids 1 .. n as it is at one instant, copied while learning goes on.
 *
 * The copy is made in slices, by id, each under the lock of the rule, so that nobody waits for
 * more than a slice. What learning changes before its slice was copied is kept in a log first, and
 * laid over the copy at the end. Records are kept, not blocks: one batch can touch every block of
 * a large model, and would wait for a copy of the whole.
 *
 * Learning cannot fail, so a record that there is no memory for makes the view fail instead.
 */
#ifndef ONLINESVM_VIEW_H
#define ONLINESVM_VIEW_H

#include <time.h>

#include "memory/blocks.h"

#define VIEW_COLUMNS 17                    /* that a rule has at most */
#define VIEW_SLICE_BYTES ((size_t)1 << 17) /* copied in some tens of microseconds */
#define VIEW_SPARE_BYTES ((size_t)1 << 22)
#define VIEW_PREFETCH 16                   /* elements ahead whose record is prefetched */

typedef struct view {
    struct view *next;             /* another one of the same state */
    size_t n;                      /* ids 1 .. n are copied */
    size_t copied;                 /* of them so far, by id */
    uint64_t *kept;                /* a bit by id: its record is in the log */
    region *log;                   /* the oldest first; entries of an id and its record */
    region *last;
    region *spare;                 /* what the log goes on in, its pages there already */
    size_t total;                  /* bytes in the log's regions */
    int wants_spare;               /* of who copies alone */
    int failed;                    /* a record could not be kept */
    double *columns[VIEW_COLUMNS]; /* where the numbers of ids 1 .. n go */
} view;

/* A view of `n` ids among those of `*views`. 0 without memory. */
static int view_open(view *v, view **views, size_t n)
{
    memset(v, 0, sizeof *v);
    v->n = n;
    v->kept = calloc(n / 64 + 1, sizeof *v->kept);
    if (!v->kept)
        return 0;
    v->next = *views;
    *views = v;
    return 1;
}

/* Have learning keep nothing more for `v`, one of `*views` or not. */
static void view_leave(const view *v, view **views)
{
    while (*views && *views != v)
        views = &(*views)->next;
    if (*views)
        *views = v->next;
}

static void view_clear(view *v)
{
    free(v->kept);
    region_free_all(v->log);
    region_free_all(v->spare);
    v->kept = NULL;
    v->log = v->last = v->spare = NULL;
}

/* Between two slices. A lock is not fair: a thread that releases it and acquires it again at once
 * has it before a waiting thread wakes up. And a thread that has just slept is not soon suspended
 * while it holds the lock. */
static void view_pause(void)
{
    const struct timespec nap = {0, 20000};
    nanosleep(&nap, NULL);
}

static inline size_t view_entry_bytes(const blocks *b) { return (b->stride + 1) * sizeof(double); }

static __attribute__((noinline)) int view_log_grow(view *v, size_t bytes)
{
    region *r = v->spare ? v->spare : region_new(bytes, v->total);
    if (!r)
        return 0;
    v->spare = NULL;
    if (v->last)
        v->last->next = r;
    else
        v->log = r;
    v->last = r;
    v->total += r->size;
    return 1;
}

/* Keep the record of `id` as it is, unless it is copied or kept already. */
static inline void view_keep(view *v, const blocks *b, uint32_t id)
{
    const uint64_t bit = (uint64_t)1 << (id & 63);
    const size_t bytes = view_entry_bytes(b);
    uint64_t entry_id = id;
    uint8_t *entry;
    if (id <= v->copied || id > v->n || v->kept[id >> 6] & bit)
        return;
    if (UNLIKELY(!v->last || v->last->size - v->last->used < bytes)
        && UNLIKELY(v->failed || !view_log_grow(v, bytes))) {
        v->failed = 1;
        return;
    }
    v->kept[id >> 6] |= bit;
    entry = v->last->base + v->last->used;
    v->last->used += bytes;
    memcpy(entry, &entry_id, sizeof entry_id);
    memcpy(entry + sizeof entry_id, blocks_at(b, id, b->stride), bytes - sizeof entry_id);
}

/* For each of `views`, keep what learning these rows will change. There must be state for their
 * ids. */
static void views_keep(view *views, const blocks *b, const rows *x, size_t samples,
                       const double *importances)
{
    for (; views; views = views->next) {
        const int64_t last = x->indptr[samples] - 1;
        size_t i;
        if (views->copied == views->n)
            continue;
        for (i = 0; i < samples; i++) {
            int64_t k;
            if (!(importances[i] > 0))
                continue;
            for (k = x->indptr[i]; k < x->indptr[i + 1]; k++) {
                const uint32_t ahead =
                    (uint32_t)x->indices[k + VIEW_PREFETCH < last ? k + VIEW_PREFETCH : last];
                if (LIKELY(ahead < blocks_end(b))) {
                    const double *record = blocks_at(b, ahead, b->stride);
                    PREFETCH(record);
                    PREFETCH((const char *)record + 64);
                }
                view_keep(views, b, (uint32_t)x->indices[k]);
            }
        }
    }
}

/* The next ids to copy, up to `limit` and all in one block: where their records lie, NULL where
 * there is no state yet; how many, 0 at the end. The caller copies them before the lock goes. */
static size_t view_step(view *v, const blocks *b, size_t limit, const double **records)
{
    const size_t first = v->copied + 1;
    size_t count = v->n - v->copied;
    if (!count)
        return 0;
    if (count > BLOCK_IDS - (first & (BLOCK_IDS - 1)))
        count = BLOCK_IDS - (first & (BLOCK_IDS - 1));
    if (count > limit)
        count = limit;
    *records = first < blocks_end(b) ? blocks_at(b, (uint32_t)first, b->stride) : NULL;
    v->copied += count;
    return count;
}

/* Memory for the log to go on in, its pages there already, so that learning does not wait for them:
 * to be given to view_slice. NULL where none is wanted, or none to be had. */
static region *view_spare(const view *v)
{
    region *r = v->wants_spare ? region_new(VIEW_SPARE_BYTES, 0) : NULL;
    if (r)
        memset(r->base, 0, r->size);
    return r;
}

/* Copy the next ids, up to `limit`, into `slice`, of VIEW_SLICE_BYTES; how many, 0 at the end.
 * Takes the region `spare`, if there is one. */
static size_t view_slice(view *v, const blocks *b, size_t limit, double *slice, region *spare)
{
    const size_t bytes = b->stride * sizeof(double), room = VIEW_SLICE_BYTES / bytes;
    const double *records = NULL;
    const size_t count = view_step(v, b, limit < room ? limit : room, &records);
    if (spare)
        v->spare = spare;
    v->wants_spare = !v->spare && (v->n - v->copied) * view_entry_bytes(b) >= VIEW_SPARE_BYTES;
    if (records)
        memcpy(slice, records, count * bytes);
    else
        memset(slice, 0, count * bytes);
    return count;
}

/* A walk over the log; start with {0}. The next entry's record, and its id, or NULL at the end. */
typedef struct {
    const region *at;
    size_t used;
} view_walk;

static const double *view_next(const view *v, view_walk *walk, size_t stride, size_t *id)
{
    const uint8_t *entry;
    uint64_t entry_id;
    if (!walk->at) {
        walk->at = v->log;
        walk->used = 0;
    } else if (walk->used == walk->at->used) {
        walk->at = walk->at->next;
        walk->used = 0;
    }
    if (!walk->at)
        return NULL;
    entry = walk->at->base + walk->used;
    walk->used += (stride + 1) * sizeof(double);
    memcpy(&entry_id, entry, sizeof entry_id);
    *id = (size_t)entry_id;
    return (const double *)(const void *)(entry + sizeof entry_id);
}

#endif
