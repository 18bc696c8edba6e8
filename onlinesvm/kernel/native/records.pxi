# The rules that keep one to three numbers a feature. Part of native.pyx.

cdef class Records(Rule):
    """The rules that keep one to three numbers a feature. See onlinesvm.model.rules.records."""

    cdef records rule
    cdef int kind

    def __cinit__(self, config, layout):
        self.kind = records_kind(config.rule.encode())
        if self.kind == RULES_OF_RECORDS:
            raise ValueError(f"rule: expected one of records, got {config.rule!r}")
        strength = next(iter(_config.RULE_PARAMETERS[config.rule]))
        records_init(&self.rule, self.kind, config.bias, config.schedule == "invscaling",
                     getattr(config, strength), config.forgetting or 0.0)
        self.state = &self.rule.state

    def __dealloc__(self):
        blocks_clear(&self.rule.state)

    cdef double bias_now(self):
        return records_bias(&self.rule)

    cdef void learn_rows(self, const rows *x, size_t samples, const double *labels,
                         const double *importances, double *margins) noexcept nogil:
        records_learn(&self.rule, x, samples, labels, importances, margins)

    cdef bint score_rows(self, const rows *x, size_t samples, double *margins) noexcept nogil:
        return records_score(&self.rule, x, samples, margins)

    cdef void weights_from(self, uint32_t first, size_t n, double *weights) noexcept nogil:
        records_weights(&self.rule, first, n, weights)

    cdef void unpack(self, const double *records, size_t n, double **columns,
                     size_t at) noexcept nogil:
        records_unpack(&self.rule, records, n, columns, at)

    cdef tuple numbers(self):
        cdef double *bias = self.rule.bias
        if self.kind == RULE_AVERAGE:
            return records_bias(&self.rule), self.rule.t, bias[0], bias[1]
        bias_record = [bias[0], bias[1], bias[2]][:len(self.layout.columns)]
        if self.kind == RULE_AROW and not bias[1]:
            bias_record[1] = 1.0
        if self.kind == RULE_NAG:
            return (*bias_record, self.rule.norms, self.rule.importance)
        return tuple(bias_record)

    def restore(self, arrays, scalars):
        """Replace the state. See onlinesvm.model.rules.rule.Rule.restore."""
        cdef double[3] bias
        cdef double norms = 0.0, importance = 0.0
        cdef int64_t t = 0
        cdef size_t n, k
        cdef const double *numbers
        cdef blocks fresh, old
        self.layout.check(arrays, scalars)
        columns = [_vector(arrays[name], _float64) for name in self.layout.columns]
        n = len(columns[0])
        if n > MOST_IDS:
            raise MemoryError
        bias[0] = bias[1] = bias[2] = 0.0
        if self.kind == RULE_AVERAGE:
            t = scalars["t"]
            bias[0], bias[1] = scalars["last_bias"], scalars["bias_offset"]
        else:
            for k, name in enumerate(list(self.layout.scalars)[:len(columns)]):
                bias[k] = scalars[name]
        if self.kind == RULE_NAG:
            norms, importance = scalars["norms"], scalars["importance"]
        _reserve_fresh(&fresh, self.rule.state.stride, n)
        _lock(self.lock)
        try:
            with nogil:
                self.finish_views()
            old, self.rule.state = self.rule.state, fresh
            for k in range(<size_t>len(columns)):
                numbers = <const double *>_memory(columns[k])
                with nogil:
                    records_restore(&self.rule, n, k, numbers)
            for k in range(3):
                self.rule.bias[k] = bias[k]
            self.rule.norms, self.rule.importance, self.rule.t = norms, importance, t
        finally:
            PyThread_release_lock(self.lock)
            blocks_clear(&old)
