# The views of a lookup and of a rule. Part of native.pyx.

cdef class _Pages:
    """Memory of an array of a view, given back without the interpreter's lock: hundreds of MiB take
    longer than a turn may.
    """

    cdef uint8_t *base
    cdef size_t size

    def __cinit__(self, size_t size):
        self.size = (size + REGION_HUGE - 1) // REGION_HUGE * REGION_HUGE
        self.base = pages_map(self.size)
        if not self.base:
            raise MemoryError

    def __dealloc__(self):
        if self.base:
            with nogil:
                pages_unmap_slowly(self.base, self.size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.base, self.size, False, flags)


cdef object _large(size_t count, object dtype):
    """A new array, of pages of its own where it is large."""
    cdef size_t size = count * <size_t>np.dtype(dtype).itemsize
    if size < REGION_HUGE:
        return _empty(count, dtype)
    return np.frombuffer(_Pages(size), dtype=dtype, count=count)


@cython.no_gc_clear  # the list of views is left only when this is gone
cdef class NamesView:
    """The names of a lookup at one instant. See onlinesvm.kernel.contract.KernelView."""

    cdef Lookup lookup
    cdef names_view view
    cdef object lengths, names
    cdef readonly dict scalars

    def __cinit__(self, Lookup lookup not None):
        self.scalars = {}
        _lock(lookup.lock)
        try:
            self.lengths = _large(lookup.table.count, np.uint32)
            self.names = _large(lookup.table.arena.bytes + lookup.table.moved.bytes, np.uint8)
            names_open(&self.view, &lookup.views, &lookup.table)
            self.view.lengths = <uint32_t *>_memory(self.lengths)
            self.view.bytes = <uint8_t *>_memory(self.names)
            self.lookup = lookup
        finally:
            PyThread_release_lock(lookup.lock)

    def __dealloc__(self):
        self.leave()

    cdef void leave(self):
        """Only once: the garbage collector may find a view that has left under the lookup's lock."""
        cdef Lookup lookup = self.lookup
        self.lookup = None
        if lookup is not None:
            _lock(lookup.lock)
            names_leave(&self.view, &lookup.views)
            PyThread_release_lock(lookup.lock)

    cdef size_t step(self, Lookup lookup, size_t most) noexcept nogil:
        """Copy a slice of `most` names at most; how many, 0 at the end."""
        cdef size_t count
        PyThread_acquire_lock(lookup.lock, WAIT_LOCK)
        self.view.busy = True
        PyThread_release_lock(lookup.lock)
        count = names_copy(&self.view, most)
        PyThread_acquire_lock(lookup.lock, WAIT_LOCK)
        self.view.busy = False
        if not count:
            names_leave(&self.view, &lookup.views)
        PyThread_release_lock(lookup.lock)
        return count

    def _advance(self, n):
        """Copy `n` more names now, for tests."""
        cdef size_t most = n
        cdef Lookup lookup = self.lookup
        if self.lengths is not None and most:
            with nogil:
                self.step(lookup, most)

    def arrays(self):
        """`lengths`, uint32[n], and `names`, uint8[sum]. See onlinesvm.kernel.contract.KernelView."""
        cdef Lookup lookup = self.lookup
        lengths, names = self.lengths, self.names
        self.lengths = self.names = None
        if lengths is None:
            raise ValueError("expected a view that is open, got one that was read or closed")
        with nogil:
            while self.step(lookup, NAMES_SLICE):
                pass
        self.leave()
        return {"lengths": lengths, "names": names}

    def close(self):
        """Free what the view holds; may be called twice."""
        self.leave()
        self.lengths = self.names = None


@cython.no_gc_clear  # the list of views is left only when this is gone
cdef class RuleView:
    """The state of a rule at one instant. See onlinesvm.kernel.contract.KernelView."""

    cdef Rule rule
    cdef view view
    cdef double *slice
    cdef dict made
    cdef readonly dict scalars

    def __cinit__(self, Rule rule, size_t n):
        cdef int k
        if n > MOST_IDS:
            raise MemoryError
        self.slice = <double *>malloc(VIEW_SLICE_BYTES)
        if not self.slice:
            raise MemoryError
        made = {}
        _lock(rule.lock)
        try:
            for name, span in rule.layout_now().columns.items():
                made[name] = _large(n, span.dtype)
            if not view_open(&self.view, &rule.views, n):
                raise MemoryError
            self.rule = rule
            for k, name in enumerate(made):
                self.view.columns[k] = <double *>_memory(made[name])
            self.made, self.scalars = made, rule.scalars()
        finally:
            PyThread_release_lock(rule.lock)

    def __dealloc__(self):
        self.leave()
        free(self.slice)

    cdef void leave(self):
        """Have the rule keep nothing more, and free the kept records; only once: the garbage
        collector may find a view that has left under the rule's lock.
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

    def _advance(self, n):
        """Copy `n` more ids now, for tests."""
        cdef size_t remaining = n, count = 1
        cdef Rule rule = self.rule
        if self.made is not None:
            with nogil:
                while remaining and count:
                    count = self.step(rule, remaining)
                    remaining -= count

    def arrays(self):
        """The state, in arrays by id from 1. See onlinesvm.kernel.contract.KernelView."""
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
                    if self.view.copied < self.view.n:
                        view_pause()
                while True:
                    record = view_next(&self.view, &walk, rule.state.stride, &id)
                    if not record:
                        break
                    rule.unpack(record, 1, self.view.columns, id - 1)
            if self.view.failed:
                raise MemoryError("no memory to keep the records that were learned meanwhile")
            return made
        finally:
            self.leave()

    def close(self):
        """Free what the view holds; may be called twice."""
        self.made = None
        self.leave()
