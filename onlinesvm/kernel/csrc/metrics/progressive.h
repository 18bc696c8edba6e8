/* Progressive validation: see onlinesvm.metrics.progressive.observe, of which this is the same
 * arithmetic. */
#ifndef ONLINESVM_PROGRESSIVE_H
#define ONLINESVM_PROGRESSIVE_H

#include <stddef.h>

#include "constants.h"

static void progressive_observe(double *totals, const double *margins, const double *labels,
                                const double *importances, double threshold, size_t samples)
{
    double count = totals[0], weight = totals[1], errors = totals[2], loss = totals[3];
    double recent_weight = totals[4], recent_errors = totals[5], recent_loss = totals[6];
    size_t i;
    for (i = 0; i < samples; i++) {
        const double margin = margins[i], y = labels[i], h = importances[i];
        if (h > 0) {
            const double wrong = (margin > threshold) != (y > 0) ? h : 0.0;
            const double signed_margin = y * margin;
            const double hinge = signed_margin < 1.0 ? h * (1.0 - signed_margin) : 0.0;
            count += 1.0;
            weight += h;
            errors += wrong;
            loss += hinge;
            recent_weight = recent_weight * RECENT_DISCOUNT + h;
            recent_errors = recent_errors * RECENT_DISCOUNT + wrong;
            recent_loss = recent_loss * RECENT_DISCOUNT + hinge;
        }
    }
    totals[0] = count, totals[1] = weight, totals[2] = errors, totals[3] = loss;
    totals[4] = recent_weight, totals[5] = recent_errors, totals[6] = recent_loss;
}

#endif
