# The hedge. Part of native.pyx.

cdef class Hedge(Rule):
    """Six experts and a mixture of them. See onlinesvm.model.rules.hedge."""

    cdef hedge rule
    cdef bint normalized

    def __cinit__(self, config):
        hedge_init(&self.rule, config.bias)
        self.state = &self.rule.state
        self.columns = (*_hedge.NUMBERS, *_hedge.COUNTS)
        self.normalized = config.normalize != "none"

    def __dealloc__(self):
        hedge_clear(&self.rule)

    @property
    def bias(self):
        return hedge_bias(&self.rule)

    def reserve(self, n):
        """Room for the state of ids up to `n`, and for rows of up to 65,536 of them."""
        Rule.reserve(self, n)
        _lock(self.lock)
        try:
            if not hedge_reserve_row(&self.rule, min(<size_t>n, <size_t>65536)):
                raise MemoryError
        finally:
            PyThread_release_lock(self.lock)

    cdef bint reserve_row(self, size_t longest):
        return hedge_reserve_row(&self.rule, longest)

    cdef void learn_rows(self, const rows *x, size_t samples, const double *labels,
                         const double *importances, double *margins) noexcept nogil:
        hedge_learn(&self.rule, x, samples, labels, importances, margins)

    cdef bint score_rows(self, const rows *x, size_t samples, double *margins) noexcept nogil:
        return hedge_score(&self.rule, x, samples, margins)

    cdef void weights_from(self, uint32_t first, size_t n, double *weights) noexcept nogil:
        hedge_weights(&self.rule, first, n, weights)

    def seen(self, id):
        """How many samples had the feature; 0 for PAD."""
        cdef int64_t seen
        _lock(self.lock)
        seen = hedge_seen(&self.rule, <uint32_t>id)
        PyThread_release_lock(self.lock)
        return seen

    cdef void unpack(self, const double *records, size_t n, double **columns,
                     size_t at) noexcept nogil:
        hedge_unpack(records, n, columns, at)

    cdef dict parts(self):
        cdef float[12] bias
        cdef int k
        hedge_singles(&self.rule.bias, bias)
        parts = {"samples": self.rule.samples, "log_importance": self.rule.log_importance}
        for k, name in enumerate(_hedge.SINGLES):
            parts[f"bias_{name}"] = bias[k]
        self.of_parts(parts, <double *>&self.rule.mixture, _hedge_parts)
        parts["judged_weight"] = self.rule.judged_weights[0]
        parts["judged_recent_weight"] = self.rule.judged_weights[1]
        self.of_parts(parts, hedge_judged(&self.rule), _judged_parts)
        return parts

    cdef int of_parts(self, dict scalars, const double *numbers, tuple parts) except -1:
        cdef int k
        for k, name in enumerate(parts):
            scalars[name] = numbers[k]
        return 0

    def restore(self, arrays, scalars):
        """Take the state of a dump. See onlinesvm.model.rules.hedge.Hedge.restore."""
        cdef size_t n
        cdef blocks fresh, old
        cdef const double *floats
        cdef const int64_t *integers
        cdef double[13] bias
        cdef double[256] mixed
        cdef double[256] judged
        cdef double[2] judged_weights
        cdef double log_importance
        cdef int64_t seen
        cdef int k
        _hedge.check_state(arrays, scalars, normalized=self.normalized)
        columns = [_vector(arrays[name], _float64) for name in _hedge.NUMBERS]
        n = len(columns[0])
        numbers, counts = _empty((n, HEDGE_NUMBERS)), _empty((n, 3), _int64)
        for k, column in enumerate(columns):
            numbers[:, k] = column
        for k, name in enumerate(_hedge.COUNTS):
            counts[:, k] = arrays[name]
        floats = <const double *>_memory(numbers)
        integers = <const int64_t *>_memory(counts)
        for k, name in enumerate(_hedge.SINGLES):
            bias[k] = scalars[f"bias_{name}"]
        bias[HEDGE_SINGLES] = 1.0
        for k, name in enumerate(_hedge_parts):
            mixed[k] = scalars[name]
        for k, name in enumerate(_judged_parts):
            judged[k] = scalars[name]
        judged_weights[0] = scalars["judged_weight"]
        judged_weights[1] = scalars["judged_recent_weight"]
        seen, log_importance = scalars["samples"], scalars["log_importance"]
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
            hedge_take_numbers(&self.rule.bias, bias)
            for k in range(len(_hedge_parts)):
                (<double *>&self.rule.mixture)[k] = mixed[k]
            for k in range(len(_judged_parts)):
                hedge_judged(&self.rule)[k] = judged[k]
            self.rule.judged_weights[0] = judged_weights[0]
            self.rule.judged_weights[1] = judged_weights[1]
            self.rule.samples, self.rule.log_importance = seen, log_importance
        finally:
            PyThread_release_lock(self.lock)
            blocks_clear(&old)


# The scalars' names, in the order in which the C has the numbers.
cdef tuple _hedge_parts = tuple(
    f"mixture_{name}" if size is None else f"mixture_{name}_{k}"
    for name, size in _mixture(EXPERTS) for k in range(size or 1))
cdef tuple _judged_parts = tuple(
    f"judged_{name}_{j}" for name in _hedge.JUDGED for j in range(EXPERTS + 1))
