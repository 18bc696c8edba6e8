# Bodies: msgpack to Batch and back. Part of native.pyx.

cdef class Batch:
    """Samples in columns, over the bytes they came in, which it holds on to.

    labels, importances: float64[n]. indptr: int64[n + 1]. names: list of bytes, values: float64,
    one a feature; these two are made when they are asked for.
    """

    cdef batch columns
    cdef Py_buffer body
    cdef bint held
    cdef object _labels, _importances
    cdef readonly object indptr

    def __cinit__(self):
        batch_init(&self.columns)
        self.held = False

    def __dealloc__(self):
        batch_clear(&self.columns)
        if self.held:
            PyBuffer_Release(&self.body)

    def __len__(self):
        return self.columns.samples

    @property
    def labels(self):
        if self._labels is None:
            self._labels = np.ones(self.columns.samples)
        return self._labels

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
    def values(self):
        cdef size_t j
        values = _empty(self.columns.count)
        cdef double *out = <double *>_memory(values)
        for j in range(self.columns.count):
            out[j] = self.columns.features[j].value
        return values


def decode(object body, object limits, *, bint labelled):
    """The samples of a request, validated whole. See onlinesvm.data.codec.decode."""
    cdef Batch b = Batch.__new__(Batch)
    cdef decode_limits bounds
    cdef size_t samples = 0, head = 0, size
    cdef const uint8_t *at
    cdef int problem
    PyObject_GetBuffer(body, &b.body, PyBUF_SIMPLE)
    b.held = True
    at = <const uint8_t *>b.body.buf
    size = b.body.len
    if size >= <uint64_t>1 << 32:  # offsets of names have 32 bits
        raise LimitError(f"expected a body of less than 4294967296 bytes, got {size}")
    bounds.samples = limits.max_samples_per_batch
    bounds.features = limits.max_features_per_sample
    bounds.name_bytes = limits.max_name_bytes
    bounds.value, bounds.importance, bounds.clips = Bounds.of(limits, labelled=labelled)
    problem = decode_head(at, size, &bounds, &samples, &head)
    if problem == DECODED:
        b.indptr = _empty(samples + 1, _int64)
        b.columns.indptr = <int64_t *>_memory(b.indptr)
        if labelled:
            b._labels = _empty(samples)
            b._importances = _empty(samples)
            b.columns.labels = <double *>_memory(b._labels)
            b.columns.importances = <double *>_memory(b._importances)
        with nogil:
            problem = decode_body(&b.columns, at, size, head, samples, &bounds)
    if problem == NO_MEMORY:
        raise MemoryError
    if problem != DECODED:
        raise_first_fault(bytes(body), limits, labelled=labelled, first=b.columns.good)
    return b


def encode(Batch b not None, *, bint labelled):
    """A batch as the body of a request. See onlinesvm.data.codec.encode."""
    cdef batch columns = b.columns
    cdef uint8_t *out
    cdef size_t size
    if labelled:
        columns.labels = <double *>_memory(b.labels)
        columns.importances = <double *>_memory(b.importances)
    out = <uint8_t *>malloc(encode_most(&columns))
    if not out:
        raise MemoryError
    try:
        with nogil:
            size = encode_batch(out, &columns, labelled)
        return PyBytes_FromStringAndSize(<const char *>out, size)
    finally:
        free(out)
