/* The learner of many classes: see onlinesvm.model.rules.multiclass, of which this is the same
 * arithmetic in the same order.
 *
 * A label's four experts are four lanes of float32. A feature's record holds its scale and counts
 * (as in scale.h), S and the three G, and its row: the weights of its labels, then these labels.
 * Fresh state is zero; it counts as S = 1, G = 1e-30. Entries of dropped labels stay in the rows
 * until there is need for their room; they count as absent.
 */
#ifndef ONLINESVM_MULTICLASS_H
#define ONLINESVM_MULTICLASS_H

#include "memory/blocks.h"
#include "memory/pieces.h"
#include "metrics/temperature.h"
#include "rules/class_mixture.h"
#include "rules/scale.h"

#define CLASS_STRIDE 6
#define CLASS_ENTRY (sizeof(lanes) + sizeof(uint32_t))
#define CLASS_UPDATED (CLASS_RIVALS + 1) /* labels that one sample updates at most */
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
    uint16_t coming; /* how many samples will have the feature, while room is reserved for them */
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
    uint32_t most; /* labels a feature may know */
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

/* The bytes of all pieces that a row can take while so many more samples have its feature. */
static size_t class_growth(const multiclass *m, const class_feature *f)
{
    size_t n = f->n + (size_t)f->coming * CLASS_UPDATED, bytes = 0;
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
 * There must be state for the ids, and room for the labels. 0 without memory. */
static int multiclass_reserve_entries(multiclass *m, const rows *x, size_t samples)
{
    const int64_t start = x->indptr[0], end = x->indptr[samples];
    const size_t most = m->most < m->room ? m->most : m->room;
    const class_feature fresh = {.coming = 1};
    size_t bytes = 0, pads;
    int64_t j;
    for (j = start; j < end; j++) {
        class_feature *f = class_at(m, (uint32_t)x->indices[j]);
        PREFETCH(class_at(m, (uint32_t)x->indices[j + CLASS_PREFETCH < end ? j + CLASS_PREFETCH
                                                                           : end - 1]));
        f->coming += f->coming < UINT16_MAX;
    }
    class_at(m, 0)->coming = 0;
    for (j = start, pads = 0; j < end; j++) {
        class_feature *f = class_at(m, (uint32_t)x->indices[j]);
        pads += !x->indices[j];
        if (f->coming) {
            bytes += class_growth(m, f);
            f->coming = 0;
        }
    }
    /* A feature that comes often takes more than as many that come once, but not so much more. */
    bytes += 3 * pads * class_growth(m, &fresh);
    return pieces_reserve(&m->rows, bytes, most + CLASS_UPDATED);
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

/* Scoring. */

static inline float class_dot(lanes c, lanes s)
{
    const lanes p = c * s;
    return ((p[0] + p[1]) + p[2]) + p[3];
}

/* class_dot of 4 rows. */
static inline lanes class_dots(lanes c, const lanes *s)
{
    const lanes a = c * s[0], b = c * s[1], d = c * s[2], e = c * s[3];
    const lanes ab = LANES_PICK(a, b, 0, 4, 1, 5), de = LANES_PICK(d, e, 0, 4, 1, 5);
    const lanes ab_high = LANES_PICK(a, b, 2, 6, 3, 7), de_high = LANES_PICK(d, e, 2, 6, 3, 7);
    return ((LANES_PICK(ab, de, 0, 1, 4, 5) + LANES_PICK(ab, de, 2, 3, 6, 7)) +
            LANES_PICK(ab_high, de_high, 0, 1, 4, 5)) +
           LANES_PICK(ab_high, de_high, 2, 3, 6, 7);
}

static inline lanes class_narrow(const double *c)
{
    lanes narrow;
    int r;
    for (r = 0; r < CLASS_EXPERTS; r++)
        narrow[r] = (float)mixture_cut(c[r], CLASS_MOST_COEFFICIENT);
    return narrow;
}

static inline lanes class_coefficients(const multiclass *m)
{
    return class_narrow(m->mixture.coefficients);
}

/* Write the unit sample of row i to the elements; how many, and the bias's value. While learning all
 * features of the row are elements, else those with a row of their own; the others count in the
 * norm. */
static size_t class_gather(multiclass *m, const rows *x, size_t i, int learning, float *bias)
{
    const int64_t end = x->indptr[i + 1], last = x->indptr[i + 1] - 1;
    const uint64_t end_id = blocks_end(&m->state);
    class_element *e = m->elements;
    double norm2 = 0.0, inverse;
    size_t n, k;
    int64_t j;
    for (j = x->indptr[i]; j < end; j++) {
        const uint32_t ahead = (uint32_t)x->indices[j + CLASS_PREFETCH < last ? j + CLASS_PREFETCH
                                                                            : last];
        const uint32_t id = (uint32_t)x->indices[j];
        const double value = x->data[j];
        class_feature *f = id && id < end_id ? class_at(m, id) : NULL;
        if (ahead < end_id)
            PREFETCH(class_at(m, ahead));
        if (value == 0.0)
            continue;
        e->feature = f;
        if (f && value == 1.0 && f->scale2 == 1.0) {
            /* As below, where all factors are 1. */
            const uint64_t age = f->counts >> 6 & HEDGE_MOST_AGE;
            e->counts = ((f->counts >> SCALE_SEEN) + 1) << SCALE_SEEN |
                        (age < HEDGE_MOST_AGE ? age + 1 : HEDGE_MOST_AGE) << 6;
            e->scaled = e->scale2 = 1.0;
        } else {
            e->scale2 = f ? f->scale2 : 0.0;
            e->counts = f ? f->counts : 0;
            scale_count(&e->scale2, &e->counts, value);
            e->scaled = value / sqrt(e->scale2);
        }
        norm2 += e->scaled * e->scaled;
        if (f && f->n)
            PREFETCH(f->row);
        if (f && (learning || f->n))
            e++;
    }
    n = (size_t)(e - m->elements);
    norm2 += m->has_bias ? 1.0 : 0.0;
    inverse = norm2 > 0.0 ? 1.0 / sqrt(norm2) : 0.0;
    for (k = 0; k < n; k++)
        m->elements[k].x = (float)(m->elements[k].scaled * inverse);
    *bias = m->has_bias ? (float)inverse : 0.0f;
    return n;
}

/* The experts' scores of all labels but for the bias. */
static void class_accumulate(multiclass *m, size_t n)
{
    lanes *scores = m->scores;
    const lanes birth = lanes_of((float)CLASS_BIRTH);
    size_t k;
    for (k = 0; k < m->labels; k++)
        scores[k] = birth;
    for (k = 0; k < n; k++) {
        const class_feature *f = m->elements[k].feature;
        const class_feature *ahead = m->elements[k + 2 < n ? k + 2 : n - 1].feature;
        const lanes x = lanes_of(m->elements[k].x), *w = row_weights(f);
        const uint32_t *labels = row_labels(f), count = f->n;
        uint32_t e;
        if (ahead->n) {
            PREFETCH(ahead->row);
            PREFETCH(row_labels(ahead));
        }
        for (e = 0; e < count; e++)
            scores[labels[e]] += w[e] * x;
    }
}

/* The scores u of row i, by label, -inf of those that are not known. */
static void class_score_row(multiclass *m, const rows *x, size_t i, float *mixed)
{
    const lanes c = class_coefficients(m);
    float bias;
    size_t k;
    class_accumulate(m, class_gather(m, x, i, 0, &bias));
    for (k = 0; k < m->labels; k++)
        mixed[k] = m->states[k] == LABEL_KNOWN
                       ? class_dot(c, m->scores[k] + m->bias[k] * lanes_of(bias))
                       : -INFINITY;
}

static void multiclass_score(multiclass *m, const rows *x, size_t samples, float *mixed)
{
    size_t i;
    for (i = 0; i < samples; i++)
        class_score_row(m, x, i, mixed + i * m->labels);
}

/* Learning. */

typedef struct {
    double margin, confidence;
    int32_t predicted;
} class_learned;

/* What a walk over all known labels finds; -1 where there is none. The rest is of those that are not
 * the sample's. */
typedef struct {
    int64_t best, stacked;
    float best_score, other_score, stacked_score;
    lanes strongest;
} class_seen;

/* Add the bias to the scores, mix them. */
static class_seen class_look(multiclass *m, float bias, lanes c, lanes stack, size_t truth)
{
    class_seen s = {-1, -1, -INFINITY, -INFINITY, -INFINITY, lanes_of(-INFINITY)};
    const lanes b = lanes_of(bias);
    size_t k;
    for (k = 0; k < m->labels; k++) {
        const lanes score = m->scores[k] + m->bias[k] * b;
        float u;
        m->scores[k] = score;
        if (UNLIKELY(m->states[k] != LABEL_KNOWN)) {
            m->mixed[k] = -INFINITY;
            continue;
        }
        m->mixed[k] = u = class_dot(c, score);
        if (u > s.best_score) {
            s.best_score = u;
            s.best = (int64_t)k;
        }
        if (LIKELY(k != truth)) {
            const float stacked = class_dot(stack, score);
            if (u > s.other_score)
                s.other_score = u;
            if (stacked > s.stacked_score) {
                s.stacked_score = stacked;
                s.stacked = (int64_t)k;
            }
            s.strongest = lanes_most(s.strongest, score);
        }
    }
    for (; k & 3; k++)
        m->mixed[k] = -INFINITY;
    return s;
}

static double class_relative(multiclass *m, double importance)
{
    double rate, h;
    m->samples++;
    if (importance == 1.0 && m->log_importance == 0.0)
        return 1.0;
    rate = 1.0 / mixture_least((double)m->samples, HEDGE_IMPORTANCE_MEMORY);
    m->log_importance += (fp_log2(importance) - m->log_importance) * rate;
    h = importance / fp_exp2(m->log_importance);
    return mixture_least(HEDGE_MOST_IMPORTANCE, mixture_most(HEDGE_LEAST_IMPORTANCE, h));
}

static void class_judge(multiclass *m, const double *margins, const int *wrong, double h)
{
    int j;
    m->judged_weights[0] += h;
    m->judged_weights[1] = m->judged_weights[1] * RECENT_DISCOUNT + h;
    for (j = 0; j <= CLASS_EXPERTS; j++) {
        const double mistake = wrong[j] ? h : 0.0;
        const double loss = margins[j] < 1.0 ? h * (1.0 - margins[j]) : 0.0;
        m->judged[0][j] += mistake;
        m->judged[2][j] = m->judged[2][j] * RECENT_DISCOUNT + mistake;
        m->judged[1][j] += loss;
        m->judged[3][j] = m->judged[3][j] * RECENT_DISCOUNT + loss;
    }
}

/* The mixture and the judges learn by the scores before the update. */
static void class_learn_mixture(multiclass *m, const class_seen *s, lanes stack, size_t truth,
                                double h, double importance)
{
    const lanes own = m->scores[truth], rival = m->scores[s->stacked];
    const float stacked = class_dot(stack, own);
    double margins[CLASS_EXPERTS + 1], against[CLASS_EXPERTS];
    int wrong[CLASS_EXPERTS + 1], r;
    for (r = 0; r < CLASS_EXPERTS; r++) {
        margins[r] = (double)own[r] - (double)s->strongest[r];
        against[r] = (double)own[r] - (double)rival[r];
    }
    margins[CLASS_EXPERTS] = (double)stacked - (double)s->stacked_score;
    class_mixture_learn(&m->mixture, margins, against, !(stacked > s->stacked_score), h, wrong);
    class_judge(m, margins, wrong, importance);
}

/* The labels that a sample updates, and their experts' steps. */
typedef struct {
    uint32_t labels[CLASS_UPDATED];
    lanes steps[CLASS_UPDATED + 1]; /* from 1 on, as slots count */
    int4 each[CLASS_UPDATED];       /* four times each label; the first again where there is none */
    int n;
} class_updated;

/* The rivals of largest score, the first first. */
static int class_rivals(const multiclass *m, lanes c, size_t truth, uint32_t *found)
{
    const lanes birth = lanes_of((float)CLASS_BIRTH);
    float scores[CLASS_RIVALS];
    int n = 0, p;
    size_t k;
    for (k = 0; k < m->labels; k++) {
        const lanes s = m->scores[k];
        int4 above;
        float u;
        if (UNLIKELY(m->states[k] != LABEL_KNOWN))
            continue;
        u = class_dot(c, s);
        if (n == CLASS_RIVALS && !(u > scores[n - 1]))
            continue;
        above = (int4)(s > birth);
        if (k == truth || !(above[0] | above[1] | above[2] | above[3]))
            continue;
        p = n < CLASS_RIVALS ? n++ : n - 1;
        for (; p > 0 && u > scores[p - 1]; p--) {
            scores[p] = scores[p - 1];
            found[p] = found[p - 1];
        }
        scores[p] = u;
        found[p] = (uint32_t)k;
    }
    return n;
}

/* The losses of truth and rivals, signed; the largest of each expert. Labels without any are left
 * out. */
static lanes class_losses(const multiclass *m, const uint32_t *labels, int n, class_updated *out)
{
    const float adaptive = (float)CLASS_MOST_LOSS;
    const lanes one = lanes_of(1.0f), zero = lanes_of(0.0f);
    const lanes most = {(float)CLASS_MOST_AROW_LOSS, adaptive, adaptive, adaptive};
    lanes largest = zero;
    int k;
    out->n = 0;
    for (k = 0; k < n; k++) {
        const lanes s = m->scores[labels[k]];
        const lanes loss = lanes_most(zero, k ? one + s : one - s);
        const lanes cut = lanes_where((int4)(loss < most), loss, most);
        largest = lanes_most(largest, cut);
        if (cut[0] > 0.0f || cut[1] > 0.0f || cut[2] > 0.0f || cut[3] > 0.0f) {
            out->labels[out->n++] = labels[k];
            out->steps[out->n] = k ? -cut : cut;
        }
    }
    return largest;
}

/* Write the strengths of a row's entries, and infinity to the multiple of 4 after them. */
static void class_weigh(multiclass *m, const class_feature *f, lanes c)
{
    const int4 magnitude = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};
    const lanes *w = row_weights(f);
    uint32_t e;
    for (e = 0; e + 4 <= f->n; e += 4)
        *(lanes *)(m->strengths + e) = (lanes)((int4)class_dots(c, w + e) & magnitude);
    for (; e < f->n; e++)
        m->strengths[e] = fabsf(class_dot(c, w[e]));
    for (; e & 3; e++)
        m->strengths[e] = INFINITY;
}

/* The earliest entry of the least strength. */
static uint32_t class_weakest(const multiclass *m, uint32_t n)
{
    lanes least = lanes_of(INFINITY);
    float most;
    uint32_t e;
    for (e = 0; e < n; e += 4) {
        const lanes s = *(const lanes *)(m->strengths + e);
        least = lanes_where((int4)(s < least), s, least);
    }
    most = least[0];
    for (e = 1; e < 4; e++)
        most = least[e] < most ? least[e] : most;
    least = lanes_of(most);
    for (e = 0; e < n; e += 4)
        if (int4_any((int4)(*(const lanes *)(m->strengths + e) == least)))
            break;
    while (m->strengths[e] != most)
        e++;
    return e;
}

/* Make room for `more` entries at the end of a row. */
static void class_extend(multiclass *m, class_feature *f, uint32_t more)
{
    const class_feature old = *f;
    if (f->row && f->n + more <= piece_entries(f->size))
        return;
    f->size = (uint16_t)piece_size((size_t)f->n + more);
    f->row = piece_take(&m->rows, f->size);
    if (old.row) {
        memcpy(row_weights(f), row_weights(&old), old.n * sizeof(lanes));
        memcpy(row_labels(f), row_labels(&old), old.n * sizeof(uint32_t));
        piece_give(&m->rows, old.row, old.size);
    }
}

/* Enter the labels whose bits are set in `missing`. The others lie at the places `there`, counted
 * from 1. */
static void class_enter(multiclass *m, class_feature *f, const class_updated *updated,
                        uint32_t missing, const uint32_t *there, lanes direction, lanes c)
{
    uint32_t more = (uint32_t)__builtin_popcount(missing), e;
    int k, weighed = 0, moved = 0; /* whether `there` is no longer all */
    if (m->dropped && f->n
        && (f->n + more > m->most || f->n + more > piece_entries(f->size))) {
        class_compact(m, f);
        moved = 1;
    }
    if (f->n < m->most)
        class_extend(m, f, more < m->most - f->n ? more : m->most - f->n);
    for (k = 0; missing; k++, missing >>= 1) {
        if (!(missing & 1))
            continue;
        if (f->n < m->most) {
            e = f->n++;
            moved = 1;
        } else {
            if (!weighed) {
                class_weigh(m, f, c);
                for (e = 0; !moved && e < CLASS_UPDATED; e++)
                    if (there[e])
                        m->strengths[there[e] - 1] = INFINITY;
                for (e = 0; moved && e < f->n; e++)
                    if (m->slots[row_labels(f)[e]])
                        m->strengths[e] = INFINITY;
                weighed = 1;
            }
            e = class_weakest(m, f->n);
            m->strengths[e] = INFINITY;
        }
        row_weights(f)[e] = updated->steps[k + 1] * direction;
        row_labels(f)[e] = updated->labels[k];
    }
}

/* Add the steps to the weights of the updated labels, entering those that are new. */
static inline void class_move(multiclass *m, class_feature *f, const class_updated *updated,
                              lanes direction, lanes c)
{
    const uint8_t *slots = m->slots;
    const uint32_t n = f->n;
    uint32_t e, j, missing = ((uint32_t)1 << updated->n) - 1, there[CLASS_UPDATED] = {0};
    lanes *w;
    const uint32_t *labels;
    if (!n) {
        class_enter(m, f, updated, missing, there, direction, c);
        return;
    }
    w = row_weights(f);
    labels = row_labels(f);
    for (e = 0; e < n; e += 4) {
        const uint32_t stop = n - e < 4 ? n - e : 4;
        if (stop == 4) {
            int4 four, hit;
            memcpy(&four, labels + e, sizeof four);
            hit = (four == updated->each[0]) | (four == updated->each[1]) |
                  (four == updated->each[2]) | (four == updated->each[3]) |
                  (four == updated->each[4]);
            if (!int4_any(hit))
                continue;
        }
        for (j = e; j < e + stop; j++) {
            const uint32_t slot = slots[labels[j]];
            if (slot) {
                w[j] += updated->steps[slot] * direction;
                missing &= ~((uint32_t)1 << (slot - 1));
                there[slot - 1] = j + 1;
            }
        }
        if (!missing)
            return;
    }
    class_enter(m, f, updated, missing, there, direction, c);
}

static inline lanes class_direction(lanes second)
{
    const lanes one = lanes_of(1.0f);
    lanes root, d;
    root = (lanes){1.0f, sqrtf(second[1]), sqrtf(second[2]), sqrtf(second[3])};
    d = one / root;
    d[0] = second[0];
    return d;
}

static inline lanes class_shrunk(lanes second, float beta, lanes direction)
{
    const float least = (float)HEDGE_LEAST_VARIANCE;
    const float s = second[0] - (beta * direction[0]) * direction[0];
    second[0] = s > least ? s : least;
    return second;
}

/* The experts' step on the truth and its rivals. */
static void class_update(multiclass *m, size_t n, float bias, size_t truth, double importance)
{
    const lanes c = class_coefficients(m);
    const float h = (float)importance, etas[] = {0.0f, (float)HEDGE_ETA_SLOW,
                                                 (float)HEDGE_ETA_FAST, (float)HEDGE_ETA_FASTEST};
    uint32_t labels[CLASS_UPDATED] = {(uint32_t)truth};
    class_updated updated;
    lanes largest, gradient, reach = lanes_of(0.0f), rates, bias_direction = reach;
    class_element *e, *stop = m->elements + n;
    const int count = 1 + class_rivals(m, c, truth, labels + 1);
    int k;
    largest = class_losses(m, labels, count, &updated);
    if (!updated.n)
        return;
    gradient = (lanes_of(h) * largest) * largest;
    gradient[0] = 0.0f;
    for (e = m->elements; e < stop; e++) {
        const lanes square = lanes_of(e->x * e->x);
        const lanes second = e->feature->second + gradient * square;
        const lanes d = class_direction(second);
        e->feature->second = second;
        reach += d * square;
        e->direction = d * lanes_of(e->x);
    }
    if (m->has_bias) {
        const lanes square = lanes_of(bias * bias);
        m->bias_second += gradient * square;
        bias_direction = class_direction(m->bias_second);
        reach += bias_direction * square;
        bias_direction *= lanes_of(bias);
    }
    rates[0] = 1.0f / (reach[0] + (float)HEDGE_AROW_R / h);
    for (k = 1; k < CLASS_EXPERTS; k++) {
        const float rate = etas[k] * h;
        rates[k] = rate / (1.0f + rate * reach[k]);
    }
    for (k = 1; k <= updated.n; k++) {
        updated.steps[k] *= rates;
        m->slots[updated.labels[k - 1]] = (uint8_t)k;
    }
    for (k = 0; k < CLASS_UPDATED; k++) {
        const int32_t label = (int32_t)updated.labels[k < updated.n ? k : 0];
        updated.each[k] = (int4){label, label, label, label};
    }
    for (e = m->elements; e < stop; e++) {
        if (largest[0] > 0.0f)
            e->feature->second = class_shrunk(e->feature->second, rates[0], e->direction);
        class_move(m, e->feature, &updated, e->direction, c);
    }
    if (m->has_bias) {
        if (largest[0] > 0.0f)
            m->bias_second = class_shrunk(m->bias_second, rates[0], bias_direction);
        for (k = 1; k <= updated.n; k++)
            m->bias[updated.labels[k - 1]] += updated.steps[k] * bias_direction;
    }
    for (k = 0; k < updated.n; k++)
        m->slots[updated.labels[k]] = 0;
}

/* Score row i; then, for an importance above 0, learn it. */
static class_learned class_learn_row(multiclass *m, const rows *x, size_t i, size_t truth,
                                     double importance)
{
    const lanes c = class_coefficients(m);
    const double birth = class_dot(c, lanes_of((float)CLASS_BIRTH));
    const int fresh = truth >= m->labels || m->states[truth] != LABEL_KNOWN;
    class_learned learned = {0.0, 0.0, -1};
    temperature_shares shares = {0};
    double stack_factors[CLASS_EXPERTS], h;
    lanes stack;
    class_seen s;
    float bias;
    size_t n, k;
    int r;
    n = class_gather(m, x, i, importance > 0.0, &bias);
    class_accumulate(m, n);
    for (r = 0; r < CLASS_EXPERTS; r++)
        stack_factors[r] = class_mixture_stack(&m->mixture, r);
    stack = class_narrow(stack_factors);
    s = class_look(m, bias, c, stack, truth);
    learned.margin = (fresh ? birth : (double)m->mixed[truth]) -
                     (s.other_score > -INFINITY ? (double)s.other_score : birth);
    learned.predicted = (int32_t)s.best;
    if (s.best >= 0) {
        shares = temperature_look(&m->temperature, m->mixed, (m->labels + 3) & ~(size_t)3,
                                  (size_t)s.best);
        learned.confidence = temperature_confidence(&m->temperature, &shares);
    }
    if (!(importance > 0.0))
        return learned;
    for (k = 0; k < n; k++) {
        class_feature *f = m->elements[k].feature;
        if (f->counts == 0)
            f->second = class_fresh();
        f->scale2 = m->elements[k].scale2;
        f->counts = m->elements[k].counts;
    }
    h = class_relative(m, importance);
    if (fresh) {
        while (m->labels <= truth)
            m->scores[m->labels++] = lanes_of((float)CLASS_BIRTH);
        multiclass_know(m, truth);
        m->scores[truth] = lanes_of((float)CLASS_BIRTH);
    }
    if (m->known < 2 || !(n || m->has_bias))
        return learned;
    if (!fresh) {
        const float z = temperature_scaled(shares.rate, m->mixed[truth], s.best_score);
        class_learn_mixture(m, &s, stack, truth, h, importance);
        temperature_learn(&m->temperature, &shares, (size_t)s.best == truth, (double)z,
                          learned.margin);
    }
    class_update(m, n, bias, truth, h);
    return learned;
}

/* Score, then learn, row by row. There must be state for every id of the rows, room for the labels,
 * the longest row and the entries. */
static void multiclass_learn(multiclass *m, const rows *x, size_t samples, const int32_t *labels,
                             const double *importances, double *margins, int32_t *predicted,
                             double *confidences)
{
    size_t i;
    for (i = 0; i < samples; i++) {
        const class_learned l = class_learn_row(m, x, i, (size_t)labels[i], importances[i]);
        margins[i] = l.margin;
        predicted[i] = l.predicted;
        confidences[i] = l.confidence;
    }
}

/* The strengths of ids first .. first + n - 1, by which features are pruned. */
static void multiclass_strengths(const multiclass *m, uint32_t first, size_t n, double *strengths)
{
    const lanes c = class_coefficients(m);
    const uint64_t end_id = blocks_end(&m->state);
    size_t i;
    for (i = 0; i < n; i++) {
        const uint64_t id = (uint64_t)first + i;
        const class_feature *f = id < end_id ? class_at(m, (uint32_t)id) : NULL;
        float largest = 0.0f;
        uint32_t e;
        for (e = 0; f && e < f->n; e++) {
            const float w = fabsf(class_dot(c, row_weights(f)[e]));
            if (w > largest && m->states[row_labels(f)[e]] == LABEL_KNOWN)
                largest = w;
        }
        strengths[i] = f && f->scale2 > 0.0 ? (double)largest / sqrt(f->scale2) : 0.0;
    }
}

/* Give back the rows of the ids that leave. */
static void multiclass_release(multiclass *m, size_t n, const uint8_t *kept)
{
    size_t id;
    for (id = 1; id <= n && id < blocks_end(&m->state); id++) {
        class_feature *f = class_at(m, (uint32_t)id);
        if (!kept[id - 1] && f->row) {
            piece_give(&m->rows, f->row, f->size);
            f->row = NULL;
            f->n = 0;
        }
    }
}

/* Files. */

static inline double *multiclass_judged(multiclass *m) { return &m->judged[0][0]; }

static void multiclass_coefficients(const multiclass *m, double *coefficients)
{
    const lanes c = class_coefficients(m);
    int r;
    for (r = 0; r < CLASS_EXPERTS; r++)
        coefficients[r] = (double)c[r];
}

/* How many entries of known labels ids first .. first + n - 1 have. */
static size_t multiclass_entries(const multiclass *m, size_t first, size_t n)
{
    size_t id, total = 0;
    for (id = first; id < first + n && id < blocks_end(&m->state); id++) {
        const class_feature *f = class_at(m, (uint32_t)id);
        uint32_t e;
        if (!m->dropped)
            total += f->n;
        for (e = 0; m->dropped && e < f->n; e++)
            total += m->states[row_labels(f)[e]] == LABEL_KNOWN;
    }
    return total;
}

typedef struct {
    double *mean_squares;
    int64_t *ages, *runs, *seen;
    float *second_orders;
    int32_t *row_lengths, *row_labels;
    float *row_weights;
} class_arrays;

/* The entries of a row, but those of dropped labels; how many. */
static uint32_t class_copy_row(const multiclass *m, const class_feature *f, int32_t *labels,
                               float *weights)
{
    uint32_t e, n = 0;
    for (e = 0; e < f->n; e++) {
        if (m->states[row_labels(f)[e]] != LABEL_KNOWN)
            continue;
        labels[n] = (int32_t)row_labels(f)[e];
        memcpy(weights + (size_t)n * CLASS_EXPERTS, &row_weights(f)[e], sizeof(lanes));
        n++;
    }
    return n;
}

/* The state of ids first .. first + n - 1. */
static void multiclass_dump(const multiclass *m, size_t first, size_t n, const class_arrays *to)
{
    size_t i, entries = 0;
    for (i = 0; i < n; i++) {
        const class_feature none = {0}, *f = &none;
        lanes second;
        uint32_t count = 0;
        if (first + i < blocks_end(&m->state))
            f = class_at(m, (uint32_t)(first + i));
        second = f->counts ? f->second : class_fresh();
        to->mean_squares[i] = f->scale2;
        to->ages[i] = (int64_t)(f->counts >> 6 & HEDGE_MOST_AGE);
        to->runs[i] = (int64_t)(f->counts & 63);
        to->seen[i] = (int64_t)(f->counts >> SCALE_SEEN);
        memcpy(to->second_orders + i * CLASS_EXPERTS, &second, sizeof second);
        if (f->n)
            count = class_copy_row(m, f, to->row_labels + entries,
                                   to->row_weights + entries * CLASS_EXPERTS);
        to->row_lengths[i] = (int32_t)count;
        entries += count;
    }
}

/* Take the features and labels of a dump, that was checked, into a learner that is fresh but for its
 * bounds. 0 without memory; it has to be cleared then. */
static int multiclass_take(multiclass *m, size_t n, size_t labels, const class_arrays *from,
                           const uint8_t *states, const float *bias)
{
    size_t i, entries = 0, bytes = 0, most = 0;
    if (!blocks_reserve(&m->state, (uint32_t)n) || !multiclass_reserve_labels(m, labels))
        return 0;
    for (i = 0; i < n; i++) {
        const size_t count = (size_t)from->row_lengths[i];
        most = count > most ? count : most;
        bytes += count ? piece_bytes(&m->rows, piece_size(count)) : 0;
    }
    if (!pieces_reserve(&m->rows, bytes, most))
        return 0;
    for (i = 0; i < n; i++) {
        class_feature *f = class_at(m, (uint32_t)(i + 1));
        const size_t count = (size_t)from->row_lengths[i];
        f->scale2 = from->mean_squares[i];
        f->counts = (uint64_t)from->seen[i] << SCALE_SEEN | (uint64_t)from->ages[i] << 6 |
                    (uint64_t)from->runs[i];
        memcpy(&f->second, from->second_orders + i * CLASS_EXPERTS, sizeof f->second);
        if (count) {
            f->size = (uint16_t)piece_size(count);
            f->row = piece_take(&m->rows, f->size);
            f->n = (uint32_t)count;
            memcpy(row_weights(f), from->row_weights + entries * CLASS_EXPERTS,
                   count * sizeof(lanes));
            memcpy(row_labels(f), from->row_labels + entries, count * sizeof(int32_t));
        }
        entries += count;
    }
    m->labels = labels;
    if (labels) {
        memcpy(m->states, states, labels);
        memcpy(m->bias, bias, labels * sizeof(lanes));
    }
    for (i = 0; i < labels; i++) {
        m->known += states[i] == LABEL_KNOWN;
        m->dropped += states[i] == LABEL_DROPPED;
    }
    return 1;
}

#endif
