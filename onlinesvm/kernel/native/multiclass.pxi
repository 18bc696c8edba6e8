# The learner of many classes. Part of native.pyx.

cdef class Multiclass:
    """One-vs-rest experts and a mixture. See onlinesvm.model.rules.multiclass.Multiclass."""

    cdef multiclass rule
    cdef PyThread_type_lock lock
    cdef readonly object max_labels
    cdef object layout

    def __cinit__(self, bias, max_labels, max_labels_per_feature, layout):
        self.layout = layout
        layout.check_bounds(max_labels, max_labels_per_feature)
        self.lock = PyThread_allocate_lock()
        if not self.lock:
            raise MemoryError
        multiclass_init(&self.rule, bias, max_labels_per_feature)
        self.max_labels = max_labels

    def __dealloc__(self):
        multiclass_clear(&self.rule)
        if self.lock:
            PyThread_free_lock(self.lock)

    @property
    def max_labels_per_feature(self):
        """How many labels' weights a feature may hold, from the next sample on."""
        return self.rule.most

    @max_labels_per_feature.setter
    def max_labels_per_feature(self, most):
        self.layout.check_bounds(self.max_labels, most)
        self.rule.most = most

    @property
    def states(self):
        """Of each label id so far: 0 never learned, 1 known, 2 dropped."""
        _lock(self.lock)
        try:
            states = _empty(self.rule.labels, np.uint8)
            _copy(states, self.rule.states, self.rule.labels)
        finally:
            PyThread_release_lock(self.lock)
        return states

    @property
    def coefficients(self):
        """The factors of the experts' scores, float64[4]."""
        made = _empty(CLASS_EXPERTS)
        multiclass_coefficients(&self.rule, <double *>_memory(made))
        return made

    @property
    def texts(self):
        """Of each view, how many learned samples had a text's feature of it."""
        return tuple([self.rule.with_view[v] for v in range(VIEWS)])

    def enter(self, size_t first, bytes tags not None):
        """The tags of new features. See onlinesvm.model.rules.multiclass.Multiclass.enter."""
        cdef size_t n = len(tags)
        if not n:
            return
        _lock(self.lock)
        try:
            if not blocks_reserve(&self.rule.state, min(first + n, MOST_IDS)):
                raise MemoryError
            multiclass_enter(&self.rule, first, <const uint8_t *>PyBytes_AS_STRING(tags), n)
        finally:
            PyThread_release_lock(self.lock)

    def drop(self, label):
        """Drop a known label. See onlinesvm.model.rules.multiclass.Multiclass.drop."""
        cdef size_t known
        _lock(self.lock)
        try:
            if not 0 <= label < <object>self.rule.labels:
                raise ValueError(f"label: expected a known one, got {label}")
            known = label
            if self.rule.states[known] != 1:
                raise ValueError(f"label: expected a known one, got {label}")
            multiclass_drop(&self.rule, known)
        finally:
            PyThread_release_lock(self.lock)

    def _reserved(self):
        """Bytes of all rows' memory, for tests."""
        return self.rule.rows.total

    cdef object check_labels(self, object labels, size_t samples):
        """The labels as an array, checked; under the lock."""
        cdef const int32_t *ids
        cdef int32_t least = 0, most = 0
        cdef size_t i
        labels = _vector_of(labels, _int32, samples, "labels")
        ids = <const int32_t *>_memory(labels)
        for i in range(samples):
            least, most = min(least, ids[i]), max(most, ids[i])
        if least < 0 or most >= self.max_labels:
            wrong = least if least < 0 else most
            raise ValueError(f"labels: expected ids from 0 to {self.max_labels - 1}, got {wrong}")
        for i in range(samples):
            if <size_t>ids[i] < self.rule.labels and self.rule.states[ids[i]] == 2:
                raise ValueError(f"labels: expected none that was dropped, got {ids[i]}")
        return labels

    cdef int reserve_rows(self, const rows *x, size_t samples, uint32_t largest,
                          object labels, const int64_t *sets) except -1:
        """Memory for all that learning these rows can need; under the lock. sets: where the labels
        of each start, NULL where each has one.
        """
        cdef const int32_t *ids = <const int32_t *>_memory(labels)
        cdef int32_t most = -1
        cdef bint there
        cdef size_t i
        for i in range(<size_t>len(labels)):
            most = max(most, ids[i])
        with nogil:
            there = (blocks_reserve(&self.rule.state, largest)
                     and multiclass_reserve_labels(&self.rule, most + 1)
                     and multiclass_reserve_row(&self.rule, rows_longest(x, samples))
                     and multiclass_reserve_entries(&self.rule, x, samples, sets))
        if not there:
            raise MemoryError
        return 0

    def reserve(self, csr, labels, n=0):
        """Memory to learn these rows, of ids up to `n`. See onlinesvm.model.rules.multiclass.Multiclass.reserve."""
        cdef rows x
        cdef size_t samples
        held = _csr(csr, &x, &samples)
        _lock(self.lock)
        try:
            labels = self.check_labels(labels, samples)
            largest = min(max(_largest_id(&x, samples, held, CLASS_LEAST_INDEX), n), MOST_IDS)
            self.reserve_rows(&x, samples, largest, labels, NULL)
        finally:
            PyThread_release_lock(self.lock)
        del held

    def learn(self, csr, labels, importances):
        """Score, then learn, row by row. See onlinesvm.model.rules.multiclass.Multiclass.learn."""
        cdef rows x
        cdef size_t samples
        cdef const int32_t *ids
        cdef const double *h
        cdef double *margins
        cdef double *confidences
        cdef int32_t *predicted
        held = _csr(csr, &x, &samples)
        importances = _vector_of(importances, _float64, samples, "importances")
        h = <const double *>_memory(importances)
        learned = Learned(_empty(samples), _empty(samples, _int32), _empty(samples))
        margins = <double *>_memory(learned.margins)
        predicted = <int32_t *>_memory(learned.predicted)
        confidences = <double *>_memory(learned.confidences)
        _lock(self.lock)
        try:
            labels = self.check_labels(labels, samples)
            ids = <const int32_t *>_memory(labels)
            self.reserve_rows(&x, samples, _largest_id(&x, samples, held, CLASS_LEAST_INDEX), labels, NULL)
            with nogil:
                multiclass_learn(&self.rule, &x, samples, ids, h, margins, predicted, confidences)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return learned

    def score(self, csr):
        """The scores u of the rows, float32[n, k], −∞ of labels that are not known."""
        cdef rows x
        cdef size_t samples
        cdef float *out
        held = _csr(csr, &x, &samples)
        _largest_id(&x, samples, held, CLASS_LEAST_INDEX)
        _lock(self.lock)
        try:
            if not multiclass_reserve_row(&self.rule, rows_longest(&x, samples)):
                raise MemoryError
            made = _empty((samples, self.rule.labels), np.float32)
            out = <float *>_memory(made)
            with nogil:
                multiclass_score(&self.rule, &x, samples, out)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return made

    def probabilities(self, scores):
        """The probabilities of rows of scores, float64[n, k]."""
        learned = Temperature()
        learned.restore(iter(_doubles(&self.rule.temperature, TEMPERATURE_SIZE)))
        return learned.probabilities(scores)

    def feature(self, id):
        """The labels that a feature knows, and more. See
        onlinesvm.model.rules.multiclass.Multiclass.feature.
        """
        if id == 0:
            known = np.flatnonzero(self.states == 1).astype(np.int32)
            arrays = self.labels_now()
            return known, arrays["bias_weights"].reshape(-1, CLASS_EXPERTS)[known], (1.0, 0, 0, 0, 0)
        if not 0 < id <= <object>MOST_IDS:
            raise ValueError(f"id: expected one from 0 to {MOST_IDS}, got {id}")
        arrays = self.features_now(id, 1)
        counts = tuple(arrays[name][0].item() for name in ("mean_squares", "ages", "runs", "seen"))
        tag = arrays["views"][0].item() if "views" in arrays else 0
        weights = arrays["row_weights"].reshape(-1, CLASS_EXPERTS)
        return arrays["row_labels"], weights, (*counts, tag)

    cdef dict labels_now(self):
        states = _empty(self.rule.labels, np.uint8)
        bias = _empty(self.rule.labels * CLASS_EXPERTS, np.float32)
        _copy(states, self.rule.states, self.rule.labels)
        _copy(bias, self.rule.bias, self.rule.labels * CLASS_EXPERTS * sizeof(float))
        return {"label_states": states, "bias_weights": bias}

    cdef dict features_now(self, size_t first, size_t n):
        cdef size_t entries
        cdef class_arrays to
        with nogil:
            entries = multiclass_entries(&self.rule, first, n)
        made = {
            "mean_squares": _empty(n), "ages": _empty(n, _int64), "runs": _empty(n, _int64),
            "seen": _empty(n, _int64), "second_orders": _empty(n * CLASS_EXPERTS, np.float32),
            "row_lengths": _empty(n, _int32), "row_labels": _empty(entries, _int32),
            "row_weights": _empty(entries * CLASS_EXPERTS, np.float32),
        }
        if not self.rule.plain:
            made["views"] = _empty(n, np.uint8)
        _class_arrays(made, &to)
        with nogil:
            multiclass_dump(&self.rule, first, n, &to)
        return made

    cdef dict more_arrays(self):
        """The arrays of a view beside those of features and labels."""
        return {}

    cdef dict scalars(self):
        cdef const double *judged = multiclass_judged(&self.rule)
        cdef const float *second = <const float *>&self.rule.bias_second
        cdef int mixed = sizeof(class_mixture) // sizeof(double)
        cdef size_t k
        numbers = (
            self.rule.samples, self.rule.log_importance,
            *[second[k] for k in range(CLASS_EXPERTS)], *_doubles(&self.rule.mixture, mixed),
            self.rule.judged_weights[0], self.rule.judged_weights[1],
            *[judged[k] for k in range(CLASS_JUDGED)],
            *_doubles(&self.rule.temperature, TEMPERATURE_SIZE),
        )
        return dict(zip(self.layout.scalars, numbers, strict=True))

    def view(self, n):
        """The state of ids 1 … n and of all labels. See
        onlinesvm.model.rules.multiclass.Multiclass.view.
        """
        _lock(self.lock)
        try:
            arrays = {**self.features_now(1, n), **self.labels_now()}
            if not self.rule.plain:
                arrays["views"] = arrays.pop("views")
                arrays["view_samples"] = np.array(self.texts, dtype=np.int64)
            return ClassView({**arrays, **self.more_arrays()}, self.scalars())
        finally:
            PyThread_release_lock(self.lock)

    def restore(self, arrays, scalars):
        """Replace the state. See onlinesvm.model.rules.multiclass.Multiclass.restore."""
        cdef multiclass made, old
        cdef class_arrays given
        cdef size_t n, labels
        cdef int k
        cdef const uint8_t *states
        cdef const float *bias
        cdef const double *numbers
        cdef bint there
        self.layout.check(arrays, scalars, self.max_labels)
        held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        _class_arrays(held, &given)
        n, labels = len(held["seen"]), len(held["label_states"])
        if n > MOST_IDS:
            raise MemoryError
        states = <const uint8_t *>_memory(held["label_states"])
        bias = <const float *>_memory(held["bias_weights"])
        rest = np.array([scalars[name] for name in self.layout.scalars][1:], dtype=np.float64)
        second = rest[1:5].astype(np.float32)
        numbers = <const double *>_memory(rest)
        multiclass_init(&made, self.rule.has_bias, self.rule.most)
        with nogil:
            there = multiclass_take(&made, n, labels, &given, states, bias)
        if not there:
            multiclass_clear(&made)
            raise MemoryError
        made.plain = "views" not in held
        if not made.plain:
            for k in range(VIEWS):
                made.with_view[k] = held["view_samples"][k]
                made.logs[k] = idf_log(made.with_view[k])
        made.samples, made.log_importance = scalars["samples"], numbers[0]
        memcpy(&made.bias_second, <const float *>_memory(second), CLASS_EXPERTS * sizeof(float))
        numbers = self.take_mixture(&made, numbers + 1 + CLASS_EXPERTS)
        memcpy(made.judged_weights, numbers, 2 * sizeof(double))
        memcpy(multiclass_judged(&made), numbers + 2, CLASS_JUDGED * sizeof(double))
        _lock(self.lock)
        self.take_rest(&made, numbers + 2 + CLASS_JUDGED, held)
        old, self.rule = self.rule, made
        PyThread_release_lock(self.lock)
        multiclass_clear(&old)

    cdef const double *take_mixture(self, multiclass *made, const double *numbers) noexcept:
        """Give `made` the mixture at `numbers`; what follows it."""
        memcpy(&made.mixture, numbers, sizeof(class_mixture))
        return numbers + sizeof(class_mixture) // sizeof(double)

    cdef int take_rest(self, multiclass *made, const double *numbers, dict arrays) except -1:
        """Take what a state has beside."""
        memcpy(&made.temperature, numbers, sizeof(temperature))
        return 0

    def strengths(self, ids):
        """The magnitudes of weights. See
        onlinesvm.model.rules.class_state.ClassState.strengths.
        """
        cdef size_t n, i
        cdef const int32_t *given
        cdef double *out
        ids = _ids_of(ids)
        n = len(ids)
        given = <const int32_t *>_memory(ids)
        made = _empty(n)
        out = <double *>_memory(made)
        _lock(self.lock)
        with nogil:
            for i in range(n):
                multiclass_strengths(&self.rule, <uint32_t>given[i], 1, out + i)
        PyThread_release_lock(self.lock)
        return made

    def move(self, uint32_t to, uint32_t first, kept):
        """Move the state of features. See onlinesvm.model.rules.rule.Rule.move."""
        cdef const uint8_t *stays
        cdef size_t n
        kept = _kept_of(to, first, kept)
        n = len(kept)
        stays = <const uint8_t *>_memory(kept)
        _lock(self.lock)
        with nogil:
            multiclass_release(&self.rule, first, n, stays)
            blocks_move(&self.rule.state, NULL, to, first, n, stays)
        PyThread_release_lock(self.lock)

    def open_gap(self, uint32_t first, size_t n, uint32_t gap):
        """Move the state of features up. See onlinesvm.model.rules.rule.Rule.open_gap."""
        _lock(self.lock)
        try:
            if not blocks_reserve(&self.rule.state, min(first + n + gap, MOST_IDS)):
                raise MemoryError
            with nogil:
                blocks_raise(&self.rule.state, first, n, gap)
        finally:
            PyThread_release_lock(self.lock)


cdef class Multilabel(Multiclass):
    """The learner of several labels a sample. See onlinesvm.model.rules.multilabel.Multilabel."""

    cdef set_threshold cut

    def __cinit__(self, bias, max_labels, max_labels_per_feature, layout):
        set_threshold_init(&self.cut)

    @property
    def threshold(self):
        """The score above which a label is predicted."""
        return self.cut.value

    def reserve(self, csr, labels, n=0):
        """Memory to learn these rows, of ids up to `n`. See
        onlinesvm.model.rules.multiclass.Multiclass.reserve.
        """
        cdef rows x
        cdef size_t samples
        held = _csr(csr, &x, &samples)
        _lock(self.lock)
        try:
            ids, starts = self.check_sets(labels, samples)
            largest = min(max(_largest_id(&x, samples, held, CLASS_LEAST_INDEX), n), MOST_IDS)
            self.reserve_rows(&x, samples, largest, ids, <const int64_t *>_memory(starts))
        finally:
            PyThread_release_lock(self.lock)
        del held

    cdef tuple check_sets(self, object labels, size_t samples):
        """The ids of label sets, checked, and where each sample's start; under the lock."""
        cdef const int64_t *starts
        cdef size_t i
        at = _vector_of(labels.starts, _int64, samples + 1, "starts")
        starts = <const int64_t *>_memory(at)
        if starts[0] != 0 or starts[samples] != len(labels.ids):
            raise ValueError("labels: expected starts from 0 to the number of ids")
        for i in range(samples):
            if not 0 <= starts[i + 1] - starts[i] <= MOST_IN_SET:
                raise ValueError(f"labels: expected up to {MOST_IN_SET} a sample")
        return self.check_labels(labels.ids, len(labels.ids)), at

    def learn(self, csr, labels, importances):
        """Score, then learn, row by row. See onlinesvm.model.rules.multilabel.Multilabel.learn."""
        cdef rows x
        cdef size_t samples, room
        cdef const int32_t *ids
        cdef const int64_t *starts
        cdef const double *h
        cdef double *margins
        cdef int64_t *ends
        cdef int32_t *predicted
        held = _csr(csr, &x, &samples)
        importances = _vector_of(importances, _float64, samples, "importances")
        h = <const double *>_memory(importances)
        made, found_starts = _empty(samples), _empty(samples + 1, _int64)
        margins, ends = <double *>_memory(made), <int64_t *>_memory(found_starts)
        _lock(self.lock)
        try:
            checked, at = self.check_sets(labels, samples)
            ids, starts = <const int32_t *>_memory(checked), <const int64_t *>_memory(at)
            self.reserve_rows(&x, samples, _largest_id(&x, samples, held, CLASS_LEAST_INDEX), checked, starts)
            room = max(self.rule.labels, <size_t>(int(checked.max(initial=-1)) + 1))
            found = _empty(samples * min(room, SET_MOST_PREDICTED), _int32)
            predicted = <int32_t *>_memory(found)
            with nogil:
                multilabel_learn(
                    &self.rule, &self.cut, &x, samples, starts, ids, h, margins, ends, predicted)
        finally:
            PyThread_release_lock(self.lock)
        del held
        return LearnedSets(made, LabelSets(found_starts, found[:int(ends[samples])].copy()))

    def probabilities(self, scores):
        """The probability of each label, by rows of scores, float64[n, k]."""
        learned = Threshold()
        learned.restore(iter(_doubles(&self.cut, 2 + 2 * SET_BINS)))
        return learned.probabilities(scores)

    cdef dict more_arrays(self):
        cut = _empty(2 + 2 * SET_BINS)
        _copy(cut, &self.cut, sizeof(set_threshold))
        return {"threshold": cut}

    cdef dict scalars(self):
        cdef const double *judged = multiclass_judged(&self.rule)
        cdef const float *second = <const float *>&self.rule.bias_second
        cdef size_t k
        numbers = (
            self.rule.samples, self.rule.log_importance,
            *[second[k] for k in range(CLASS_EXPERTS)],
            *[self.rule.mixture.coefficients[k] for k in range(CLASS_EXPERTS)],
            *[self.rule.mixture.losses[k] for k in range(CLASS_EXPERTS)],
            self.rule.judged_weights[0], self.rule.judged_weights[1],
            *[judged[k] for k in range(CLASS_JUDGED)],
        )
        return dict(zip(self.layout.scalars, numbers, strict=True))

    cdef const double *take_mixture(self, multiclass *made, const double *numbers) noexcept:
        memcpy(made.mixture.coefficients, numbers, CLASS_EXPERTS * sizeof(double))
        memcpy(made.mixture.losses, numbers + CLASS_EXPERTS, CLASS_EXPERTS * sizeof(double))
        return numbers + 2 * CLASS_EXPERTS

    cdef int take_rest(self, multiclass *made, const double *numbers, dict arrays) except -1:
        memcpy(&self.cut, _memory(arrays["threshold"]), sizeof(set_threshold))
        return 0


class ClassView:
    """A copy of the state. See onlinesvm.kernel.contract.KernelView."""

    def __init__(self, arrays, scalars):
        self._arrays, self.scalars = arrays, scalars

    def arrays(self):
        """The state, in arrays by id from 1; once."""
        arrays, self._arrays = self._arrays, None
        if arrays is None:
            raise ValueError("expected a view that is open, got one that was read or closed")
        return arrays

    def close(self):
        """Free the copy; may be called twice."""
        self._arrays = None


cdef int _copy(object array, const void *memory, size_t size) except -1:
    if size:
        memcpy(_memory(array), memory, size)
    return 0


cdef list _doubles(const void *memory, size_t n):
    cdef const double *numbers = <const double *>memory
    cdef size_t k
    return [numbers[k] for k in range(n)]


cdef int _class_arrays(dict made, class_arrays *to) except -1:
    to.mean_squares = <double *>_memory(made["mean_squares"])
    to.ages, to.runs = <int64_t *>_memory(made["ages"]), <int64_t *>_memory(made["runs"])
    to.seen = <int64_t *>_memory(made["seen"])
    to.second_orders = <float *>_memory(made["second_orders"])
    to.row_lengths = <int32_t *>_memory(made["row_lengths"])
    to.row_labels = <int32_t *>_memory(made["row_labels"])
    to.row_weights = <float *>_memory(made["row_weights"])
    to.tags = <uint8_t *>_memory(made["views"]) if "views" in made else NULL
    return 0
