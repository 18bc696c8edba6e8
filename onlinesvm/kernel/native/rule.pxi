# Shared by the rules. Part of _native.pyx.

cdef class Rule:
    """The state of the features, under a lock, and the way in and out of the rule's C.

    A rule sets the blocks of its state and implements the C methods. `layout` names the state.
    """

    cdef PyThread_type_lock lock
    cdef blocks *state
    cdef view *views
    cdef object layout

    def __cinit__(self, config, layout):
        self.layout = layout
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError

    def __dealloc__(self):
        if self.lock:
            PyThread_free_lock(self.lock)

    cdef bint begin_rows(self, size_t longest):
        """Room for what learning rows of up to `longest` elements takes beside the state, until
        `end_rows`. Under the lock.
        """
        return True

    cdef void end_rows(self):
        """Leave that room to others; under the lock."""

    cdef void learn_rows(self, const rows *x, size_t samples, const double *labels,
                         const double *importances, double *margins) noexcept nogil:
        pass

    cdef bint score_rows(self, const rows *x, size_t samples, double *margins) noexcept nogil:
        """The margins of rows; False where an id cannot be one."""
        return False

    cdef void weights_from(self, uint32_t first, size_t n, double *weights) noexcept nogil:
        pass

    cdef void unpack(self, const double *records, size_t n, double **columns,
                     size_t at) noexcept nogil:
        """The numbers of `n` records of the state into the columns, from place `at` on."""
        pass

    cdef tuple numbers(self):
        """The numbers that belong to no feature, in the order of the layout; under the lock."""
        return ()

    cdef object layout_now(self):
        """The layout of the state as it is; under the lock."""
        return self.layout

    cdef void expect_views(self):
        """Before `begin_rows`: features of any view may be in the rows. Under the lock."""

    cdef void enter_tags(self, uint32_t first, const uint8_t *tags, size_t n) noexcept nogil:
        """The tags of new features, that there is state for; under the lock."""
        pass

    cdef int64_t seen(self, uint32_t id):
        """How many samples had the feature, −1 where the rule does not count; under the lock."""
        return -1

    cdef dict scalars(self):
        """The numbers that belong to no feature, by name; under the lock."""
        return dict(zip(self.layout_now().scalars, self.numbers(), strict=True))

    cdef void finish_views(self) noexcept nogil:
        """Copy the rest for all views before the state is replaced; under the lock."""
        cdef view *v = self.views
        cdef const double *records
        cdef size_t at, end
        while v:
            while True:
                at = v.copied
                end = at + view_step(v, self.state, v.n, &records)
                if at == end:
                    break
                if records:
                    self.unpack(records, end - at, v.columns, at)
                else:
                    for at in range(at, end):
                        self.unpack(_fresh, 1, v.columns, at)
            v = v.next

    cdef int reserve_ids(self, size_t n) except -1:
        """Memory for the state of ids up to `n`; under the lock."""
        if not blocks_reserve(self.state, min(n, MOST_IDS)):
            raise MemoryError
        return 0

    def reserve(self, size_t n):
        """Memory for ids up to `n`. See onlinesvm.model.rules.rule.Rule.reserve."""
        _lock(self.lock)
        try:
            self.reserve_ids(n)
            if not self.begin_rows(1):
                raise MemoryError
        finally:
            self.end_rows()
            PyThread_release_lock(self.lock)

    def strengths(self, ids):
        """The magnitudes of weights. See onlinesvm.model.rules.rule.Rule.strengths."""
        cdef size_t n, i
        cdef const int32_t *given
        cdef double *out
        ids = _ids_of(ids)
        n = len(ids)
        given = <const int32_t *>_memory(ids)
        made = _empty(n)
        out = <double *>_memory(made)
        _lock(self.lock)
        with nogil:
            if n and given[n - 1] - given[0] == <int64_t>n - 1:
                self.weights_from(<uint32_t>given[0], n, out)
            else:
                for i in range(n):
                    self.weights_from(<uint32_t>given[i], 1, out + i)
            for i in range(n):
                out[i] = fabs(out[i])
        PyThread_release_lock(self.lock)
        return made

    def move(self, uint32_t to, uint32_t first, kept):
        """Move the state of features. See onlinesvm.model.rules.rule.Rule.move."""
        cdef const uint8_t *stays
        cdef size_t n
        kept = _kept_of(to, first, kept)
        n = len(kept)
        stays = <const uint8_t *>_memory(kept)
        _lock(self.lock)
        with nogil:
            blocks_move(self.state, self.views, to, first, n, stays)
        PyThread_release_lock(self.lock)

    def open_gap(self, uint32_t first, size_t n, uint32_t gap):
        """Move the state of features up. See onlinesvm.model.rules.rule.Rule.open_gap."""
        _lock(self.lock)
        try:
            self.reserve_ids(first + n + gap)
            with nogil:
                self.finish_views()
                blocks_raise(self.state, first, n, gap)
        finally:
            PyThread_release_lock(self.lock)

    def enter(self, size_t first, bytes tags not None):
        """The tags of new features. See onlinesvm.model.rules.rule.Rule.enter."""
        cdef size_t n = len(tags)
        _lock(self.lock)
        try:
            if not blocks_reserve(self.state, min(first + n, MOST_IDS)):
                raise MemoryError
            self.expect_views()
            self.enter_tags(first, <const uint8_t *>PyBytes_AS_STRING(tags), n)
        finally:
            PyThread_release_lock(self.lock)

    def learn(self, csr, signs, importances):
        """Score, then learn, row by row; the margins before each update, float64[n]."""
        cdef rows x
        cdef size_t samples
        cdef const double *y
        cdef const double *h
        cdef double *out
        cdef uint32_t largest
        held = _csr(csr, &x, &samples)
        signs = _vector_of(signs, _float64, samples, "signs")
        importances = _vector_of(importances, _float64, samples, "importances")
        y, h = <const double *>_memory(signs), <const double *>_memory(importances)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        largest = _largest_id(&x, samples, held)
        _lock(self.lock)
        try:
            if not (blocks_reserve(self.state, largest) and self.begin_rows(rows_longest(&x, samples))):
                raise MemoryError
            with nogil:
                views_keep(self.views, self.state, &x, samples, h)
                self.learn_rows(&x, samples, y, h, out)
        finally:
            self.end_rows()
            PyThread_release_lock(self.lock)
        del held
        return margins

    def score(self, csr):
        """The margins of the rows, float64[n]; changes nothing."""
        cdef rows x
        cdef size_t samples
        cdef double *out
        cdef bint within
        held = _csr(csr, &x, &samples)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        _lock(self.lock)
        try:
            with nogil:
                within = self.score_rows(&x, samples, out)
        finally:
            PyThread_release_lock(self.lock)
        if not within:
            raise _no_id(held)
        del held
        return margins

    def feature(self, id):
        """The weight of a feature, and how many samples had it; None if not counted."""
        cdef double weight
        cdef int64_t seen
        cdef uint32_t i = id
        _lock(self.lock)
        self.weights_from(i, 1, &weight)
        seen = self.seen(i)
        PyThread_release_lock(self.lock)
        return weight, None if seen < 0 else seen

    cdef double bias_now(self):
        """The bias; under the lock."""
        return 0.0

    def weights(self, n):
        """The weights by id, float64[n + 1], that of PAD 0.0, and the bias."""
        cdef size_t count = n
        cdef double bias
        weights = _empty(count + 1)
        cdef double *out = <double *>_memory(weights)
        out[0] = 0.0
        _lock(self.lock)
        with nogil:
            self.weights_from(1, count, out + 1)
        bias = self.bias_now()
        PyThread_release_lock(self.lock)
        return weights, bias

    def view(self, n):
        """The state of ids 1 … n as it is now. See onlinesvm.model.rules.rule.Rule.view."""
        return RuleView(self, n)


cdef tuple _csr(object csr, rows *x, size_t *samples):
    """Rows that came from outside, checked; the returned tuple holds their memory."""
    indptr, indices, data = csr
    indptr, indices, data = _vector(indptr, _int64), _vector(indices, _int32), _vector(data, _float64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    samples[0] = len(indptr) - 1
    x.indptr = <int64_t *>_memory(indptr)
    x.indices = <int32_t *>_memory(indices)
    x.data = <double *>_memory(data)
    if not indptr_holds(x.indptr, samples[0], min(len(indices), len(data))):
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    return indptr, indices, data


cdef object _ids_of(object ids):
    """Rising ids of features that there are, checked."""
    ids = _vector(ids, _int32)
    if len(ids) and (ids[0] < 1 or (np.diff(ids) < 1).any()):
        raise ValueError("ids: expected rising ones from 1")
    return ids


cdef object _kept_of(uint32_t to, uint32_t first, object kept):
    kept = _vector(kept, np.bool_)
    if not 0 < to <= first:
        raise ValueError(f"to: expected an id from 1 to {first}, got {to}")
    return kept


cdef uint32_t _largest_id(const rows *x, size_t samples, object held,
                          int32_t least=0) except? 0xFFFFFFFF:
    """The largest id; indices from `least` to 0 are unknown features."""
    cdef uint32_t largest
    with nogil:
        largest = rows_largest_id(x, samples, least)
    if largest > MOST_IDS:
        raise _no_id(held)
    return largest


cdef object _no_id(tuple held):
    indptr, indices, _ = held
    ids = indices[indptr[0]:indptr[len(indptr) - 1]]
    return ValueError(f"indices: expected ids from 0 to {MOST_IDS}, got {ids.min()} to {ids.max()}")


def score_fixed(csr, weights, double bias):
    """The margins of rows by fixed weights. See onlinesvm.model.margins.score_fixed."""
    cdef rows x
    cdef size_t samples, n
    cdef const double *w
    cdef double *out
    cdef bint within
    held = _csr(csr, &x, &samples)
    weights = _vector(weights, _float64)
    n = len(weights)
    w = <const double *>_memory(weights)
    if not n or w[0] != 0.0:
        raise ValueError(f"weights: expected 0 for PAD, got {weights[:1].tolist()}")
    margins = _empty(samples)
    out = <double *>_memory(margins)
    with nogil:
        within = score_flat(&x, samples, w, n, bias, out)
    if not within:
        raise _no_id(held)
    del held
    return margins


cdef int _reserve_fresh(blocks *fresh, size_t stride, size_t n) except -1:
    """New blocks for ids up to `n`, beside those in use."""
    blocks_init(fresh, stride)
    if not blocks_reserve(fresh, n):
        blocks_clear(fresh)
        raise MemoryError
    return 0


cdef double[16] _fresh  # a record of a feature that was never learned: all zero
