"""The client: requests with deadlines and clear errors. Streams are in `stream`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import Features
from onlinesvm.data.label import Written
from onlinesvm.data.objects import Worse
from onlinesvm.model.explanation import Explanation
from onlinesvm.service.client.calls import Answer, Call, Sample, first
from onlinesvm.service.client.configured import Configured
from onlinesvm.service.client.exactly_once import delivery_of
from onlinesvm.service.client.held import Hold, HoldOne, Key, Labelled, of_one
from onlinesvm.service.client.pipeline import OnMargins
from onlinesvm.service.client.pool import Pool
from onlinesvm.service.client.stream import Stream
from onlinesvm.service.client.transfer import Steps, fetch, upload

__all__ = ["Client"]

T = TypeVar("T")


class Client(Configured):
    """A client of the daemon at `endpoint`. Safe for threads.

    Threads share it: each request under way has a connection of its own, which is kept for the next
    one. After a fork the child opens connections of its own. A pickled client is a client with the
    same arguments. A stream belongs to the thread that opened it.

    endpoint: ``tcp://HOST:PORT`` or ``ipc://PATH``. timeout_s: seconds a request may take; a
    timeout leaves the client usable, and a late answer is ignored. wait_s: seconds to wait for a
    daemon that does not run yet; without it a closed port is an error at once. on_waiting: called
    when such a wait begins. limits: the daemon's, checked before a request is sent. model:
    the name of the daemon's model; None: its default.

    Every request raises RequestRefused if the daemon answers with an error, DaemonUnreachable if
    there is no daemon (nothing was sent), DaemonTimeout if it does not answer in time, DaemonLost
    if the connection breaks meanwhile. After the latter two it is unknown if a learn request was
    applied.

    >>> with Client("tcp://127.0.0.1:5577") as client:       # doctest: +SKIP
    ...     client.learn([(["free", "prize"], "spam"), ({"len": 2.5}, "ham")])
    ...     client.predict([["free"]])
    ...     client.model("spam").learn([(["prize"], +1)])
    """

    def _open(self) -> None:
        self._pool = Pool(self._settings)

    @property
    def closed(self) -> bool:
        """True if `close` was called."""
        return self._pool.closed

    def ping(self) -> dict[str, Any]:
        """Check that the daemon answers: `mode` ("leader" or "reader") and more."""
        return self._ask(self._calls.plain("ping"))

    def learn(self, samples: Iterable[Sample]) -> NDArray[np.float64]:
        """Learn ``(features, label)`` or ``(features, label, importance)`` in one request; of a
        ranking the worse item of a pair stands for the label: ``(better, Worse(worse))``.

        All or nothing: a faulty sample leaves the model as it was. Returns the margin of each
        before its update, float64[n]. Raises LimitError for more than one message may hold (use
        `stream`).
        """
        return self._ask(self._calls.learn(samples))

    def learn_packed(self, body: bytes) -> NDArray[np.float64]:
        """Learn `body`, a learn request's as `onlinesvm.data.codec` describes it.

        Returns and raises as `learn` does.
        """
        return self._ask(self._calls.learn_packed(body))

    def predict(self, samples: Iterable[Features], **hold: Unpack[Hold]) -> NDArray[Any]:
        """The label of each of `samples`, [n]: int64, bool or text, else objects; None before the
        first label is known. Of a ranking the score of each, float64[n].

        With ``hold=KEYS, ttl_s=SECONDS, default_label=LABEL`` the daemon holds the samples until
        `label` names their labels; see `onlinesvm.service.client.held.Hold`. A key that it knows
        already keeps its first sample. Raises LimitError for more than one message may hold.
        """
        return self._ask(self._calls.predict(samples, **hold))

    def predict_proba(
        self, samples: Iterable[Features], **hold: Unpack[Hold]
    ) -> NDArray[np.float64]:
        """The probabilities of the labels, float64[n, labels]; of two classes those of the sides −1
        and +1. See `predict`.
        """
        return self._ask(self._calls.predict_proba(samples, **hold))

    def decision_function(
        self, samples: Iterable[Features], **hold: Unpack[Hold]
    ) -> NDArray[np.float64]:
        """The margins of `samples`, float64[n], or the scores of all labels, float64[n, labels].

        See `predict`.
        """
        return self._ask(self._calls.decision_function(samples, **hold))

    def ask(
        self, samples: Iterable[Features], b: float | None = None, **hold: Unpack[Hold]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The labels of `samples`, as `predict` gives them, and which of the true ones are worth
        asking for, bool[n]: those that the model is least sure of, by chance; all of them up to
        position 100. Larger `b` asks for more. Raises as `predict` does.
        """
        return self._ask(self._calls.ask(samples, b, **hold))

    def label(self, labels: Iterable[Labelled]) -> list[str]:
        """Learn held samples by their keys: ``(key, label)`` or ``(key, label, importance)``.

        The outcome of each: "learned"; "duplicate", it was labelled before; "expired", its time is
        up; "unknown", the daemon does not know the key, or not any more. All or nothing, as
        `learn`; it may be sent again after any error.
        """
        return self._ask(self._calls.label(labels))

    def learn_one(
        self, features: Features, label: Written | Worse, importance: float = 1.0
    ) -> float:
        """Learn one sample; its margin before the update."""
        return float((self.learn([(features, label, importance)]))[0])

    def label_one(self, key: Key, label: Written, importance: float = 1.0) -> str:
        """Learn one held sample; the outcome, as `label` has it."""
        return self.label([(key, label, importance)])[0]

    def predict_one(self, features: Features, **hold: Unpack[HoldOne]) -> Written | float | None:
        """The label of one sample, or its score; see `predict`, with the one key as `hold`."""
        label: Written | float | None = first(self.predict([features], **of_one(hold)))
        return label

    def predict_proba_one(self, features: Features, **hold: Unpack[HoldOne]) -> NDArray[np.float64]:
        """The probabilities of the labels for one sample, float64[labels]; see `predict_one`."""
        probabilities: NDArray[np.float64] = self.predict_proba([features], **of_one(hold))[0]
        return probabilities

    def decision_function_one(
        self, features: Features, **hold: Unpack[HoldOne]
    ) -> float | NDArray[np.float64]:
        """The margin of one sample; of many classes the scores of its labels, float64[labels]. See
        `predict_one`.
        """
        found = self.decision_function([features], **of_one(hold))
        scores: NDArray[np.float64] = found[0]
        return scores if scores.ndim else float(scores)

    def top(self, samples: Iterable[Features], n: int = 3) -> list[list[tuple[Written, float]]]:
        """The `n` best labels of each sample of a multiclass model with their probabilities, the
        best first; 0 for all.
        """
        return self._ask(self._calls.top(samples, n))

    def labels(self, first: int = 0, count: int = 100) -> dict[str, Any]:
        """A page of the labels of a multiclass model, from id `first` on.

        A map: `labels`, the `next` id or None, and on the first page the `confusion` of the recent
        past.
        """
        return self._ask(self._calls.labels(first, count))

    def inspect(
        self, top: int = 20, contains: str = "", label: Written | None = None
    ) -> dict[str, Any]:
        """A map: `calibration`, of each bin of probabilities the weight of its samples, their mean
        probability, and the share that came true; `confusion`, the `weights` of samples by label
        and prediction, and the `labels`; both of the recent past, None where the task has none.
        `strongest`: the `top` features each way (`up`, `down`, pairs of name and weight) of those
        whose names contain a text, and how many do, `matches`; None for a `top` of 0. Of many
        classes those for `label`.
        """
        return self._ask(self._calls.inspect(top, contains, label))

    def drop_label(self, label: Written) -> dict[str, Any]:
        """Drop a label of a multiclass model; a later sample with its name brings a new label."""
        return self._ask(self._calls.drop_label(label))

    def explain(
        self,
        samples: Iterable[Features],
        label: Written | None = None,
        other: Written | None = None,
    ) -> list[Explanation]:
        """The parts that make up the margin of each of `samples`, by feature and by field. Raises
        as `predict` does.

        label, other: of many classes, explain the score of `label`, or its lead over `other`.
        Together they may have as many features as one sample may; a text alone, any number.
        """
        return self._ask(self._calls.explain(samples, label, other))

    def features(self, samples: Iterable[Features]) -> list[list[tuple[str, float]]]:
        """The features of each of `samples`: their names and values. Raises as `explain`
        does.
        """
        return self._ask(self._calls.features(samples))

    def stats(self) -> dict[str, Any]:
        """The daemon's figures; see the README."""
        return self._ask(self._calls.plain("stats"))

    def snapshot(self) -> dict[str, Any]:
        """Have a snapshot written; path, position, size, checksum, digest once it is durable."""
        return self._ask(self._calls.plain("snapshot"))

    def reload(self) -> dict[str, Any]:
        """Have a reader look for a newer snapshot: `reloaded`, `position`, `path`."""
        return self._ask(self._calls.plain("reload"))

    def create(
        self,
        name: str,
        *,
        if_exists: str = "error",
        copy_of: str | None = None,
        file: str | os.PathLike[str] | None = None,
        **config: Any,
    ) -> dict[str, Any]:
        """Create a model: new, with the parameters `config`; or going on as the model `copy_of`
        does now; or from a snapshot `file`. Its `config` and `position`.

        if_exists: "error", or "same": a model of that name and configuration will do.
        """
        if file is not None:
            return self._walk(upload(self._calls, name, file))
        return self._ask(self._calls.create(name, config, if_exists, copy_of))

    def drop(self, name: str) -> None:
        """Drop a model: everything that it has learned is lost."""
        self._ask(self._calls.drop(name))

    def models(self) -> list[dict[str, Any]]:
        """The daemon's models by name: `name`, `loaded`, and `position` where it is known."""
        rows: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page = self._ask(self._calls.models(after))
            rows += page["models"]
            after = page["next"]
        return rows

    def fetch(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Have a snapshot written, and fetch it to a file at `path`; as `snapshot` returns."""
        return self._walk(fetch(self._calls, path))

    def _walk(self, steps: Steps) -> dict[str, Any]:
        """Ask for each call of `steps`; what they return."""
        try:
            call = next(steps)
            while True:
                call = steps.send(self._ask(call))
        except StopIteration as end:
            outcome: dict[str, Any] = end.value
            return outcome
        finally:
            steps.close()

    def request(self, op: str, body: bytes | None = None, **keys: Any) -> Answer:
        """Ask for `op` with its own `keys`: the answer's header, less the envelope, and body."""
        return self._ask(self._calls.any(op, body, keys))

    def stream(
        self,
        producer: str | bytes | None = None,
        *,
        on_margins: OnMargins | None = None,
    ) -> Stream:
        """A pipelined stream of samples to learn; see `onlinesvm.service.client.stream.Stream`.

        With `producer`, a name of 1 to 64 bytes that no other client uses, each sample is learned
        exactly once, whatever breaks; see `onlinesvm.service.client.exactly_once.ExactlyOnce`.
        """
        delivery = delivery_of(producer, self.limits, on_margins, self._settings.model)
        return Stream(self._own_pool(), self._settings, delivery)

    def _ask(self, call: Call[T]) -> T:
        with self._own_pool().connection() as connection:
            return connection.ask(call, self._settings.timeout_s)

    def _own_pool(self) -> Pool:
        """This process's connections: a fork must not touch those of its parent."""
        if self._pool.pid != os.getpid():
            closed = self._pool.closed
            self._pool = Pool(self._settings)
            self._pool.closed = closed
        return self._pool

    def close(self) -> None:
        """Close the connections; requests of other threads raise DaemonLost. May be called at any
        time, from any thread, and again.
        """
        self._own_pool().close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
