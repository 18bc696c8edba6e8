# Lines of files. Part of native.pyx.

cdef dict _formats = {
    SvmlightParser: SVMLIGHT_LINES,
    VWParser: VW_LINES,
    TextParser: TEXT_LINES,
    FastTextParser: FASTTEXT_LINES,
}


def parse_block(parser, bytes block not None, start, room, *, skip_bad=False):
    """Read `block`, whole lines, from offset `start` on. See onlinesvm.readers.parsing.parse_block.

    Faulty and uncommon lines, and those of other formats, go through `parser`.
    """
    cdef Batch b = Batch.__new__(Batch)
    cdef line_rules rules
    cdef lines l
    memset(&rules, 0, sizeof(rules))
    cdef Extractor extractor = parser.extractor
    rules.format = _formats.get(type(parser), OTHER_LINES)
    rules.labelled = parser.labels.labelled
    rules.numeric = parser.labels.numeric
    rules.sets = parser.labels.sets
    rules.only_labels = parser.only_labels
    memset(&l, 0, sizeof(l))
    seen_init(&l.tokens)
    l.rules = &rules
    l.batch = &b.columns
    if parser.reads_text:
        rules.fields = True
        if rules.format == TEXT_LINES or rules.format == FASTTEXT_LINES:
            if parser.keeps and not parser.only_labels:
                rules.format = OTHER_LINES
            else:
                l.records = &extractor.work
    if parser.reads_maps and not parser.keeps and not parser.only_labels:
        if rules.format == SVMLIGHT_LINES or rules.format == VW_LINES:
            l.records, l.numbers = &extractor.work, True
    try:
        rules.features = parser.limits.max_features_per_sample
        rules.name_bytes = parser.limits.max_name_bytes
        rules.value, rules.importance = parser.bounds.value, parser.bounds.importance
        rules.batch_samples, rules.batch_features, rules.batch_name_bytes = room
        return _parse(parser, block, start, b, &l, extractor, skip_bad)
    finally:
        seen_clear(&l.tokens)


cdef object _parse(object parser, bytes block, size_t start, Batch b, lines *l, Extractor extractor,
                   bint skip_bad):
    cdef const uint8_t *begin = <const uint8_t *>PyBytes_AS_STRING(block)
    cdef size_t size = PyBytes_GET_SIZE(block), start_at = start, limit, lines = 0, end
    cdef int what
    if size >= <uint64_t>1 << 32:  # offsets of names have 32 bits
        raise ValueError(f"expected a block of less than 4294967296 bytes, got {size}")
    if start > size:
        raise ValueError(f"expected an offset up to {size}, got {start}")
    PyObject_GetBuffer(block, &b.body, PyBUF_SIMPLE)
    b.held = True
    b.columns.body = begin
    batch_expect(
        &b.columns, min(size - start, l.rules.batch_name_bytes), l.rules.batch_features)
    limit = min(l.rules.batch_samples, (size - start + 1) // 2)  # a sample takes 2 bytes at least
    label_ids, importances, indptr = _empty(limit, _int32), _empty(limit), _empty(limit + 1, _int64)
    b.columns.label_ids = <int32_t *>_memory(label_ids)
    b.columns.importances = <double *>_memory(importances)
    b.columns.indptr = <int64_t *>_memory(indptr)
    b.columns.indptr[0] = 0
    spans = None
    if parser.ids:
        spans = _empty(2 * limit, _int64)
        l.ids = <int64_t *>_memory(spans)
    l.at = begin + start
    l.end = begin + block.rfind(b"\n") + 1  # a last line that is not ended is read by the parser
    fault = first_fault = None
    cdef list skipped = []
    cdef dict ids = {}  # of the samples that `parser` read
    cdef dict read = {}  # the labels of these samples, None without one
    while True:
        if l.records:
            _lock(extractor.lock)
        with nogil:
            what = lines_read(l)
        if l.records:
            PyThread_release_lock(extractor.lock)
        if what == LINES_NO_MEMORY:
            raise MemoryError
        start = l.at - begin
        if start >= size or batch_is_full(&b.columns, l.rules):
            break
        found = block.find(b"\n", start)
        end = size if found < 0 else found
        line = block[start:end]
        l.at = begin + min(end + 1, size)
        lines += 1
        if not line or line.isspace():
            continue
        try:
            row = parser.parse(line.removesuffix(b"\r"))
            if row is not None and not parser.only_labels:
                row = as_record(parser, row)
                _add(l, extractor, parser, row, b.records)
        except LineError as error:
            if not skip_bad:
                fault = error
                break
            if first_fault is None:
                first_fault = lines + l.lines, error
            skipped.append(b.columns.samples)
            continue
        if row is not None:
            if l.ids:
                ids[b.columns.samples] = row.id
                memset(&l.ids[2 * b.columns.samples], 0, 2 * sizeof(int64_t))
            read[b.columns.samples] = row.label
            end_sample(l.batch, -1, row.importance)
    if extractor is not None and not parser.keeps and not records_end(&extractor.work, &b.columns):
        raise MemoryError
    batch_ended(&b.columns, <size_t>(l.at - begin) - start_at)
    start = l.at - begin
    _join_labels(b, block, label_ids[:b.columns.samples], read, parser.labels.of_text)
    b._importances = importances[:b.columns.samples]
    b.indptr = indptr[:b.columns.samples + 1]
    named = None if spans is None else _ids(block, spans[:2 * b.columns.samples].tolist(), ids)
    return Parsed(b, start, lines + l.lines, fault, skipped, first_fault, named)


cdef int _join_labels(
        Batch b, bytes block, object label_ids, dict read, object of_text) except -1:
    """The labels that the lines have, and those that the parser read."""
    cdef size_t i
    cdef label_span *span
    cdef list found = []
    cdef dict places = {}
    for i in range(b.columns.labels.count):
        span = &b.columns.labels.spans[i]
        found.append(of_text(block[span.offset:span.offset + span.length]))
    for sample, label in read.items():
        if label is not None:
            place = places.get(label.text)
            if place is None:
                place = places[label.text] = len(found)
                found.append(label)
            label_ids[sample] = place
    b.label_table, b._label_ids = joined(found, label_ids)
    b.columns.label_ids = <int32_t *>_memory(b._label_ids)
    return 0


cdef list _ids(bytes block, list spans, dict others):
    """The id of each sample: where it begins in `block` and ends, or the one in `others`."""
    found = [block[spans[i]:spans[i + 1]] for i in range(0, len(spans), 2)]
    for sample, id in others.items():
        found[sample] = id
    return found


cdef object _add(lines *l, Extractor extractor, object parser, object row, dict records):
    """The features of a sample that the Python parser read. Raises LineError."""
    cdef batch *b = l.batch
    cdef bytes name, record = row.record
    if record is None:
        for name, value in zip(row.names, row.values, strict=True):
            if not lines_add(
                    l, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), value):
                raise MemoryError
    elif parser.keeps:
        b.cut += checked(parser, record)
        records[b.samples] = record
        b.name_bytes += PyBytes_GET_SIZE(record)  # so that the batch is full in time
    elif not _add_record(b, extractor, parser.bounds, record):
        extracted(parser, record)
        raise AssertionError("a record was refused in which no fault can be found")


cdef bint _add_record(batch *b, Extractor extractor, object bounds, bytes record) except -1:
    """The features of a packed record; False, and none of them, for a fault."""
    cdef decode_limits limits
    cdef reader r
    cdef int problem
    cdef size_t count = b.count, side_used = b.side_used, name_bytes = b.name_bytes
    cdef size_t marked = b.mark_count
    limits.value, limits.importance, limits.clips = bounds
    limits.records = &extractor.work
    limits.read_record = records_decode
    r.at = <const uint8_t *>PyBytes_AS_STRING(record)
    r.end = r.at + PyBytes_GET_SIZE(record)
    _lock(extractor.lock)
    with nogil:
        problem = read_fields(b, &r, &limits)
    PyThread_release_lock(extractor.lock)
    if problem == NO_MEMORY:
        raise MemoryError
    if problem != DECODED:
        b.count, b.side_used, b.name_bytes = count, side_used, name_bytes
        b.tagged = min(b.tagged, count)
        b.mark_count = marked
    return problem == DECODED
