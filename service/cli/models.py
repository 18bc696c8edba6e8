"""The model that scores batches for a command: a snapshot file's, or a daemon's over the wire."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onlinesvm import kernel as kernels
from onlinesvm.config import MANY_LABELS, LearnerConfig, Limits
from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.codec import cut_body
from onlinesvm.data.label import Written, packable
from onlinesvm.errors import LimitError
from onlinesvm.kernel.contract import KernelExtractor
from onlinesvm.model.class_labels import AnyLabels
from onlinesvm.model.explanation import Explanation
from onlinesvm.model.fields import with_fields
from onlinesvm.service.cli.target import check_target, client_of, extractor_of, labels_in, load
from onlinesvm.service.client.client import Client
from onlinesvm.service.client.held import Hold, held_body, hold_keys
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.labels import decode_top
from onlinesvm.service.protocol import decode_explanations, decode_features, decode_margins

if TYPE_CHECKING:
    from onlinesvm.svm import OnlineSVM

__all__ = ["Model", "opened"]

Floats = NDArray[np.float64]
Best = list[list[tuple[Written | None, float]]]


class Model(Protocol):
    """Scores batches. `start` is the place of a batch's first sample in the run, for errors."""

    @property
    def threshold(self) -> float:
        """The margin above which the prediction is +1."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits by which samples are read."""
        ...

    @property
    def labels(self) -> AnyLabels: ...

    @property
    def is_multiclass(self) -> bool: ...

    @property
    def is_ranking(self) -> bool: ...

    @property
    def extractor(self) -> KernelExtractor:
        """The reader of the records of samples."""
        ...

    @property
    def keeps(self) -> bool:
        """True where records are to stay packed; see Reader."""
        ...

    @property
    def positive(self) -> Sequence[Written]:
        """The labels of side +1 in the configuration; empty where it names none."""
        ...

    def margins(self, batch: BatchColumns, start: int) -> Floats: ...

    def hold(self, batch: BatchColumns, keys: list[bytes], how: Hold, start: int) -> Floats:
        """The margins of samples that are held from now on, by a key each; none of many classes."""
        ...

    def scores(self, body: bytes, items: int, start: int) -> Floats:
        """The scores of a predict request's items, of a ranking."""
        ...

    def probabilities(self, batch: BatchColumns, start: int, margins: Floats | None) -> Floats:
        """The probabilities of +1; `margins` are those of the batch, where they are known."""
        ...

    def top(self, batch: BatchColumns, start: int, n: int | None, output: str) -> Best:
        """The best `n` labels of each sample of a multiclass model, with their scores (`margin`) or
        probabilities (`probability`).
        """
        ...

    def explain(
        self, batch: BatchColumns, start: int, label: str | None, other: str | None
    ) -> list[Explanation]:
        """The parts of each margin; the batch has the records packed."""
        ...

    def features(self, batch: BatchColumns, start: int) -> list[list[tuple[str, float]]]:
        """The features that the model makes of each sample; the batch has the records packed."""
        ...


@contextlib.contextmanager
def opened(arguments: argparse.Namespace, limits: Limits) -> Iterator[Model]:
    """The model that the arguments name. Raises UsageError, and as `load` does."""
    check_target(arguments)
    if arguments.snapshot is not None:
        model = load(arguments.snapshot, arguments, limits)
        model.freeze()
        yield _FileModel(model)
        return
    with client_of(arguments, limits) as client:
        yield _DaemonModel(client, limits)


class _FileModel:
    """A model in this process."""

    def __init__(self, model: OnlineSVM) -> None:
        self._model = model
        self.threshold = model.config.threshold
        self.limits = model.limits.scoring
        self.labels = model.labels
        self.extractor, self.keeps = model.extractor, False
        self.is_multiclass = model.is_multiclass
        self.is_ranking = model.is_ranking
        self.positive = model.config.positive or ()

    def margins(self, batch: BatchColumns, start: int) -> Floats:
        return self._model.score_batch(batch)

    def hold(self, batch: BatchColumns, keys: list[bytes], how: Hold, start: int) -> Floats:
        raise AssertionError("a file holds no samples")

    def scores(self, body: bytes, items: int, start: int) -> Floats:
        return self._model.score_batch(self._model.decode(body, labelled=False))

    def probabilities(self, batch: BatchColumns, start: int, margins: Floats | None) -> Floats:
        return self._model.probabilities(self.margins(batch, start) if margins is None else margins)

    def top(self, batch: BatchColumns, start: int, n: int | None, output: str) -> Best:
        names, is_share = self._model.many[1].name, output == "probability"
        if n is None and self._model.is_multilabel:
            sets, scores = self._model.sets_batch(batch, probability=is_share)
            pairs = list(zip(map(names, sets.ids.tolist()), scores.tolist(), strict=True))
            return [pairs[start:end] for start, end in pairwise(sets.starts.tolist())]
        n = 1 if n is None else n
        found = self._model.top_batch(batch, n, probability=is_share)
        return [
            [(names(id), score) for id, score in zip(*row, strict=True)]
            for row in zip(*(part.tolist() for part in found), strict=True)
        ]

    def explain(
        self, batch: BatchColumns, start: int, label: str | None, other: str | None
    ) -> list[Explanation]:
        body = self._model.kernel.encode(batch, labelled=False)
        decoded = self._model.decode(body, labelled=False)
        return with_fields(self._model, self._model.explain_batch(decoded, label, other), body)

    def features(self, batch: BatchColumns, start: int) -> list[list[tuple[str, float]]]:
        body = self._model.kernel.encode(batch, labelled=False)
        return self._model.features_batch(self._model.decode(body, labelled=False))


class _DaemonModel:
    """A daemon's model."""

    def __init__(self, client: Client, limits: Limits) -> None:
        self._client = client
        self.limits = limits.scoring  # the daemon clips
        self.keeps = True
        self._kernel = kernels.load()

    @cached_property
    def _stats(self) -> dict[str, Any]:
        return self._client.stats()

    @property
    def _config(self) -> dict[str, Any]:
        return self._stats["config"] or {}  # None while a reader has no model yet

    @property
    def threshold(self) -> float:
        return float(self._config.get("threshold", 0.0))

    @cached_property
    def extractor(self) -> KernelExtractor:
        return extractor_of(LearnerConfig.from_dict(self._config), self._kernel, self.limits)

    @cached_property
    def labels(self) -> AnyLabels:
        return labels_in(self._stats)

    @property
    def is_multiclass(self) -> bool:
        return self._stats["task"] in MANY_LABELS

    @property
    def is_ranking(self) -> bool:
        return bool(self._stats["task"] == "ranking")

    @property
    def positive(self) -> Sequence[Written]:
        return self._config.get("positive") or ()

    def margins(self, batch: BatchColumns, start: int) -> Floats:
        return self._scores(batch, start)

    def scores(self, body: bytes, items: int, start: int) -> Floats:
        answers = self._answers("predict", body, items, start)
        return np.concatenate([decode_margins(answer) for answer in answers])

    def probabilities(self, batch: BatchColumns, start: int, margins: Floats | None) -> Floats:
        return self._scores(batch, start, output="probability")

    def hold(self, batch: BatchColumns, keys: list[bytes], how: Hold, start: int) -> Floats:
        body = self._kernel.encode(batch, labelled=False)
        return np.concatenate([np.empty(0), *self._held(body, keys, hold_keys(**how), start)])

    def _held(
        self, body: bytes, keys: list[bytes], how: dict[str, Any], start: int
    ) -> list[Floats]:
        """The margins of held samples, in halves where one message cannot hold them."""
        try:
            answer = self._client.request("predict", held_body(keys, body), **how)[1]
            return [] if self.is_multiclass else [decode_margins(answer)]
        except (LimitError, RequestRefused) as error:
            if not _is_too_large(error, start) or len(keys) == 1:
                raise
        middle = len(keys) // 2
        first, second = cut_body(body, middle)
        return [
            *self._held(first, keys[:middle], how, start),
            *self._held(second, keys[middle:], how, start + middle),
        ]

    def top(self, batch: BatchColumns, start: int, n: int | None, output: str) -> Best:
        body = self._kernel.encode(batch, labelled=False)
        keys = {"output": output} if n is None else {"output": output, "top": n}
        answers = self._answers("predict", body, len(batch), start, **keys)
        return [row for answer in answers for row in decode_top(answer)]

    def _scores(self, batch: BatchColumns, start: int, **keys: str) -> Floats:
        body = self._kernel.encode(batch, labelled=False)
        answers = self._answers("predict", body, len(batch), start, **keys)
        return np.concatenate([decode_margins(answer) for answer in answers])

    def explain(
        self, batch: BatchColumns, start: int, label: str | None, other: str | None
    ) -> list[Explanation]:
        body = self._kernel.encode(batch, labelled=False)
        named = {"label": label, "other": other}
        keys = {key: packable(name) for key, name in named.items() if name is not None}
        answers = self._answers("explain", body, len(batch), start, **keys)
        return [explanation for answer in answers for explanation in decode_explanations(answer)]

    def features(self, batch: BatchColumns, start: int) -> list[list[tuple[str, float]]]:
        body = self._kernel.encode(batch, labelled=False)
        answers = self._answers("features", body, len(batch), start)
        return [sample for answer in answers for sample in decode_features(answer)]

    def _answers(self, op: str, body: bytes, samples: int, start: int, **keys: Any) -> list[bytes]:
        """The answers to `body`, asked for in pieces where one message cannot hold it.

        A refusal names its sample by its place in the run.
        """
        try:
            return [self._client.request(op, body, **keys)[1]]
        except (LimitError, RequestRefused) as error:
            if not _is_too_large(error, start) or samples == 1:
                raise
        middle = samples // 2
        first, second = cut_body(body, middle)
        return [
            *self._answers(op, first, middle, start, **keys),
            *self._answers(op, second, samples - middle, start + middle, **keys),
        ]


def _is_too_large(error: LimitError | RequestRefused, start: int) -> bool:
    """True where fewer samples at once may do; else the error names its sample by its place in the
    run, where the first of the request has the place `start`.
    """
    if isinstance(error, LimitError):
        return error.sample is None
    if error.sample is not None:
        error.sample += start
        return False
    return error.code == "TOO_LARGE"
