# What the rules share. Part of native.pyx.

cdef class Rule:
    """The state of the features, behind a lock, and the way in and out of the rule's C.

    A rule says which blocks its state lies in, what the columns of its snapshots are named, and
    implements the C methods.
    """

    cdef PyThread_type_lock lock
    cdef blocks *state
    cdef view *views
    cdef tuple columns
    cdef object prune_weights, prune_counts, prune_kept  # room to prune in, once there may be need

    def __cinit__(self, config):
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError

    def __dealloc__(self):
        if self.lock:
            PyThread_free_lock(self.lock)

    cdef bint reserve_row(self, size_t longest):
        """Room for what learning rows of up to `longest` elements takes beside the state."""
        return True

    cdef void learn_rows(self, const rows *x, size_t samples, const double *labels,
                         const double *importances, double *margins) noexcept nogil:
        pass

    cdef void learn_followed(self, const rows *x, size_t samples, const double *labels,
                             const double *importances, double *margins, observer *o,
                             const double *observed) noexcept nogil:
        """Learn the rows of a slab; the observer follows, by the importances `observed`."""
        cdef size_t i
        self.learn_rows(x, samples, labels, importances, margins)
        for i in range(samples):
            observer_follow(o, i, margins[i], labels[i], observed[i])

    cdef bint score_rows(self, const rows *x, size_t samples, double *margins) noexcept nogil:
        """The margins of rows; False where an id cannot be one."""
        return False

    cdef void weights_from(self, uint32_t first, size_t n, double *weights) noexcept nogil:
        pass

    cdef void unpack(self, const double *records, size_t n, double **columns,
                     size_t at) noexcept nogil:
        """The numbers of `n` records of the state into the columns, from place `at` on."""
        pass

    cdef dict parts(self):
        """The numbers that belong to no feature; under the lock."""
        return {}

    cdef void finish_views(self) noexcept nogil:
        """Copy the rest for all views, before the state is replaced; under the lock."""
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

    def reserve(self, n):
        """Room for the state of ids up to `n`."""
        _lock(self.lock)
        try:
            if not blocks_reserve(self.state, min(<size_t>n, MOST_IDS)):
                raise MemoryError
        finally:
            PyThread_release_lock(self.lock)

    def reserve_prune(self, n):
        """Room to prune up to `n` features."""
        if self.prune_kept is None or len(self.prune_kept) < n:
            weights, kept = _empty(n), _empty(n, np.bool_)
            if self.prune_counts is None:
                self.prune_counts = _empty(PRUNE_COUNTS, np.uint32)
            self.prune_weights, self.prune_kept = weights, kept

    def prune(self, n, own, left):
        """Give up the weakest features. See onlinesvm.model.rules.base.Rule.prune."""
        cdef size_t count = n, leaving = 0, k, owned
        cdef double *weights
        cdef uint32_t *counts
        cdef uint8_t *stays
        cdef const int32_t *ids
        self.reserve_prune(count)
        kept = self.prune_kept[:count]
        own = _vector(own, _int32)
        owned = len(own)
        ids = <const int32_t *>_memory(own)
        weights = <double *>_memory(self.prune_weights)
        counts = <uint32_t *>_memory(self.prune_counts)
        stays = <uint8_t *>_memory(kept)
        for k in range(owned):
            if not 0 < ids[k] <= <int64_t>count:
                raise ValueError(f"own: expected ids from 1 to {count}, got {ids[k]}")
        leaving = max(0, min(n - left, n - <object>owned))
        _lock(self.lock)
        try:
            with nogil:
                self.finish_views()
                self.weights_from(1, count, weights)
                for k in range(owned):
                    weights[ids[k] - 1] = INFINITY
                if leaving:
                    prune_select(weights, count, leaving, counts, stays)
                else:
                    memset(stays, 1, count)
                blocks_prune(self.state, count, stays)
        finally:
            PyThread_release_lock(self.lock)
        return kept

    def learn(self, csr, labels, importances):
        """Score, then learn, row by row; the margins before each update, float64[n]."""
        cdef rows x
        cdef size_t samples
        cdef const double *y
        cdef const double *h
        cdef double *out
        cdef uint32_t largest
        held = _csr(csr, &x, &samples)
        labels = _vector_of(labels, _float64, samples, "labels")
        importances = _vector_of(importances, _float64, samples, "importances")
        y, h = <const double *>_memory(labels), <const double *>_memory(importances)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        largest = _largest_id(&x, samples)
        _lock(self.lock)
        try:
            if not (blocks_reserve(self.state, largest) and self.reserve_row(rows_longest(&x, samples))):
                raise MemoryError
            with nogil:
                views_keep(self.views, self.state, &x, samples, h)
                self.learn_rows(&x, samples, y, h, out)
        finally:
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
            raise _no_id()
        del held
        return margins

    def seen(self, id):
        """How many samples had the feature; None where the rule does not count."""
        return None

    def weight(self, id):
        """The weight of a feature; 0.0 for PAD."""
        cdef double weight
        cdef uint32_t i = id
        _lock(self.lock)
        self.weights_from(i, 1, &weight)
        PyThread_release_lock(self.lock)
        return weight

    def weights(self, n):
        """The weights of ids 1 … n, float64[n]."""
        cdef size_t count = n
        weights = _empty(count)
        cdef double *out = <double *>_memory(weights)
        _lock(self.lock)
        with nogil:
            self.weights_from(1, count, out)
        PyThread_release_lock(self.lock)
        return weights

    def scalars(self):
        """The numbers that belong to no feature, as a snapshot has them."""
        _lock(self.lock)
        try:
            return self.parts()
        finally:
            PyThread_release_lock(self.lock)

    def view(self, n):
        """The state of ids 1 … n as it is now. See onlinesvm.kernel.KernelRule.view."""
        return RuleView(self, n)


cdef tuple _csr(object csr, rows *x, size_t *samples):
    """Rows that came from outside, checked; what is returned holds their memory."""
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


cdef uint32_t _largest_id(const rows *x, size_t samples) except? 0xFFFFFFFF:
    cdef uint32_t largest
    with nogil:
        largest = rows_largest_id(x, samples)
    if largest > MOST_IDS:
        raise _no_id()
    return largest


cdef object _no_id():
    return ValueError(f"indices: expected ids from 0 to {MOST_IDS}, got others")


def score(csr, weights, double bias):
    """The margins of rows by fixed weights. See onlinesvm.model.margins.score."""
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
        raise ValueError("weights: expected 0 for PAD, got another or none")
    margins = _empty(samples)
    out = <double *>_memory(margins)
    with nogil:
        within = score_flat(&x, samples, w, n, bias, out)
    if not within:
        raise _no_id()
    del held
    return margins


cdef int _reserve_fresh(blocks *fresh, size_t stride, size_t n) except -1:
    """Blocks for ids up to `n`; what is in use stays until they are there."""
    blocks_init(fresh, stride)
    if not blocks_reserve(fresh, n):
        blocks_clear(fresh)
        raise MemoryError
    return 0


cdef double[16] _fresh  # a record of a feature that was never learned: all zero
# The columns that are not float64.
_DTYPES = {
    "exponents": _int64, **dict.fromkeys(_hedge.COUNTS, _int64),
    **dict.fromkeys(_hedge.SINGLES, np.dtype(np.float32)),
}


@cython.no_gc_clear  # the list of views is left only when this is gone
cdef class RuleView:
    """The state of a rule at one instant. See onlinesvm.kernel.KernelRuleView."""

    cdef Rule rule
    cdef view view
    cdef double *slice
    cdef dict made
    cdef readonly dict scalars

    def __cinit__(self, Rule rule, size_t n):
        cdef int k
        if n > MOST_IDS:
            raise MemoryError
        assert len(rule.columns) <= VIEW_COLUMNS
        self.slice = <double *>malloc(VIEW_SLICE_BYTES)
        if not self.slice:
            raise MemoryError
        made = {}
        for k, name in enumerate(rule.columns):
            made[name] = _empty(n, _DTYPES.get(name, _float64))
        _lock(rule.lock)
        try:
            if not view_open(&self.view, &rule.views, n):
                raise MemoryError
            self.rule = rule
            for k, name in enumerate(made):
                self.view.columns[k] = <double *>_memory(made[name])
            self.made, self.scalars = made, rule.parts()
        finally:
            PyThread_release_lock(rule.lock)

    def __dealloc__(self):
        self.leave()
        free(self.slice)

    cdef void leave(self):
        """Have the rule keep nothing more, and free what it has kept; once: the garbage collector
        may find what is left already under the rule's lock.
        """
        cdef Rule rule = self.rule
        self.rule = None
        if rule is not None:
            _lock(rule.lock)
            view_leave(&self.view, &rule.views)
            PyThread_release_lock(rule.lock)
            with nogil:
                view_clear(&self.view)

    cdef size_t step(self, Rule rule, size_t most) noexcept nogil:
        """Copy a slice of `most` ids at most; how many, 0 at the end."""
        cdef region *spare = view_spare(&self.view)
        cdef size_t at, count
        PyThread_acquire_lock(rule.lock, WAIT_LOCK)
        at = self.view.copied
        count = view_slice(&self.view, rule.state, most, self.slice, spare)
        if not count:
            view_leave(&self.view, &rule.views)
        PyThread_release_lock(rule.lock)
        rule.unpack(self.slice, count, self.view.columns, at)
        return count

    def advance(self, n):
        """Copy `n` more ids. See onlinesvm.kernel.KernelView.advance."""
        cdef size_t left = n, count = 1
        cdef Rule rule = self.rule
        if self.made is not None:
            with nogil:
                while left and count:
                    count = self.step(rule, left)
                    left -= count

    def arrays(self):
        """The state, in arrays by id from 1. See onlinesvm.kernel.KernelView.arrays."""
        cdef Rule rule = self.rule
        cdef const double *record
        cdef size_t id = 0
        cdef view_walk walk
        made, self.made = self.made, None
        if made is None:
            raise ValueError("expected a view that is open, got one that was read or closed")
        memset(&walk, 0, sizeof(walk))
        try:
            with nogil:
                while self.step(rule, self.view.n):
                    view_pause()
                while True:
                    record = view_next(&self.view, &walk, rule.state.stride, &id)
                    if not record:
                        break
                    rule.unpack(record, 1, self.view.columns, id - 1)
            if self.view.failed:
                raise MemoryError("what was learned meanwhile left no memory for the view")
            return made
        finally:
            self.leave()

    def close(self):
        """Free what the view holds; once is enough."""
        self.made = None
        self.leave()
