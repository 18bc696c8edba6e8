# The rules that keep one to three numbers a feature. Part of native.pyx.

cdef class Records(Rule):
    """The rules that keep one to three numbers a feature. See onlinesvm.model.rules.rule.RecordRule."""

    cdef records rule
    cdef int kind
    cdef object reference

    def __cinit__(self, config):
        self.kind, self.reference, strength = _KINDS[config.rule]
        self.columns = self.reference.COLUMNS if self.reference else ("weights", "offsets")
        records_init(&self.rule, self.kind, config.bias, config.schedule == "invscaling",
                     getattr(config, strength), config.forgetting or 0.0)
        self.state = &self.rule.state

    def __dealloc__(self):
        blocks_clear(&self.rule.state)

    @property
    def bias(self):
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

    cdef dict parts(self):
        cdef double *bias = self.rule.bias
        if self.kind == RULE_AVERAGE:
            return {
                "bias": records_bias(&self.rule), "t": self.rule.t, "last_bias": bias[0],
                "bias_offset": bias[1],
            }
        parts = {"bias": bias[0]}
        if self.kind == RULE_AROW and not bias[1]:
            parts["bias_variances"] = 1.0
        else:
            for k in range(1, len(self.columns)):
                parts[f"bias_{self.columns[k]}"] = bias[<int>k]
        if self.kind == RULE_NAG:
            parts["norms"], parts["importance"] = self.rule.norms, self.rule.importance
        return parts

    def restore(self, arrays, scalars):
        """Take the state of a dump. See onlinesvm.model.rules.rule.RecordRule.restore."""
        cdef double[3] bias
        cdef double norms = 0.0, importance = 0.0
        cdef int64_t t = 0
        cdef size_t n, k
        cdef const double *numbers
        cdef blocks fresh, old
        (self.reference.check_state if self.reference else check_averaged)(arrays, scalars)
        columns = [_vector(arrays[name], _float64) for name in self.columns]
        n = len(columns[0])
        if n > MOST_IDS:
            raise MemoryError
        bias[0] = bias[1] = bias[2] = 0.0
        if self.kind == RULE_AVERAGE:
            t = scalars["t"]
            bias[0], bias[1] = scalars["last_bias"], scalars["bias_offset"]
        else:
            bias[0] = scalars["bias"]
            for k in range(1, <size_t>len(self.columns)):
                bias[k] = scalars[f"bias_{self.columns[k]}"]
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


# Rule → its kind, the class that is its reference, and the parameter that is its strength.
_KINDS = {
    "pa1": (RULE_PA1, PassiveAggressive1, "C"),
    "pa2": (RULE_PA2, PassiveAggressive2, "C"),
    "arow": (RULE_AROW, Arow, "r"),
    "adagrad": (RULE_ADAGRAD, Adagrad, "eta0"),
    "nag": (RULE_NAG, Nag, "eta0"),
    "sgd": (RULE_AVERAGE, None, "eta0"),
}
