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

    cdef bint begin_rows(self, size_t longest):
        return hedge_begin(&self.rule, longest)

    cdef void end_rows(self):
        hedge_end(&self.rule)

    cdef void learn_rows(self, const rows *x, size_t samples, const double *labels,
                         const double *importances, double *margins) noexcept nogil:
        hedge_learn(&self.rule, x, samples, labels, importances, margins)

    cdef bint score_rows(self, const rows *x, size_t samples, double *margins) noexcept nogil:
        return hedge_score(&self.rule, x, samples, margins)

    cdef void weights_from(self, uint32_t first, size_t n, double *weights) noexcept nogil:
        hedge_weights(&self.rule, first, n, weights)

    cdef void expect_views(self):
        hedge_expect_views(&self.rule)

    cdef void enter_tags(self, uint32_t first, const uint8_t *tags, size_t n) noexcept nogil:
        hedge_enter(&self.rule, first, tags, n)

    cdef int64_t seen(self, uint32_t id):
        return hedge_seen(&self.rule, id)

    cdef void unpack(self, const double *records, size_t n, double **columns,
                     size_t at) noexcept nogil:
        hedge_unpack(records, n, columns, at)

    cdef object layout_now(self):
        return self.layout if self.rule.plain else self.layout.of({"views": self.rule.views})

    cdef tuple numbers(self):
        cdef double[HEDGE_SCALARS_MOST] given
        cdef size_t n = hedge_copy(&self.rule, given, False), k
        cdef int v
        rest = [given[k] for k in range(n)]
        if self.rule.plain:
            return (self.rule.samples, *rest)
        return (
            self.rule.samples, self.rule.views, *[self.rule.slot[v] for v in range(1, VIEWS)],
            *[self.rule.with_view[v] for v in range(VIEWS)], *rest,
        )

    def restore(self, arrays, scalars):
        """Replace the state. See onlinesvm.model.rules.rule.Rule.restore."""
        cdef size_t n
        cdef blocks fresh, old
        cdef const double *floats
        cdef const int64_t *integers
        cdef const uint8_t *tags = NULL
        cdef double *given
        cdef int k
        self.layout.check(arrays, scalars)
        layout = self.layout.of(scalars)
        named = [arrays[name] for name in layout.columns]
        n = len(named[0])
        numbers, counts = _empty((n, HEDGE_NUMBERS)), _empty((n, 3), _int64)
        for k in range(HEDGE_NUMBERS):
            numbers[:, k] = named[k]
        for k in range(3):
            counts[:, k] = named[HEDGE_NUMBERS + k]
        plain = "views" not in scalars
        if not plain:
            tagged = _vector(arrays["views"], np.uint8)
            tags = <const uint8_t *>_memory(tagged)
        floats = <const double *>_memory(numbers)
        integers = <const int64_t *>_memory(counts)
        whole = [scalars[name] for name, span in layout.scalars.items() if span.whole]
        rest = np.array([scalars[name] for name, span in layout.scalars.items() if not span.whole],
                        dtype=np.float64)
        given = <double *>_memory(rest)
        if n > MOST_IDS:
            raise MemoryError
        if not plain and not hedge_widen(&self.rule):
            raise MemoryError
        _reserve_fresh(&fresh, self.rule.state.stride, n)
        _lock(self.lock)
        try:
            with nogil:
                self.finish_views()
            old, self.rule.state = self.rule.state, fresh
            with nogil:
                hedge_restore(&self.rule, n, floats, integers, tags)
            self.rule.samples, self.rule.plain = whole[0], plain
            if not plain:
                hedge_expect_views(&self.rule)
                self.rule.views = whole[1]
                for k in range(1, VIEWS):
                    self.rule.slot[k] = whole[1 + k]
                for k in range(VIEWS):
                    self.rule.with_view[k] = whole[1 + VIEWS + k]
                    self.rule.logs[k] = idf_log(self.rule.with_view[k])
            hedge_copy(&self.rule, given, True)
        finally:
            PyThread_release_lock(self.lock)
            blocks_clear(&old)
