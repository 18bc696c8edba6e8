# Records: text, names and fields to features. Part of native.pyx.

def _set_characters():
    """The class and the lower case of every character, from Python's table."""
    cdef list ends = [*_unicode.RUNS[2::2], TEXT_CODE_POINTS]
    for kind in range(len(_unicode.KINDS) // 2):
        text_set_kind(kind, _unicode.KINDS[2 * kind], _unicode.KINDS[2 * kind + 1])
    for i in range(len(ends)):
        text_set_run(_unicode.RUNS[2 * i], ends[i], _unicode.RUNS[2 * i + 1])


_set_characters()
cdef bint _has_number_texts = False


cdef object _set_number_texts():
    """The lower ends of all numbers' names; once, and where they are wanted."""
    global _has_number_texts
    if _has_number_texts:
        return
    for exponent in range(NUMBER_LEAST_EXPONENT, NUMBER_MOST_EXPONENT + 1):
        for level in range(NUMBER_LEVELS):
            for mantissa in range(1 << level):
                text = prefix_text((1 + mantissa / (1 << level)) * 2.0 ** exponent)
                number_set_text(exponent, number_place(level, mantissa),
                                <const uint8_t *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    _has_number_texts = True


cdef class Extracted:
    """See onlinesvm.text.records.Extracted. The lists are made when they are asked for."""

    cdef Batch batch
    cdef readonly size_t cut, crosses

    @property
    def names(self):
        return self.batch.names

    @property
    def values(self):
        return self.batch.values.tolist()

    @property
    def marks(self):
        cdef size_t k
        cdef mark *m
        cdef bytes name
        found, names = {}, self.batch.names
        for k in range(self.batch.columns.mark_count):
            m = &self.batch.columns.marks[k]
            name = names[m.feature]
            found[m.feature] = (name[:m.field],) if not m.other_at else (
                name[:m.field], name[m.other_at:m.other_at + m.other])
        return found

    @property
    def views(self):
        cdef size_t j
        return [self.batch.columns.tags[j] for j in range(self.batch.columns.count)]


cdef span _span(bytes given):
    cdef span found
    found.at = <const uint8_t *>PyBytes_AS_STRING(given)
    found.length = PyBytes_GET_SIZE(given)
    return found


cdef dict _texts = {"off": TEXT_OFF, "words": TEXT_WORDS, "default": TEXT_DEFAULT}
cdef dict _field_kinds = {"text": FIELD_TEXT, "category": FIELD_CATEGORY, "date": FIELD_DATE}


cdef int _text_vector(void *vectors, const uint8_t *text, size_t length, size_t most,
                    double *out) noexcept with gil:
    """The numbers of a text, by an Embedding; 0 if they could not be made."""
    cdef size_t i
    cdef object found
    try:
        found = (<object>vectors).of_text(
            PyBytes_FromStringAndSize(<const char *>text, length), most)
        memcpy(out, _memory(found), len(found) * sizeof(double))
    except BaseException:
        return 0
    return 1


cdef class Extractor:
    """Records to features. See onlinesvm.text.records.Extractor."""

    cdef text_options rules
    cdef extraction work
    cdef PyThread_type_lock lock
    cdef text_field *fields
    cdef span *crosses
    cdef span *cross_fields
    cdef list held  # the bytes of the names
    cdef tuple given
    cdef object embedding  # of word vectors; None without

    def __cinit__(self, object options not None, object limits not None, most_bytes):
        extraction_init(&self.work)
        if not 1 <= most_bytes <= MOST_BYTES:
            raise ValueError(f"most_bytes: expected 1 to {MOST_BYTES}, got {most_bytes}")
        self.given = (options, limits, most_bytes)
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError
        memset(&self.rules, 0, sizeof(self.rules))
        self.rules.text = _texts[options.text]
        self.rules.ngrams = options.ngrams
        self.rules.prefixes = options.numbers == "prefixes"
        for size in options.chars:
            self.rules.sizes[self.rules.size_count] = size
            self.rules.size_count += 1
        self.rules.most_bytes = most_bytes
        self.rules.most_features = limits.max_features_per_sample
        self.rules.most_name = limits.max_name_bytes
        self.rules.cross_all = options.crosses == "*"
        self._set_fields(options.raw_fields())
        self._set_crosses(options.raw_crosses())
        if options.vectors is not None:
            from onlinesvm.text.word_vectors import embedding  # seldom: it loads much

            self.embedding = embedding(options.vectors)
            self.rules.vector_of = _text_vector
            self.rules.vectors = <void *>self.embedding
            self.rules.dim = self.embedding.dim
        self.work.options = &self.rules
        if self.rules.prefixes:
            _set_number_texts()

    def __dealloc__(self):
        extraction_clear(&self.work)
        free(self.fields)
        free(self.crosses)
        free(self.cross_fields)
        if self.lock:
            PyThread_free_lock(self.lock)

    @property
    def options(self):
        return self.given[0]

    @property
    def reads_text(self):
        return self.rules.text != TEXT_OFF

    @property
    def reads_maps(self):
        return bool(self.rules.prefixes or self.rules.field_count or self.rules.cross_all
                    or self.rules.cross_count)

    cdef object _set_fields(self, dict kinds):
        self.held = sorted(kinds)
        self.fields = <text_field *>malloc((len(kinds) + 1) * sizeof(text_field))
        if not self.fields:
            raise MemoryError
        for i in range(len(self.held)):
            self.fields[i].name = _span(self.held[i])
            self.fields[i].kind = _field_kinds[kinds[self.held[i]]]
        self.rules.fields = self.fields
        self.rules.field_count = len(kinds)

    cdef object _set_crosses(self, object given):
        cdef list pairs = sorted(given), names = sorted({name for pair in pairs for name in pair})
        self.held += [pairs, names]
        self.crosses = <span *>malloc((2 * len(pairs) + 1) * sizeof(span))
        self.cross_fields = <span *>malloc((len(names) + 1) * sizeof(span))
        if not self.crosses or not self.cross_fields:
            raise MemoryError
        for i in range(len(pairs)):
            self.crosses[2 * i] = _span(pairs[i][0])
            self.crosses[2 * i + 1] = _span(pairs[i][1])
        for i in range(len(names)):
            self.cross_fields[i] = _span(names[i])
        self.rules.crosses, self.rules.cross_count = self.crosses, len(pairs)
        self.rules.cross_fields, self.rules.cross_field_count = self.cross_fields, len(names)

    def extract(self, bytes packed not None):
        """The features of a packed record. See onlinesvm.text.records.Extractor.extract."""
        cdef Extracted found = Extracted.__new__(Extracted)
        cdef Batch b = Batch.__new__(Batch)
        cdef reader r
        cdef int problem
        r.at = <const uint8_t *>PyBytes_AS_STRING(packed)
        r.end = r.at + PyBytes_GET_SIZE(packed)
        _lock(self.lock)
        try:
            with nogil:
                extraction_begin(&self.work, &b.columns)
                problem = record_read(&self.work, &r)
            if problem == EXTRACT_NO_MEMORY:
                raise MemoryError
            if problem == EXTRACTED and r.at == r.end:
                found.batch = b
                found.cut, found.crosses = self.work.cut, self.work.crosses
                return found
        finally:
            PyThread_release_lock(self.lock)
        raise_record_fault(packed, *self.given)

    def check(self, bytes packed not None):
        """See onlinesvm.text.records.Extractor.check."""
        cdef Batch b = Batch.__new__(Batch)
        cdef reader r
        cdef int problem
        cdef size_t i
        cdef double largest = 1.0
        r.at = <const uint8_t *>PyBytes_AS_STRING(packed)
        r.end = r.at + PyBytes_GET_SIZE(packed)
        _lock(self.lock)
        try:
            with nogil:
                extraction_begin(&self.work, &b.columns)
                self.work.checks = True
                problem = record_read(&self.work, &r)
                self.work.checks = False
            if problem == EXTRACT_NO_MEMORY:
                raise MemoryError
            if problem == EXTRACTED and r.at == r.end:
                for i in range(b.columns.count):
                    largest = max(largest, fabs(b.columns.features[i].value))
                return self.work.cut, largest
        finally:
            PyThread_release_lock(self.lock)
        raise_record_fault(packed, *self.given)
