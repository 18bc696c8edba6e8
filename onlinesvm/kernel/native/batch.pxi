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

    def __cinit__(self):
        batch_init(&self.columns)
        self.held = False
        self.label_table = []
        self.records = {}

    def __dealloc__(self):
        batch_clear(&self.columns)
        if self.held:
            PyBuffer_Release(&self.body)

    def __len__(self):
        return self.columns.samples

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
