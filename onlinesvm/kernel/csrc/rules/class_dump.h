/* The state of the learner of many classes in arrays, out and in, and what of it is pruned. */
#ifndef ONLINESVM_CLASS_DUMP_H
#define ONLINESVM_CLASS_DUMP_H

#include "rules/class_score.h"

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

/* Give back the rows of the ids that leave, among first .. first + n - 1. */
static void multiclass_release(multiclass *m, uint32_t first, size_t n, const uint8_t *kept)
{
    size_t i;
    for (i = 0; i < n && first + i < blocks_end(&m->state); i++) {
        class_feature *f = class_at(m, (uint32_t)(first + i));
        if (!kept[i] && f->row) {
            piece_give(&m->rows, f->row, f->size);
            f->row = NULL;
            f->n = 0;
        }
    }
}

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
    uint8_t *tags; /* NULL where all are 0 */
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
        second = class_is_fresh(f->counts) ? class_fresh() : f->second;
        to->mean_squares[i] = f->scale2;
        to->ages[i] = (int64_t)(f->counts >> 6 & HEDGE_MOST_AGE);
        to->runs[i] = (int64_t)(f->counts & 63);
        to->seen[i] = (int64_t)class_seen_of(f->counts);
        if (to->tags)
            to->tags[i] = (uint8_t)class_tag(f->counts);
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
                    (uint64_t)from->runs[i] |
                    (uint64_t)(from->tags ? from->tags[i] : 0) << CLASS_TAG;
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
