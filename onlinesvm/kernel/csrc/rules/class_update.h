/* The update of many classes: see onlinesvm.model.rules.multiclass and class_rows. */
#ifndef ONLINESVM_CLASS_UPDATE_H
#define ONLINESVM_CLASS_UPDATE_H

#include "rules/class_score.h"

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

/* The experts' rates for a step whose largest losses are given. Adds the step's gradient to the
 * second orders, and leaves each element's direction, and the bias's. */
static lanes class_rates(multiclass *m, size_t n, float bias, lanes largest, float h,
                         lanes *bias_direction)
{
    const float etas[] = {0.0f, (float)HEDGE_ETA_SLOW, (float)HEDGE_ETA_FAST,
                          (float)HEDGE_ETA_FASTEST};
    lanes gradient, reach = lanes_of(0.0f), rates;
    class_element *e, *stop = m->elements + n;
    int k;
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
        *bias_direction = class_direction(m->bias_second);
        reach += *bias_direction * square;
        *bias_direction *= lanes_of(bias);
    }
    rates[0] = 1.0f / (reach[0] + (float)HEDGE_AROW_R / h);
    for (k = 1; k < CLASS_EXPERTS; k++) {
        const float rate = etas[k] * h;
        rates[k] = rate / (1.0f + rate * reach[k]);
    }
    return rates;
}

/* The experts' step on the truth and its rivals. */
static void class_update(multiclass *m, size_t n, float bias, size_t truth, double importance)
{
    const lanes c = class_coefficients(m);
    uint32_t labels[CLASS_UPDATED] = {(uint32_t)truth};
    class_updated updated;
    lanes largest, rates, bias_direction = lanes_of(0.0f);
    class_element *e, *stop = m->elements + n;
    const int count = 1 + class_rivals(m, c, truth, labels + 1);
    int k;
    largest = class_losses(m, labels, count, &updated);
    if (!updated.n)
        return;
    rates = class_rates(m, n, bias, largest, (float)importance, &bias_direction);
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

#endif
