/* The inverse document frequency of a text's feature: see onlinesvm.model.rules.hedge. */
#ifndef ONLINESVM_IDF_H
#define ONLINESVM_IDF_H

#include "constants.h"
#include "memory/pages.h"
#include "metrics/fpmath.h"

/* log2(1 + n); small counts are common. */
static double idf_logs[HEDGE_IDF_LOGS];

static void idf_set_logs(void)
{
    int n;
    for (n = 0; n < HEDGE_IDF_LOGS; n++)
        idf_logs[n] = fp_log2(1.0 + n);
}

static inline double idf_log(uint64_t n)
{
    return LIKELY(n < HEDGE_IDF_LOGS) ? idf_logs[n] : fp_log2(1.0 + (double)n);
}

/* 1 + ln((1 + N)/(1 + n)), where `log` is log2(1 + N). */
static inline double idf_of(double log, uint64_t n)
{
    return 1.0 + (log - idf_log(n)) * HEDGE_IDF_RATE;
}

#endif
