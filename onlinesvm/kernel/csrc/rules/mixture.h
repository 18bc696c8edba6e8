/* The hedge's second level: see onlinesvm.model.rules.mixture, of which this is the same arithmetic. */
#ifndef ONLINESVM_MIXTURE_H
#define ONLINESVM_MIXTURE_H

#include <math.h>
#include <string.h>

#include "metrics/fpmath.h"

#define EXPERTS 6

/* The constants of onlinesvm.model.rules.mixture. bench.constants compiles this file with others. */
#ifndef MIXTURE_LOSS_DISCOUNT
#define MIXTURE_LOSS_DISCOUNT 0.9997
#endif
#ifndef MIXTURE_SCALE_DISCOUNT
#define MIXTURE_SCALE_DISCOUNT 0.999
#endif
#ifndef MIXTURE_RATE
#define MIXTURE_RATE 2.0
#endif
#ifndef MIXTURE_RATE_DECAY
#define MIXTURE_RATE_DECAY 0.1
#endif
#ifndef MIXTURE_STACK_VARIANCE
#define MIXTURE_STACK_VARIANCE 0.1
#endif
#ifndef MIXTURE_STACK_RETURN
#define MIXTURE_STACK_RETURN 1e-3
#endif
#ifndef MIXTURE_MARGIN_CUT
#define MIXTURE_MARGIN_CUT 3.0
#endif
#define MIXTURE_MOST_MARGIN 10.0
#define MIXTURE_MOST_NORM 10.0
#define MIXTURE_MOST_SCALED 1e3
#define MIXTURE_LEAST_SIZE 1e-6

/* All doubles, in the order in which a dump names them. */
typedef struct {
    double count, norms;
    double coefficients[EXPERTS];
    double weights[EXPERTS + 1]; /* the last is the stack's */
    double losses[EXPERTS + 1];
    double sizes[EXPERTS + 1];
    double stack[EXPERTS];
    double covariance[EXPERTS * EXPERTS];
} mixture;

static inline double mixture_least(double a, double b) { return b < a ? b : a; }
static inline double mixture_most(double a, double b) { return b > a ? b : a; }
static inline double mixture_cut(double x, double most)
{
    return mixture_least(most, mixture_most(-most, x));
}

static void mixture_init(mixture *m)
{
    int r;
    memset(m, 0, sizeof *m);
    for (r = 0; r < EXPERTS; r++) {
        m->coefficients[r] = m->stack[r] = 1.0 / EXPERTS;
        m->covariance[r * EXPERTS + r] = MIXTURE_STACK_VARIANCE;
    }
    for (r = 0; r <= EXPERTS; r++)
        m->weights[r] = 1.0 / (EXPERTS + 1);
}

/* What brings candidate j's margins to a mean magnitude of 1. */
static inline double mixture_blown(const mixture *m, int j)
{
    if (!(m->sizes[j] > 0.0))
        return 1.0;
    return m->count / mixture_most(m->sizes[j], MIXTURE_LEAST_SIZE * m->count);
}

static inline void mixture_combine(mixture *m)
{
    const double back = m->norms > 0.0 ? m->count / m->norms : 1.0;
    const double stack = m->weights[EXPERTS] * mixture_blown(m, EXPERTS);
    int r;
    for (r = 0; r < EXPERTS; r++) {
        const double weight = (m->weights[r] + stack * m->stack[r]) * mixture_blown(m, r);
        m->coefficients[r] = weight * back;
    }
}

static inline void mixture_weigh(mixture *m)
{
    double least = m->losses[0], rate, total = 0.0;
    int j;
    for (j = 1; j <= EXPERTS; j++)
        least = mixture_least(least, m->losses[j]);
    rate = MIXTURE_RATE / (1.0 + sqrt(MIXTURE_RATE_DECAY * least));
    for (j = 0; j <= EXPERTS; j++) {
        m->weights[j] = elementary_exp(-rate * (m->losses[j] - least));
        total += m->weights[j];
    }
    for (j = 0; j <= EXPERTS; j++)
        m->weights[j] /= total;
}

/* One step of the AROW over the experts; whether it moved. */
static inline int mixture_learn_stack(mixture *m, const double *scaled, double y, double h)
{
    double z[EXPERTS], spread[EXPERTS], margin = 0.0, v = 0.0, loss, beta, step;
    int i, j;
    for (i = 0; i < EXPERTS; i++) {
        z[i] = mixture_cut(scaled[i], MIXTURE_MARGIN_CUT);
        margin += m->stack[i] * z[i];
    }
    loss = 1.0 - y * margin;
    if (!(loss > 0.0))
        return 0;
    for (i = 0; i < EXPERTS; i++) {
        double s = 0.0;
        for (j = 0; j < EXPERTS; j++)
            s += m->covariance[i * EXPERTS + j] * z[j];
        spread[i] = s;
        v += s * z[i];
    }
    beta = 1.0 / (v + 1.0 / h);
    step = loss * beta * y;
    for (i = 0; i < EXPERTS; i++) {
        const double shrink = beta * spread[i];
        m->stack[i] += step * spread[i];
        for (j = 0; j < EXPERTS; j++) {
            double *c = &m->covariance[i * EXPERTS + j];
            *c = (*c - shrink * spread[j]) * (1.0 - MIXTURE_STACK_RETURN);
        }
        m->covariance[i * EXPERTS + i] += MIXTURE_STACK_RETURN * MIXTURE_STACK_VARIANCE;
    }
    return 1;
}

/* Learn one sample from the experts' margins on it, scaled to norm 1; `norm` is its norm before.
 * Writes who was wrong, the stack last; the stack's margin. */
static inline double mixture_learn(mixture *m, const double *margins, double norm, double y,
                                   double h, int *wrong)
{
    const double count = m->count;
    double scaled[EXPERTS], stacked = 0.0;
    int mistakes = 0, disagree, moved, r, j;
    m->count = count * MIXTURE_SCALE_DISCOUNT + 1.0;
    if (count > 0.0)
        norm = mixture_least(norm, MIXTURE_MOST_NORM * (m->norms / count));
    m->norms = m->norms * MIXTURE_SCALE_DISCOUNT + norm;
    for (r = 0; r < EXPERTS; r++) {
        const double margin = mixture_cut(margins[r], MIXTURE_MOST_MARGIN), size = m->sizes[r];
        const double z =
            mixture_cut(size > 0.0 ? margin * count / size : margin, MIXTURE_MOST_SCALED);
        scaled[r] = z;
        m->sizes[r] = size * MIXTURE_SCALE_DISCOUNT + fabs(margin);
        stacked += m->stack[r] * z;
        wrong[r] = (margin > 0.0) != (y > 0.0);
    }
    m->sizes[EXPERTS] = m->sizes[EXPERTS] * MIXTURE_SCALE_DISCOUNT + fabs(stacked);
    wrong[EXPERTS] = (stacked > 0.0) != (y > 0.0);
    for (j = 0; j <= EXPERTS; j++) {
        mistakes += wrong[j];
        m->losses[j] = m->losses[j] * MIXTURE_LOSS_DISCOUNT + (wrong[j] ? h : 0.0);
    }
    disagree = mistakes > 0 && mistakes <= EXPERTS;
    moved = mixture_learn_stack(m, scaled, y, h);
    if (disagree)
        mixture_weigh(m);
    if (disagree || moved)
        mixture_combine(m);
    return stacked;
}

#endif
