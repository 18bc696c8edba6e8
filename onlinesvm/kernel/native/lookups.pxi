# The lookup. Part of native.pyx.

cdef class Lookup:
    """The dictionary from feature to id. See onlinesvm.model.lookup.Lookup."""

    cdef lookup table
    cdef PyThread_type_lock lock
    cdef names_view *views
    cdef public object max_features
    cdef bint prunes
    cdef size_t bound  # max_features of the call at hand; under the lock

    def __cinit__(self, max_features, prunes=False):
        lookup_init(&self.table)
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError
        self.max_features = max_features
        self.prunes = prunes

    def __dealloc__(self):
        lookup_clear(&self.table)
        if self.lock:
            PyThread_free_lock(self.lock)

    def __len__(self):
        return self.table.count

    cdef size_t limit(self) except? 0:
        return min(<size_t>self.max_features, MOST_IDS)

    def id(self, bytes name not None):
        """The id of `name`, PAD if it is unknown."""
        _lock(self.lock)
        try:
            return lookup_id(
                &self.table, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        finally:
            PyThread_release_lock(self.lock)

    def reserve(self, parts):
        """Memory for all names of `parts`. See onlinesvm.model.lookup.Lookup.reserve."""
        cdef size_t names = 0, size = 0, room
        cdef Batch part
        for part in parts:
            names += part.columns.count
            size += part.columns.name_bytes
        _lock(self.lock)
        try:
            room = lookup_room(&self.table, self.limit())
            if not lookup_reserve(&self.table, self.fitting(names), size):
                raise MemoryError
            return self.table.last + min(names, room)
        finally:
            PyThread_release_lock(self.lock)

    cdef size_t fitting(self, size_t names) except? 0:
        """How many of so many names can be entered; a prune makes room for all."""
        return names if self.prunes else min(names, lookup_room(&self.table, self.limit()))

    @property
    def last(self):
        """The last id. See onlinesvm.model.lookup.Lookup.last."""
        return self.table.last

    @property
    def sweep(self):
        """The prune under way. See onlinesvm.model.lookup.Lookup.sweep."""
        return Sweep(self.table.low, self.table.next) if self.table.is_sweeping else None

    @property
    def refused(self):
        """How often a new feature was left out, as the lookup was full."""
        return self.table.refused

    @property
    def name_bytes(self):
        """The bytes of all names."""
        return self.table.arena.bytes + self.table.moved.bytes

    def ids(self, Batch rows not None, *, bint grow=False, size_t first=0, stop=None,
            bint tagged=False):
        """`rows` over ids. See onlinesvm.model.lookup.Lookup.ids."""
        return self.ids_of_batch(rows, grow, first, _stop_of(first, stop, len(rows)), tagged)

    def entered(self):
        """The first id and the tags. See onlinesvm.model.lookup.Lookup.entered."""
        _lock(self.lock)
        try:
            return self.table.last - self.table.tagged + 1, PyBytes_FromStringAndSize(
                <const char *>self.table.tags, self.table.tagged)
        finally:
            PyThread_release_lock(self.lock)

    @property
    def categories(self):
        """See onlinesvm.model.lookup.Lookup.categories."""
        cdef size_t i
        cdef counted_fields *counted
        found = []
        _lock(self.lock)
        try:
            counted = self.table.fields
            for i in range(counted.count if counted else 0):
                found.append((
                    PyBytes_FromStringAndSize(
                        <const char *>counted.names + counted.fields[i].at,
                        counted.fields[i].length),
                    counted.fields[i].values))
        finally:
            PyThread_release_lock(self.lock)
        return found

    def left_out(self, Batch b not None):
        """The crosses of too many values. See onlinesvm.model.lookup.Lookup.left_out."""
        cdef size_t k
        if not b.columns.mark_count:
            return []
        _lock(self.lock)
        try:
            if not lookup_reserve_marks(&self.table, &b.columns):
                raise MemoryError
            fields_decide(self.table.fields, &b.columns, 0, b.columns.count)
            return [b.columns.marks[k].feature for k in range(b.columns.mark_count)
                    if self.table.fields.out[k]]
        finally:
            PyThread_release_lock(self.lock)

    cdef int reserve_batch(self, Batch b, bint growing) except -1:
        """Memory to bring a batch over ids; under the lock, before `lookup_end`."""
        cdef size_t count = b.columns.count
        if not lookup_begin(&self.table, b.columns.longest):
            raise MemoryError
        if growing and b.columns.tags and not lookup_reserve_tags(&self.table, count):
            raise MemoryError
        if b.columns.mark_count and not lookup_reserve_marks(&self.table, &b.columns):
            raise MemoryError
        if growing and not lookup_reserve(
                &self.table, self.fitting(count), b.columns.name_bytes):
            raise MemoryError
        return 0

    cdef size_t grow_batch(self, Batch b, size_t first, size_t stop, const uint8_t *tags,
                           rows *out) noexcept nogil:
        """Bring samples of a batch over ids, their new names entered; under the lock. How many
        elements there are.
        """
        cdef growth how
        how.first, how.stop, how.limit = first, stop, self.bound
        return lookup_grow(&self.table, &b.columns, &how, tags, out)

    cdef object ids_of_batch(self, Batch b, bint growing, size_t first, size_t stop, bint tagged):
        cdef rows out
        cdef size_t stored, count, samples
        cdef const uint8_t *tags = b.columns.tags if tagged else NULL
        if not growing and not (first == 0 and stop == b.columns.samples):
            return self.ids_of_batch(b, False, 0, b.columns.samples, tagged).rows(first, stop)
        samples = stop - first
        count = <size_t>(b.columns.indptr[stop] - b.columns.indptr[first])
        indptr, indices, data = _rows(samples, count, &out)
        if growing and not b.columns.importances:
            b.columns.importances = <double *>_memory(b.importances)
        _lock(self.lock)
        try:
            self.bound = self.limit()
            self.reserve_batch(b, growing)
            with nogil:
                if growing:
                    stored = self.grow_batch(b, first, stop, tags, &out)
                else:
                    stored = lookup_find(&self.table, &b.columns, tags, &out)
        finally:
            lookup_end(&self.table)
            PyThread_release_lock(self.lock)
        if stored < count:
            indices, data = indices[:stored], data[:stored]
        return CSR(indptr, indices, data)

    def prune(self, kept):
        """Look at some features. See onlinesvm.model.lookup.Lookup.prune."""
        cdef const uint8_t *stays
        cdef size_t n, most
        kept = _vector(kept, np.bool_)
        n = len(kept)
        stays = <const uint8_t *>_memory(kept)
        _lock(self.lock)
        try:
            most = self.table.last - self.table.next + 1 if self.table.is_sweeping else self.table.last
            if not 0 < n <= most:
                raise ValueError(f"kept: expected 1 to {most} elements, got {n}")
            if not lookup_reserve_sweep(&self.table, n):
                raise MemoryError
            with nogil:
                lookup_sweep(&self.table, n, stays, self.views != NULL)
        finally:
            PyThread_release_lock(self.lock)

    def view(self):
        """The names as they are now. See onlinesvm.model.lookup.Lookup.view."""
        return NamesView(self)

    cdef void finish_views(self) noexcept nogil:
        """Copy the rest for all views before the names are replaced; under the lock."""
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

    def join(self, lengths, names):
        """The ids of names. See onlinesvm.model.lookup.Lookup.join."""
        cdef size_t n, limit, size
        cdef const uint32_t *sizes
        cdef const uint8_t *text
        cdef int32_t *found
        lengths = _vector(lengths, np.uint32)
        names = _vector(names, np.uint8)
        n, size = len(lengths), len(names)
        total = int(lengths.sum(dtype=np.uint64))
        if total != len(names):
            raise ValueError(f"expected names of {total} bytes, got {len(names)}")
        sizes = <const uint32_t *>_memory(lengths)
        text = <const uint8_t *>_memory(names)
        ids = _empty(n, np.int32)
        found = <int32_t *>_memory(ids)
        _lock(self.lock)
        try:
            limit = self.limit()
            if not lookup_reserve(&self.table, n, size):
                raise MemoryError
            with nogil:
                lookup_join(&self.table, sizes, text, n, limit, found)
        finally:
            PyThread_release_lock(self.lock)
        return ids

    def restore(self, lengths, names, categories=(), sweep=None):
        """See onlinesvm.model.lookup.Lookup.restore."""
        cdef lookup made
        cdef uint32_t low = 0, following = 0
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
        check_sweep(sweep, n)
        if sweep is not None:
            low, following = sweep
        if n + (following - low) > MOST_IDS:
            raise MemoryError
        lookup_init(&made)
        with nogil:
            done = lookup_restore(&made, sizes, text, n, low, following)
        if done != 1:
            lookup_clear(&made)
            if done == 0:
                raise MemoryError
            raise ValueError("expected distinct names, got one twice")
        try:
            _restore_fields(&made, check_categories(categories))
        except BaseException:
            lookup_clear(&made)
            raise
        _lock(self.lock)
        with nogil:
            self.finish_views()
        lookup_clear(&self.table)
        self.table = made
        PyThread_release_lock(self.lock)


cdef size_t _stop_of(size_t first, object stop, size_t n) except? 0:
    """Where rows from `first` on end, checked. See onlinesvm.model.lookup.check_rows."""
    return check_rows(first, stop, n)


cdef int _restore_fields(lookup *made, list categories) except -1:
    """The counted fields of a view."""
    cdef bytes name
    if not categories:
        return 0
    made.fields = <counted_fields *>calloc(1, sizeof(counted_fields))
    size = sum(len(name) for name, _ in categories)
    if not made.fields or not fields_reserve(made.fields, 0, size):
        raise MemoryError
    for name, values in categories:
        fields_add(made.fields, <const uint8_t *>PyBytes_AS_STRING(name),
                   PyBytes_GET_SIZE(name), values)


cdef class _Scratch:
    """Rows of `count` elements at most, for one walk, in a buffer that is used again."""

    cdef rows out
    cdef void *at
    cdef size_t size

    def __cinit__(self, size_t samples, size_t count):
        cdef size_t wanted = 8 * (samples + 1) + 12 * count
        self.at = spare_take(wanted, &self.size)
        if not self.at:
            self.at, self.size = malloc(wanted), wanted
        if not self.at:
            raise MemoryError
        self.out.indptr = <int64_t *>self.at
        self.out.data = <double *>(self.out.indptr + samples + 1)
        self.out.indices = <int32_t *>(self.out.data + count)

    def __dealloc__(self):
        spare_give(self.at, self.size)


cdef tuple _rows(size_t samples, size_t count, rows *out):
    """Arrays for rows of `count` elements at most."""
    indptr, indices, data = _empty(samples + 1, _int64), _empty(count, _int32), _empty(count)
    out.indptr = <int64_t *>_memory(indptr)
    out.indices = <int32_t *>_memory(indices)
    out.data = <double *>_memory(data)
    return indptr, indices, data
