/* The scale of a feature: see onlinesvm.model.rules.scale, of which this is the same arithmetic.
 * The counts are packed in 64 bits: seen << 24 | age << 6 | run. */
#ifndef ONLINESVM_SCALE_H
#define ONLINESVM_SCALE_H

#include <stdint.h>

#include "constants.h"

#define SCALE_SEEN 24 /* the bits above are how often the feature was seen */

/* Count a value, not 0, into the mean square of a feature that has been seen before or not. */
static inline void scale_count(double *scale2, uint64_t *counts, double x)
{
    const uint64_t seen = (*counts >> SCALE_SEEN) + 1;
    uint64_t age = *counts >> 6 & HEDGE_MOST_AGE, run = *counts & 63;
    double x2 = x * x;
    if (age == 0 || (age < HEDGE_YOUNG && x2 < HEDGE_OUTLIER_BELOW * *scale2)) {
        *scale2 = x2;
        age = 1;
        run = 0;
    } else {
        run = x2 > HEDGE_PROPORTION * *scale2 || x2 * HEDGE_PROPORTION < *scale2 ? run + 1 : 0;
        if (run == HEDGE_RUN) {
            *scale2 = x2;
            age = 1;
            run = 0;
        } else {
            const double most = HEDGE_OUTLIER_ABOVE * *scale2;
            if (age >= HEDGE_YOUNG && most < x2)
                x2 = most;
            age = age < HEDGE_MOST_AGE ? age + 1 : HEDGE_MOST_AGE;
            *scale2 += (x2 - *scale2) / (double)age;
        }
    }
    *counts = seen << SCALE_SEEN | age << 6 | run;
}

#endif
