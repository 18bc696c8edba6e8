/* The second level of the hedge over many classes: see onlinesvm.model.rules.class_mixture and
 * mixture, of which this is the same arithmetic. */
#ifndef ONLINESVM_CLASS_MIXTURE_H
#define ONLINESVM_CLASS_MIXTURE_H

#include "rules/mixture.h"

/* All doubles, in the order in which a dump names them. */
typedef struct {
    double count, norms;
    double coefficients[CLASS_EXPERTS];
    double weights[CLASS_EXPERTS + 1]; /* the last is the stack's */
    double losses[CLASS_EXPERTS + 1];
    double sizes[CLASS_EXPERTS + 1];
    double stack[CLASS_EXPERTS];
    double covariance[CLASS_EXPERTS * CLASS_EXPERTS];
} class_mixture;

static void class_mixture_init(class_mixture *m)
{
    int r;
    memset(m, 0, sizeof *m);
    for (r = 0; r < CLASS_EXPERTS; r++) {
        m->coefficients[r] = m->stack[r] = 1.0 / CLASS_EXPERTS;
        m->covariance[r * CLASS_EXPERTS + r] = MIXTURE_STACK_VARIANCE;
    }
    for (r = 0; r <= CLASS_EXPERTS; r++)
        m->weights[r] = 1.0 / (CLASS_EXPERTS + 1);
}

static inline double class_mixture_blown(const class_mixture *m, int j)
{
    if (!(m->sizes[j] > 0.0))
        return 1.0;
    return m->count / mixture_most(m->sizes[j], MIXTURE_LEAST_SIZE * m->count);
}

static void class_mixture_combine(class_mixture *m)
{
    const double back = m->norms > 0.0 ? m->count / m->norms : 1.0;
    const double stack = m->weights[CLASS_EXPERTS] * class_mixture_blown(m, CLASS_EXPERTS);
    int r;
    for (r = 0; r < CLASS_EXPERTS; r++) {
        const double weight = (m->weights[r] + stack * m->stack[r]) * class_mixture_blown(m, r);
        m->coefficients[r] = weight * back;
    }
}

static void class_mixture_weigh(class_mixture *m)
{
    double least = m->losses[0], rate, total = 0.0;
    int j;
    for (j = 1; j <= CLASS_EXPERTS; j++)
        least = mixture_least(least, m->losses[j]);
    rate = MIXTURE_RATE / (1.0 + sqrt(MIXTURE_RATE_DECAY * least));
    for (j = 0; j <= CLASS_EXPERTS; j++) {
        m->weights[j] = fp_exp(-rate * (m->losses[j] - least));
        total += m->weights[j];
    }
    for (j = 0; j <= CLASS_EXPERTS; j++)
        m->weights[j] /= total;
}

/* One step of the AROW over the experts; whether it moved. */
static int class_mixture_learn_stack(class_mixture *m, const double *scaled, double h)
{
    double z[CLASS_EXPERTS], spread[CLASS_EXPERTS], margin = 0.0, v = 0.0, loss, beta, step;
    int i, j;
    for (i = 0; i < CLASS_EXPERTS; i++) {
        z[i] = mixture_cut(scaled[i], MIXTURE_MARGIN_CUT);
        margin += m->stack[i] * z[i];
    }
    loss = 1.0 - margin;
    if (!(loss > 0.0))
        return 0;
    for (i = 0; i < CLASS_EXPERTS; i++) {
        double s = 0.0;
        for (j = 0; j < CLASS_EXPERTS; j++)
            s += m->covariance[i * CLASS_EXPERTS + j] * z[j];
        spread[i] = s;
        v += s * z[i];
    }
    beta = 1.0 / (v + 1.0 / h);
    step = loss * beta;
    for (i = 0; i < CLASS_EXPERTS; i++) {
        const double shrink = beta * spread[i];
        m->stack[i] += step * spread[i];
        for (j = 0; j < CLASS_EXPERTS; j++) {
            double *c = &m->covariance[i * CLASS_EXPERTS + j];
            *c = (*c - shrink * spread[j]) * (1.0 - MIXTURE_STACK_RETURN);
        }
        m->covariance[i * CLASS_EXPERTS + i] += MIXTURE_STACK_RETURN * MIXTURE_STACK_VARIANCE;
    }
    return 1;
}

/* The factor of expert r's scores in the stack. */
static inline double class_mixture_stack(const class_mixture *m, int r)
{
    return m->sizes[r] > 0.0 ? m->stack[r] * m->count / m->sizes[r] : m->stack[r];
}

/* Learn one sample. Writes who was wrong, the stack last; whether the coefficients may have
 * changed. */
static int class_mixture_learn(class_mixture *m, const double *own, const double *against,
                               int stack_wrong, double h, int *wrong)
{
    const double count = m->count;
    double scaled[CLASS_EXPERTS], stacked = 0.0;
    int mistakes = 0, disagree, moved, r, j;
    m->count = count * MIXTURE_SCALE_DISCOUNT + 1.0;
    m->norms = m->norms * MIXTURE_SCALE_DISCOUNT + 1.0;
    for (r = 0; r < CLASS_EXPERTS; r++) {
        const double size = m->sizes[r];
        const double z =
            mixture_cut(size > 0.0 ? against[r] * count / size : against[r], MIXTURE_MOST_SCALED);
        scaled[r] = z;
        m->sizes[r] = size * MIXTURE_SCALE_DISCOUNT + fabs(mixture_cut(own[r], MIXTURE_MOST_MARGIN));
        stacked += m->stack[r] * z;
        wrong[r] = !(own[r] > 0.0);
    }
    m->sizes[CLASS_EXPERTS] = m->sizes[CLASS_EXPERTS] * MIXTURE_SCALE_DISCOUNT + fabs(stacked);
    wrong[CLASS_EXPERTS] = stack_wrong;
    for (j = 0; j <= CLASS_EXPERTS; j++) {
        mistakes += wrong[j];
        m->losses[j] = m->losses[j] * MIXTURE_LOSS_DISCOUNT + (wrong[j] ? h : 0.0);
    }
    disagree = mistakes > 0 && mistakes <= CLASS_EXPERTS;
    moved = class_mixture_learn_stack(m, scaled, h);
    if (disagree)
        class_mixture_weigh(m);
    if (disagree || moved)
        class_mixture_combine(m);
    return disagree || moved;
}

#endif
