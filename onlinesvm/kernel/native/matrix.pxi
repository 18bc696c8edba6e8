# Matrices, read where they lie and walked in slabs. Part of native.pyx.

cdef tuple _matrix(object columns, matrix *x):
    """The columns of a matrix, checked; the returned tuple holds their memory."""
    indptr = _vector(columns.indptr, _int64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    held = _elements(columns, len(indptr) - 1, x)
    x.indptr = <const int64_t *>_memory(indptr)
    if not indptr_holds(x.indptr, x.samples, min(len(columns.columns), len(columns.data))):
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    return indptr, held


cdef tuple _elements(object columns, size_t samples, matrix *x):
    """The elements of a matrix of any rows; the returned tuple holds their memory."""
    ids, data, importances = columns.columns, columns.data, columns.importances
    narrow = ids.dtype == _int32
    ids, data = _vector(ids, _int32 if narrow else _int64), _vector(data, _float64)
    x.samples = samples
    x.indptr = NULL
    x.narrow, x.wide, x.importances = NULL, NULL, NULL
    if narrow:
        x.narrow = <const int32_t *>_memory(ids)
    else:
        x.wide = <const int64_t *>_memory(ids)
    x.data = <const double *>_memory(data)
    if importances is not None:
        importances = _vector_of(importances, _float64, samples, "importances")
        x.importances = <const double *>_memory(importances)
    return ids, data, importances


cdef object _row_ends(object indptr, row_ends *ends):
    """The ends of rows, in either width; the returned array holds their memory."""
    narrow = indptr.dtype == _int32
    indptr = _vector(indptr, _int32 if narrow else _int64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    ends.samples = len(indptr) - 1
    ends.narrow, ends.wide = NULL, NULL
    if narrow:
        ends.narrow = <const int32_t *>_memory(indptr)
    else:
        ends.wide = <const int64_t *>_memory(indptr)
    return indptr


cdef class _Walk:
    """A matrix to be walked in slabs: its memory, its longest row and its largest column."""

    cdef matrix x
    cdef row_ends ends
    cdef size_t stored, longest
    cdef uint64_t largest
    cdef object held

    def __cinit__(self, columns):
        cdef int64_t longest
        indptr = _row_ends(columns.indptr, &self.ends)
        self.held = indptr, _elements(columns, self.ends.samples, &self.x)
        self.stored = min(len(columns.columns), len(columns.data))
        with nogil:
            longest = rows_screen(&self.ends, self.stored)
            if longest >= 0:
                self.longest = longest
                self.largest = matrix_largest(&self.x, self.stored)
        if longest < 0:
            raise ValueError("indptr: expected ends of rows that rise within the elements")


def screen_matrix(indptr, values, double most):
    """The faults of a matrix. See onlinesvm.data.matrix.screen_matrix."""
    cdef size_t n, first
    cdef int small
    cdef const double *v
    cdef row_ends ends
    indptr, values = _row_ends(indptr, &ends), _vector(values, _float64)
    n = len(values)
    v = <const double *>_memory(values)
    with nogil:
        first = values_screen(v, n, MIN_MAGNITUDE, most, &small)
        longest = rows_screen(&ends, n)
    return (None if first == n else first), bool(small), longest
