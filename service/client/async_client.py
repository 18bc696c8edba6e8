"""The client for asyncio: the methods of `client`, awaited."""

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
from onlinesvm.service.client.async_connection import AsyncConnections
from onlinesvm.service.client.async_stream import AsyncStream
from onlinesvm.service.client.calls import Answer, Call, Sample, first
from onlinesvm.service.client.configured import Configured
from onlinesvm.service.client.exactly_once import delivery_of
from onlinesvm.service.client.held import Hold, HoldOne, Key, Labelled, of_one
from onlinesvm.service.client.pipeline import OnMargins
from onlinesvm.service.client.transfer import Steps, fetch, upload

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient(Configured):
    """A client of the daemon at `endpoint` for asyncio, on its own loop or uvloop.

    The arguments, methods and errors of `Client`; the methods are awaited. The tasks of one event
    loop share one connection, on which any number of requests may be in flight; a stream has one of
    its own. May be made before a loop runs; another loop may use it once the first is closed, and a
    fork opens connections of its own. A cancelled task ignores its answer. `close` raises
    DaemonLost in tasks that wait for one.

    >>> async with AsyncClient("tcp://127.0.0.1:5577") as client:       # doctest: +SKIP
    ...     await client.learn([(["free", "prize"], "spam"), ({"len": 2.5}, "ham")])
    ...     await client.predict([["free"]])
    """

    def _open(self) -> None:
        self._connections = AsyncConnections(self._settings)

    @property
    def closed(self) -> bool:
        """True if `close` was called."""
        return self._connections.closed

    async def ping(self) -> dict[str, Any]:
        """Check that the daemon answers; see `Client.ping`."""
        return await self._ask(self._calls.plain("ping"))

    async def learn(self, samples: Iterable[Sample]) -> NDArray[np.float64]:
        """Learn samples in one request; see `Client.learn`."""
        return await self._ask(self._calls.learn(samples))

    async def learn_packed(self, body: bytes) -> NDArray[np.float64]:
        """Learn a packed body; see `Client.learn_packed`."""
        return await self._ask(self._calls.learn_packed(body))

    async def predict(self, samples: Iterable[Features], **hold: Unpack[Hold]) -> NDArray[Any]:
        """The label of each of `samples`, [n]: int64, bool or text, else objects; None before the
        first label is known. Of a ranking the score of each, float64[n].

        With `hold` the daemon holds them; see `Client.predict`. Raises LimitError for more than one
        message may hold.
        """
        return await self._ask(self._calls.predict(samples, **hold))

    async def predict_proba(
        self, samples: Iterable[Features], **hold: Unpack[Hold]
    ) -> NDArray[np.float64]:
        """The probabilities of the labels, float64[n, labels]; of two classes those of the sides −1
        and +1. See `predict`.
        """
        return await self._ask(self._calls.predict_proba(samples, **hold))

    async def decision_function(
        self, samples: Iterable[Features], **hold: Unpack[Hold]
    ) -> NDArray[np.float64]:
        """The margins of `samples`, float64[n], or the scores of all labels, float64[n, labels].

        See `predict`.
        """
        return await self._ask(self._calls.decision_function(samples, **hold))

    async def ask(
        self, samples: Iterable[Features], b: float | None = None, **hold: Unpack[Hold]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The labels, and which of the true ones are worth asking for; see `Client.ask`."""
        return await self._ask(self._calls.ask(samples, b, **hold))

    async def label(self, labels: Iterable[Labelled]) -> list[str]:
        """Learn held samples by their keys; the outcome of each. See `Client.label`."""
        return await self._ask(self._calls.label(labels))

    async def learn_one(
        self, features: Features, label: Written | Worse, importance: float = 1.0
    ) -> float:
        """Learn one sample; its margin before the update."""
        return float((await self.learn([(features, label, importance)]))[0])

    async def label_one(self, key: Key, label: Written, importance: float = 1.0) -> str:
        """Learn one held sample; the outcome, as `label` has it."""
        return (await self.label([(key, label, importance)]))[0]

    async def predict_one(
        self, features: Features, **hold: Unpack[HoldOne]
    ) -> Written | float | None:
        """The label of one sample, or its score; see `predict`, with the one key as `hold`."""
        label: Written | float | None = first(await self.predict([features], **of_one(hold)))
        return label

    async def predict_proba_one(
        self, features: Features, **hold: Unpack[HoldOne]
    ) -> NDArray[np.float64]:
        """The probabilities of the labels for one sample, float64[labels]; see `predict_one`."""
        found: NDArray[np.float64] = (await self.predict_proba([features], **of_one(hold)))[0]
        return found

    async def decision_function_one(
        self, features: Features, **hold: Unpack[HoldOne]
    ) -> float | NDArray[np.float64]:
        """The margin of one sample; of many classes the scores of its labels, float64[labels]. See
        `predict_one`.
        """
        found = await self.decision_function([features], **of_one(hold))
        scores: NDArray[np.float64] = found[0]
        return scores if scores.ndim else float(scores)

    async def top(
        self, samples: Iterable[Features], n: int = 3
    ) -> list[list[tuple[Written, float]]]:
        """The `n` best labels of each sample of a multiclass model with their probabilities, the
        best first; 0 for all.
        """
        return await self._ask(self._calls.top(samples, n))

    async def labels(self, first: int = 0, count: int = 100) -> dict[str, Any]:
        """A page of the labels of a multiclass model, from id `first` on.

        A map: `labels`, the `next` id or None, and on the first page the `confusion` of the recent
        past.
        """
        return await self._ask(self._calls.labels(first, count))

    async def inspect(
        self, top: int = 20, contains: str = "", label: Written | None = None
    ) -> dict[str, Any]:
        """Diagrams of the model and its strongest features; see `Client.inspect`."""
        return await self._ask(self._calls.inspect(top, contains, label))

    async def drop_label(self, label: Written) -> dict[str, Any]:
        """Drop a label of a multiclass model; a later sample with its name brings a new label."""
        return await self._ask(self._calls.drop_label(label))

    async def explain(
        self,
        samples: Iterable[Features],
        label: Written | None = None,
        other: Written | None = None,
    ) -> list[Explanation]:
        """The parts that make up the margin of each of `samples`; see `Client.explain`."""
        return await self._ask(self._calls.explain(samples, label, other))

    async def features(self, samples: Iterable[Features]) -> list[list[tuple[str, float]]]:
        """The features of each of `samples`; see `Client.features`."""
        return await self._ask(self._calls.features(samples))

    async def stats(self) -> dict[str, Any]:
        """The daemon's figures; see the README."""
        return await self._ask(self._calls.plain("stats"))

    async def snapshot(self) -> dict[str, Any]:
        """Have a snapshot written; see `Client.snapshot`."""
        return await self._ask(self._calls.plain("snapshot"))

    async def reload(self) -> dict[str, Any]:
        """Have a reader look for a newer snapshot; see `Client.reload`."""
        return await self._ask(self._calls.plain("reload"))

    async def create(
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
            return await self._walk(upload(self._calls, name, file))
        return await self._ask(self._calls.create(name, config, if_exists, copy_of))

    async def drop(self, name: str) -> None:
        """Drop a model: everything that it has learned is lost."""
        await self._ask(self._calls.drop(name))

    async def models(self) -> list[dict[str, Any]]:
        """The daemon's models by name: `name`, `loaded`, and `position` where it is known."""
        rows: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page = await self._ask(self._calls.models(after))
            rows += page["models"]
            after = page["next"]
        return rows

    async def fetch(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Have a snapshot written, and fetch it to a file at `path`; as `snapshot` returns."""
        return await self._walk(fetch(self._calls, path))

    async def _walk(self, steps: Steps) -> dict[str, Any]:
        """Ask for each call of `steps`; what they return."""
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._ask(call))
        except StopIteration as end:
            outcome: dict[str, Any] = end.value
            return outcome
        finally:
            steps.close()

    async def request(self, op: str, body: bytes | None = None, **keys: Any) -> Answer:
        """Ask for `op` with its own `keys`: the answer's header, less the envelope, and body."""
        return await self._ask(self._calls.any(op, body, keys))

    def stream(
        self,
        producer: str | bytes | None = None,
        *,
        on_margins: OnMargins | None = None,
    ) -> AsyncStream:
        """A pipelined stream of samples to learn, an asynchronous context manager; see
        `Client.stream`.
        """
        delivery = delivery_of(producer, self.limits, on_margins, self._settings.model)
        return AsyncStream(self._connections, self._settings, delivery)

    async def _ask(self, call: Call[T]) -> T:
        return await self._connections.shared().ask(call, self._settings.timeout_s)

    async def close(self) -> None:
        """Close the connections; requests in flight raise DaemonLost. May be called again."""
        self._connections.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
