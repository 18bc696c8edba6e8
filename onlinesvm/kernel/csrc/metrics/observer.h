/* The metrics of samples that are learned in slabs: progressive validation and the monitor.
 *
 * The monitor's logistic model is one long chain of operations that wait for each other, and leaves
 * the processor idle. So it follows the samples one by one while they are learned, which fills the
 * gaps; all else is tallied at the end of the slab.
 */
#ifndef ONLINESVM_OBSERVER_H
#define ONLINESVM_OBSERVER_H

#include "memory/rows.h"
#include "metrics/monitor.h"
#include "metrics/progressive.h"

typedef struct {
    double totals[TOTALS];
    monitor monitor;
    double threshold, log_one, log_two;
    double scaled[SLAB_SAMPLES], followed[SLAB_SAMPLES]; /* of the slab at hand */
} observer;

/* Sample i of the slab; one after the other. */
static inline void observer_follow(observer *o, size_t i, double margin, double y, double h)
{
    if (h > 0.0) {
        o->scaled[i] = monitor_scaled(&o->monitor, margin);
        o->followed[i] = monitor_follow(&o->monitor, margin, o->scaled[i], y);
    }
}

/* The slab, all samples of which were followed. */
static void observer_tally(observer *o, const double *margins, const double *labels,
                           const double *importances, size_t samples)
{
    drift_cut cut = {0.0, 0.0, 0.0, 0.0};
    size_t i;
    progressive_observe(o->totals, margins, labels, importances, o->threshold, samples);
    for (i = 0; i < samples; i++)
        if (importances[i] > 0.0)
            monitor_tally(&o->monitor, &cut, o->threshold, o->log_one, o->log_two, margins[i],
                        o->scaled[i], o->followed[i], labels[i], importances[i]);
}

#endif
