"""The model: a lookup, its heads, the configuration and the position.

One way to learn and one to score, for batches and matrices: columns → ids (lookup) → rule → margins
→ metrics. The kernel walks it in one call, except where rows are normalized before the rule.

With ``max_features_policy="prune"`` the weakest features of a full model leave, some thousand at a
time: see `onlinesvm.model.pruning`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import MANY_LABELS, MOST_LABELS, LearnerConfig, Limits
from onlinesvm.data.batch import CSR, stacked
from onlinesvm.data.label import Written
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.data.pieces import Decoded, Pieces
from onlinesvm.data.pieces import parts as in_parts
from onlinesvm.data.sweep import without_gap
from onlinesvm.errors import ConfigError
from onlinesvm.kernel.contract import KernelDecoding, KernelExtractor, Rows
from onlinesvm.metrics.monitor import report
from onlinesvm.metrics.progressive import Progressive
from onlinesvm.model import ranking
from onlinesvm.model.class_labels import AnyLabels, ClassLabels, SetLabels
from onlinesvm.model.classes import ClassHead
from onlinesvm.model.given import GivenBefore, part_of
from onlinesvm.model.head import Head
from onlinesvm.model.labels import Labels, RefusedLabel
from onlinesvm.model.lookup import features_of, name_text
from onlinesvm.model.mappings import LookupView, WeightsView, names_of
from onlinesvm.model.margins import agreeing, normalized
from onlinesvm.model.pruning import Pruning
from onlinesvm.model.rules.class_state import DROPPED, KNOWN
from onlinesvm.model.scorer import Scorer
from onlinesvm.model.sets import SetHead
from onlinesvm.model.strongest import ends_of
from onlinesvm.snapshot.format import Snapshot, restoring
from onlinesvm.snapshot.view import ModelView
from onlinesvm.text.constants import TEXT_BYTES

if TYPE_CHECKING:
    from onlinesvm.model.explanation import Explanation

__all__ = ["Model", "sided"]

_AT_ONCE = 2**13  # features


class Model:
    """A model of any configuration, over one kernel.

    Samples come as batches that the model's kernel decoded, or in Pieces. One thread learns; on the
    native kernel others may score meanwhile.
    """

    def __init__(self, config: LearnerConfig, limits: Limits, kernel: str | None) -> None:
        self.id = os.urandom(16)  # tells models apart; a snapshot holds it, the digest does not
        self.config = config
        self.limits = limits.under(config.rule)
        self.kernel = kernels.load(kernel)
        self.labels: AnyLabels
        self.head: Head | ClassHead
        if config.task in MANY_LABELS:
            has_sets = config.task == "multilabel"
            kind = SetLabels if has_sets else ClassLabels
            self.labels = kind(config.labels or (), limits.max_labels)
            weight = "balanced" if config.class_weight else None
            most = limits.max_labels_per_feature
            head = SetHead if has_sets else ClassHead
            self.head = head(self.kernel, config.bias, MOST_LABELS, most, weight)
        else:
            named = config.positive or (), config.labels or ()
            self.labels = ranking.NoLabels() if self.is_ranking else Labels(*named)
            self.head = Head(self.kernel, config)
        self.position = 0
        self.cut_texts = 0  # learned since it was made here that were longer than a text may be
        self._prunes = config.max_features_policy == "prune"
        self.extractor = self._extractor()
        self._lookup = self.kernel.Lookup(limits.max_features, self._prunes)
        self.pruning = Pruning(self._lookup, self.head.rule)
        # A prune moves names, then weights: no other thread may score in between.
        self._lock: AbstractContextManager[object] = RLock() if self._prunes else nullcontext()
        self._scorer: Scorer | None = None  # of a frozen model

    @property
    def binary(self) -> tuple[Head, Labels]:
        """Head and labels of a binary model or a ranking. Raises ConfigError for another."""
        if isinstance(self.head, Head) and isinstance(self.labels, Labels):
            return self.head, self.labels
        raise ConfigError(f"task: expected a binary model, got a {self.config.task} one")

    @property
    def many(self) -> tuple[ClassHead, ClassLabels]:
        """Head and labels of a multiclass model. Raises ConfigError for another."""
        if isinstance(self.head, ClassHead) and isinstance(self.labels, ClassLabels):
            return self.head, self.labels
        raise ConfigError(f"task: expected a multiclass model, got a {self.config.task} one")

    @property
    def is_multiclass(self) -> bool:
        """True for a model of many labels, one or several a sample; False for a binary one."""
        return isinstance(self.head, ClassHead)

    @property
    def is_multilabel(self) -> bool:
        """True where a sample has a set of labels."""
        return isinstance(self.head, SetHead)

    @property
    def is_ranking(self) -> bool:
        """True where samples to learn are pairs, and predictions the scores of items."""
        return self.config.task == "ranking"

    def limit(self, limits: Limits) -> None:
        """From the next sample on, hold to these limits. Raises ConfigError."""
        self.limits = limits.under(self.config.rule)
        self._lookup.max_features = limits.max_features
        self.extractor = self._extractor()
        if self.is_multiclass:
            head, labels = self.many
            head.rule.max_labels_per_feature = limits.max_labels_per_feature
            labels.max_labels = limits.max_labels

    def _extractor(self) -> KernelExtractor:
        """The reader of the records of this model: `extractor`, for the kernel's decode."""
        return self.kernel.Extractor(self.config.text_options(), self.limits, TEXT_BYTES)

    def decode(
        self, body: bytes | memoryview, *, labelled: bool, learnable: bool = False
    ) -> Decoded:
        """The samples of a request, records among them, or the pairs to learn of a ranking. See
        `onlinesvm.data.codec.decode`.
        """
        return self.kernel.decode(
            body,
            self.limits,
            labelled=labelled,
            extractor=self.extractor,
            pairs=labelled and self.is_ranking,
            learnable=learnable,
        )

    def decoding(
        self, body: bytes | memoryview, *, labelled: bool, learnable: bool = False
    ) -> KernelDecoding:
        """The same in steps; see `onlinesvm.data.codec.Decoding`."""
        return self.kernel.Decoding(
            body,
            self.limits,
            labelled=labelled,
            extractor=self.extractor,
            pairs=labelled and self.is_ranking,
            learnable=learnable,
        )

    # Learning.

    def learn_batch(
        self, rows: Rows, csr: CSR | None = None, given: GivenBefore | None = None
    ) -> NDArray[np.float64]:
        """Learn the samples of `rows` in order. csr: their ids, of `look_up`. given: of a batch
        that was predicted before, the margins given then, float64[n], or of many classes what
        `give_batch` gave: the metrics go by it.

        Returns the margin of each before its update, float64[n]: of many classes, the score of its
        label less the best other one's. Raises SampleError for a label that the model does not
        take, MemoryError, and nothing has changed then; of Pieces those before may be learned.
        """
        with self._lock:
            if isinstance(rows, Pieces):
                return self._learn_pieces(rows, given)
            if csr is not None:
                return self._learn_looked_up(rows, csr)
            if not (self._prunes or self.is_multiclass) and self.config.normalize == "none":
                return self._learn(rows, given)  # the kernel reserves the memory
            sided(self.labels, rows)
            self.reserve([rows])
            return self._learn(rows, given)

    def _learn_pieces(self, rows: Pieces, given: GivenBefore | None) -> NDArray[np.float64]:
        sided(self.labels, rows)
        margins: list[NDArray[np.float64]] = []
        start = 0
        for piece in rows:
            end = start + len(piece)
            of_piece = None if given is None else part_of(given, start, end)
            margins.append(self.learn_batch(piece, given=of_piece))
            start = end
        return np.concatenate(margins)

    def look_up(self, rows: Rows) -> CSR | None:
        """The ids of `rows`, new names entered: the first half of learning them.

        It may run ahead of the other, on a thread of its own, in the order of learning; a model
        that is to be kept must learn all that was looked up. None, and nothing is entered, where
        a prune or a norm takes both at once.
        """
        if self._prunes or self.config.normalize != "none":
            return None
        self._scorer = None
        return self._entered(rows, 0, len(rows))

    def _entered(self, rows: Rows, first: int, stop: int) -> CSR:
        """The ids of the rows `first` … `stop` − 1, new names entered."""
        csr = self._lookup.ids(rows, grow=True, first=first, stop=stop, tagged=self.is_multiclass)
        self.head.rule.enter(*self._lookup.entered())
        return csr

    def _learn_looked_up(self, rows: Rows, csr: CSR) -> NDArray[np.float64]:
        self._scorer = None
        labels, truths = self._truths(rows)
        importances = rows.importances
        weights, counts = self.head.class_weights.of(truths, importances)
        margins = self.head.learn(csr, truths, weights, importances)
        self.labels, self.head.class_weights.counts = labels, counts
        self._count(rows)
        return margins

    def _count(self, rows: Rows) -> None:
        """Count rows that were learned."""
        self.position += len(rows)
        if not isinstance(rows, Pieces):
            self.cut_texts += rows.cut

    def _learn(self, rows: Rows, given: GivenBefore | None = None) -> NDArray[np.float64]:
        self._scorer = None
        labels, truths = self._truths(rows)
        weights, counts = self.head.class_weights.of(truths, rows.importances)
        first, margins = 0, []
        lengths = _lengths_of(rows) if self._prunes else None
        while True:
            stop = len(rows)
            if lengths is not None and first < stop:
                stop = first + self.pruning.before(self.position + first, lengths[first:])
            margins.append(self._learn_from(first, stop, rows, truths, weights, given))
            self.labels = labels
            first = stop
            if first == len(rows):
                break
        self.head.class_weights.counts = counts
        self._count(rows)
        return margins[0] if len(margins) == 1 else np.concatenate(margins)

    def _truths(self, rows: Rows) -> tuple[AnyLabels, NDArray[Any] | LabelSets]:
        """Each label as the head has it, [n], and the labels that know them all: signs −1.0 or
        +1.0, ids, or sets of ids. The one place where labels become numbers.
        """
        labels = sided(self.labels, rows)
        return labels, labels.truths_of(rows)

    def _learn_from(
        self,
        first: int,
        stop: int,
        rows: Rows,
        truths: Any,
        weights: Any,
        given: GivenBefore | None,
    ) -> NDArray[np.float64]:
        """Learn the rows `first` … `stop` − 1; their margins."""
        head = self.head
        if isinstance(head, Head) and self.config.normalize == "none":
            if given is None:
                return self.kernel.learn(
                    self._lookup, head.rule, head.metrics, rows, truths, weights, first, stop
                )
            unused = self.kernel.Metrics(self.config.threshold)
            margins = self.kernel.learn(
                self._lookup, head.rule, unused, rows, truths, weights, first, stop
            )
            learned = slice(first, stop)
            importances = rows.importances
            assert isinstance(given, np.ndarray)
            head.metrics.observe(given[learned], truths[learned], importances[learned])
            return margins
        csr = self._entered(rows, first, stop)
        learned = slice(first, stop)
        if self.config.normalize != "none":
            # A full lookup leaves new features out of the rows; they count in the norm.
            full = self._lookup.last >= self.limits.max_features
            counted = self._lookup.ids(rows, first=first, stop=stop) if full else None
            csr = normalized(csr, self.config.normalize, counted)
        importances = rows.importances
        weights = importances if weights is None else weights
        before: Any = None if given is None else part_of(given, learned.start, learned.stop)
        return np.asarray(
            head.learn(csr, truths[learned], weights[learned], importances[learned], before)
        )

    def reserve(self, parts: Iterable[Rows]) -> None:
        """Reserve the memory that learning all of `parts` can need for new features.

        Pieces reserve memory as they come. Raises MemoryError, and nothing has changed then.
        """
        for _ in self.reserving(parts):
            pass

    def reserving(self, parts: Iterable[Rows]) -> Iterator[None]:
        """The same in steps."""
        parts = [part for part in parts if not isinstance(part, Pieces)]
        n = self._lookup.reserve(parts)
        self.head.metrics.reserve()
        if isinstance(self.head, Head):
            self.head.rule.reserve(n)
            return
        labels = self.labels
        for part in parts:
            labels = sided(labels, part)
            ids = []
            for some in in_parts(part, _AT_ONCE):
                ids.append(self._lookup.ids(some))
                yield
            csr = ids[0] if len(ids) == 1 else stacked(ids)
            self.head.rule.reserve(csr, labels.truths_of(part), n)

    # Scoring.

    def score_batch(self, rows: Rows) -> NDArray[np.float64]:
        """The margins of the samples of `rows`, float64[n]; of many classes the scores of their
        labels, float64[n, labels], −∞ of those without a learned sample. Changes nothing.
        """
        with self._lock:
            if self.is_multiclass:
                head, labels = self.many
                scores = head.score(self._ids(rows))
                return _columns(scores, labels.ids).astype(np.float64)
            if isinstance(rows, Pieces):
                return np.concatenate([self.score_batch(piece) for piece in rows])
            if self._scorer is not None:
                return self._scorer.score_batch(rows)
            rule, how = self.binary[0].rule, self.config.normalize
            if how == "none":
                return self.kernel.score(self._lookup, rule, rows)
            return rule.score(normalized(self._lookup.ids(rows), how))

    def _ids(self, rows: Rows) -> CSR:
        """The rows over ids, as they are scored."""
        if isinstance(rows, Pieces):
            return stacked([self._ids(piece) for piece in rows])
        csr = self._lookup.ids(rows, tagged=self.is_multiclass)
        how = self.config.normalize
        return csr if how == "none" else normalized(csr, how)

    def top_batch(
        self, rows: Rows, n: int, *, probability: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The best `n` labels of each sample, all for 0, as ids, and their scores, or their
        probabilities, best first, [samples, m] each. Changes nothing.

        m: the smaller of n and the number of labels with a learned sample. Raises ConfigError for a
        binary model.
        """
        with self._lock:
            return self.many[0].top(self._ids(rows), n, probability=probability)

    def give_batch(self, rows: Rows) -> list[bytes]:
        """What predicting gives samples of many classes, as `onlinesvm.model.given` packs it, for
        `learn_batch` once their labels come. Changes nothing. Raises ConfigError for a binary
        model, whose margins are enough.
        """
        with self._lock:
            return self.many[0].give(self._ids(rows))

    def predict_batch(self, rows: Rows) -> NDArray[Any]:
        """The label of each sample, [n]; None before the first is known. Of a multilabel model a
        tuple of labels each, best first. Changes nothing.
        """
        if not self.is_multiclass:
            scores = self.score_batch(rows)
            return scores if self.is_ranking else self.label_margins(scores)
        with self._lock:
            head, labels = self.many
            if isinstance(head, SetHead) and isinstance(labels, SetLabels):
                return labels.pick_sets(head.sets(self._ids(rows))[0])
            ids, _ = head.top(self._ids(rows), 1)
            return labels.pick(ids[:, 0] if ids.size else np.full(len(rows), -1))

    def sets_batch(
        self, rows: Rows, *, probability: bool = False
    ) -> tuple[LabelSets, NDArray[np.float64]]:
        """The predicted labels of each sample of a multilabel model, as ids, best first, and their
        scores, or probabilities. Changes nothing. Raises ConfigError for another model.
        """
        if not isinstance(self.head, SetHead):
            raise ConfigError(f"task: expected a multilabel model, got a {self.config.task} one")
        with self._lock:
            return self.head.sets(self._ids(rows), probability=probability)

    def drop_label(self, label: object) -> None:
        """Drop a label of a multiclass model: its weights count as absent from now on.

        A later sample with its name brings a new label. Raises SampleError for a label that is not
        known, ConfigError for a binary model.
        """
        with self._lock:
            head, labels = self.many
            id = labels.id_of(label)
            states = head.rule.states
            if id < len(states) and states[id] == KNOWN:
                head.drop(id)
            labels = labels.copy()
            labels.drop(id)
            self.labels = labels

    def freeze(self) -> None:
        """Score by a copy of the weights until the next sample is learned: the same bits, faster.

        Takes 8 bytes a feature. A multiclass model scores as before.
        """
        if self.is_multiclass:
            return
        with self._lock:
            self._scorer = Scorer.sharing(self)

    def probabilities(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of +1 of samples with these margins, float64[n], as calibrated by the
        progressive margins so far; of many classes that of each label, float64[n, labels], for
        their scores. Changes nothing.

        Without a `threshold` they agree with the labels: above one half where the margin is above
        0.
        """
        if self.is_multiclass:
            head, labels = self.many
            scores = np.full((len(margins), len(head.rule.states)), -np.inf, dtype=np.float32)
            there = labels.ids < scores.shape[1]
            scores[:, labels.ids[there]] = margins[:, there]
            made = _columns(head.rule.probabilities(scores), labels.ids, 0.0)
            return np.asarray(made, dtype=np.float64)
        if self.is_ranking:
            raise ConfigError("task: expected a model with labels, got a ranking one")
        of = self.head.metrics.probabilities
        if self.config.threshold != 0.0:
            return of(margins)
        return agreeing(of(margins), margins, float(of(np.zeros(1))[0]))

    def label_margins(self, margins: NDArray[np.float64]) -> NDArray[Any]:
        """The labels that these margins mean, [n]: integers, booleans, texts, or objects."""
        if self.is_multiclass:
            _, labels = self.many
            if not len(labels.ids):
                return labels.pick(np.full(len(margins), -1))
            best = labels.ids[margins.argmax(axis=1)]
            return labels.pick(np.where(margins.max(axis=1) > -np.inf, best, -1))
        return self.binary[1].pick(margins > self.config.threshold)

    def features_batch(self, batch: Decoded) -> list[list[tuple[str, float]]]:
        """The features of each sample of `batch`: names and values, in order."""
        if isinstance(batch, Pieces):
            return [shown for piece in batch for shown in self.features_batch(piece)]
        with self._lock:
            return features_of(batch, self._lookup.left_out(batch))

    def explain_batch(
        self, batch: Decoded, label: object = None, other: object = None
    ) -> list[Explanation]:
        """The parts of the margin of each sample of `batch`; changes nothing.

        label: of many classes, the label whose score is explained; left out, the predicted one of
        each sample. other: with it, the lead of `label` over this label is. Raises SampleError for
        one that is not known or has no learned sample, ConfigError for a binary model.
        """
        from onlinesvm.model.explanation import distinct, of_binary, of_classes

        if isinstance(batch, Pieces):
            return [shown for piece in batch for shown in self.explain_batch(piece, label, other)]
        with self._lock:
            csr = self._ids(batch)
            names = distinct(batch, self._lookup.left_out(batch))
            if self.is_multiclass:
                return of_classes(*self.many, names, csr, label, other)
            if label is not None or other is not None:
                raise ConfigError("label: expected none for a binary model, whose margin says both")
            return of_binary(*self.binary, names, csr, self.config.threshold)

    def label_figures(self, first: int, count: int) -> tuple[list[dict[str, Any]], int | None]:
        """Of up to `count` labels from id `first` on: label, id, weight (the importance of its
        samples), recall, precision, f1, those of the recent past, and the label that it is most
        confused with; and the id of the next label, None after the last.

        Raises ConfigError for a binary model.
        """
        head, labels = self.many
        ids = labels.ids
        ids = ids[ids >= first]
        rows = []
        for id in ids[:count].tolist():
            figures = head.by_label.label(id)._asdict()
            confused = figures["confused_with"]
            figures["confused_with"] = None if confused is None else labels.name(confused)
            rows.append({"label": labels.name(id), "id": id, **figures})
        return rows, int(ids[count]) if len(ids) > count else None

    def confusion(self) -> tuple[list[Written | None], NDArray[np.float64]]:
        """The most frequent labels of the recent past, and the weights of its samples by label and
        prediction, [m + 1, m + 1], the last of both for all other labels.

        Raises ConfigError for a model that is not multiclass.
        """
        head, labels = self.many
        if self.is_multilabel:
            raise ConfigError("task: expected a multiclass model, got a multilabel one")
        ids, weights = head.by_label.confusion()
        return [labels.name(id) for id in ids], weights

    # The learned state.

    @property
    def lookup(self) -> LookupView:
        """Feature → id, read-only."""
        return LookupView(self._lookup, self._lock, self._prunes)

    @property
    def weights(self) -> WeightsView:
        """Feature → weight, read-only; the bias is `bias`. Of a binary model."""
        return WeightsView(self._lookup, self._lock, self._prunes, self.binary[0].rule)

    @property
    def bias(self) -> float:
        """The weight that every sample has; 0.0 for a learner without one. Of a binary model."""
        return self.binary[0].bias

    def strongest(self, n: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
        """The `n` features of largest weight above 0, and of smallest below, strongest first.

        Raises ValueError for an `n` below 0.
        """
        if n < 0:
            raise ValueError(f"n: expected a number of features from 0, got {n}")
        with self._lock:
            weights = self.binary[0].rule.weights(self._lookup.last)[0][1:]
            weights = without_gap(weights, self._lookup.sweep)
            view = self._lookup.view()  # not fewer names than weights
        ends = ends_of(weights, n)
        wanted = {i for end in ends for i in end}
        names = {i: name_text(name) for i, name in enumerate(names_of(view)) if i in wanted}
        up, down = ([(names[i], float(weights[i])) for i in end] for end in ends)
        return up, down

    @property
    def progressive(self) -> Progressive:
        """The progressive error and loss so far."""
        return self.head.progressive

    @property
    def metrics(self) -> dict[str, Any]:
        """How well the classes are separated (`balanced_error`, `precision`, `recall`, `f1`, over
        all and ``recent_``; `recent_auc`), how far probabilities can be trusted
        (`recent_calibration_error`), and `drifts`, `samples_since_drift`. None where unknown. Of
        many classes `balanced_error`, `macro_f1`, and the last three; of a ranking `pair_error`,
        `recent_pair_error`, and the last two.
        """
        if isinstance(self.head, ClassHead):
            return self.head.metrics_report
        if self.is_ranking:
            return ranking.report(self.head)
        return report(self.head.metrics.dump())

    @property
    def name_bytes(self) -> int:
        """The bytes of the names of all features."""
        return self._lookup.name_bytes

    @property
    def refused_features(self) -> int:
        """How often a new feature was left out as the model was full, since it was made here."""
        return self._lookup.refused

    @property
    def drifts(self) -> int:
        """The number of drifts reported so far."""
        return self.head.drifts

    @property
    def experts(self) -> dict[str, dict[str, float | None]] | None:
        """For a hedge, each expert's `weight`, `error`, `loss`, `recent_error`, `recent_loss`; the
        `stack` over them too. None for another rule.
        """
        return self.head.experts

    # Snapshots.

    def snapshot(self) -> Snapshot:
        """A copy of the whole state, as a snapshot holds it; changes nothing."""
        return self.view().snapshot()

    def view(self) -> ModelView:
        """The state as it is now, to be copied on another thread while this one learns on.

        Returns at once on the native kernel; the python kernel copies all of the state first.
        """
        with self._lock:
            head = {  # of the same instant where no other thread learns
                "id": self.id,
                "config": self.config,
                "max_features": self.limits.max_features,
                "max_labels_per_feature": self.limits.max_labels_per_feature,
                "bounds": self.limits.bounds,
                "kernel": self.kernel.NAME,
                "position": self.position,
                "categories": self._lookup.categories,
                "prune": self.pruning.dump(),
                "labels": [] if self.is_multiclass else self.binary[1].dump(),
                **self.head.dump(),
            }
            n = self._lookup.last
            if isinstance(self.head, Head):
                return ModelView(head, self._lookup.view(), self.head.rule.view(n))
            return ModelView(head, self._lookup.view(), self.head.view(n, self.many[1].dump()))

    @classmethod
    def from_snapshot(
        cls, taken: Snapshot, *, limits: Limits | None = None, kernel: str | None = None
    ) -> Self:
        """The model that `taken` holds. Raises SnapshotError if the parts do not make a model."""
        model = cls.__new__(cls)
        limits = limits or taken.limits
        Model.__init__(model, taken.config, limits, kernel)
        if model.is_multiclass:
            model._restore_classes(taken)
        else:
            head, labels = model.binary
            taken.restore(model._lookup, head.rule)
            with restoring():
                head.restore(taken.totals, taken.counters)
            labels.restore(taken.labels)
        with restoring():
            model.pruning.restore(taken.prune)
        model.id, model.position = taken.id, taken.position
        return model

    def _restore_classes(self, taken: Snapshot) -> None:
        head, labels = self.many
        with restoring():
            arrays = dict(taken.arrays)
            labels.restore(arrays.pop("label_lengths"), arrays.pop("label_names"))
            if len(arrays["seen"]) != len(taken.lengths):
                raise ValueError(f"seen: expected {len(taken.lengths)} numbers")
            self._lookup.restore(taken.lengths, taken.names, taken.categories, taken.sweep)
            arrays["progressive"] = np.array([*taken.totals, *taken.counters["monitor"]])
            head.restore(arrays, taken.scalars)
            taken.open_gap(head.rule)
            states = head.rule.states
            named = np.isin(np.arange(len(states)), labels.ids)
            if len(states) > len(labels) or bool((named != (states != DROPPED))[states > 0].any()):
                raise ValueError("label_states: expected a name for each label that is known")


def sided(labels: AnyLabels, rows: Rows) -> AnyLabels:
    """`labels`, or a copy of them that has learned those of `rows` too.

    Raises SampleError for a label that they do not take, at its first sample.
    """
    table = rows.label_table
    if labels.know(table):
        return labels
    labels = labels.copy()
    try:
        labels.learn(table)
    except RefusedLabel as error:
        sample = int((np.asarray(rows.label_ids) == error.place).argmax())
        raise error.placed(sample, 0) from None
    return labels


def _lengths_of(rows: Rows) -> NDArray[np.int64]:
    """How many features each sample has, as it came."""
    assert not isinstance(rows, Pieces)  # they are learned one by one
    ends: NDArray[np.int64] = np.asarray(rows.indptr, dtype=np.int64)
    return ends[1:] - ends[:-1]


def _columns(by_id: NDArray[Any], ids: NDArray[np.int32], missing: float = -np.inf) -> NDArray[Any]:
    """The columns `ids` of an array that may lack the last ones."""
    n, k = by_id.shape
    if len(ids) == k and (not k or ids[-1] == k - 1):
        return by_id
    made = np.full((n, len(ids)), missing, dtype=by_id.dtype)
    there = ids < k
    made[:, there] = by_id[:, ids[there]]
    return made
