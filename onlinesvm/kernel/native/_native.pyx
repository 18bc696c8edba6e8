# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: binding=True, embedsignature=False
"""The compiled kernel: the contract's names over the C in csrc/, and nothing more.

The python kernel specifies them; this one gives the same bits and the same errors. Here memory is
reserved and arguments are checked; csrc/ trusts them.

The interpreter's lock is released while samples are walked. Each object has a lock of its own, so
that threads that share one wait for each other. Where both are needed, the lookup's is taken first.
"""

import os

import numpy as np

from onlinesvm import config as _config
from onlinesvm.data.batch import CSR
from onlinesvm.data.bounds import Bounds
from onlinesvm.data.label import joined, label_of_packed, label_of_text, packed
from onlinesvm.data.constants import MOST_IN_SET
from onlinesvm.data.label_sets import LabelSets, LearnedSets
from onlinesvm.data.learned import Learned
from onlinesvm.data.pieces import Pieces
from onlinesvm.data.sweep import Sweep, check_rows, check_sweep
from onlinesvm.data.validation import raise_first_fault
from onlinesvm.errors import LimitError
from onlinesvm.metrics.drift import LOG_ONE, LOG_TWO
from onlinesvm.metrics.temperature import SIZE as TEMPERATURE_SIZE
from onlinesvm.metrics.temperature import Temperature
from onlinesvm.metrics.threshold import Threshold
from onlinesvm.readers.fasttext import FastTextParser
from onlinesvm.readers.labelled_text import TextParser
from onlinesvm.readers.parsing import Parsed, as_record, checked, extracted
from onlinesvm.readers.svmlight import SvmlightParser
from onlinesvm.readers.tokens import LineError
from onlinesvm.readers.vw import VWParser
from onlinesvm.text import unicode_table as _unicode
from onlinesvm.text.categories import check_categories
from onlinesvm.text.numbers import prefix_text
from onlinesvm.text.records import MOST_BYTES, raise_record_fault

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer,
)
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
from libc.math cimport INFINITY, fabs
from libc.stdint cimport SIZE_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset


__all__ = [
    "Decoding",
    "Extractor",
    "NAME",
    "RULES",
    "Lookup",
    "Metrics",
    "Multiclass",
    "Multilabel",
    "decode",
    "decode_columns",
    "encode",
    "learn",
    "parse_block",
    "score",
    "score_fixed",
]

NAME = "native"

cdef bytes _seed = os.urandom(HASH_KEY_BYTES)
hash_seed(<const uint8_t *>PyBytes_AS_STRING(_seed))
_seed = None
lines_init()
idf_set_logs()


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

cdef double MIN_MAGNITUDE = _config.MIN_MAGNITUDE, MAX_MAGNITUDE = _config.MAX_MAGNITUDE
cdef object _empty = np.empty
cdef object _int32 = np.dtype(np.int32)
cdef object _int64 = np.dtype(np.int64)
cdef object _float64 = np.dtype(np.float64)
cdef object _contiguous = np.ascontiguousarray


cdef void *_memory(object array) except? NULL:
    """Where the elements of a contiguous array lie, for as long as the array is held."""
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


def constants():
    """The constants shared with Python as they were compiled, float64, in the order of
    onlinesvm.kernel.constants.values. For tests; no part of the contract.
    """
    read = _empty(CONSTANTS)
    constants_read(<double *>_memory(read))
    return read


include "batch.pxi"
include "text.pxi"
include "bodies.pxi"
include "lookups.pxi"
include "views.pxi"
include "rule.pxi"
include "sgd.pxi"
include "records.pxi"
include "hedge.pxi"
include "metrics.pxi"
include "multiclass.pxi"
include "columns.pxi"
include "learn.pxi"
include "lines.pxi"


def _sgd(config, layout):
    """The rule `sgd`, averaged or not."""
    return Records(config, layout) if config.average else Sgd(config, layout)


RULES = {**dict.fromkeys(_config.RULES, Records), "hedge": Hedge, "sgd": _sgd}
