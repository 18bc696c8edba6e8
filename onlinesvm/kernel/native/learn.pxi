# Learning and scoring: lookup, rule and metrics in one walk. Part of native.pyx.

def learn(Lookup lookup not None, Rule rule not None, Metrics metrics not None,
          Batch rows not None, signs, weights, size_t first=0, stop=None):
    """Learn the rows `first` … `stop` − 1. See onlinesvm.kernel.python.learn."""
    cdef size_t n = len(rows), end = _stop_of(first, stop, n)
    signs = _vector_of(signs, _float64, n, "signs")
    if weights is not None:
        weights = _vector_of(weights, _float64, n, "weights")
    return _learn_batch(lookup, rule, metrics, rows, signs, weights, first, end)


cdef object _learn_batch(Lookup lookup, Rule rule, Metrics metrics, Batch b, object signs,
                         object weights, size_t first, size_t stop):
    cdef _Scratch x
    cdef size_t count, samples = stop - first
    cdef const double *y
    cdef const double *h
    cdef const double *observed
    cdef double *margins
    count = <size_t>(b.columns.indptr[stop] - b.columns.indptr[first])
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
        lookup.reserve_batch(b, True)
        rule.reserve_ids(lookup.table.last + min(count, lookup_room(&lookup.table, lookup.bound)))
        if b.columns.tags:
            rule.expect_views()
        if not rule.begin_rows(b.columns.longest):
            raise MemoryError
        metrics.begin()
        with nogil:
            lookup.grow_batch(b, first, stop, NULL, &x.out)
            if lookup.table.tagged:
                rule.enter_tags(<uint32_t>(lookup.table.last - lookup.table.tagged + 1),
                                lookup.table.tags, lookup.table.tagged)
            views_keep(rule.views, rule.state, &x.out, samples, h)
            rule.learn_rows(&x.out, samples, y, h, margins)
        metrics.observe_all(margins, y, observed, samples, NULL)
    finally:
        rule.end_rows()
        lookup_end(&lookup.table)
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return made


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
        lookup.reserve_batch(b, False)
        with nogil:
            lookup_find(&lookup.table, &b.columns, NULL, &x.out)
            rule.score_rows(&x.out, samples, margins)
    finally:
        lookup_end(&lookup.table)
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return made
