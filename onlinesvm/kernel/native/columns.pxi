# Rows of a matrix to Batch. Part of native.pyx.

def decode_columns(indptr, columns, data, targets):
    """Rows of a matrix as a batch. See onlinesvm.data.matrix.decode_columns."""
    cdef Batch b = Batch.__new__(Batch)
    cdef column_rows x
    cdef bint made, narrow = columns.dtype == _int32
    indptr, data = _vector(indptr, _int64), _vector(data, _float64)
    columns = _vector(columns, _int32 if narrow else _int64)
    if not len(indptr):
        raise ValueError("indptr: expected an element at least, got none")
    x.samples = len(indptr) - 1
    x.indptr = <const int64_t *>_memory(indptr)
    x.narrow, x.wide = NULL, NULL
    if narrow:
        x.narrow = <const int32_t *>_memory(columns)
    else:
        x.wide = <const int64_t *>_memory(columns)
    x.data = <const double *>_memory(data)
    if not indptr_holds(x.indptr, x.samples, min(len(columns), len(data))):
        raise ValueError("indptr: expected ends of rows that rise within the elements")
    if targets is not None:
        b.label_table = list(targets.label_table)
        b._label_ids = _vector_of(targets.label_ids, _int32, x.samples, "label_ids")
        b._importances = _vector_of(targets.importances, _float64, x.samples, "importances")
        b.columns.label_ids = <int32_t *>_memory(b._label_ids)
        b.columns.importances = <double *>_memory(b._importances)
    b.indptr = _empty(x.samples + 1, _int64)
    b.columns.indptr = <int64_t *>_memory(b.indptr)
    batch_expect(&b.columns, 16 * len(data), 0)
    with nogil:
        made = batch_of_columns(&b.columns, &x)
    if not made:
        raise MemoryError
    return b
