# The hedge. Part of native.pyx.

cdef class Hedge(Rule):
    """Six experts and a mixture of them. See onlinesvm.model.rules.hedge."""

    cdef hedge rule

    def __cinit__(self, config, layout):
        hedge_init(&self.rule, config.bias)
        self.state = &self.rule.state

    def __dealloc__(self):
        hedge_clear(&self.rule)

    cdef double bias_now(self):
        return hedge_bias(&self.rule)

    cdef bint reserve_row(self, size_t longest):
        return hedge_reserve_row(&self.rule, longest)

    cdef void learn_rows(self, const rows *x, size_t samples, const double *labels,
                         const double *importances, double *margins) noexcept nogil:
        hedge_learn(&self.rule, x, samples, labels, importances, margins)

    cdef bint score_rows(self, const rows *x, size_t samples, double *margins) noexcept nogil:
        return hedge_score(&self.rule, x, samples, margins)

    cdef void weights_from(self, uint32_t first, size_t n, double *weights) noexcept nogil:
        hedge_weights(&self.rule, first, n, weights)

    cdef int64_t seen(self, uint32_t id):
        return hedge_seen(&self.rule, id)

    cdef void unpack(self, const double *records, size_t n, double **columns,
                     size_t at) noexcept nogil:
        hedge_unpack(records, n, columns, at)

    cdef tuple numbers(self):
        cdef float[HEDGE_SINGLES] bias
        cdef const double *mixed = <const double *>&self.rule.mixture
        cdef const double *counted = hedge_metrics(&self.rule)
        cdef int k
        hedge_singles(&self.rule.bias, bias)
        return (
            self.rule.samples, self.rule.log_importance,
            *[bias[k] for k in range(HEDGE_SINGLES)],
            *[mixed[k] for k in range(self.mixed())],
            self.rule.metrics_weights[0], self.rule.metrics_weights[1],
            *[counted[k] for k in range(HEDGE_COUNTED)],
        )

    cdef int mixed(self):
        """How many numbers the mixture has."""
        return len(self.layout.scalars) - 2 - HEDGE_SINGLES - 2 - HEDGE_COUNTED

    def restore(self, arrays, scalars):
        """Replace the state. See onlinesvm.model.rules.rule.Rule.restore."""
        cdef size_t n
        cdef blocks fresh, old
        cdef const double *floats
        cdef const int64_t *integers
        cdef const double *given
        cdef double[HEDGE_NUMBERS] bias
        cdef int64_t samples
        cdef int k, mixed = self.mixed()
        self.layout.check(arrays, scalars)
        named = [arrays[name] for name in self.layout.columns]
        n = len(named[0])
        numbers, counts = _empty((n, HEDGE_NUMBERS)), _empty((n, 3), _int64)
        for k in range(HEDGE_NUMBERS):
            numbers[:, k] = named[k]
        for k in range(3):
            counts[:, k] = named[HEDGE_NUMBERS + k]
        floats = <const double *>_memory(numbers)
        integers = <const int64_t *>_memory(counts)
        samples = scalars["samples"]
        rest = np.array([scalars[name] for name in self.layout.scalars][1:], dtype=np.float64)
        given = <const double *>_memory(rest)
        if n > MOST_IDS:
            raise MemoryError
        _reserve_fresh(&fresh, self.rule.state.stride, n)
        _lock(self.lock)
        try:
            with nogil:
                self.finish_views()
            old, self.rule.state = self.rule.state, fresh
            with nogil:
                hedge_restore(&self.rule, n, floats, integers)
            self.rule.samples, self.rule.log_importance = samples, given[0]
            given += 1
            memcpy(bias, given, HEDGE_SINGLES * sizeof(double))
            bias[HEDGE_SINGLES] = 1.0  # the bias's scale
            hedge_restore_numbers(&self.rule.bias, bias)
            given += HEDGE_SINGLES
            memcpy(&self.rule.mixture, given, mixed * sizeof(double))
            given += mixed
            self.rule.metrics_weights[0], self.rule.metrics_weights[1] = given[0], given[1]
            memcpy(hedge_metrics(&self.rule), given + 2, HEDGE_COUNTED * sizeof(double))
        finally:
            PyThread_release_lock(self.lock)
            blocks_clear(&old)
