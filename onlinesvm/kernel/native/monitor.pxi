# Progressive validation and what is learned of the margins. Part of native.pyx.

def observe(totals, margins, labels, importances, double threshold=0.0):
    """Add samples to `totals`, in order. See onlinesvm.metrics.progressive.observe."""
    cdef Py_buffer view
    cdef size_t n
    margins = _vector(margins, _float64)
    n = len(margins)
    labels = _vector_of(labels, _float64, n, "labels")
    importances = _vector_of(importances, _float64, n, "importances")
    _totals(totals, &view)
    try:
        progressive_observe(
            <double *>view.buf, <const double *>_memory(margins),
            <const double *>_memory(labels), <const double *>_memory(importances), threshold, n)
    finally:
        PyBuffer_Release(&view)


cdef int _totals(object totals, Py_buffer *view) except -1:
    """Where the progressive totals lie; to be released."""
    if totals.dtype != _float64:
        raise ValueError(f"totals: expected float64, got {totals.dtype}")
    PyObject_GetBuffer(totals, view, PyBUF_WRITABLE)
    if <size_t>view.len != TOTALS * sizeof(double):
        PyBuffer_Release(view)
        raise ValueError(f"totals: expected {TOTALS} elements, got {len(totals)}")
    return 0


cdef class Judge:
    """What is learned of the progressive margins. See onlinesvm.metrics.monitor.Judge."""

    cdef monitor state
    cdef double threshold, log_one, log_two

    def __cinit__(self, double threshold):
        monitor_init(&self.state)
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
        monitor_learn(
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
        monitor_probabilities(
            &self.state, <const double *>_memory(margins), n, <double *>_memory(probabilities))
        return probabilities

    def dump(self):
        """The state, float64[SIZE]."""
        cdef size_t k
        numbers = _empty(MONITOR_SIZE)
        cdef double *out = <double *>_memory(numbers)
        for k in range(MONITOR_SIZE):
            out[k] = (<double *>&self.state)[k]
        return numbers

    def restore(self, numbers):
        """Take the state of a dump. Raises ValueError for numbers that cannot be one."""
        cdef size_t k
        cdef const double *given
        numbers = _vector(numbers, _float64)
        _judge.check_state(numbers)
        given = <const double *>_memory(numbers)
        for k in range(MONITOR_SIZE):
            (<double *>&self.state)[k] = given[k]
