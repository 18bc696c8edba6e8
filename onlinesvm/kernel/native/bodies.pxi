# Bodies: msgpack to Batch and back. Part of native.pyx.

def decode(object body, object limits, *, bint labelled, object extractor=None,
           size_t most_made=PIECE_FEATURES, bint pairs=False, bint learnable=False):
    """The samples of a request, validated whole. See onlinesvm.data.codec.decode."""
    return Decoding(body, limits, labelled=labelled, extractor=extractor, most_made=most_made,
                    pairs=pairs, learnable=learnable).step(SIZE_MAX)


cdef class Decoding:
    """A body that is decoded in steps. See onlinesvm.data.codec.Decoding."""

    cdef Batch batch
    cdef decode_limits bounds
    cdef reader reader
    cdef size_t samples, head
    cdef bint labelled, learnable
    cdef object body, limits
    cdef Extractor extractor

    def __cinit__(self, object body, object limits, *, bint labelled, Extractor extractor=None,
                  size_t most_made=PIECE_FEATURES, bint pairs=False, bint learnable=False):
        cdef Batch b = Batch.__new__(Batch)
        self.batch = b
        self.body, self.limits, self.extractor = body, limits, extractor
        self.labelled, self.learnable = labelled, learnable
        _hold_body(b, body)
        _set_limits(&self.bounds, limits, labelled or learnable)
        self.bounds.most_made = most_made
        if decode_head(b.columns.body, b.body.len, &self.bounds, &self.samples,
                       &self.head) != DECODED:
            self.fail()
        _reserve_samples(b, self.samples, labelled, pairs)
        _set_reader(&self.reader, b, self.head)
        self.bounds.pairs = pairs
        batch_expect(&b.columns, b.body.len, most_made)

    def step(self, size_t most):
        """Read about `most` samples and features. See onlinesvm.data.codec.Decoding.step."""
        cdef Batch b = self.batch
        cdef int problem
        self.bounds.most_read = most
        problem = _decode_body(self.extractor, b, &self.reader, self.head, self.samples, &self.bounds)
        if problem == FULL:
            self.bounds.checks = True
            problem = _decode_body(self.extractor, b, &self.reader, self.head, self.samples, &self.bounds)
        if problem == PAUSED:
            return None
        if problem == NO_MEMORY:
            raise MemoryError
        if problem != DECODED:
            self.fail()
        if self.labelled and not self.bounds.pairs:
            _set_labels(b, self.body, self.limits, self.extractor)
        return self.pieces() if self.bounds.checks else b

    cdef object pieces(self):
        """The samples, which make too many features at once."""
        cdef Batch b = self.batch
        cdef size_t most_made = self.bounds.most_made
        cdef bint labelled = self.labelled, pairs = self.bounds.pairs, learnable = self.learnable
        body, limits, extractor = self.body, self.limits, self.extractor

        def piece(size_t offset, size_t left):
            return _decode_piece(
                body, limits, labelled, pairs, learnable, extractor, most_made, offset, left)

        return Pieces(b.label_table, b.label_ids, b.importances, self.head, piece)

    cdef object fail(self):
        """Raise for the first fault."""
        cdef Batch b = self.batch
        if self.labelled and b._label_ids is not None:
            _read_labels(b, self.body, self.limits, self.extractor)  # one may be the first fault
        raise_first_fault(
            bytes(self.body), self.limits, labelled=self.labelled, first=b.columns.good,
            extractor=self.extractor, pairs=self.bounds.pairs, learnable=self.learnable)


cdef object _decode_piece(object body, object limits, bint labelled, bint pairs, bint learnable,
                          object extractor, size_t most_made, size_t offset, size_t left):
    """Samples of a body that is valid, from `offset` on, up to `left` of them; where they end."""
    cdef Batch b = Batch.__new__(Batch)
    cdef decode_limits bounds
    cdef reader r
    cdef int problem
    _hold_body(b, body)
    _set_limits(&bounds, limits, labelled or learnable)
    bounds.most_made = most_made or PIECE_FEATURES
    bounds.pairs = pairs
    _reserve_samples(b, left, labelled, pairs)
    _set_reader(&r, b, offset)
    batch_expect(&b.columns, min(<size_t>b.body.len - offset, 16 * most_made), most_made)
    problem = _decode_body(extractor, b, &r, offset, left, &bounds)
    if problem == NO_MEMORY:
        raise MemoryError
    if problem == FAULTY:
        raise AssertionError("a body changed since it was validated")
    b.columns.samples = b.columns.good
    b.indptr = b.indptr[:b.columns.good + 1]
    if labelled:
        b._importances = b._importances[:b.columns.good]
    if labelled and not pairs:
        b._label_ids = b._label_ids[:b.columns.good]
        _set_labels(b, body, limits, extractor)
    return b, r.at - b.columns.body


cdef int _hold_body(Batch b, object body) except -1:
    PyObject_GetBuffer(body, &b.body, PyBUF_SIMPLE)
    b.held = True
    b.columns.body = <const uint8_t *>b.body.buf
    if <size_t>b.body.len >= <uint64_t>1 << 32:  # offsets of names have 32 bits
        raise LimitError(f"expected a body of less than 4294967296 bytes, got {b.body.len}")
    return 0


cdef void _set_reader(reader *r, Batch b, size_t offset) noexcept:
    r.at = b.columns.body + offset
    r.end = b.columns.body + b.body.len


cdef int _set_limits(decode_limits *bounds, object limits, bint learnable) except -1:
    bounds.samples = limits.max_samples_per_batch
    bounds.features = limits.max_features_per_sample
    bounds.name_bytes = limits.max_name_bytes
    bounds.value, bounds.importance, bounds.clips = Bounds.of(limits, labelled=learnable)
    bounds.records = NULL
    bounds.reads_maps = bounds.checks = bounds.pairs = False
    bounds.most_read = SIZE_MAX
    return 0


cdef int _reserve_samples(Batch b, size_t samples, bint labelled, bint pairs) except -1:
    b.indptr = _empty(samples + 1, _int64)
    b.columns.indptr = <int64_t *>_memory(b.indptr)
    if labelled:
        b._importances = _empty(samples)
        b.columns.importances = <double *>_memory(b._importances)
    if labelled and not pairs:
        b._label_ids = _empty(samples, _int32)
        b.columns.label_ids = <int32_t *>_memory(b._label_ids)
    return 0


cdef int _set_labels(Batch b, object body, object limits, object extractor) except -1:
    labels = _read_labels(b, body, limits, extractor)
    b.label_table, b._label_ids = joined(labels, b._label_ids, ordered=True)
    b.columns.label_ids = <int32_t *>_memory(b._label_ids)
    return 0


cdef int _decode_body(Extractor extractor, Batch b, reader *r, size_t start, size_t samples,
                      decode_limits *bounds) except -1:
    """decode_body, by the extractor where there is one. The samples begin at `start`."""
    cdef int problem
    cdef const uint8_t *begin = b.columns.body + start
    if extractor is None:
        with nogil:
            problem = decode_body(&b.columns, r, samples, bounds)
        if problem != PAUSED:
            batch_ended(&b.columns, r.at - begin)
        return problem
    bounds.records = &extractor.work
    bounds.read_record = records_decode
    bounds.reads_maps = extractor.reads_maps
    _lock(extractor.lock)
    try:
        with nogil:
            extractor.work.checks = bounds.checks
            problem = decode_body(&b.columns, r, samples, bounds)
            extractor.work.checks = False
            if problem == FULL or problem == DECODED:
                if not records_end(&extractor.work, &b.columns):
                    problem = NO_MEMORY
        if not bounds.checks and problem != PAUSED:
            batch_ended(&b.columns, r.at - begin)
    finally:
        PyThread_release_lock(extractor.lock)
    return problem


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
