# The metrics of progressive margins. Part of native.pyx.

cdef class Metrics:
    """Progressive totals, calibration, confusion, drift. See onlinesvm.metrics.monitor.Metrics."""

    cdef double[TOTALS] totals
    cdef monitor *state  # NULL until there is something to count: it takes 3 kB
    cdef double threshold

    def __cinit__(self, double threshold):
        memset(self.totals, 0, sizeof(self.totals))
        self.threshold = threshold

    def __dealloc__(self):
        free(self.state)

    def reserve(self):
        """Memory to observe in. See onlinesvm.metrics.monitor.Metrics.reserve."""
        self.begin()

    cdef int begin(self) except -1:
        if not self.state:
            self.state = <monitor *>malloc(sizeof(monitor))
            if not self.state:
                raise MemoryError
            self.state[0] = _fresh_monitor
        return 0

    cdef const monitor *counted(self) noexcept nogil:
        """The state to read."""
        return self.state if self.state else &_fresh_monitor

    cdef void observe_all(self, const double *margins, const double *signs,
                          const double *importances, size_t n, double *probabilities) noexcept nogil:
        """Count samples, after `begin`; the probabilities that they had, unless NULL."""
        progressive_observe(self.totals, margins, signs, importances, self.threshold, n)
        monitor_learn(self.state, self.threshold, _log_one, _log_two, margins, signs, importances,
                      n, probabilities)

    def observe(self, margins, signs, importances):
        """Count samples in order; the probability of +1 that each had before, float64[n]."""
        cdef size_t n
        margins = _vector(margins, _float64)
        n = len(margins)
        signs = _vector_of(signs, _float64, n, "signs")
        importances = _vector_of(importances, _float64, n, "importances")
        probabilities = _empty(n)
        self.begin()
        self.observe_all(
            <const double *>_memory(margins), <const double *>_memory(signs),
            <const double *>_memory(importances), n, <double *>_memory(probabilities))
        return probabilities

    def probabilities(self, margins):
        """The probability of +1 of samples with these margins, float64[n]."""
        cdef size_t n
        margins = _vector(margins, _float64)
        n = len(margins)
        probabilities = _empty(n)
        monitor_probabilities(
            self.counted(), <const double *>_memory(margins), n, <double *>_memory(probabilities))
        return probabilities

    def dump(self):
        """The state, float64[SIZE]: first the progressive totals."""
        numbers = _empty(TOTALS + MONITOR_SIZE)
        cdef double *out = <double *>_memory(numbers)
        memcpy(out, self.totals, sizeof(self.totals))
        memcpy(out + TOTALS, self.counted(), sizeof(monitor))
        return numbers

    def restore(self, numbers):
        """Replace the state by a dump."""
        cdef const double *given
        numbers = _vector(numbers, _float64)
        if len(numbers) != TOTALS + MONITOR_SIZE:
            raise ValueError(
                f"metrics: expected {TOTALS + MONITOR_SIZE} numbers, got {len(numbers)}")
        given = <const double *>_memory(numbers)
        self.begin()
        memcpy(self.totals, given, sizeof(self.totals))
        memcpy(self.state, given + TOTALS, sizeof(monitor))


cdef monitor _fresh_monitor
monitor_init(&_fresh_monitor)
cdef double _log_one = LOG_ONE, _log_two = LOG_TWO
