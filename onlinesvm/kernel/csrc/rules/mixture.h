/* The hedge's second level: see onlinesvm.model.rules.mixture, of which this is the same
 * arithmetic. */
#ifndef ONLINESVM_MIXTURE_H
#define ONLINESVM_MIXTURE_H

#include <math.h>
#include <string.h>

#include "constants.h"
#include "metrics/fpmath.h"

#define MIXTURE_MOST (VIEWS * EXPERTS)

/* Of the experts of one view, or of more: those of view after view, in the order in which the views
 * came to be. `counts` and `norms` are by view, in that order. */
typedef struct {
    int experts;
    double count, counts[VIEWS], norms[VIEWS];
    double coefficients[MIXTURE_MOST];
    double weights[MIXTURE_MOST + 1]; /* the last is the stack's */
    double losses[MIXTURE_MOST + 1];
    double sizes[MIXTURE_MOST + 1];
    double stack[MIXTURE_MOST];
    double few[EXPERTS * EXPERTS]; /* the covariance of the experts of one view */
    double *many;                  /* that of all views, once there is memory for it */
} mixture;

static inline double mixture_least(double a, double b) { return b < a ? b : a; }
static inline double mixture_most(double a, double b) { return b > a ? b : a; }
static inline double mixture_cut(double x, double most)
{
    return mixture_least(most, mixture_most(-most, x));
}

/* `experts` rows of as many. */
static inline double *mixture_covariance(mixture *m) { return m->many ? m->many : m->few; }

/* Make room for the experts of all views. 0 without memory. */
static int mixture_widen(mixture *m)
{
    if (m->many)
        return 1;
    m->many = calloc(MIXTURE_MOST * MIXTURE_MOST, sizeof *m->many);
    if (!m->many)
        return 0;
    memcpy(m->many, m->few, sizeof m->few);
    return 1;
}

/* A mixture of n experts that has learned nothing; it keeps its room, which has to be enough. */
static void mixture_init(mixture *m, int n)
{
    double *const many = m->many, *covariance;
    int r;
    memset(m, 0, sizeof *m);
    m->many = many;
    m->experts = n;
    covariance = mixture_covariance(m);
    memset(covariance, 0, (size_t)n * (size_t)n * sizeof *covariance);
    for (r = 0; r < n; r++) {
        m->coefficients[r] = m->stack[r] = 1.0 / n;
        covariance[r * n + r] = MIXTURE_STACK_VARIANCE;
    }
    for (r = 0; r <= n; r++)
        m->weights[r] = 1.0 / (n + 1);
}

/* The factor that brings margins of a total magnitude `size` in `count` samples to a mean of 1. */
static inline double mixture_blown(double size, double count)
{
    if (!(size > 0.0))
        return 1.0;
    return count / mixture_most(size, MIXTURE_LEAST_SIZE * count);
}

static INLINED void mixture_combine(mixture *m, const int n)
{
    const double stack = m->weights[n] * mixture_blown(m->sizes[n], m->count);
    int r;
    for (r = 0; r < n; r++) {
        const double count = m->counts[r / EXPERTS], norms = m->norms[r / EXPERTS];
        const double back = norms > 0.0 ? count / norms : 1.0;
        const double weight =
            (m->weights[r] + stack * m->stack[r]) * mixture_blown(m->sizes[r], count);
        m->coefficients[r] = weight * back;
    }
}

static INLINED void mixture_weigh(mixture *m, const int n)
{
    double least = m->losses[0], rate, total = 0.0;
    int j;
    for (j = 1; j <= n; j++)
        least = mixture_least(least, m->losses[j]);
    rate = MIXTURE_RATE / (1.0 + sqrt(MIXTURE_RATE_DECAY * least));
    for (j = 0; j <= n; j++) {
        m->weights[j] = fp_exp(-rate * (m->losses[j] - least));
        total += m->weights[j];
    }
    for (j = 0; j <= n; j++)
        m->weights[j] /= total;
}

/* Add the experts of a view that comes to be, for which there is room: their losses are the mean of those of the others, so
 * that they have as much to say as these, and the stack gives all the same share. */
static void mixture_grow(mixture *m)
{
    const int old = m->experts, n = old + EXPERTS;
    const double share = (double)old / (double)n;
    double mean = 0.0, *const covariance = m->many;
    int i, j;
    if (!(m->count > 0.0)) {
        mixture_init(m, n);
        return;
    }
    for (j = 0; j < old; j++)
        mean += m->losses[j];
    mean /= (double)old;
    m->losses[n] = m->losses[old];
    m->sizes[n] = m->sizes[old];
    for (i = old - 1; i >= 0; i--)
        for (j = old - 1; j >= 0; j--)
            covariance[i * n + j] = covariance[i * old + j];
    for (i = 0; i < n; i++)
        for (j = i < old ? old : 0; j < n; j++)
            covariance[i * n + j] = i == j ? MIXTURE_STACK_VARIANCE : 0.0;
    for (j = 0; j < old; j++)
        m->stack[j] *= share;
    for (j = old; j < n; j++) {
        m->losses[j] = mean;
        m->sizes[j] = 0.0;
        m->stack[j] = 1.0 / (double)n;
    }
    m->experts = n;
    mixture_weigh(m, n);
    mixture_combine(m, n);
}

/* One step of the AROW over the experts; whether it moved. */
static INLINED int mixture_learn_stack(mixture *m, const int n, const double *scaled, double y,
                                       double h)
{
    double z[MIXTURE_MOST], spread[MIXTURE_MOST], margin = 0.0, v = 0.0, loss, beta, step;
    double *const covariance = mixture_covariance(m);
    int i, j;
    for (i = 0; i < n; i++) {
        z[i] = mixture_cut(scaled[i], MIXTURE_MARGIN_CUT);
        margin += m->stack[i] * z[i];
    }
    loss = 1.0 - y * margin;
    if (!(loss > 0.0))
        return 0;
    for (i = 0; i < n; i++) {
        double s = 0.0;
        for (j = 0; j < n; j++)
            s += covariance[i * n + j] * z[j];
        spread[i] = s;
        v += s * z[i];
    }
    beta = 1.0 / (v + 1.0 / h);
    step = loss * beta * y;
    for (i = 0; i < n; i++) {
        const double shrink = beta * spread[i];
        m->stack[i] += step * spread[i];
        for (j = 0; j < n; j++) {
            double *c = &covariance[i * n + j];
            *c = (*c - shrink * spread[j]) * (1.0 - MIXTURE_STACK_RETURN);
        }
        covariance[i * n + i] += MIXTURE_STACK_RETURN * MIXTURE_STACK_VARIANCE;
    }
    return 1;
}

/* Learn one sample from the margins of the n experts on it, scaled to norm 1 in each view; `norms`
 * are its norms before, by view, 0 where the sample has nothing of the view: its experts have no
 * vote then, and lose as the stack does. Writes who was wrong, the stack last; the stack's margin.
 */
static INLINED double mixture_learn(mixture *m, const int n, const double *margins,
                                    const double *norms, double y, double h, int *wrong)
{
    double scaled[MIXTURE_MOST], before[VIEWS], stacked = 0.0;
    int mistakes = 0, disagree, moved, r, j, s;
    m->count = m->count * MIXTURE_SCALE_DISCOUNT + 1.0;
    for (s = 0; s < n / EXPERTS; s++) {
        double norm = norms[s];
        before[s] = m->counts[s];
        if (!(norm > 0.0))
            continue;
        m->counts[s] = before[s] * MIXTURE_SCALE_DISCOUNT + 1.0;
        if (before[s] > 0.0)
            norm = mixture_least(norm, MIXTURE_MOST_NORM * (m->norms[s] / before[s]));
        m->norms[s] = m->norms[s] * MIXTURE_SCALE_DISCOUNT + norm;
    }
    for (r = 0; r < n; r++) {
        const double margin = mixture_cut(margins[r], MIXTURE_MOST_MARGIN), size = m->sizes[r];
        const double count = before[r / EXPERTS];
        double z;
        scaled[r] = 0.0;
        if (!(norms[r / EXPERTS] > 0.0))
            continue;
        z = mixture_cut(size > 0.0 ? margin * count / size : margin, MIXTURE_MOST_SCALED);
        scaled[r] = z;
        m->sizes[r] = size * MIXTURE_SCALE_DISCOUNT + fabs(margin);
        stacked += m->stack[r] * z;
        wrong[r] = (margin > 0.0) != (y > 0.0);
    }
    m->sizes[n] = m->sizes[n] * MIXTURE_SCALE_DISCOUNT + fabs(stacked);
    wrong[n] = (stacked > 0.0) != (y > 0.0);
    for (r = 0; r < n; r++)
        if (!(norms[r / EXPERTS] > 0.0))
            wrong[r] = wrong[n];
    for (j = 0; j <= n; j++) {
        mistakes += wrong[j];
        m->losses[j] = m->losses[j] * MIXTURE_LOSS_DISCOUNT + (wrong[j] ? h : 0.0);
    }
    disagree = mistakes > 0 && mistakes <= n;
    moved = mixture_learn_stack(m, n, scaled, y, h);
    if (disagree)
        mixture_weigh(m, n);
    if (disagree || moved)
        mixture_combine(m, n);
    return stacked;
}

/* The state as numbers, in the order in which a dump names them; how many. `views`: with the counts
 * of each view, and the norms of all but the first, which stand at its end. */
static size_t mixture_copy(mixture *m, double *numbers, int views, int restores)
{
    const size_t n = (size_t)m->experts, slots = n / EXPERTS;
    double *const parts[] = {&m->count,  m->norms, m->coefficients, m->weights,     m->losses,
                             m->sizes,   m->stack, mixture_covariance(m), m->counts, m->norms + 1};
    const size_t sizes[] = {1, 1, n, n + 1, n + 1, n + 1, n, n * n, slots, slots - 1};
    size_t k, at = 0;
    for (k = 0; k < (views ? 10 : 8); k++) {
        if (restores)
            memcpy(parts[k], numbers + at, sizes[k] * sizeof(double));
        else
            memcpy(numbers + at, parts[k], sizes[k] * sizeof(double));
        at += sizes[k];
    }
    if (restores && !views)
        m->counts[0] = m->count;
    return at;
}

#endif
