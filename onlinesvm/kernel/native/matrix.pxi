# Matrices: what is read where it lies, and walked in slabs. Part of native.pyx.

cdef tuple _matrix(object columns, object importances, matrix *x):
    """The columns of a matrix, checked; what is returned holds their memory."""
    indptr, ids, data = columns
    indptr = _vector(indptr, _int64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    held = _elements(ids, data, len(indptr) - 1, importances, x)
    x.indptr = <const int64_t *>_memory(indptr)
    if not indptr_holds(x.indptr, x.samples, min(len(ids), len(data))):
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    return indptr, held


cdef tuple _elements(object ids, object data, size_t samples, object importances, matrix *x):
    """The elements of a matrix, whatever its rows; what is returned holds their memory."""
    narrow = ids.dtype == _int32
    ids, data = _vector(ids, _int32 if narrow else _int64), _vector(data, _float64)
    x.samples = samples
    x.indptr = NULL
    x.narrow, x.wide, x.importances = NULL, NULL, NULL
    if narrow:
        x.narrow = <const int32_t *>_memory(ids)
    else:
        x.wide = <const int64_t *>_memory(ids)
    x.data = <const double *>_memory(data)
    if importances is not None:
        importances = _vector_of(importances, _float64, samples, "importances")
        x.importances = <const double *>_memory(importances)
    return ids, data, importances


cdef object _row_ends(object indptr, row_ends *ends):
    """The ends of rows, in either width; what is returned holds their memory."""
    narrow = indptr.dtype == _int32
    indptr = _vector(indptr, _int32 if narrow else _int64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    ends.samples = len(indptr) - 1
    ends.narrow, ends.wide = NULL, NULL
    if narrow:
        ends.narrow = <const int32_t *>_memory(indptr)
    else:
        ends.wide = <const int64_t *>_memory(indptr)
    return indptr


cdef class _Walk:
    """A matrix to be walked in slabs: its memory, and what was found of it as a whole."""

    cdef matrix x
    cdef row_ends ends
    cdef size_t stored, longest
    cdef uint64_t largest
    cdef object held

    def __cinit__(self, columns, importances):
        cdef int64_t longest
        indptr, ids, data = columns
        indptr = _row_ends(indptr, &self.ends)
        self.held = indptr, _elements(ids, data, self.ends.samples, importances, &self.x)
        self.stored = min(len(ids), len(data))
        with nogil:
            longest = rows_screen(&self.ends, self.stored)
            if longest >= 0:
                self.longest = longest
                self.largest = matrix_largest(&self.x, self.stored)
        if longest < 0:
            raise ValueError("indptr: expected ends of rows that rise within the elements")


def screen_matrix(indptr, values):
    """What makes a matrix unfit. See onlinesvm.data.matrix.screen_matrix."""
    cdef size_t n, first
    cdef int small
    cdef const double *v
    cdef row_ends ends
    indptr, values = _row_ends(indptr, &ends), _vector(values, _float64)
    n = len(values)
    v = <const double *>_memory(values)
    with nogil:
        first = values_screen(v, n, MIN_MAGNITUDE, MAX_MAGNITUDE, &small)
        longest = rows_screen(&ends, n)
    return (None if first == n else first), bool(small), longest


def learn_matrix(Lookup lookup not None, Rule rule not None, Judge judge not None, totals, columns,
                 labels, importances, weights, double threshold):
    """Learn the rows of a matrix. See onlinesvm.data.matrix.learn_matrix."""
    cdef _Walk walk = _Walk(columns, importances)
    cdef matrix part
    cdef slab s
    cdef rows out
    cdef observer o
    cdef Py_buffer view
    cdef size_t start = 0, names, most
    cdef const double *y
    cdef const double *h = NULL
    labels = _vector_of(labels, _float64, walk.ends.samples, "labels")
    y = <const double *>_memory(labels)
    if weights is not None:
        weights = _vector_of(weights, _float64, walk.ends.samples, "weights")
        h = <const double *>_memory(weights)
    _totals(totals, &view)
    try:
        _lock(lookup.lock)
        _lock(rule.lock)
        try:
            names = min(matrix_names(walk.stored, walk.largest),
                        lookup_room(&lookup.table, lookup.most()))
            most = lookup.table.count + names
            if not (lookup_reserve_seen(&lookup.table, walk.longest)
                    and column_map_reserve(&lookup.table.columns, walk.largest)
                    and lookup_reserve(&lookup.table, names, names * DIGITS_MOST)
                    and blocks_reserve(rule.state, most) and rule.reserve_row(walk.longest)
                    and slab_init(&s, walk.longest,
                                  walk.largest < lookup.table.columns.size)):
                raise MemoryError
            # Observed beside what others can see, and told them when all is learned.
            memcpy(o.totals, view.buf, sizeof(o.totals))
            o.monitor = judge.state
            o.threshold, o.log_one, o.log_two = threshold, judge.log_one, judge.log_two
            with nogil:
                while start < walk.ends.samples:
                    part = slab_next(&s, &walk.x, &walk.ends, start, walk.stored)
                    out = slab_rows(&s, &lookup.table, &part, most, True)
                    views_keep(rule.views, rule.state, &out, part.samples, part.importances)
                    rule.learn_followed(
                        &out, part.samples, y + start, h + start if h else part.importances,
                        s.margins, &o, part.importances)
                    observer_tally(&o, s.margins, y + start, part.importances, part.samples)
                    start += part.samples
            slab_clear(&s)
            memcpy(view.buf, o.totals, sizeof(o.totals))
            judge.state = o.monitor
        finally:
            PyThread_release_lock(rule.lock)
            PyThread_release_lock(lookup.lock)
    finally:
        PyBuffer_Release(&view)


def score_matrix(Lookup lookup not None, Rule rule not None, columns):
    """The margins of the rows of a matrix. See onlinesvm.data.matrix.score_matrix."""
    cdef _Walk walk = _Walk(columns, None)
    cdef matrix part
    cdef slab s
    cdef rows out
    cdef size_t start = 0
    cdef double *found
    margins = _empty(walk.ends.samples)
    found = <double *>_memory(margins)
    _lock(lookup.lock)
    _lock(rule.lock)
    try:
        if not (lookup_reserve_seen(&lookup.table, walk.longest)
                and column_map_reserve(&lookup.table.columns, walk.largest)
                and slab_init(&s, walk.longest, walk.largest < lookup.table.columns.size)):
            raise MemoryError
        with nogil:
            while start < walk.ends.samples:
                part = slab_next(&s, &walk.x, &walk.ends, start, walk.stored)
                out = slab_rows(&s, &lookup.table, &part, 0, False)
                rule.score_rows(&out, part.samples, found + start)
                start += part.samples
        slab_clear(&s)
    finally:
        PyThread_release_lock(rule.lock)
        PyThread_release_lock(lookup.lock)
    return margins
