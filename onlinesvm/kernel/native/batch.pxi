# Samples in columns. Part of native.pyx.

cdef class Batch:
    """Samples in columns, over the bytes they came in, which it holds on to.

    label_table: the distinct labels; label_ids: int32[n], each sample's place there, −1 without one.
    importances: float64[n]. indptr: int64[n + 1]. names: list of bytes, values: float64, one a
    feature; these two are made when they are asked for. records: of the samples whose records were
    left packed.
    """

    cdef batch columns
    cdef Py_buffer body
    cdef bint held
    cdef object _label_ids, _importances
    cdef readonly list label_table
    cdef readonly dict records
    cdef readonly object indptr
    cdef Batch whole  # of a part: the batch whose memory it shares
    cdef bint shares  # the memory; `whole` may be cleared first

    def __cinit__(self):
        batch_init(&self.columns)
        self.held = False
        self.label_table = []
        self.records = {}

    def __dealloc__(self):
        if self.shares:
            self.columns.side = NULL
            self.columns.features = NULL
            self.columns.tags = NULL
        batch_clear(&self.columns)
        if self.held:
            PyBuffer_Release(&self.body)

    def __len__(self):
        return self.columns.samples

    def part(self, size_t first, size_t stop):
        """See onlinesvm.data.batch.BatchColumns.part."""
        cdef Batch b = Batch.__new__(Batch)
        cdef const batch *whole = &self.columns
        cdef size_t start, end, j, known = 0
        if not first <= stop <= whole.samples:
            raise ValueError(f"expected samples of {whole.samples}, got {first} to {stop}")
        start, end = whole.indptr[first], whole.indptr[stop]
        b.whole, b.shares = self, True
        b.columns.body, b.columns.side = whole.body, whole.side
        b.columns.side_used = whole.side_used
        b.columns.features = whole.features + start
        b.columns.count = b.columns.room = end - start
        b.columns.longest = whole.longest
        b.columns.samples = b.columns.good = stop - first
        b.columns.cut = whole.cut if stop == whole.samples else 0
        b.columns.texts = stop - first if whole.texts == whole.samples else 0
        for j in range(start, end):
            b.columns.name_bytes += feature_length(&whole.features[j])
        if whole.tags:
            b.columns.tags = whole.tags + start
        if whole.mark_count and not batch_copy_marks(&b.columns, whole, start, end):
            raise MemoryError
        b.indptr = _empty(stop - first + 1, _int64)
        b.columns.indptr = <int64_t *>_memory(b.indptr)
        for j in range(first, stop + 1):
            b.columns.indptr[j - first] = whole.indptr[j] - <int64_t>start
        if self._importances is not None:
            b._importances = self._importances[first:stop]
            b.columns.importances = <double *>_memory(b._importances)
        if self._label_ids is not None:
            b._label_ids = self._label_ids[first:stop]
            b.columns.label_ids = <int32_t *>_memory(b._label_ids)
            for j in range(stop if whole.label_ids else 0):
                known = max(known, <size_t>(whole.label_ids[j] + 1))
        b.label_table = self.label_table
        if known < <size_t>len(self.label_table):
            b.label_table = self.label_table[:known]
        if self.records:
            b.records = {i - first: r for i, r in self.records.items() if first <= i < stop}
        return b

    @property
    def label_ids(self):
        if self._label_ids is None:
            self._label_ids = np.full(self.columns.samples, -1, dtype=np.int32)
        return self._label_ids

    @property
    def importances(self):
        if self._importances is None:
            self._importances = np.ones(self.columns.samples)
        return self._importances

    @property
    def names(self):
        cdef size_t j
        cdef const feature *f
        names = []
        for j in range(self.columns.count):
            f = &self.columns.features[j]
            names.append(PyBytes_FromStringAndSize(
                <const char *>batch_name(&self.columns, f), feature_length(f)))
        return names

    @property
    def tags(self):
        cdef size_t j
        if not self.columns.tags:
            return []
        return [self.columns.tags[j] for j in range(self.columns.count)]

    @property
    def cut(self):
        return self.columns.cut

    @property
    def values(self):
        cdef size_t j
        values = _empty(self.columns.count)
        cdef double *out = <double *>_memory(values)
        for j in range(self.columns.count):
            out[j] = self.columns.features[j].value
        return values
