# Learning and scoring: lookup, rule and metrics in one walk. Part of native.pyx.

def learn(Lookup lookup not None, Rule rule not None, Metrics metrics not None, object rows not None,
          signs, weights, size_t first=0, stop=None):
    """Learn the rows `first` … `stop` − 1. See onlinesvm.kernel.python.learn."""
    cdef size_t n = len(rows), end = _stop_of(first, stop, n)
    signs = _vector_of(signs, _float64, n, "signs")
    if weights is not None:
        weights = _vector_of(weights, _float64, n, "weights")
    if isinstance(rows, Batch):
        return _learn_batch(lookup, rule, metrics, rows, signs, weights, first, end)
    if not first and end == n:
        return _learn_matrix(lookup, rule, metrics, _Walk(rows), signs, weights)
    if rows.importances is None:
        importances = np.ones(n)
    else:
        importances = _vector_of(rows.importances, _float64, n, "importances")
    weights = importances if weights is None else weights
    csr = lookup.ids(rows, grow=True, first=first, stop=end)
    learned = slice(first, end)
    margins = rule.learn(csr, signs[learned], weights[learned])
    metrics.observe(margins, signs[learned], importances[learned])
    return margins


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
            lookup.grow_batch(b, first, stop, &x.out)
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


cdef object _learn_matrix(Lookup lookup, Rule rule, Metrics metrics, _Walk walk, object signs,
                          object weights):
    """Slab by slab, so that nothing of the size of the matrix is made but the margins."""
    cdef matrix part
    cdef slab s
    cdef rows out
    cdef Metrics observed = Metrics(metrics.threshold)
    cdef size_t start = 0, names, limit
    cdef const double *y = <const double *>_memory(signs)
    cdef const double *h = NULL
    cdef double *margins
    if weights is not None:
        h = <const double *>_memory(weights)
    made = _empty(walk.ends.samples)
    margins = <double *>_memory(made)
    _lock(lookup.lock)
    _lock(rule.lock)
    try:
        names = min(matrix_names(walk.stored, walk.largest),
                    lookup_room(&lookup.table, lookup.limit()))
        limit = lookup.table.last + names
        if not (lookup_begin(&lookup.table, walk.longest)
                and column_map_reserve(&lookup.table.columns, walk.largest)
                and lookup_reserve(&lookup.table, names, names * DIGITS_MOST)
                and blocks_reserve(rule.state, limit) and rule.begin_rows(walk.longest)
                and slab_init(&s, walk.longest, walk.largest < lookup.table.columns.size)):
            raise MemoryError
        # Observed beside the metrics that others can see, which are replaced at the end.
        observed.copy(metrics)
        metrics.begin()
        with nogil:
            while start < walk.ends.samples:
                part = slab_next(&s, &walk.x, &walk.ends, start, walk.stored)
                out = slab_rows(&s, &lookup.table, &part, limit, True)
                views_keep(rule.views, rule.state, &out, part.samples, part.importances)
                rule.learn_rows(&out, part.samples, y + start,
                                h + start if h else part.importances, margins + start)
                observed.observe_all(
                    margins + start, y + start, part.importances, part.samples, NULL)
                start += part.samples
        slab_clear(&s)
        metrics.copy(observed)
    finally:
        rule.end_rows()
        lookup_end(&lookup.table)
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return made


def score(Lookup lookup not None, Rule rule not None, object rows not None):
    """The margins of rows. See onlinesvm.kernel.python.score."""
    if isinstance(rows, Batch):
        return _score_batch(lookup, rule, rows)
    return _score_matrix(lookup, rule, _Walk(rows))


cdef object _score_batch(Lookup lookup, Rule rule, Batch b):
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
            lookup_find(&lookup.table, &b.columns, &x.out)
            rule.score_rows(&x.out, samples, margins)
    finally:
        lookup_end(&lookup.table)
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return made


cdef object _score_matrix(Lookup lookup, Rule rule, _Walk walk):
    cdef matrix part
    cdef slab s
    cdef rows out
    cdef size_t start = 0
    cdef double *margins
    made = _empty(walk.ends.samples)
    margins = <double *>_memory(made)
    _lock(lookup.lock)
    _lock(rule.lock)
    try:
        if not (lookup_begin(&lookup.table, walk.longest)
                and column_map_reserve(&lookup.table.columns, walk.largest)
                and slab_init(&s, walk.longest, walk.largest < lookup.table.columns.size)):
            raise MemoryError
        with nogil:
            while start < walk.ends.samples:
                part = slab_next(&s, &walk.x, &walk.ends, start, walk.stored)
                out = slab_rows(&s, &lookup.table, &part, 0, False)
                rule.score_rows(&out, part.samples, margins + start)
                start += part.samples
        slab_clear(&s)
    finally:
        lookup_end(&lookup.table)
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return made
