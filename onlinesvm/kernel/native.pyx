# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: binding=True, embedsignature=False
"""The compiled kernel: the contract's names over the C in csrc/, and nothing more.

What each does, onlinesvm.lookup, rules, body and progressive say; this kernel gives the same bits
and the same errors. Here memory is taken and arguments are checked; csrc/ trusts them.

The interpreter's lock is released while samples are walked. Each object has a lock of its own, so
that threads that share one wait for each other instead of breaking it.
"""

import os

import numpy as np

from onlinesvm import body as _body
from onlinesvm.errors import LimitError
from onlinesvm.faults import raise_first_fault
from onlinesvm.fields import LineError
from onlinesvm.lines import SvmlightParser, TextParser, VWParser
from onlinesvm.matrix import Columns
from onlinesvm.parsing import Parsed
from onlinesvm import drift as _drift
from onlinesvm import judge as _judge
from onlinesvm.rules import Adagrad, Arow, Nag, PassiveAggressive1, PassiveAggressive2
from onlinesvm.rules import hedge as _hedge
from onlinesvm.rules.mixture import parts as _mixture
from onlinesvm.rules.sgd import check_averaged, check_state as _check_sgd
from onlinesvm.samples import CSR

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pythread cimport (
    NOWAIT_LOCK,
    WAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    PyThread_type_lock,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef extern from "csrc/hash.h" nogil:
    const size_t HASH_KEY_BYTES
    void hash_seed(const uint8_t *random)

cdef extern from "csrc/rows.h" nogil:
    ctypedef struct rows:
        int64_t *indptr
        int32_t *indices
        double *data
    const uint32_t MOST_IDS
    bint indptr_holds(const int64_t *indptr, size_t samples, size_t stored)
    uint32_t rows_largest_id(const rows *r, size_t samples)

cdef extern from "csrc/decode.h" nogil:
    ctypedef struct feature:
        double value
    ctypedef struct batch:
        const uint8_t *body
        feature *features
        size_t count, name_bytes, longest, samples, good
        int64_t *indptr
        double *labels
        double *importances
    ctypedef struct decode_limits:
        size_t samples, features, name_bytes
    const int DECODED, NO_MEMORY
    void batch_init(batch *b)
    void batch_clear(batch *b)
    uint32_t feature_length(const feature *f)
    const uint8_t *batch_name(const batch *b, const feature *f)
    int decode_head(const uint8_t *body, size_t size, const decode_limits *limits,
                    size_t *samples, size_t *head)
    int decode_body(batch *b, const uint8_t *body, size_t size, size_t head, size_t samples,
                    const decode_limits *limits)

cdef extern from "csrc/number.h" nogil:
    const int POWER_LEAST, POWER_MOST
    void number_set_power(int q, uint64_t high, uint64_t low)

cdef extern from "csrc/marks.h" nogil:
    ctypedef struct marks:
        pass
    void marks_init(marks *m)
    void marks_clear(marks *m)

cdef extern from "csrc/lines.h" nogil:
    ctypedef struct text:
        const uint8_t *at
        size_t length
    ctypedef struct line_rules:
        int format
        bint labelled, by_text, numeric
        const text *positive
        size_t positives, features, name_bytes
        size_t batch_samples, batch_features, batch_name_bytes
    ctypedef struct lines:
        const uint8_t *at
        const uint8_t *end
        size_t lines
        const line_rules *rules
        batch *batch
        marks seen
    const int OTHER_LINES, SVMLIGHT_LINES, VW_LINES, TEXT_LINES
    const int TAKEN, ODD, LINES_NO_MEMORY
    void lines_init()
    int lines_read(lines *l)
    bint lines_add(lines *l, const uint8_t *name, size_t length, double value)
    bint batch_is_full(const batch *b, const line_rules *rules)
    void end_sample(batch *b, double label, double importance)

cdef extern from "csrc/encode.h" nogil:
    const size_t HEAD_MOST, MARGIN_BYTES
    size_t encode_most(const batch *b)
    size_t encode_batch(uint8_t *out, const batch *b, bint labelled)
    size_t write_margins "encode_margins" (uint8_t *out, const double *margins, size_t n)

cdef extern from "csrc/lookup.h" nogil:
    ctypedef struct arena:
        uint64_t bytes
    ctypedef struct arena_walk:
        pass
    ctypedef struct lookup:
        arena arena
        uint32_t count
    ctypedef struct matrix:
        const int64_t *indptr
        const int64_t *columns
        const double *data
        const double *importances
        size_t samples
    const size_t DIGITS_MOST
    const uint8_t *arena_next(const arena *a, arena_walk *walk)
    const uint8_t *entry_name(const uint8_t *e)
    uint32_t entry_length(const uint8_t *e)
    bint lookup_init(lookup *l)
    void lookup_clear(lookup *l)
    size_t lookup_room(const lookup *l, size_t most)
    bint lookup_reserve(lookup *l, size_t names, size_t bytes)
    bint lookup_reserve_marks(lookup *l, size_t longest)
    uint32_t lookup_id(const lookup *l, const uint8_t *name, size_t length)
    size_t lookup_grow(lookup *l, const batch *b, size_t most, rows *out)
    size_t lookup_find(lookup *l, const batch *b, rows *out)
    bint lookup_reserve_columns(lookup *l)
    size_t matrix_names(const matrix *x)
    size_t matrix_longest(const matrix *x)
    size_t lookup_columns(lookup *l, const matrix *x, size_t most, bint entering, rows *out)
    int lookup_restore(lookup *l, const uint32_t *lengths, const uint8_t *names, size_t count)
    void lookup_dump(const lookup *l, uint32_t *lengths, uint8_t *names)

cdef extern from "csrc/sgd.h" nogil:
    ctypedef struct blocks:
        size_t stride
    ctypedef struct sgd:
        blocks state
        double alpha, bias, mantissa
        int64_t t, exponent
    bint blocks_reserve(blocks *b, uint32_t id)
    void blocks_init(blocks *b, size_t stride)
    void blocks_clear(blocks *b)
    void sgd_init(sgd *r, double eta0, double alpha, bint inverse, bint has_bias)
    void sgd_learn(sgd *r, const rows *x, size_t samples, const double *labels,
                   const double *importances, double *margins)
    void sgd_score(const sgd *r, const rows *x, size_t samples, double *margins)
    void sgd_weights(const sgd *r, uint32_t first, size_t n, double *weights)
    void sgd_dump(const sgd *r, size_t n, double *weights, double *mantissas, int64_t *exponents)
    void sgd_restore(sgd *r, size_t n, const double *weights, const double *mantissas,
                     const int64_t *exponents)

cdef extern from "csrc/records.h" nogil:
    const int RULE_PA1, RULE_PA2, RULE_AROW, RULE_ADAGRAD, RULE_NAG, RULE_AVERAGE
    ctypedef struct records:
        blocks state
        double *bias
        double norms, importance
        int64_t t
    void records_init(records *r, int kind, bint has_bias, bint inverse, double strength,
                      double forgetting)
    double records_bias(const records *r)
    void records_learn(records *r, const rows *x, size_t samples, const double *labels,
                       const double *importances, double *margins)
    void records_score(const records *r, const rows *x, size_t samples, double *margins)
    void records_weights(const records *r, uint32_t first, size_t n, double *weights)
    void records_dump(const records *r, size_t n, size_t column, double *numbers)
    void records_restore(records *r, size_t n, size_t column, const double *numbers)

cdef extern from "csrc/hedge.h" nogil:
    const size_t EXPERTS, HEDGE_NUMBERS, HEDGE_JUDGED
    ctypedef struct mixture:
        pass
    ctypedef struct hedge_feature:
        pass
    ctypedef struct hedge:
        blocks state
        hedge_feature bias
        mixture mixture
        double log_importance
        int64_t samples
        double *judged_weights
    void hedge_init(hedge *r, bint has_bias)
    void hedge_clear(hedge *r)
    bint hedge_reserve_row(hedge *r, size_t longest)
    size_t rows_longest(const rows *r, size_t samples)
    double hedge_bias(const hedge *r)
    void hedge_learn(hedge *r, const rows *x, size_t samples, const double *labels,
                     const double *importances, double *margins)
    void hedge_score(const hedge *r, const rows *x, size_t samples, double *margins)
    void hedge_weights(const hedge *r, uint32_t first, size_t n, double *weights)
    int64_t hedge_seen(const hedge *r, uint32_t id)
    void hedge_numbers(const hedge_feature *f, double *numbers)
    void hedge_take_numbers(hedge_feature *f, const double *numbers)
    double *hedge_judged(hedge *r)
    void hedge_dump(const hedge *r, size_t n, double *numbers, int64_t *counts)
    void hedge_restore(hedge *r, size_t n, const double *numbers, const int64_t *counts)

cdef extern from "csrc/progressive.h" nogil:
    const size_t TOTALS
    void progressive_observe(double *totals, const double *margins, const double *labels,
                             const double *importances, double threshold, size_t samples)

cdef extern from "csrc/judge.h" nogil:
    const size_t JUDGE_SIZE
    ctypedef struct judge:
        double drifts
    void judge_init(judge *j)
    void judge_learn(judge *j, double threshold, double log_one, double log_two,
                     const double *margins, const double *labels, const double *importances,
                     size_t samples, double *probabilities)
    void judge_probabilities(const judge *j, const double *margins, size_t samples,
                             double *probabilities)


__all__ = [
    "NAME",
    "Judge",
    "RULES",
    "Lookup",
    "decode_learn",
    "decode_predict",
    "encode_learn",
    "encode_margins",
    "encode_predict",
    "observe",
    "parse_block",
]

NAME = "native"

cdef bytes _seed = os.urandom(HASH_KEY_BYTES)
hash_seed(<const uint8_t *>PyBytes_AS_STRING(_seed))
_seed = None
lines_init()


def _set_powers():
    """The upper 128 bits of the powers of five; reciprocals that can meet a tie are rounded up."""
    for q in range(POWER_LEAST, POWER_MOST + 1):
        power = 5 ** abs(q)
        bits = power.bit_length()
        if q >= 0:
            power = power << 128 >> bits
        else:
            power = (1 << 127 + bits) // power + (q >= -27)
        number_set_power(q, power >> 64, power & 0xFFFFFFFFFFFFFFFF)


_set_powers()

cdef object _empty = np.empty
cdef object _int32 = np.dtype(np.int32)
cdef object _int64 = np.dtype(np.int64)
cdef object _float64 = np.dtype(np.float64)
cdef object _contiguous = np.ascontiguousarray


cdef void *_memory(object array) except? NULL:
    """Where the elements of a contiguous array lie, as long as someone holds the array."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return view.buf


cdef object _vector(object values, object dtype):
    """`values` as a contiguous array of one dimension, itself if it is one."""
    array = _contiguous(values, dtype)
    if array.ndim != 1:
        raise ValueError(f"expected an array of 1 dimension, got one of {array.ndim}")
    return array


cdef object _vector_of(object values, object dtype, Py_ssize_t n, str name):
    array = _vector(values, dtype)
    if len(array) != n:
        raise ValueError(f"{name}: expected {n} elements, got {len(array)}")
    return array


cdef inline void _lock(PyThread_type_lock lock) noexcept:
    if not PyThread_acquire_lock(lock, NOWAIT_LOCK):
        with nogil:
            PyThread_acquire_lock(lock, WAIT_LOCK)


# Bodies.

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


def decode_learn(body, limits):
    """The samples of a learn request, validated whole. See onlinesvm.body.decode_learn."""
    return _decode(body, limits, True)


def decode_predict(body, limits):
    """The samples of a predict request, validated whole. See onlinesvm.body.decode_predict."""
    return _decode(body, limits, False)


cdef Batch _decode(object body, object limits, bint labelled):
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


def encode_learn(batch):
    """`batch` as the body of a learn request. See onlinesvm.body.encode_learn."""
    if not isinstance(batch, Batch):
        return _body.encode_learn(batch)
    return _encode(batch, True)


def encode_predict(batch):
    """`batch` as the body of a predict request. See onlinesvm.body.encode_predict."""
    if not isinstance(batch, Batch):
        return _body.encode_predict(batch)
    return _encode(batch, False)


cdef bytes _encode(Batch b, bint labelled):
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


def encode_margins(margins):
    """`margins`, float64[n], as the body of a reply: an array of float64."""
    cdef object array = _vector(margins, _float64)
    cdef size_t n = len(array)
    cdef size_t head = 1 if n < 16 else 3 if n < 65536 else 5
    cdef bytes out = PyBytes_FromStringAndSize(NULL, head + n * MARGIN_BYTES)
    write_margins(<uint8_t *>PyBytes_AS_STRING(out), <const double *>_memory(array), n)
    return out


# Lookup.

cdef class Lookup:
    """The dictionary from feature to id. See onlinesvm.lookup.Lookup."""

    cdef lookup table
    cdef PyThread_type_lock lock
    cdef unsigned long restored
    cdef public object max_features

    def __cinit__(self, max_features):
        self.lock = PyThread_allocate_lock()
        if not self.lock or not lookup_init(&self.table):
            raise MemoryError
        self.max_features = max_features

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
                    raise RuntimeError("the lookup was restored while its names were read")
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
                columns = matrix_names(&x)
                names += columns
                size += columns * DIGITS_MOST
        _lock(self.lock)
        try:
            room = lookup_room(&self.table, self.most())
            if not lookup_reserve(&self.table, min(names, room), size):
                raise MemoryError
            return self.table.count + min(names, room)
        finally:
            PyThread_release_lock(self.lock)

    def grow(self, Batch batch not None):
        """`batch` over ids, new features entered. See onlinesvm.lookup.Lookup.grow."""
        return self._of_batch(batch, True)

    def find(self, Batch batch not None):
        """`batch` over ids, unknown features as PAD. See onlinesvm.lookup.Lookup.find."""
        return self._of_batch(batch, False)

    cdef object _of_batch(self, Batch b, bint entering):
        cdef rows out
        cdef size_t most, names, stored, count = b.columns.count
        indptr, indices, data = _rows(b.columns.samples, count, &out)
        if entering and not b.columns.importances:
            b.columns.importances = <double *>_memory(b.importances)
        _lock(self.lock)
        try:
            if not lookup_reserve_marks(&self.table, b.columns.longest):
                raise MemoryError
            if entering:
                most = self.most()
                names = min(count, lookup_room(&self.table, most))
                if not lookup_reserve(&self.table, names, b.columns.name_bytes):
                    raise MemoryError
                with nogil:
                    stored = lookup_grow(&self.table, &b.columns, most, &out)
            else:
                with nogil:
                    stored = lookup_find(&self.table, &b.columns, &out)
        finally:
            PyThread_release_lock(self.lock)
        if stored < count:
            indices, data = indices[:stored], data[:stored]
        return CSR(indptr, indices, data)

    def grow_columns(self, columns, importances):
        """`columns` over ids, new features entered. See onlinesvm.lookup.Lookup.grow_columns."""
        return self._of_columns(columns, importances)

    def find_columns(self, columns):
        """`columns` over ids. See onlinesvm.lookup.Lookup.find_columns."""
        return self._of_columns(columns, None)

    cdef object _of_columns(self, object columns, object importances):
        cdef rows out
        cdef matrix x
        cdef bint entering = importances is not None
        cdef size_t most = 0, names, stored, count
        held = _matrix(columns, importances, &x)
        count = x.indptr[x.samples] - x.indptr[0]
        indptr, indices, data = _rows(x.samples, count, &out)
        _lock(self.lock)
        try:
            if not lookup_reserve_marks(&self.table, matrix_longest(&x)):
                raise MemoryError
            if not lookup_reserve_columns(&self.table):
                raise MemoryError
            if entering:
                most = self.most()
                names = min(matrix_names(&x), lookup_room(&self.table, most))
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

    def dump(self):
        """The names by id: their lengths, uint32[n], and their bytes end to end, uint8[sum]."""
        cdef uint32_t *lengths
        cdef uint8_t *names
        _lock(self.lock)
        try:
            lengths_array = _empty(self.table.count, np.uint32)
            names_array = _empty(self.table.arena.bytes, np.uint8)
            lengths = <uint32_t *>_memory(lengths_array)
            names = <uint8_t *>_memory(names_array)
            with nogil:
                lookup_dump(&self.table, lengths, names)
        finally:
            PyThread_release_lock(self.lock)
        return lengths_array, names_array

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
        lookup_clear(&self.table)
        self.table = made
        self.restored += 1
        PyThread_release_lock(self.lock)


cdef tuple _rows(size_t samples, size_t count, rows *out):
    """Arrays for rows of `count` elements at most."""
    indptr, indices, data = _empty(samples + 1, _int64), _empty(count, _int32), _empty(count)
    out.indptr = <int64_t *>_memory(indptr)
    out.indices = <int32_t *>_memory(indices)
    out.data = <double *>_memory(data)
    return indptr, indices, data


cdef tuple _matrix(object columns, object importances, matrix *x):
    """The columns of a matrix, checked; what is returned holds their memory."""
    indptr, ids, data = columns
    indptr, ids, data = _vector(indptr, _int64), _vector(ids, _int64), _vector(data, _float64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    x.samples = len(indptr) - 1
    x.indptr = <const int64_t *>_memory(indptr)
    x.columns = <const int64_t *>_memory(ids)
    x.data = <const double *>_memory(data)
    x.importances = NULL
    if not indptr_holds(x.indptr, x.samples, min(len(ids), len(data))):
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    if importances is not None:
        importances = _vector_of(importances, _float64, x.samples, "importances")
        x.importances = <const double *>_memory(importances)
    return indptr, ids, data, importances


# Rules.

cdef class Sgd:
    """Stochastic gradient descent on the hinge loss. See onlinesvm.rules.Sgd."""

    cdef sgd rule
    cdef PyThread_type_lock lock

    def __cinit__(self, config):
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError
        sgd_init(&self.rule, config.eta0, config.alpha, config.schedule == "invscaling",
                 config.bias)

    def __dealloc__(self):
        blocks_clear(&self.rule.state)
        if self.lock:
            PyThread_free_lock(self.lock)

    @property
    def bias(self):
        return self.rule.bias

    def reserve(self, n):
        """Room for the state of ids up to `n`."""
        _lock(self.lock)
        try:
            if not blocks_reserve(&self.rule.state, min(<size_t>n, MOST_IDS)):
                raise MemoryError
        finally:
            PyThread_release_lock(self.lock)

    def learn(self, csr, labels, importances):
        """Score, then learn, row by row; the margins before each update, float64[n]."""
        cdef rows x
        cdef size_t samples
        cdef const double *y
        cdef const double *h
        cdef double *out
        cdef uint32_t largest
        held = _csr(csr, &x, &samples)
        labels = _vector_of(labels, _float64, samples, "labels")
        importances = _vector_of(importances, _float64, samples, "importances")
        y, h = <const double *>_memory(labels), <const double *>_memory(importances)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        largest = _largest_id(&x, samples)
        _lock(self.lock)
        try:
            if not blocks_reserve(&self.rule.state, largest):
                raise MemoryError
            with nogil:
                sgd_learn(&self.rule, &x, samples, y, h, out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return margins

    def score(self, csr):
        """The margins of the rows, float64[n]; changes nothing."""
        cdef rows x
        cdef size_t samples
        cdef double *out
        held = _csr(csr, &x, &samples)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        _largest_id(&x, samples)
        _lock(self.lock)
        try:
            with nogil:
                sgd_score(&self.rule, &x, samples, out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return margins

    def seen(self, id):
        """None: this rule does not count."""
        return None

    def weight(self, id):
        """The weight of a feature; 0.0 for PAD."""
        cdef double weight
        cdef uint32_t i = id
        _lock(self.lock)
        sgd_weights(&self.rule, i, 1, &weight)
        PyThread_release_lock(self.lock)
        return weight

    def weights(self, n):
        """The weights of ids 1 … n, float64[n]."""
        cdef size_t count = n
        weights = _empty(count)
        cdef double *out = <double *>_memory(weights)
        _lock(self.lock)
        with nogil:
            sgd_weights(&self.rule, 1, count, out)
        PyThread_release_lock(self.lock)
        return weights

    def dump(self, n):
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""
        cdef size_t count = n
        cdef double *mantissas = NULL
        cdef int64_t *exponents = NULL
        arrays = {"weights": _empty(count)}
        cdef double *weights = <double *>_memory(arrays["weights"])
        if self.rule.alpha:
            arrays["mantissas"] = _empty(count)
            arrays["exponents"] = _empty(count, _int64)
            mantissas = <double *>_memory(arrays["mantissas"])
            exponents = <int64_t *>_memory(arrays["exponents"])
        _lock(self.lock)
        try:
            scalars = {"bias": self.rule.bias, "t": self.rule.t}
            if self.rule.alpha:
                scalars["product_mantissa"] = self.rule.mantissa
                scalars["product_exponent"] = self.rule.exponent
            with nogil:
                sgd_dump(&self.rule, count, weights, mantissas, exponents)
        finally:
            PyThread_release_lock(self.lock)
        return arrays, scalars

    def restore(self, arrays, scalars):
        """Take the state of a dump. See onlinesvm.rules.Sgd.restore."""
        cdef double bias, mantissa = 1.0
        cdef int64_t t, exponent = 0
        cdef size_t n
        cdef const double *w
        cdef const double *m = NULL
        cdef const int64_t *e = NULL
        cdef blocks fresh, old
        _check_sgd(arrays, scalars, shrinks=self.rule.alpha != 0.0)
        bias, t = scalars["bias"], scalars["t"]
        weights = _vector(arrays["weights"], _float64)
        n = len(weights)
        w = <const double *>_memory(weights)
        if self.rule.alpha:
            mantissa, exponent = scalars["product_mantissa"], scalars["product_exponent"]
            mantissas, exponents = arrays["mantissas"], arrays["exponents"]
            mantissas = _vector(mantissas, _float64)
            exponents = _vector(exponents, _int64)
            m, e = <const double *>_memory(mantissas), <const int64_t *>_memory(exponents)
        if n > MOST_IDS:
            raise MemoryError
        _reserve_fresh(&fresh, self.rule.state.stride, n)
        _lock(self.lock)
        old, self.rule.state = self.rule.state, fresh
        with nogil:
            sgd_restore(&self.rule, n, w, m, e)
        self.rule.bias, self.rule.t = bias, t
        self.rule.mantissa, self.rule.exponent = mantissa, exponent
        PyThread_release_lock(self.lock)
        blocks_clear(&old)


cdef int _reserve_fresh(blocks *fresh, size_t stride, size_t n) except -1:
    """Blocks for ids up to `n`; what is in use stays until they are there."""
    blocks_init(fresh, stride)
    if not blocks_reserve(fresh, n):
        blocks_clear(fresh)
        raise MemoryError
    return 0


cdef class Records:
    """The rules that keep one to three numbers a feature. See onlinesvm.rules.rule.RecordRule."""

    cdef records rule
    cdef int kind
    cdef tuple columns
    cdef object reference
    cdef PyThread_type_lock lock

    def __cinit__(self, config):
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError
        self.kind, self.reference, strength = _KINDS[config.rule]
        self.columns = self.reference.COLUMNS if self.reference else ("weights", "offsets")
        records_init(&self.rule, self.kind, config.bias, config.schedule == "invscaling",
                     getattr(config, strength), config.forgetting or 0.0)

    def __dealloc__(self):
        blocks_clear(&self.rule.state)
        if self.lock:
            PyThread_free_lock(self.lock)

    @property
    def bias(self):
        return records_bias(&self.rule)

    def reserve(self, n):
        """Room for the state of ids up to `n`."""
        _lock(self.lock)
        try:
            if not blocks_reserve(&self.rule.state, min(<size_t>n, MOST_IDS)):
                raise MemoryError
        finally:
            PyThread_release_lock(self.lock)

    def learn(self, csr, labels, importances):
        """Score, then learn, row by row; the margins before each update, float64[n]."""
        cdef rows x
        cdef size_t samples
        cdef const double *y
        cdef const double *h
        cdef double *out
        cdef uint32_t largest
        held = _csr(csr, &x, &samples)
        labels = _vector_of(labels, _float64, samples, "labels")
        importances = _vector_of(importances, _float64, samples, "importances")
        y, h = <const double *>_memory(labels), <const double *>_memory(importances)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        largest = _largest_id(&x, samples)
        _lock(self.lock)
        try:
            if not blocks_reserve(&self.rule.state, largest):
                raise MemoryError
            with nogil:
                records_learn(&self.rule, &x, samples, y, h, out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return margins

    def score(self, csr):
        """The margins of the rows, float64[n]; changes nothing."""
        cdef rows x
        cdef size_t samples
        cdef double *out
        held = _csr(csr, &x, &samples)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        _largest_id(&x, samples)
        _lock(self.lock)
        try:
            with nogil:
                records_score(&self.rule, &x, samples, out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return margins

    def seen(self, id):
        """None: this rule does not count."""
        return None

    def weight(self, id):
        """The weight of a feature; 0.0 for PAD."""
        cdef double weight
        cdef uint32_t i = id
        _lock(self.lock)
        records_weights(&self.rule, i, 1, &weight)
        PyThread_release_lock(self.lock)
        return weight

    def weights(self, n):
        """The weights of ids 1 … n, float64[n]."""
        cdef size_t count = n
        weights = _empty(count)
        cdef double *out = <double *>_memory(weights)
        _lock(self.lock)
        with nogil:
            records_weights(&self.rule, 1, count, out)
        PyThread_release_lock(self.lock)
        return weights

    def dump(self, n):
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""
        cdef size_t count = n, k
        cdef double *out
        arrays = {name: _empty(count) for name in self.columns}
        _lock(self.lock)
        try:
            for k, name in enumerate(self.columns):
                out = <double *>_memory(arrays[name])
                with nogil:
                    records_dump(&self.rule, count, k, out)
            return arrays, self.scalars()
        finally:
            PyThread_release_lock(self.lock)

    cdef dict scalars(self):
        cdef double *bias = self.rule.bias
        if self.kind == RULE_AVERAGE:
            return {
                "bias": records_bias(&self.rule), "t": self.rule.t, "last_bias": bias[0],
                "bias_offset": bias[1],
            }
        scalars = {"bias": bias[0]}
        if self.kind == RULE_AROW and not bias[1]:
            scalars["bias_variances"] = 1.0
        else:
            for k in range(1, len(self.columns)):
                scalars[f"bias_{self.columns[k]}"] = bias[<int>k]
        if self.kind == RULE_NAG:
            scalars["norms"], scalars["importance"] = self.rule.norms, self.rule.importance
        return scalars

    def restore(self, arrays, scalars):
        """Take the state of a dump. See onlinesvm.rules.rule.RecordRule.restore."""
        cdef double[3] bias
        cdef double norms = 0.0, importance = 0.0
        cdef int64_t t = 0
        cdef size_t n, k
        cdef const double *numbers
        cdef blocks fresh, old
        (self.reference.check_state if self.reference else check_averaged)(arrays, scalars)
        columns = [_vector(arrays[name], _float64) for name in self.columns]
        n = len(columns[0])
        if n > MOST_IDS:
            raise MemoryError
        bias[0] = bias[1] = bias[2] = 0.0
        if self.kind == RULE_AVERAGE:
            t = scalars["t"]
            bias[0], bias[1] = scalars["last_bias"], scalars["bias_offset"]
        else:
            bias[0] = scalars["bias"]
            for k in range(1, <size_t>len(self.columns)):
                bias[k] = scalars[f"bias_{self.columns[k]}"]
        if self.kind == RULE_NAG:
            norms, importance = scalars["norms"], scalars["importance"]
        _reserve_fresh(&fresh, self.rule.state.stride, n)
        _lock(self.lock)
        old, self.rule.state = self.rule.state, fresh
        try:
            for k in range(<size_t>len(columns)):
                numbers = <const double *>_memory(columns[k])
                with nogil:
                    records_restore(&self.rule, n, k, numbers)
            for k in range(3):
                self.rule.bias[k] = bias[k]
            self.rule.norms, self.rule.importance, self.rule.t = norms, importance, t
        finally:
            PyThread_release_lock(self.lock)
            blocks_clear(&old)


# Rule → its kind, the class that is its reference, and the parameter that is its strength.
_KINDS = {
    "pa1": (RULE_PA1, PassiveAggressive1, "C"),
    "pa2": (RULE_PA2, PassiveAggressive2, "C"),
    "arow": (RULE_AROW, Arow, "r"),
    "adagrad": (RULE_ADAGRAD, Adagrad, "eta0"),
    "nag": (RULE_NAG, Nag, "eta0"),
    "sgd": (RULE_AVERAGE, None, "eta0"),
}


cdef class Hedge:
    """Five experts and a mixture of them. See onlinesvm.rules.hedge."""

    cdef hedge rule
    cdef bint normalized
    cdef PyThread_type_lock lock

    def __cinit__(self, config):
        hedge_init(&self.rule, config.bias)
        self.normalized = config.normalize != "none"
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError

    def __dealloc__(self):
        hedge_clear(&self.rule)
        if self.lock:
            PyThread_free_lock(self.lock)

    @property
    def bias(self):
        return hedge_bias(&self.rule)

    def reserve(self, n):
        """Room for the state of ids up to `n`, and for rows of up to 65,536 of them."""
        _lock(self.lock)
        try:
            if not (blocks_reserve(&self.rule.state, min(<size_t>n, MOST_IDS))
                    and hedge_reserve_row(&self.rule, min(<size_t>n, <size_t>65536))):
                raise MemoryError
        finally:
            PyThread_release_lock(self.lock)

    def learn(self, csr, labels, importances):
        """Score, then learn, row by row; the margins before each update, float64[n]."""
        cdef rows x
        cdef size_t samples
        cdef const double *y
        cdef const double *h
        cdef double *out
        cdef uint32_t largest
        held = _csr(csr, &x, &samples)
        labels = _vector_of(labels, _float64, samples, "labels")
        importances = _vector_of(importances, _float64, samples, "importances")
        y, h = <const double *>_memory(labels), <const double *>_memory(importances)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        largest = _largest_id(&x, samples)
        _lock(self.lock)
        try:
            if not (blocks_reserve(&self.rule.state, largest)
                    and hedge_reserve_row(&self.rule, rows_longest(&x, samples))):
                raise MemoryError
            with nogil:
                hedge_learn(&self.rule, &x, samples, y, h, out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return margins

    def score(self, csr):
        """The margins of the rows, float64[n]; changes nothing."""
        cdef rows x
        cdef size_t samples
        cdef double *out
        held = _csr(csr, &x, &samples)
        margins = _empty(samples)
        out = <double *>_memory(margins)
        _largest_id(&x, samples)
        _lock(self.lock)
        try:
            with nogil:
                hedge_score(&self.rule, &x, samples, out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return margins

    def seen(self, id):
        """How many samples had the feature; 0 for PAD."""
        cdef int64_t seen
        _lock(self.lock)
        seen = hedge_seen(&self.rule, <uint32_t>id)
        PyThread_release_lock(self.lock)
        return seen

    def weight(self, id):
        """The weight of a feature; 0.0 for PAD."""
        cdef double weight
        cdef uint32_t i = id
        _lock(self.lock)
        hedge_weights(&self.rule, i, 1, &weight)
        PyThread_release_lock(self.lock)
        return weight

    def weights(self, n):
        """The weights of ids 1 … n, float64[n]."""
        cdef size_t count = n
        weights = _empty(count)
        cdef double *out = <double *>_memory(weights)
        _lock(self.lock)
        with nogil:
            hedge_weights(&self.rule, 1, count, out)
        PyThread_release_lock(self.lock)
        return weights

    def dump(self, n):
        """The state of ids 1 … n, in arrays by id from 1, and the scalars."""
        cdef size_t count = n
        numbers, counts = _empty((count, HEDGE_NUMBERS)), _empty((count, 3), _int64)
        cdef double *floats = <double *>_memory(numbers)
        cdef int64_t *integers = <int64_t *>_memory(counts)
        cdef double[11] bias
        _lock(self.lock)
        try:
            with nogil:
                hedge_dump(&self.rule, count, floats, integers)
            hedge_numbers(&self.rule.bias, bias)
            scalars = {"samples": self.rule.samples, "log_importance": self.rule.log_importance}
            for k, name in enumerate(_hedge.BIAS_NUMBERS):
                scalars[f"bias_{name}"] = bias[<int>k]
            self.of_parts(scalars, <double *>&self.rule.mixture, _hedge_parts)
            scalars["judged_weight"] = self.rule.judged_weights[0]
            scalars["judged_recent_weight"] = self.rule.judged_weights[1]
            self.of_parts(scalars, hedge_judged(&self.rule), _judged_parts)
        finally:
            PyThread_release_lock(self.lock)
        arrays = {
            name: _contiguous(numbers[:, k]) for k, name in enumerate(_hedge.NUMBERS)
        }
        arrays.update((name, _contiguous(counts[:, k])) for k, name in enumerate(_hedge.COUNTS))
        return arrays, scalars

    cdef int of_parts(self, dict scalars, const double *numbers, tuple parts) except -1:
        cdef int k
        for k, name in enumerate(parts):
            scalars[name] = numbers[k]
        return 0

    def restore(self, arrays, scalars):
        """Take the state of a dump. See onlinesvm.rules.hedge.Hedge.restore."""
        cdef size_t n
        cdef blocks fresh, old
        cdef const double *floats
        cdef const int64_t *integers
        cdef double[11] bias
        cdef double[256] mixed
        cdef double[256] judged
        cdef double[2] judged_weights
        cdef double log_importance
        cdef int64_t seen
        cdef int k
        _hedge.check_state(arrays, scalars, normalized=self.normalized)
        columns = [_vector(arrays[name], _float64) for name in _hedge.NUMBERS]
        n = len(columns[0])
        numbers, counts = _empty((n, HEDGE_NUMBERS)), _empty((n, 3), _int64)
        for k, column in enumerate(columns):
            numbers[:, k] = column
        for k, name in enumerate(_hedge.COUNTS):
            counts[:, k] = arrays[name]
        floats = <const double *>_memory(numbers)
        integers = <const int64_t *>_memory(counts)
        for k, name in enumerate(_hedge.BIAS_NUMBERS):
            bias[k] = scalars[f"bias_{name}"]
        bias[10] = 1.0
        for k, name in enumerate(_hedge_parts):
            mixed[k] = scalars[name]
        for k, name in enumerate(_judged_parts):
            judged[k] = scalars[name]
        judged_weights[0] = scalars["judged_weight"]
        judged_weights[1] = scalars["judged_recent_weight"]
        seen, log_importance = scalars["samples"], scalars["log_importance"]
        if n > MOST_IDS:
            raise MemoryError
        _reserve_fresh(&fresh, self.rule.state.stride, n)
        _lock(self.lock)
        old, self.rule.state = self.rule.state, fresh
        try:
            with nogil:
                hedge_restore(&self.rule, n, floats, integers)
            hedge_take_numbers(&self.rule.bias, bias)
            for k in range(len(_hedge_parts)):
                (<double *>&self.rule.mixture)[k] = mixed[k]
            for k in range(len(_judged_parts)):
                hedge_judged(&self.rule)[k] = judged[k]
            self.rule.judged_weights[0] = judged_weights[0]
            self.rule.judged_weights[1] = judged_weights[1]
            self.rule.samples, self.rule.log_importance = seen, log_importance
        finally:
            PyThread_release_lock(self.lock)
            blocks_clear(&old)


# The scalars' names, in the order in which the C has the numbers.
cdef tuple _hedge_parts = tuple(
    f"mixture_{name}" if size is None else f"mixture_{name}_{k}"
    for name, size in _mixture(EXPERTS) for k in range(size or 1))
cdef tuple _judged_parts = tuple(
    f"judged_{name}_{j}" for name in _hedge.JUDGED for j in range(EXPERTS + 1))


def _sgd(config):
    """The rule `sgd`, averaged or not."""
    return Records(config) if config.average else Sgd(config)


RULES = {
    "hedge": Hedge, "sgd": _sgd, "pa1": Records, "pa2": Records, "arow": Records,
    "adagrad": Records, "nag": Records,
}


cdef tuple _csr(object csr, rows *x, size_t *samples):
    """Rows that came from outside, checked; what is returned holds their memory."""
    indptr, indices, data = csr
    indptr, indices, data = _vector(indptr, _int64), _vector(indices, _int32), _vector(data, _float64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    samples[0] = len(indptr) - 1
    x.indptr = <int64_t *>_memory(indptr)
    x.indices = <int32_t *>_memory(indices)
    x.data = <double *>_memory(data)
    if not indptr_holds(x.indptr, samples[0], min(len(indices), len(data))):
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    return indptr, indices, data


cdef uint32_t _largest_id(const rows *x, size_t samples) except? 0xFFFFFFFF:
    cdef uint32_t largest
    with nogil:
        largest = rows_largest_id(x, samples)
    if largest > MOST_IDS:
        raise ValueError(f"indices: expected ids from 0 to {MOST_IDS}, got others")
    return largest


# Progressive validation.

def observe(totals, margins, labels, importances, double threshold=0.0):
    """Add samples to `totals`, in order. See onlinesvm.progressive.observe."""
    cdef Py_buffer view
    cdef size_t n
    margins = _vector(margins, _float64)
    n = len(margins)
    labels = _vector_of(labels, _float64, n, "labels")
    importances = _vector_of(importances, _float64, n, "importances")
    if totals.dtype != _float64:
        raise ValueError(f"totals: expected float64, got {totals.dtype}")
    PyObject_GetBuffer(totals, &view, PyBUF_WRITABLE)
    try:
        if <size_t>view.len != TOTALS * sizeof(double):
            raise ValueError(f"totals: expected {TOTALS} elements, got {len(totals)}")
        progressive_observe(
            <double *>view.buf, <const double *>_memory(margins),
            <const double *>_memory(labels), <const double *>_memory(importances), threshold, n)
    finally:
        PyBuffer_Release(&view)


# Lines.

cdef dict _formats = {
    SvmlightParser: SVMLIGHT_LINES, VWParser: VW_LINES, TextParser: TEXT_LINES}


def parse_block(parser, bytes block not None, start, room, *, skip_bad=False):
    """Read `block`, whole lines, from offset `start` on. See onlinesvm.parsing.parse_block.

    Lines that are faulty or uncommon, and those of other formats, go through `parser`.
    """
    cdef Batch b = Batch.__new__(Batch)
    cdef line_rules rules
    cdef lines l
    cdef list positive = list(parser.labels.positive)
    cdef text *texts = <text *>malloc((len(positive) + 1) * sizeof(text))
    if not texts:
        raise MemoryError
    memset(&rules, 0, sizeof(rules))
    rules.format = _formats.get(type(parser), OTHER_LINES)
    rules.labelled = parser.labels.labelled
    rules.by_text = parser.labels.by_text
    rules.numeric = parser.labels.numeric
    rules.positive = texts
    rules.positives = len(positive)
    for i in range(len(positive)):
        texts[i].at = <const uint8_t *>PyBytes_AS_STRING(positive[i])
        texts[i].length = PyBytes_GET_SIZE(positive[i])
    memset(&l, 0, sizeof(l))
    marks_init(&l.seen)
    l.rules = &rules
    l.batch = &b.columns
    try:
        rules.features = parser.limits.max_features_per_sample
        rules.name_bytes = parser.limits.max_name_bytes
        rules.batch_samples, rules.batch_features, rules.batch_name_bytes = room
        return _parse(parser, block, start, b, &l, skip_bad)
    finally:
        marks_clear(&l.seen)
        free(texts)


cdef object _parse(object parser, bytes block, size_t start, Batch b, lines *l, bint skip_bad):
    cdef const uint8_t *begin = <const uint8_t *>PyBytes_AS_STRING(block)
    cdef size_t size = PyBytes_GET_SIZE(block), most, lines = 0, skipped = 0, end
    cdef int what
    if size >= <uint64_t>1 << 32:  # offsets of names have 32 bits
        raise ValueError(f"expected a block of less than 4294967296 bytes, got {size}")
    if start > size:
        raise ValueError(f"expected an offset up to {size}, got {start}")
    PyObject_GetBuffer(block, &b.body, PyBUF_SIMPLE)
    b.held = True
    b.columns.body = begin
    most = min(l.rules.batch_samples, (size - start + 1) // 2)  # a sample takes 2 bytes at least
    labels, importances, indptr = _empty(most), _empty(most), _empty(most + 1, _int64)
    b.columns.labels = <double *>_memory(labels)
    b.columns.importances = <double *>_memory(importances)
    b.columns.indptr = <int64_t *>_memory(indptr)
    b.columns.indptr[0] = 0
    l.at = begin + start
    l.end = begin + block.rfind(b"\n") + 1  # a last line that is not ended is read by the parser
    fault = None
    while True:
        with nogil:
            what = lines_read(l)
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
        except LineError as error:
            if not skip_bad:
                fault = error
                break
            skipped += 1
            continue
        if row is not None:
            _add(l, row)
    start = l.at - begin
    b._labels = labels[:b.columns.samples]
    b._importances = importances[:b.columns.samples]
    b.indptr = indptr[:b.columns.samples + 1]
    return Parsed(b, start, lines + l.lines, skipped, fault)


cdef object _add(lines *l, object row):
    """A sample that the Python parser read."""
    cdef bytes name
    label, importance, names, values = row
    for name, value in zip(names, values, strict=True):
        if not lines_add(
                l, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), value):
            raise MemoryError
    end_sample(l.batch, label, importance)


cdef class Judge:
    """What is learned of the progressive margins. See onlinesvm.judge.Judge."""

    cdef judge state
    cdef double threshold, log_one, log_two

    def __cinit__(self, double threshold):
        judge_init(&self.state)
        self.threshold = threshold
        self.log_one, self.log_two = _drift.LOG_ONE, _drift.LOG_TWO

    @property
    def drifts(self):
        return int(self.state.drifts)

    def learn(self, margins, labels, importances):
        """Learn samples in order; the probability of +1 that each had before, float64[n]."""
        cdef size_t n
        margins = _vector(margins, _float64)
        n = len(margins)
        labels = _vector_of(labels, _float64, n, "labels")
        importances = _vector_of(importances, _float64, n, "importances")
        probabilities = _empty(n)
        judge_learn(
            &self.state, self.threshold, self.log_one, self.log_two,
            <const double *>_memory(margins), <const double *>_memory(labels),
            <const double *>_memory(importances), n, <double *>_memory(probabilities))
        return probabilities

    def probabilities(self, margins):
        """The probability of +1 of samples with these margins, float64[n]."""
        cdef size_t n
        margins = _vector(margins, _float64)
        n = len(margins)
        probabilities = _empty(n)
        judge_probabilities(
            &self.state, <const double *>_memory(margins), n, <double *>_memory(probabilities))
        return probabilities

    def dump(self):
        """The state, float64[SIZE]."""
        cdef size_t k
        numbers = _empty(JUDGE_SIZE)
        cdef double *out = <double *>_memory(numbers)
        for k in range(JUDGE_SIZE):
            out[k] = (<double *>&self.state)[k]
        return numbers

    def restore(self, numbers):
        """Take the state of a dump. Raises ValueError for numbers that cannot be one."""
        cdef size_t k
        cdef const double *given
        numbers = _vector(numbers, _float64)
        _judge.check_state(numbers)
        given = <const double *>_memory(numbers)
        for k in range(JUDGE_SIZE):
            (<double *>&self.state)[k] = given[k]
