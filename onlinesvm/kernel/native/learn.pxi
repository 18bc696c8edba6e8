# Learning and scoring: lookup, rule and metrics in one walk. Part of native.pyx.

def learn(Lookup lookup not None, Rule rule not None, Metrics metrics not None,
          Batch rows not None, signs, weights, size_t first=0):
    """Learn rows from `first` on. See onlinesvm.kernel.python.learn."""
    cdef size_t n = len(rows)
    if first > n:
        raise ValueError(f"first: expected one of {n} samples, got {first}")
    signs = _vector_of(signs, _float64, n, "signs")
    if weights is not None:
        weights = _vector_of(weights, _float64, n, "weights")
    return _learn_batch(lookup, rule, metrics, rows, signs, weights, first)


cdef object _learn_batch(Lookup lookup, Rule rule, Metrics metrics, Batch b, object signs,
                         object weights, size_t first):
    cdef _Scratch x
    cdef size_t count, samples = b.columns.samples - first
    cdef const double *y
    cdef const double *h
    cdef const double *observed
    cdef double *margins
    count = b.columns.count - <size_t>b.columns.indptr[first]
    x = _Scratch(samples, count)
    made = _empty(samples)
    margins = <double *>_memory(made)
    if not b.columns.importances:
        b.columns.importances = <double *>_memory(b.importances)
    observed = b.columns.importances + first
    y = <const double *>_memory(signs) + first
    h = observed if weights is None else <const double *>_memory(weights) + first
    _lock(lookup.lock)
    _lock(rule.lock)
    try:
        lookup.bound = lookup.limit()
        lookup.reserve_batch(b, True, first)
        # A prune before this call has reserved for all.
        rule.reserve_ids(lookup.table.count + min(count, lookup_room(&lookup.table, lookup.bound)))
        if b.columns.tags:
            rule.expect_views()
        if not rule.begin_rows(b.columns.longest):
            raise MemoryError
        metrics.begin()
        with nogil:
            lookup.walk_batch(b, True, first, NULL, &x.out, &samples)
            if lookup.table.tagged:
                rule.enter_tags(<uint32_t>(lookup.table.count - lookup.table.tagged + 1),
                                lookup.table.tags, lookup.table.tagged)
            views_keep(rule.views, rule.state, &x.out, samples, h)
            rule.learn_rows(&x.out, samples, y, h, margins)
        metrics.observe_all(margins, y, observed, samples, NULL)
    finally:
        rule.end_rows()
        lookup_end(&lookup.table)
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return made[:samples] if samples < <size_t>len(made) else made


def score(Lookup lookup not None, Rule rule not None, Batch rows not None):
    """The margins of rows. See onlinesvm.kernel.python.score."""
    cdef Batch b = rows
    cdef _Scratch x = _Scratch(b.columns.samples, b.columns.count)
    cdef size_t samples = b.columns.samples
    cdef double *margins
    made = _empty(samples)
    margins = <double *>_memory(made)
    _lock(lookup.lock)
    _lock(rule.lock)
    try:
        lookup.reserve_batch(b, False, 0)
        with nogil:
            lookup.walk_batch(b, False, 0, NULL, &x.out, &samples)
            rule.score_rows(&x.out, samples, margins)
    finally:
        lookup_end(&lookup.table)
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return made
