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
            return self.table.count + min(names, room)
        finally:
            PyThread_release_lock(self.lock)

    cdef size_t fitting(self, size_t names) except? 0:
        """How many of so many names can be entered; a prune makes room for all."""
        return names if self.prunes else min(names, lookup_room(&self.table, self.limit()))

    @property
    def refused(self):
        """How often a new feature was left out, as the lookup was full."""
        return self.table.refused

    @property
    def name_bytes(self):
        """The bytes of all names."""
        return self.table.arena.bytes

    def ids(self, Batch rows not None, *, bint grow=False, size_t first=0, bint tagged=False):
        """`rows` over ids. See onlinesvm.model.lookup.Lookup.ids."""
        cdef size_t n = len(rows)
        if first > n:
            raise ValueError(f"first: expected one of {n} samples, got {first}")
        csr = self.ids_of_batch(rows, grow, first if grow else 0, tagged)
        return csr.rows(first, n) if first and not grow else csr

    def entered(self):
        """The first id and the tags. See onlinesvm.model.lookup.Lookup.entered."""
        _lock(self.lock)
        try:
            return self.table.count - self.table.tagged + 1, PyBytes_FromStringAndSize(
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

    cdef int reserve_batch(self, Batch b, bint growing, size_t first) except -1:
        """Memory to bring a batch over ids; under the lock, before `lookup_end`."""
        cdef size_t count = b.columns.count
        if not lookup_begin(&self.table, b.columns.longest):
            raise MemoryError
        if growing and b.columns.tags and not lookup_reserve_tags(&self.table, count):
            raise MemoryError
        if b.columns.mark_count and not lookup_reserve_marks(&self.table, &b.columns):
            raise MemoryError
        # The names of all samples are reserved with the first.
        if growing and not first and not lookup_reserve(
                &self.table, self.fitting(count), b.columns.name_bytes):
            raise MemoryError
        return 0

    cdef size_t walk_batch(self, Batch b, bint growing, size_t first, const uint8_t *tags,
                           rows *out, size_t *samples) noexcept nogil:
        """Bring a batch over ids; under the lock. How many elements there are."""
        cdef growth how
        if not growing:
            return lookup_find(&self.table, &b.columns, tags, out)
        how.first, how.limit, how.prunes = first, self.bound, self.prunes
        return lookup_grow(&self.table, &b.columns, &how, tags, out, samples)

    cdef object ids_of_batch(self, Batch b, bint growing, size_t first, bint tagged):
        cdef rows out
        cdef size_t stored, count, samples
        cdef const uint8_t *tags = b.columns.tags if tagged else NULL
        samples = b.columns.samples - first
        count = b.columns.count - <size_t>b.columns.indptr[first]
        indptr, indices, data = _rows(samples, count, &out)
        if growing and not b.columns.importances:
            b.columns.importances = <double *>_memory(b.importances)
        _lock(self.lock)
        try:
            self.bound = self.limit()
            self.reserve_batch(b, growing, first)
            with nogil:
                stored = self.walk_batch(b, growing, first, tags, &out, &samples)
        finally:
            lookup_end(&self.table)
            PyThread_release_lock(self.lock)
        if stored < count:
            indices, data = indices[:stored], data[:stored]
        return CSR(indptr[:samples + 1], indices, data)

    def prune(self, kept):
        """Drop names. See onlinesvm.model.lookup.Lookup.prune."""
        cdef const uint8_t *stays
        kept = _vector_of(kept, np.bool_, self.table.count, "kept")
        stays = <const uint8_t *>_memory(kept)
        _lock(self.lock)
        try:
            with nogil:
                self.finish_views()
                lookup_prune(&self.table, stays)
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

    def restore(self, lengths, names, categories=()):
        """See onlinesvm.model.lookup.Lookup.restore."""
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
        if n > MOST_IDS:
            raise MemoryError
        lookup_init(&made)
        with nogil:
            done = lookup_restore(&made, sizes, text, n)
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
