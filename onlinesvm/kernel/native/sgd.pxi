# The rule sgd without averaging. Part of native.pyx.

cdef class Sgd(Rule):
    """Stochastic gradient descent on the hinge loss. See onlinesvm.model.rules.sgd.Sgd."""

    cdef sgd rule

    def __cinit__(self, config, layout):
        sgd_init(&self.rule, config.eta0, config.alpha, config.schedule == "invscaling",
                 config.bias)
        self.state = &self.rule.state

    def __dealloc__(self):
        blocks_clear(&self.rule.state)

    cdef double bias_now(self):
        return self.rule.bias

    cdef void learn_rows(self, const rows *x, size_t samples, const double *labels,
                         const double *importances, double *margins) noexcept nogil:
        sgd_learn(&self.rule, x, samples, labels, importances, margins)

    cdef bint score_rows(self, const rows *x, size_t samples, double *margins) noexcept nogil:
        return sgd_score(&self.rule, x, samples, margins)

    cdef void weights_from(self, uint32_t first, size_t n, double *weights) noexcept nogil:
        sgd_weights(&self.rule, first, n, weights)

    cdef void unpack(self, const double *records, size_t n, double **columns,
                     size_t at) noexcept nogil:
        sgd_unpack(&self.rule, records, n, columns, at)

    cdef tuple numbers(self):
        if not self.rule.alpha:
            return self.rule.bias, self.rule.t
        return self.rule.bias, self.rule.t, self.rule.mantissa, self.rule.exponent

    def restore(self, arrays, scalars):
        """Replace the state. See onlinesvm.model.rules.rule.Rule.restore."""
        cdef double bias, mantissa = 1.0
        cdef int64_t t, exponent = 0
        cdef size_t n
        cdef const double *w
        cdef const double *m = NULL
        cdef const int64_t *e = NULL
        cdef blocks fresh, old
        self.layout.check(arrays, scalars)
        bias, t = scalars["bias"], scalars["t"]
        weights = _vector(arrays["weights"], _float64)
        n = len(weights)
        w = <const double *>_memory(weights)
        if self.rule.alpha:
            mantissa, exponent = scalars["product_mantissa"], scalars["product_exponent"]
            mantissas, exponents = arrays["mantissas"], arrays["exponents"]
            mantissas = _vector(mantissas, _float64)
            exponents = _vector(exponents, _int64)
            m, e = <const double *>_memory(mantissas), <const int64_t *>_memory(exponents)
        if n > MOST_IDS:
            raise MemoryError
        _reserve_fresh(&fresh, self.rule.state.stride, n)
        _lock(self.lock)
        with nogil:
            self.finish_views()
        old, self.rule.state = self.rule.state, fresh
        with nogil:
            sgd_restore(&self.rule, n, w, m, e)
        self.rule.bias, self.rule.t = bias, t
        self.rule.mantissa, self.rule.exponent = mantissa, exponent
        PyThread_release_lock(self.lock)
        blocks_clear(&old)
