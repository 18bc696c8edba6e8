/* The learner of several labels a sample: see onlinesvm.model.rules.multilabel and
 * onlinesvm.metrics.threshold, of which this is the same arithmetic in the same order. Scores and rows are those of multiclass.h;
 * of the mixture only coefficients and losses are used.
 */
#ifndef ONLINESVM_MULTILABEL_H
#define ONLINESVM_MULTILABEL_H

#include "rules/multiclass.h"

#define SET_UPDATED (MOST_IN_SET + SET_RIVALS) /* labels that one sample updates at most */

typedef struct {
    double value, gain, have[SET_BINS], others[SET_BINS];
} set_threshold;

/* The labels that a sample updates, and their experts' steps: from 1 on, as slots count. */
typedef struct {
    uint32_t labels[SET_UPDATED];
    lanes steps[SET_UPDATED + 1];
    int n;
} set_updated;

/* The labels of a sample. */
typedef struct {
    const int32_t *ids;
    size_t n;
} set_truth;

static void set_threshold_init(set_threshold *t)
{
    memset(t, 0, sizeof *t);
    t->gain = 1.0;
}

static inline size_t set_bin(float u)
{
    const float cut = u < 1.0f ? (u > -1.0f ? u : -1.0f) : 1.0f;
    const size_t place = (size_t)((cut + 1.0f) * (float)(SET_BINS / 2));
    return place < SET_BINS ? place : SET_BINS - 1;
}

static void set_threshold_choose(set_threshold *t)
{
    double total = 0.0, both = 0.0, predicted = 0.0, best = 0.0, over = 1.0;
    int at = SET_BINS / 2, k;
    for (k = 0; k < SET_BINS; k++)
        total += t->have[k];
    for (k = SET_BINS - 1; k > 0; k--) {
        both += t->have[k];
        predicted += t->have[k] + t->others[k];
        if (both > 0.0 && both * over >= best * (total + predicted)) {
            best = both;
            over = total + predicted;
            at = k;
        }
    }
    t->value = at / (double)(SET_BINS / 2) - 1.0;
}

/* Count a sample: slots are set of its labels. */
static void set_threshold_learn(set_threshold *t, const multiclass *m)
{
    uint32_t have[SET_BINS] = {0}, others[SET_BINS] = {0};
    size_t k;
    t->gain = t->gain / SET_DISCOUNT;
    for (k = 0; k < m->labels; k++)
        if (m->states[k] == LABEL_KNOWN)
            (m->slots[k] ? have : others)[set_bin(m->mixed[k])]++;
    for (k = 0; k < SET_BINS; k++) {
        t->have[k] += t->gain * have[k];
        t->others[k] += t->gain * others[k];
    }
    if (t->gain > LARGEST_GAIN) {
        for (k = 0; k < SET_BINS; k++) {
            t->have[k] /= t->gain;
            t->others[k] /= t->gain;
        }
        t->gain = 1.0;
    }
    set_threshold_choose(t);
}

/* The weights of the experts, from the number of labels that each had wrong. */
static void set_weigh(class_mixture *m, const size_t *wrong, double h)
{
    double least, rate, total = 0.0;
    int r;
    for (r = 0; r < CLASS_EXPERTS; r++)
        m->losses[r] = m->losses[r] * MIXTURE_LOSS_DISCOUNT + h * (double)wrong[r];
    least = m->losses[0];
    for (r = 1; r < CLASS_EXPERTS; r++)
        least = mixture_least(least, m->losses[r]);
    rate = MIXTURE_RATE / (1.0 + sqrt(MIXTURE_RATE_DECAY * least));
    for (r = 0; r < CLASS_EXPERTS; r++) {
        m->coefficients[r] = fp_exp(-rate * (m->losses[r] - least));
        total += m->coefficients[r];
    }
    for (r = 0; r < CLASS_EXPERTS; r++)
        m->coefficients[r] /= total;
}

/* The weights and the judges learn by the scores before the update; slots are set of the labels. */
static void set_learn_mixture(multiclass *m, double h, double importance)
{
    const lanes zero = lanes_of(0.0f);
    lanes least = lanes_of(INFINITY), most = lanes_of(-INFINITY);
    double margins[CLASS_EXPERTS + 1];
    size_t wrong[CLASS_EXPERTS] = {0}, k;
    int mistaken[CLASS_EXPERTS + 1], r;
    for (k = 0; k < m->labels; k++) {
        const lanes s = m->scores[k];
        const int own = m->slots[k] != 0;
        if (m->states[k] != LABEL_KNOWN)
            continue;
        for (r = 0; r < CLASS_EXPERTS; r++)
            wrong[r] += (s[r] > zero[r]) != own;
        if (own)
            least = lanes_where((int4)(s < least), s, least);
        else
            most = lanes_most(most, s);
    }
    for (r = 0; r < CLASS_EXPERTS; r++) {
        margins[r] = (least[r] < INFINITY ? (double)least[r] : 0.0) -
                     (most[r] > -INFINITY ? (double)most[r] : CLASS_BIRTH);
        mistaken[r] = wrong[r] > 0;
    }
    margins[CLASS_EXPERTS] = 1.0;
    mistaken[CLASS_EXPERTS] = 0;
    class_judge(m, margins, mistaken, importance);
    set_weigh(&m->mixture, wrong, h);
}

/* The rivals of largest score, the first first; slots are set of the sample's labels. */
static int set_rivals(const multiclass *m, lanes c, uint32_t *found)
{
    const lanes birth = lanes_of((float)CLASS_BIRTH);
    float scores[SET_RIVALS];
    int n = 0, p;
    size_t k;
    for (k = 0; k < m->labels; k++) {
        const lanes s = m->scores[k];
        float u;
        if (UNLIKELY(m->states[k] != LABEL_KNOWN) || m->slots[k]
            || !int4_any((int4)(s > birth)))
            continue;
        u = class_dot(c, s);
        if (n == SET_RIVALS && !(u > scores[n - 1]))
            continue;
        p = n < SET_RIVALS ? n++ : n - 1;
        for (; p > 0 && u > scores[p - 1]; p--) {
            scores[p] = scores[p - 1];
            found[p] = found[p - 1];
        }
        scores[p] = u;
        found[p] = (uint32_t)k;
    }
    return n;
}

/* The losses of `truths` labels and then rivals, n in all, signed; the largest of each expert.
 * Labels without any are left out. */
static lanes set_losses(const multiclass *m, const uint32_t *labels, size_t truths, size_t n,
                        set_updated *out)
{
    const float adaptive = (float)CLASS_MOST_LOSS;
    const lanes one = lanes_of(1.0f), zero = lanes_of(0.0f);
    const lanes most = {(float)CLASS_MOST_AROW_LOSS, adaptive, adaptive, adaptive};
    lanes largest = zero;
    size_t k;
    out->n = 0;
    for (k = 0; k < n; k++) {
        const lanes s = m->scores[labels[k]];
        const lanes loss = lanes_most(zero, k < truths ? one - s : one + s);
        const lanes cut = lanes_where((int4)(loss < most), loss, most);
        largest = lanes_most(largest, cut);
        if (cut[0] > 0.0f || cut[1] > 0.0f || cut[2] > 0.0f || cut[3] > 0.0f) {
            out->labels[out->n++] = labels[k];
            out->steps[out->n] = k < truths ? cut : -cut;
        }
    }
    return largest;
}

/* Enter the `more` labels that are not `there`; a row full of updated ones takes none. */
static void set_enter(multiclass *m, class_feature *f, const set_updated *updated, uint32_t more,
                      const uint8_t *there, lanes direction, lanes c)
{
    uint32_t e;
    int k, weighed = 0;
    if (m->dropped && f->n
        && (f->n + more > m->most || f->n + more > piece_entries(f->size)))
        class_compact(m, f);
    if (f->n < m->most)
        class_extend(m, f, more < m->most - f->n ? more : m->most - f->n);
    for (k = 0; k < updated->n; k++) {
        if (there[k])
            continue;
        if (f->n < m->most) {
            e = f->n++;
        } else {
            if (!weighed) {
                class_weigh(m, f, c);
                for (e = 0; e < f->n; e++)
                    if (m->slots[row_labels(f)[e]])
                        m->strengths[e] = INFINITY;
                weighed = 1;
            }
            e = class_weakest(m, f->n);
            if (m->strengths[e] == INFINITY)
                return;
            m->strengths[e] = INFINITY;
        }
        row_weights(f)[e] = updated->steps[k + 1] * direction;
        row_labels(f)[e] = updated->labels[k];
    }
}

/* Add the steps to the weights of the updated labels, entering those that are new. */
static void set_move(multiclass *m, class_feature *f, const set_updated *updated, lanes direction,
                     lanes c)
{
    uint8_t there[SET_UPDATED] = {0};
    uint32_t e, left = (uint32_t)updated->n;
    if (f->n) {
        lanes *w = row_weights(f);
        const uint32_t *labels = row_labels(f);
        for (e = 0; e < f->n && left; e++) {
            const uint32_t slot = m->slots[labels[e]];
            if (slot) {
                w[e] += updated->steps[slot] * direction;
                there[slot - 1] = 1;
                left--;
            }
        }
    }
    if (left)
        set_enter(m, f, updated, left, there, direction, c);
}

/* The experts' step on the sample's labels, whose slots are set, and their rivals. Clears all
 * slots. */
static void set_update(multiclass *m, size_t n, float bias, set_truth truth, double importance)
{
    const lanes c = class_coefficients(m);
    uint32_t labels[SET_UPDATED];
    set_updated updated;
    lanes largest, rates, bias_direction = lanes_of(0.0f);
    class_element *e, *stop = m->elements + n;
    size_t count, k;
    for (k = 0; k < truth.n; k++)
        labels[k] = (uint32_t)truth.ids[k];
    count = truth.n + (size_t)set_rivals(m, c, labels + truth.n);
    for (k = 0; k < truth.n; k++)
        m->slots[truth.ids[k]] = 0;
    largest = set_losses(m, labels, truth.n, count, &updated);
    if (!updated.n)
        return;
    rates = class_rates(m, n, bias, largest, (float)importance, &bias_direction);
    for (k = 1; k <= (size_t)updated.n; k++) {
        updated.steps[k] *= rates;
        m->slots[updated.labels[k - 1]] = (uint8_t)k;
    }
    for (e = m->elements; e < stop; e++) {
        if (largest[0] > 0.0f)
            e->feature->second = class_shrunk(e->feature->second, rates[0], e->direction);
        set_move(m, e->feature, &updated, e->direction, c);
    }
    if (m->has_bias) {
        if (largest[0] > 0.0f)
            m->bias_second = class_shrunk(m->bias_second, rates[0], bias_direction);
        for (k = 1; k <= (size_t)updated.n; k++)
            m->bias[updated.labels[k - 1]] += updated.steps[k] * bias_direction;
    }
    for (k = 0; k < (size_t)updated.n; k++)
        m->slots[updated.labels[k]] = 0;
}

/* Add the bias to the scores, mix them; the labels above the threshold go to `predicted`. */
static size_t set_look(multiclass *m, float bias, lanes c, float threshold, int32_t *predicted)
{
    const lanes b = lanes_of(bias);
    size_t k, n = 0;
    for (k = 0; k < m->labels; k++) {
        const lanes score = m->scores[k] + m->bias[k] * b;
        m->scores[k] = score;
        m->mixed[k] = m->states[k] == LABEL_KNOWN ? class_dot(c, score) : -INFINITY;
        if (m->mixed[k] > threshold && n < SET_MOST_PREDICTED)
            predicted[n++] = (int32_t)k;
    }
    return n;
}

/* The least score of the sample's labels less the best other one's; slots are set of the labels
 * that have state. */
static double set_margin(const multiclass *m, lanes c, double threshold, set_truth truth)
{
    const double birth = class_dot(c, lanes_of((float)CLASS_BIRTH));
    double least = truth.n ? INFINITY : threshold;
    float other = -INFINITY;
    size_t k;
    for (k = 0; k < truth.n; k++) {
        const size_t id = (size_t)truth.ids[k];
        const int known = id < m->labels && m->states[id] == LABEL_KNOWN;
        least = mixture_least(least, known ? (double)m->mixed[id] : birth);
    }
    for (k = 0; k < m->labels; k++)
        if (!m->slots[k] && m->mixed[k] > other)
            other = m->mixed[k];
    return least - (other > -INFINITY ? (double)other : birth);
}

/* Score row i; then, for an importance above 0, learn it. Returns how many labels are predicted. */
static size_t set_learn_row(multiclass *m, set_threshold *t, const rows *x, size_t i,
                            set_truth truth, double importance, double *margin, int32_t *predicted)
{
    const lanes c = class_coefficients(m);
    size_t n, k, found;
    double h;
    float bias;
    n = class_gather(m, x, i, importance > 0.0, &bias);
    class_accumulate(m, n);
    found = set_look(m, bias, c, (float)t->value, predicted);
    for (k = 0; k < truth.n; k++)
        m->slots[truth.ids[k]] = 1;
    *margin = set_margin(m, c, t->value, truth);
    if (importance > 0.0) {
        class_count(m, n);
        h = class_relative(m, importance);
        for (k = 0; k < truth.n; k++) {
            const size_t id = (size_t)truth.ids[k];
            if (id < m->labels && m->states[id] == LABEL_KNOWN)
                continue;
            while (m->labels <= id) {
                m->mixed[m->labels] = -INFINITY;
                m->scores[m->labels++] = lanes_of((float)CLASS_BIRTH);
            }
            multiclass_know(m, id);
            m->scores[id] = lanes_of((float)CLASS_BIRTH);
            m->mixed[id] = class_dot(c, m->scores[id]);
        }
        if (m->known) {
            set_threshold_learn(t, m);
            set_learn_mixture(m, h, importance);
            if (n || m->has_bias) {
                set_update(m, n, bias, truth, h);
                return found;
            }
        }
    }
    for (k = 0; k < truth.n; k++)
        m->slots[truth.ids[k]] = 0;
    return found;
}

/* Score, then learn, row by row: `starts` and `ids` are the labels of the samples. What is predicted
 * goes to `predicted`, with room for SET_MOST_PREDICTED labels a sample or for all, one sample's
 * after the other's; its starts to `ends`. There must be state for every id of the rows, room for
 * the labels, the longest row and the entries. */
static void multilabel_learn(multiclass *m, set_threshold *t, const rows *x, size_t samples,
                             const int64_t *starts, const int32_t *ids, const double *importances,
                             double *margins, int64_t *ends, int32_t *predicted)
{
    size_t i, at = 0;
    ends[0] = 0;
    for (i = 0; i < samples; i++) {
        const set_truth truth = {ids + starts[i], (size_t)(starts[i + 1] - starts[i])};
        at += set_learn_row(m, t, x, i, truth, importances[i], margins + i, predicted + at);
        ends[i + 1] = (int64_t)at;
    }
}

#endif
