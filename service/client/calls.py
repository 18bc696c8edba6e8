"""Calls: each operation as a request to encode and an answer to check. Does no I/O."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar, Unpack

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import Limits
from onlinesvm.data.batch import Features
from onlinesvm.data.codec import pack_array
from onlinesvm.data.label import Written, packable
from onlinesvm.data.objects import Packer, Worse, refuse_unlabelled
from onlinesvm.data.rows import samples_of
from onlinesvm.errors import LimitError
from onlinesvm.model.explanation import Explanation
from onlinesvm.service.client.held import Hold, Labelled, held_body, hold_keys, labels_body
from onlinesvm.service.inspection import decode_inspection
from onlinesvm.service.labels import decode_page, decode_scores, decode_top
from onlinesvm.service.protocol import (
    decode_explanations,
    decode_features,
    decode_labels,
    decode_margins,
    encode_request,
    refusal_of,
)

__all__ = ["Answer", "Call", "Calls", "Lag", "Sample", "checked", "first", "frames_of", "whole"]

# The header and the body of a reply.
Answer = tuple[dict[str, Any], bytes]
Sample = tuple[Features, Written | Worse] | tuple[Features, Written | Worse, float]
T = TypeVar("T")


class Lag(NamedTuple):
    """The rest of its source that a producer has to read: entries, bytes, and the time between the
    last one that was learned and the newest; None where that is not known.
    """

    entries: int | None = None
    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One operation: the request's body and own keys, and `read`, which decodes its answer."""

    op: str
    read: Callable[[Answer], T]
    body: bytes | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)


def frames_of(call: Call[Any], id: int, limits: Limits) -> tuple[bytes, ...]:
    """The frames of a request. Raises LimitError if they exceed `max_message_bytes`."""
    header = encode_request(call.op, id, **call.keys)
    size = len(header) + len(call.body or b"")
    if size > limits.max_message_bytes:
        raise LimitError(
            f"expected a message of at most {limits.max_message_bytes} bytes, got {size}"
        )
    return (header,) if call.body is None else (header, call.body)


def checked(answer: Answer) -> Answer:
    """`answer` without the envelope's keys. Raises RequestRefused if it is an error."""
    header, body = answer
    if not header["ok"]:
        raise refusal_of(header)
    return {key: header[key] for key in header if key not in ("v", "id", "ok")}, body


def _header(answer: Answer) -> dict[str, Any]:
    return answer[0]


def _margins(answer: Answer) -> NDArray[np.float64]:
    return decode_margins(answer[1])


def _labels(answer: Answer) -> NDArray[Any]:
    return decode_labels(answer[1])


def _scores(answer: Answer) -> NDArray[np.float64]:
    if "labels" in answer[0]:
        return decode_scores(answer[0]["labels"], answer[1], -np.inf)
    return decode_margins(answer[1])


def _best(answer: Answer) -> list[list[tuple[Written, float]]]:
    return decode_top(answer[1])


def _probabilities(answer: Answer) -> NDArray[np.float64]:
    if "labels" in answer[0]:
        return decode_scores(answer[0]["labels"], answer[1], 0.0)
    positive = decode_margins(answer[1])
    return np.column_stack((1.0 - positive, positive))


def first(values: NDArray[Any]) -> Any:
    """The one value of a call for one sample, as a Python object."""
    return values[0].item() if isinstance(values[0], np.generic) else values[0]


def _explanations(answer: Answer) -> list[Explanation]:
    return decode_explanations(answer[1])


def _shown(answer: Answer) -> list[list[tuple[str, float]]]:
    return decode_features(answer[1])


def _asked(answer: Answer) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    return decode_labels(answer[1]), np.array(answer[0]["ask"], dtype=np.bool_)


def _outcomes(answer: Answer) -> list[str]:
    outcomes: list[str] = msgpack.unpackb(answer[1])
    return outcomes


def _inspection(answer: Answer) -> dict[str, Any]:
    return {**answer[0], **decode_inspection(answer[1])}


def _page(answer: Answer) -> dict[str, Any]:
    return decode_page(answer[1])


def whole(answer: Answer) -> Answer:
    """Header and body, as they are."""
    return answer


class _Packers(threading.local):
    """A packer for each thread: one packer must not be used by two at once."""

    def __init__(self) -> None:
        self.packer = Packer()


class Calls:
    """The calls that a client offers, checked against `limits` before they are sent.

    model: the one that they are for, None for the daemon's default. Safe for threads.
    """

    def __init__(self, limits: Limits, model: str | None = None) -> None:
        self._limits = limits
        self._model = {} if model is None else {"model": model}
        self._packers = _Packers()

    def to_model(self, call: Call[T]) -> Call[T]:
        """`call`, for this model."""
        return replace(call, keys={**self._model, **call.keys}) if self._model else call

    def plain(self, op: str, **keys: Any) -> Call[dict[str, Any]]:
        """An operation without a body, answered by its header: ping, stats, snapshot, reload."""
        return self.to_model(Call(op, _header, keys=keys))

    def resume(self, producer: str | bytes) -> Call[dict[str, Any]]:
        """The last sequence of a producer, its samples and its last cursor."""
        return self.plain("resume", producer=producer)

    def lag(self, producer: str | bytes, lag: Lag) -> Call[Answer]:
        """The part that a producer has still to read, for the figures of its model."""
        return self.to_model(Call("lag", whole, keys={"producer": producer, **lag._asdict()}))

    def any(self, op: str, body: bytes | None, keys: Mapping[str, Any]) -> Call[Answer]:
        """Any operation, answered by header and body."""
        return self.to_model(Call(op, whole, body, keys))

    def learn(self, samples: Iterable[Sample]) -> Call[NDArray[np.float64]]:
        """A learn request of `samples`. Raises TypeError, SampleError, LimitError."""
        refuse_unlabelled(samples)
        pack = self._packers.packer.sample
        parts = [pack(*_sample(sample, i), index=i) for i, sample in enumerate(samples)]
        return self.learn_packed(self._body(parts))

    def learn_packed(self, body: bytes) -> Call[NDArray[np.float64]]:
        """A learn request of a packed body."""
        return self.to_model(Call("learn", _margins, body))

    def predict(self, samples: Iterable[Features], **hold: Unpack[Hold]) -> Call[NDArray[Any]]:
        """A predict request of `samples`, for their labels.

        Raises TypeError, SampleError, LimitError.
        """
        return self._predict(samples, _labels, {"output": "label"}, hold)

    def predict_proba(
        self, samples: Iterable[Features], **hold: Unpack[Hold]
    ) -> Call[NDArray[np.float64]]:
        """A predict request for the probabilities of all labels. Raises as `predict` does."""
        keys = {"output": "probability", "top": 0}
        return self._predict(samples, _probabilities, keys, hold)

    def decision_function(
        self, samples: Iterable[Features], **hold: Unpack[Hold]
    ) -> Call[NDArray[np.float64]]:
        """A predict request for margins, or the scores of all labels. Raises as `predict` does."""
        return self._predict(samples, _scores, {"top": 0}, hold)

    def _predict(
        self,
        samples: Iterable[Features],
        read: Callable[[Answer], T],
        keys: dict[str, Any],
        hold: Hold,
    ) -> Call[T]:
        body = self._features(samples)
        if hold:
            given = dict(hold)
            body = held_body(given.pop("hold", None), body)  # type: ignore[arg-type]
            keys = {**keys, **hold_keys(**given)}
        return self.to_model(Call("predict", read, body, keys))

    def ask(
        self, samples: Iterable[Features], b: float | None, **hold: Unpack[Hold]
    ) -> Call[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """A predict request for labels, and which are worth asking for. Raises as `predict`."""
        keys: dict[str, Any] = {"output": "label", "ask": True}
        if b is not None:
            keys["b"] = b
        return self._predict(samples, _asked, keys, hold)

    def label(self, labels: Iterable[Labelled]) -> Call[list[str]]:
        """A label request. Raises TypeError, ValueError, LimitError."""
        body, count = labels_body(labels)
        self._check_count(count)
        return self.to_model(Call("label", _outcomes, body))

    def top(self, samples: Iterable[Features], n: int) -> Call[list[list[tuple[Written, float]]]]:
        """A predict request for the best `n` labels. Raises as `predict` does."""
        keys = {"output": "probability", "top": n}
        return self.to_model(Call("predict", _best, self._features(samples), keys))

    def labels(self, first: int, count: int) -> Call[dict[str, Any]]:
        """A page of the labels."""
        return self.to_model(Call("labels", _page, keys={"first": first, "count": count}))

    def inspect(self, top: int, contains: str, label: Written | None) -> Call[dict[str, Any]]:
        """Diagrams of the model and its strongest features."""
        keys: dict[str, Any] = {"top": top, "contains": contains}
        if label is not None:
            keys["label"] = packable(label)
        return self.to_model(Call("inspect", _inspection, keys=keys))

    def drop_label(self, label: Written) -> Call[dict[str, Any]]:
        """A request to drop a label."""
        return self.to_model(Call("drop_label", _header, keys={"label": packable(label)}))

    def explain(
        self, samples: Iterable[Features], label: Written | None, other: Written | None
    ) -> Call[list[Explanation]]:
        """An explain request of `samples`. Raises TypeError, SampleError, LimitError."""
        given = {"label": label, "other": other}
        keys = {name: packable(value) for name, value in given.items() if value is not None}
        return self.to_model(Call("explain", _explanations, self._features(samples), keys))

    def features(self, samples: Iterable[Features]) -> Call[list[list[tuple[str, float]]]]:
        """A features request of `samples`. Raises TypeError, SampleError, LimitError."""
        return self.to_model(Call("features", _shown, self._features(samples)))

    def create(
        self, name: str, config: Mapping[str, Any], if_exists: str, copy_of: str | None
    ) -> Call[dict[str, Any]]:
        """The creation of a model."""
        keys: dict[str, Any] = {"model": name, "if_exists": if_exists}
        if config:
            keys["config"] = dict(config)
        if copy_of is not None:
            keys["copy_of"] = copy_of
        return Call("create", _header, keys=keys)

    def drop(self, name: str) -> Call[dict[str, Any]]:
        """The end of a model."""
        return Call("drop", _header, keys={"model": name})

    def models(self, after: str) -> Call[dict[str, Any]]:
        """The page of the list of models that comes after a name."""
        return Call("models", _header, keys={"after": after, "limit": 1000})

    def _features(self, samples: Iterable[Features]) -> bytes:
        pack = self._packers.packer.features
        return self._body([pack(features, (i,)) for i, features in enumerate(samples_of(samples))])

    def _body(self, parts: list[bytes]) -> bytes:
        self._check_count(len(parts))
        return pack_array(parts)

    def _check_count(self, count: int) -> None:
        if count > self._limits.max_samples_per_batch:
            raise LimitError(
                f"expected at most {self._limits.max_samples_per_batch} samples a request,"
                f" got {count}"
            )


def _sample(sample: Any, index: int) -> tuple[Features, Written | Worse, float]:
    """`sample` as (features, label, importance). Raises TypeError."""
    if not isinstance(sample, tuple | list) or not 2 <= len(sample) <= 3:
        raise TypeError(
            "expected (features, label) or (features, label, importance), got"
            f" {type(sample).__name__} at $[{index}]"
        )
    return sample[0], sample[1], sample[2] if len(sample) == 3 else 1.0
