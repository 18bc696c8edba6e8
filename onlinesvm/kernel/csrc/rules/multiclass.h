/* The learner of many classes: see onlinesvm.model.rules.multiclass, of which this is the same
 * arithmetic in the same order. A label's four experts are four lanes of float32.
 */
#ifndef ONLINESVM_MULTICLASS_H
#define ONLINESVM_MULTICLASS_H

#include "rules/class_dump.h"
#include "rules/class_update.h"

typedef struct {
    double margin, confidence;
    int32_t predicted;
} class_learned;

/* The findings of a walk over all known labels; -1 where there is none. The rest is of those that are not
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
    size_t n;
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
    class_count(m, n);
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

#endif
