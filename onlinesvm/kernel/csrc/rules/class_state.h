/* The state of the learner of many classes: records of features, their rows, labels.
 *
 * A feature's record holds its scale and counts (as in scale.h), S and the three G, and its row: the
 * weights of its labels, then these labels. Fresh state is zero but for the tag, the highest bits of
 * the counts: the feature's view and OF_TEXT. It counts as S = 1, G = 1e-30.
 * Entries of dropped labels stay in the rows until there is need for their room; they count as
 * absent.
 */
#ifndef ONLINESVM_CLASS_STATE_H
#define ONLINESVM_CLASS_STATE_H

#include "memory/blocks.h"
#include "memory/pieces.h"
#include "metrics/temperature.h"
#include "rules/class_mixture.h"
#include "rules/idf.h"
#include "rules/scale.h"

#define CLASS_STRIDE 6
#define CLASS_ENTRY (sizeof(lanes) + sizeof(uint32_t))
#define CLASS_UPDATED (CLASS_RIVALS + 1) /* labels that one sample updates at most */
#define CLASS_TAG 61                     /* the lowest bit of the tag in the counts */
#define CLASS_LEAST_INDEX (1 - OF_TEXT - VIEWS) /* of rows: the negative of the largest tag */
#define CLASS_PREFETCH 8                 /* elements ahead whose record is prefetched */
#define CLASS_JUDGED (4 * (CLASS_EXPERTS + 1))

enum { LABEL_NEVER, LABEL_KNOWN, LABEL_DROPPED };

typedef struct {
    double scale2;
    uint64_t counts;
    lanes second;
    uint8_t *row;
    uint32_t n;
    uint16_t size;   /* of the row's piece */
    uint16_t coming; /* how many labels samples will add, while room is reserved for them */
} class_feature;

typedef struct {
    class_feature *feature;
    double scaled, scale2; /* the value over the scale that counts it, and this scale's square */
    uint64_t counts;
    lanes direction;
    float x;
} class_element;

typedef struct {
    blocks state;
    pieces rows;
    size_t labels, room; /* ids so far, and room for, a multiple of 4 */
    size_t known, dropped;
    uint8_t *states; /* by label, as all these */
    uint8_t *slots;  /* 1 + the place among the updated ones, 0 for others */
    lanes *bias;
    lanes *scores;
    float *mixed;
    float *strengths; /* of a row's entries */
    lanes bias_second;
    int has_bias;
    int plain;           /* all tags are 0 */
    int64_t with[VIEWS]; /* samples that had a text's feature of the view */
    double logs[VIEWS];  /* log2(1 + with) */
    uint32_t most;       /* labels a feature may know */
    class_mixture mixture;
    temperature temperature;
    double log_importance;
    int64_t samples;
    double judged[4][CLASS_EXPERTS + 1]; /* errors, losses, recent errors, recent losses */
    double judged_weights[2];
    class_element *elements; /* room for the longest row */
    size_t longest;
} multiclass;

static inline class_feature *class_at(const multiclass *m, uint32_t id)
{
    return (class_feature *)(void *)blocks_at(&m->state, id, CLASS_STRIDE);
}

static inline int class_tag(uint64_t counts) { return (int)(counts >> CLASS_TAG); }

/* Samples that had the feature. */
static inline uint64_t class_seen_of(uint64_t counts)
{
    return counts << (64 - CLASS_TAG) >> (64 - CLASS_TAG + SCALE_SEEN);
}

static inline int class_is_fresh(uint64_t counts) { return counts << (64 - CLASS_TAG) == 0; }

/* The id of an index of rows; an unknown feature's, the negative of its tag, is PAD. */
static inline uint32_t class_id(int32_t index) { return index > 0 ? (uint32_t)index : 0; }

static inline lanes *row_weights(const class_feature *f) { return (lanes *)(void *)f->row; }

static inline uint32_t *row_labels(const class_feature *f)
{
    return (uint32_t *)(void *)(f->row + piece_entries(f->size) * sizeof(lanes));
}

static inline lanes class_fresh(void)
{
    const float g = (float)HEDGE_LEAST_SQUARE;
    return (lanes){1.0f, g, g, g};
}

static void multiclass_init(multiclass *m, int has_bias, uint32_t most)
{
    memset(m, 0, sizeof *m);
    blocks_init(&m->state, CLASS_STRIDE);
    pieces_init(&m->rows, CLASS_ENTRY);
    m->has_bias = has_bias;
    m->plain = 1;
    m->most = most;
    m->bias_second = class_fresh();
    class_mixture_init(&m->mixture);
    temperature_init(&m->temperature);
}

static void multiclass_clear(multiclass *m)
{
    blocks_clear(&m->state);
    pieces_clear(&m->rows);
    free(m->states);
    free(m->slots);
    free(m->bias);
    free(m->scores);
    free(m->mixed);
    free(m->strengths);
    free(m->elements);
    m->states = m->slots = NULL;
    m->bias = m->scores = NULL;
    m->mixed = m->strengths = NULL;
    m->elements = NULL;
    m->labels = m->room = m->longest = 0;
}

/* `*array` with room for `n` elements of `size`, those from `old` on zero. 0 without memory. */
static int class_enlarge(void **array, size_t old, size_t n, size_t size)
{
    uint8_t *made = realloc(*array, n * size);
    if (!made)
        return 0;
    memset(made + old * size, 0, (n - old) * size);
    *array = made;
    return 1;
}

/* Room for labels below `n`. 0 without memory. */
static int multiclass_reserve_labels(multiclass *m, size_t n)
{
    size_t room;
    if (n <= m->room)
        return 1;
    room = (n + n / 2 + 32) & ~(size_t)3;
    if (!(class_enlarge((void **)&m->states, m->room, room, 1)
          && class_enlarge((void **)&m->slots, m->room, room, 1)
          && class_enlarge((void **)&m->bias, m->room, room, sizeof *m->bias)
          && class_enlarge((void **)&m->scores, m->room, room, sizeof *m->scores)
          && class_enlarge((void **)&m->mixed, m->room, room, sizeof *m->mixed)
          && class_enlarge((void **)&m->strengths, m->room, room, sizeof *m->strengths)))
        return 0;
    m->room = room;
    return 1;
}

/* Room for rows of up to `longest` elements. 0 without memory. */
static int multiclass_reserve_row(multiclass *m, size_t longest)
{
    class_element *made;
    size_t room = longest + longest / 2 + 64;
    if (longest <= m->longest)
        return 1;
    made = realloc(m->elements, room * sizeof *made);
    if (!made)
        return 0;
    m->elements = made;
    m->longest = room;
    return 1;
}

/* The bytes of all pieces that a row can take while so many more labels come. */
static size_t class_growth(const multiclass *m, const class_feature *f)
{
    size_t n = f->n + (size_t)f->coming, bytes = 0;
    int size = f->row ? f->size + 1 : 0;
    if (n > m->most || f->coming == UINT16_MAX)
        n = m->most;
    if (n <= f->n || (f->row && n <= piece_entries(f->size)))
        return 0;
    for (; size <= piece_size(n); size++)
        bytes += piece_bytes(&m->rows, size);
    return bytes;
}

/* Room for what the rows of these samples' features can grow by; PAD stands for any new feature.
 * sets: where the labels of each sample start, NULL where each has one. There must be state for the
 * ids, and room for the labels. 0 without memory. */
static int multiclass_reserve_entries(multiclass *m, const rows *x, size_t samples,
                                      const int64_t *sets)
{
    const int64_t end = x->indptr[samples];
    const size_t most = m->most < m->room ? m->most : m->room;
    size_t bytes = 0, updated = CLASS_UPDATED, i;
    int64_t j;
    for (i = 0; i < samples; i++) {
        size_t pads = 0;
        if (sets)
            updated = (size_t)(sets[i + 1] - sets[i]) + SET_RIVALS;
        for (j = x->indptr[i]; j < x->indptr[i + 1]; j++) {
            class_feature *f = class_at(m, class_id(x->indices[j]));
            PREFETCH(class_at(m, class_id(x->indices[j + CLASS_PREFETCH < end ? j + CLASS_PREFETCH
                                                                              : end - 1])));
            f->coming = f->coming + updated < UINT16_MAX ? (uint16_t)(f->coming + updated)
                                                         : UINT16_MAX;
            pads += x->indices[j] <= 0;
        }
        /* A feature that comes often takes more than as many that come once, but not so much. */
        if (pads) {
            const class_feature fresh = {.coming = (uint16_t)updated};
            bytes += 3 * pads * class_growth(m, &fresh);
        }
    }
    class_at(m, 0)->coming = 0;
    for (j = x->indptr[0]; j < end; j++) {
        class_feature *f = class_at(m, class_id(x->indices[j]));
        if (f->coming) {
            bytes += class_growth(m, f);
            f->coming = 0;
        }
    }
    return pieces_reserve(&m->rows, bytes, most + SET_RIVALS + MOST_IN_SET);
}

/* The tags of the new features `first` .. first + n - 1, that there is state for. */
static void multiclass_enter(multiclass *m, uint32_t first, const uint8_t *tags, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        class_at(m, first + (uint32_t)i)->counts |= (uint64_t)tags[i] << CLASS_TAG;
        if (tags[i])
            m->plain = 0;
    }
}

/* Labels. */

static void multiclass_know(multiclass *m, size_t label)
{
    if (label >= m->labels)
        m->labels = label + 1;
    m->states[label] = LABEL_KNOWN;
    m->known++;
}

static void multiclass_drop(multiclass *m, size_t label)
{
    m->states[label] = LABEL_DROPPED;
    m->bias[label] = lanes_of(0.0f);
    m->known--;
    m->dropped++;
}

/* Drop the entries of dropped labels from a row. */
static void class_compact(const multiclass *m, class_feature *f)
{
    lanes *w = row_weights(f);
    uint32_t *labels = row_labels(f), e, n = 0;
    for (e = 0; e < f->n; e++) {
        if (m->states[labels[e]] != LABEL_KNOWN)
            continue;
        w[n] = w[e];
        labels[n++] = labels[e];
    }
    f->n = n;
}

#endif
