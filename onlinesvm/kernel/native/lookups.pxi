# The lookup. Part of native.pyx.

cdef class Lookup:
    """The dictionary from feature to id. See onlinesvm.model.lookup.Lookup."""

    cdef lookup table
    cdef PyThread_type_lock lock
    cdef names_view *views
    cdef unsigned long restored
    cdef public object max_features
    cdef readonly bint prunes

    def __cinit__(self, max_features, prunes=False):
        self.lock = PyThread_allocate_lock()
        if not self.lock or not lookup_init(&self.table):
            raise MemoryError
        self.max_features = max_features
        self.prunes = prunes

    def __dealloc__(self):
        lookup_clear(&self.table)
        if self.lock:
            PyThread_free_lock(self.lock)

    def __len__(self):
        return self.table.count

    cdef size_t most(self) except? 0:
        return min(<size_t>self.max_features, MOST_IDS)

    def id(self, bytes name not None):
        """The id of `name`, PAD if it is unknown."""
        _lock(self.lock)
        try:
            return lookup_id(
                &self.table, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        finally:
            PyThread_release_lock(self.lock)

    def names(self):
        """All names, by id from 1."""
        cdef arena_walk walk
        cdef const uint8_t *e
        cdef unsigned long restored = self.restored
        cdef int k
        memset(&walk, 0, sizeof(walk))
        while True:
            some = []
            _lock(self.lock)
            try:
                if restored != self.restored:
                    raise RuntimeError("the lookup was replaced while its names were read")
                for k in range(1024):
                    e = arena_next(&self.table.arena, &walk)
                    if not e:
                        break
                    some.append(
                        PyBytes_FromStringAndSize(<const char *>entry_name(e), entry_length(e)))
            finally:
                PyThread_release_lock(self.lock)
            if not some:
                return
            yield from some

    def reserve(self, batches):
        """Room for all names of `batches`, as if all were new; the largest id they can bring."""
        cdef size_t names = 0, size = 0, room, columns
        cdef matrix x
        for part in batches:
            if isinstance(part, Batch):
                names += (<Batch>part).columns.count
                size += (<Batch>part).columns.name_bytes
            else:
                part = _matrix(part, None, &x)
                columns = x.indptr[x.samples]
                columns = matrix_names(columns, matrix_largest(&x, columns))
                names += columns
                size += columns * DIGITS_MOST
        _lock(self.lock)
        try:
            room = lookup_room(&self.table, self.most())
            if not lookup_reserve(&self.table, self.entered(names), size):
                raise MemoryError
            return self.table.count + min(names, room)
        finally:
            PyThread_release_lock(self.lock)

    cdef size_t entered(self, size_t names) except? 0:
        """How many of so many names can be entered; a prune makes room for more."""
        return names if self.prunes else min(names, lookup_room(&self.table, self.most()))

    @property
    def refused(self):
        """Features that were left out of what was learned, as the lookup was full."""
        return self.table.refused

    def grow(self, Batch batch not None, size_t first=0):
        """`batch` over ids, new features entered. See onlinesvm.model.lookup.Lookup.grow."""
        return self._of_batch(batch, first, True)

    def find(self, Batch batch not None):
        """`batch` over ids, unknown features as PAD. See onlinesvm.model.lookup.Lookup.find."""
        return self._of_batch(batch, 0, False)

    cdef object _of_batch(self, Batch b, size_t first, bint entering):
        cdef rows out
        cdef growth how
        cdef size_t stored, count, samples
        if first > b.columns.samples:
            raise ValueError(f"first: expected one of {b.columns.samples} samples, got {first}")
        samples = b.columns.samples - first
        count = b.columns.count - <size_t>b.columns.indptr[first]
        indptr, indices, data = _rows(samples, count, &out)
        if entering and not b.columns.importances:
            b.columns.importances = <double *>_memory(b.importances)
        _lock(self.lock)
        try:
            if not lookup_reserve_seen(&self.table, b.columns.longest):
                raise MemoryError
            if entering:
                how.first, how.limit, how.prunes = first, self.most(), self.prunes
                # What is behind the first has been reserved with it.
                if not first and not lookup_reserve(
                        &self.table, self.entered(count), b.columns.name_bytes):
                    raise MemoryError
                with nogil:
                    stored = lookup_grow(&self.table, &b.columns, &how, &out, &samples)
            else:
                with nogil:
                    stored = lookup_find(&self.table, &b.columns, &out)
        finally:
            PyThread_release_lock(self.lock)
        if stored < count:
            indices, data = indices[:stored], data[:stored]
        return CSR(indptr[:samples + 1], indices, data)

    def prune(self, kept):
        """Give up names. See onlinesvm.model.lookup.Lookup.prune."""
        cdef const uint8_t *stays
        kept = _vector_of(kept, np.bool_, self.table.count, "kept")
        stays = <const uint8_t *>_memory(kept)
        _lock(self.lock)
        try:
            with nogil:
                self.finish_views()
                lookup_prune(&self.table, stays)
            self.restored += 1
        finally:
            PyThread_release_lock(self.lock)

    def grow_columns(self, columns, importances):
        """`columns` over ids, new features entered. See onlinesvm.model.lookup.Lookup.grow_columns."""
        return self._of_columns(columns, importances)

    def find_columns(self, columns):
        """`columns` over ids. See onlinesvm.model.lookup.Lookup.find_columns."""
        return self._of_columns(columns, None)

    cdef object _of_columns(self, object columns, object importances):
        cdef rows out
        cdef matrix x
        cdef bint entering = importances is not None
        cdef size_t most = 0, names, stored, count
        cdef uint64_t largest
        held = _matrix(columns, importances, &x)
        count = x.indptr[x.samples] - x.indptr[0]
        largest = matrix_largest(&x, x.indptr[x.samples])
        indptr, indices, data = _rows(x.samples, count, &out)
        _lock(self.lock)
        try:
            if not lookup_reserve_seen(&self.table, matrix_longest(&x)):
                raise MemoryError
            if not column_map_reserve(&self.table.columns, largest):
                raise MemoryError
            if entering:
                most = self.most()
                names = min(matrix_names(x.indptr[x.samples], largest), lookup_room(&self.table, most))
                if not lookup_reserve(&self.table, names, names * DIGITS_MOST):
                    raise MemoryError
            with nogil:
                stored = lookup_columns(&self.table, &x, most, entering, &out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        if stored < count:
            indices, data = indices[:stored], data[:stored]
        return CSR(indptr, indices, data)

    def view(self):
        """The names as they are now. See onlinesvm.kernel.KernelLookup.view."""
        return NamesView(self)

    cdef void finish_views(self) noexcept nogil:
        """Copy the rest for all views, before the names are replaced; under the lock."""
        cdef names_view *v = self.views
        while v:
            if v.busy:
                PyThread_release_lock(self.lock)
                view_pause()
                PyThread_acquire_lock(self.lock, WAIT_LOCK)
                v = self.views
            else:
                names_copy(v, v.n)
                v = v.next

    def restore(self, lengths, names):
        """Take the names of a dump. Raises ValueError if two are equal."""
        cdef lookup made
        cdef size_t n
        cdef const uint32_t *sizes
        cdef const uint8_t *text
        cdef int done
        lengths = _vector(lengths, np.uint32)
        names = _vector(names, np.uint8)
        n = len(lengths)
        total = int(lengths.sum(dtype=np.uint64))
        if total != len(names):
            raise ValueError(f"expected names of {total} bytes, got {len(names)}")
        sizes = <const uint32_t *>_memory(lengths)
        text = <const uint8_t *>_memory(names)
        if n > MOST_IDS or not lookup_init(&made):
            raise MemoryError
        with nogil:
            done = lookup_restore(&made, sizes, text, n)
        if done != 1:
            lookup_clear(&made)
            if done == 0:
                raise MemoryError
            raise ValueError("expected distinct names, got one twice")
        _lock(self.lock)
        with nogil:
            self.finish_views()
        lookup_clear(&self.table)
        self.table = made
        self.restored += 1
        PyThread_release_lock(self.lock)


@cython.no_gc_clear  # the list of views is left only when this is gone
cdef class NamesView:
    """The names of a lookup at one instant. See onlinesvm.kernel.KernelView."""

    cdef Lookup lookup
    cdef names_view view
    cdef object lengths, names

    def __cinit__(self, Lookup lookup not None):
        _lock(lookup.lock)
        try:
            self.lengths = _empty(lookup.table.count, np.uint32)
            self.names = _empty(lookup.table.arena.bytes, np.uint8)
            names_open(&self.view, &lookup.views, &lookup.table.arena, lookup.table.count)
            self.view.lengths = <uint32_t *>_memory(self.lengths)
            self.view.bytes = <uint8_t *>_memory(self.names)
            self.lookup = lookup
        finally:
            PyThread_release_lock(lookup.lock)

    def __len__(self):
        return self.view.n

    def __dealloc__(self):
        self.leave()

    cdef void leave(self):
        """Once: the garbage collector may find what is left already under the lookup's lock."""
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

    def advance(self, n):
        """Copy `n` more names. See onlinesvm.kernel.KernelView.advance."""
        cdef size_t most = n
        cdef Lookup lookup = self.lookup
        if self.lengths is not None and most:
            with nogil:
                self.step(lookup, most)

    def arrays(self):
        """`lengths`, uint32[n], and `names`, uint8[sum]. See onlinesvm.kernel.KernelView.arrays."""
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
        """Free what the view holds; once is enough."""
        self.leave()
        self.lengths = self.names = None


cdef tuple _rows(size_t samples, size_t count, rows *out):
    """Arrays for rows of `count` elements at most."""
    indptr, indices, data = _empty(samples + 1, _int64), _empty(count, _int32), _empty(count)
    out.indptr = <int64_t *>_memory(indptr)
    out.indices = <int32_t *>_memory(indices)
    out.data = <double *>_memory(data)
    return indptr, indices, data
