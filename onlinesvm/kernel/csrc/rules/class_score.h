/* The scores of many classes: see onlinesvm.model.rules.multiclass. */
#ifndef ONLINESVM_CLASS_SCORE_H
#define ONLINESVM_CLASS_SCORE_H

#include "rules/class_state.h"

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

/* The value over the scale that counts it, and this scale; f: NULL for an unknown feature. */
static inline void class_scale(class_element *e, const class_feature *f, double value)
{
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
}

/* As class_gather, for a row of several views, or of texts. */
static size_t class_gather_views(multiclass *m, const rows *x, size_t i, int learning, float *bias)
{
    const int64_t end = x->indptr[i + 1], last = x->indptr[i + 1] - 1;
    const uint64_t end_id = blocks_end(&m->state);
    class_element *e = m->elements;
    double norms2[VIEWS] = {0}, inverses[VIEWS], total = 0.0, share;
    int some[VIEWS] = {0}, views = 0, view;
    size_t n, k;
    int64_t j;
    for (j = x->indptr[i]; j < end; j++) {
        const int32_t index = x->indices[j];
        const uint32_t id = class_id(index);
        const uint32_t ahead = class_id(x->indices[j + CLASS_PREFETCH < last ? j + CLASS_PREFETCH
                                                                             : last]);
        const double value = x->data[j];
        class_feature *f = id && id < end_id ? class_at(m, id) : NULL;
        const int tag = f ? class_tag(f->counts) : index < 0 ? -index : 0;
        if (ahead < end_id)
            PREFETCH(class_at(m, ahead));
        if (value == 0.0)
            continue;
        view = tag & (VIEWS - 1);
        e->feature = f;
        class_scale(e, f, value);
        if (tag & OF_TEXT)
            e->scaled *= idf_of(m->logs[view], f ? class_seen_of(f->counts) : 0);
        norms2[view] += e->scaled * e->scaled;
        some[view] = 1;
        if (f && f->n)
            PREFETCH(f->row);
        if (f && (learning || f->n))
            e++;
    }
    n = (size_t)(e - m->elements);
    for (view = 0; view < VIEWS; view++)
        views += some[view];
    if (!views)
        some[0] = views = 1;
    share = views > 1 ? 1.0 / sqrt((double)views) : 1.0;
    for (view = 0; view < VIEWS; view++) {
        if (!some[view])
            continue;
        norms2[view] += m->has_bias ? 1.0 : 0.0;
        inverses[view] = norms2[view] > 0.0 ? 1.0 / sqrt(norms2[view]) * share : 0.0;
        total += inverses[view] * inverses[view];
        *bias = (float)inverses[view];
    }
    if (views > 1)
        *bias = (float)sqrt(total);
    if (!m->has_bias)
        *bias = 0.0f;
    for (k = 0; k < n; k++) {
        const int of = class_tag(m->elements[k].counts) & (VIEWS - 1);
        m->elements[k].x = (float)(m->elements[k].scaled * inverses[of]);
    }
    return n;
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
    if (UNLIKELY(!m->plain))
        return class_gather_views(m, x, i, learning, bias);
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
        if (UNLIKELY(x->indices[j] < 0))
            return class_gather_views(m, x, i, learning, bias);
        e->feature = f;
        class_scale(e, f, value);
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

/* Count the elements of the row at hand into their features. */
static void class_count(multiclass *m, size_t n)
{
    int of_text[VIEWS] = {0}, view;
    size_t k;
    for (k = 0; k < n; k++) {
        const class_element *e = &m->elements[k];
        const int tag = class_tag(e->counts);
        if (class_is_fresh(e->feature->counts))
            e->feature->second = class_fresh();
        e->feature->scale2 = e->scale2;
        e->feature->counts = e->counts;
        of_text[tag & (VIEWS - 1)] |= tag & OF_TEXT;
    }
    for (view = 0; view < VIEWS; view++)
        if (of_text[view])
            m->logs[view] = idf_log((uint64_t)++m->with[view]);
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

#endif
