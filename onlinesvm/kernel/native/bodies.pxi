# Bodies: msgpack to Batch and back. Part of native.pyx.

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


def decode(object body, object limits, *, bint labelled, object extractor=None, bint pairs=False,
           bint learnable=False):
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
    bounds.value, bounds.importance, bounds.clips = Bounds.of(
        limits, labelled=labelled or learnable)
    problem = decode_head(at, size, &bounds, &samples, &head)
    if problem == DECODED:
        b.indptr = _empty(samples + 1, _int64)
        b.columns.indptr = <int64_t *>_memory(b.indptr)
        if labelled:
            b._importances = _empty(samples)
            b.columns.importances = <double *>_memory(b._importances)
            if not pairs:
                b._label_ids = _empty(samples, _int32)
                b.columns.label_ids = <int32_t *>_memory(b._label_ids)
        bounds.records = NULL
        bounds.of_text = NULL
        bounds.reads_maps = False
        bounds.pairs = pairs
        batch_expect(&b.columns, size)
        if extractor is None:
            with nogil:
                problem = decode_body(&b.columns, at, size, head, samples, &bounds)
        else:
            problem = _decode_records(extractor, b, at, size, head, samples, &bounds)
    if problem == NO_MEMORY:
        raise MemoryError
    if problem != DECODED:
        if labelled and b._label_ids is not None:
            _read_labels(b, body, limits, extractor)  # one of them may be the first fault
        if problem == MUCH_TEXT:
            refuse_text(bytes(body), b.columns.good)
        raise_first_fault(
            bytes(body), limits, labelled=labelled, first=b.columns.good, extractor=extractor,
            pairs=pairs, learnable=learnable)
    if labelled and not pairs:
        labels = _read_labels(b, body, limits, extractor)
        b.label_table, b._label_ids = joined(labels, b._label_ids, ordered=True)
        b.columns.label_ids = <int32_t *>_memory(b._label_ids)
    return b


cdef list _read_labels(Batch b, object body, object limits, object extractor):
    """The distinct labels of the samples that were read. Raises for the first that is none."""
    cdef size_t i
    cdef const label_span *span
    cdef list found = []
    for i in range(b.columns.labels.count):
        span = &b.columns.labels.spans[i]
        raw = PyBytes_FromStringAndSize(
            <const char *>b.columns.body + span.offset, span.length)
        try:
            found.append(label_of_packed(raw))
        except ValueError:
            first = int((b._label_ids == i).argmax())
            raise_first_fault(
                bytes(body), limits, labelled=True, first=first, extractor=extractor)
    return found


def encode(Batch b not None, *, bint labelled):
    """A batch as the body of a request. See onlinesvm.data.codec.encode."""
    cdef batch columns = b.columns
    cdef uint8_t *out
    cdef size_t size, i
    cdef packed_bytes *labels = NULL
    cdef packed_bytes *records = NULL
    cdef size_t room
    cdef list written = [packed(label) for label in b.label_table] if labelled else []
    if labelled:
        if (b.label_ids < 0).any():
            raise ValueError("expected a label for every sample, got a batch without")
        columns.label_ids = <int32_t *>_memory(b.label_ids)
        columns.importances = <double *>_memory(b.importances)
        labels = <packed_bytes *>malloc((len(written) + 1) * sizeof(packed_bytes))
        if not labels:
            raise MemoryError
        for i in range(<size_t>len(written)):
            labels[i].at = <const uint8_t *>PyBytes_AS_STRING(written[i])
            labels[i].length = PyBytes_GET_SIZE(written[i])
    room = encode_most(&columns, max(map(len, written), default=0))
    room += sum(map(len, b.records.values()))
    out = <uint8_t *>malloc(room)
    try:
        if not out:
            raise MemoryError
        if b.records:
            records = <packed_bytes *>calloc(columns.samples, sizeof(packed_bytes))
            if not records:
                raise MemoryError
            for sample, record in b.records.items():
                i = sample
                records[i].at = <const uint8_t *>PyBytes_AS_STRING(record)
                records[i].length = PyBytes_GET_SIZE(record)
        with nogil:
            size = encode_batch(out, &columns, labels, records)
        return PyBytes_FromStringAndSize(<const char *>out, size)
    finally:
        free(out)
        free(labels)
        free(records)
