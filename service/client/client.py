"""The client: requests with deadlines and clear errors. Streams are in `stream`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.config import Limits
from onlinesvm.data.batch import Features, Packer, pack_array
from onlinesvm.errors import LimitError
from onlinesvm.model.explanation import Explanation
from onlinesvm.service.client.connection import Answer, Connection
from onlinesvm.service.client.exactly_once import NumberedStream
from onlinesvm.service.client.stream import Stream
from onlinesvm.service.errors import DaemonLost, DaemonTimeout
from onlinesvm.service.protocol import (
    DEFAULT_ENDPOINT,
    decode_explanations,
    decode_margins,
    encode_request,
    refusal_of,
)

__all__ = ["Client"]

Sample = tuple[Features, float] | tuple[Features, float, float]


class Client:
    """A connection to a daemon. Not thread-safe: one client a thread.

    Every request has `timeout_s` seconds; a timeout leaves the client usable, and a late answer is
    passed over. `limits` are the daemon's, for what is checked before it is sent. `model` names one
    of the daemon's models; without it, its default. `on_waiting` is
    called where a request has waited half a second because no daemon is there.

    All requests raise RequestRefused where the daemon answers with an error, DaemonTimeout where
    it does not answer in time, DaemonLost where the connection breaks meanwhile. After the latter
    two it is not known whether a learn request was carried out.

    >>> with Client("tcp://127.0.0.1:5577") as client:       # doctest: +SKIP
    ...     client.learn([(["free", "prize"], +1), ({"len": 2.5}, -1)])
    ...     client.predict([["free"]])
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        timeout_s: float = 10.0,
        limits: Limits | None = None,
        model: str | None = None,
        on_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.model = model
        self.timeout_s = timeout_s
        self.limits = limits or Limits()
        self._on_waiting = on_waiting
        self._connection = Connection(endpoint, self.limits.max_message_bytes)
        self._packer = Packer()
        self._last_id = 0
        # Answers by request id that a stream waits for, while other requests are made.
        self._awaited: dict[int, Callable[[int, Answer], None]] = {}
        # How often the connection broke: who waits for an answer from before waits in vain.
        self.breaks = 0

    def ping(self) -> dict[str, Any]:
        """A sign of life: the header of the answer, with `mode` ("learner" or "follower")."""
        return self.request("ping")[0]

    def learn(self, samples: Iterable[Sample]) -> NDArray[np.float64]:
        """Learn ``(features, label)`` or ``(features, label, importance)`` in one request.

        All or nothing: a faulty sample leaves the model as it was. Returns the margin of each
        before its update, float64[n]. Raises LimitError for more than one message may hold (use
        `stream`).
        """
        parts = [
            self._packer.sample(*_checked(sample, i), index=i) for i, sample in enumerate(samples)
        ]
        return decode_margins(self.request("learn", self._body(parts))[1])

    def learn_packed(self, body: bytes) -> NDArray[np.float64]:
        """Learn `body`, a learn request's as `onlinesvm.data.codec` describes it.

        Returns and raises as `learn` does.
        """
        return decode_margins(self.request("learn", body)[1])

    def predict(
        self, samples: Iterable[Features], *, probability: bool = False
    ) -> NDArray[np.float64]:
        """The margins of `samples`, float64[n]; the predicted label is +1 where it is above 0.
        With `probability`, their probabilities of being +1 instead.

        Raises LimitError for more than one message may hold.
        """
        body = self._features(samples)
        keys = {"probability": True} if probability else {}
        return decode_margins(self.request("predict", body, **keys)[1])

    def explain(self, samples: Iterable[Features]) -> list[Explanation]:
        """What makes up the margin of each of `samples`. Raises as `predict` does.

        Together they may have as many features as one sample may.
        """
        return decode_explanations(self.request("explain", self._features(samples))[1])

    def _features(self, samples: Iterable[Features]) -> bytes:
        if isinstance(samples, str | bytes):
            raise TypeError(f"expected an iterable of samples, got a bare {type(samples).__name__}")
        return self._body(
            [self._packer.features(features, (i,)) for i, features in enumerate(samples)]
        )

    def stats(self) -> dict[str, Any]:
        """The daemon's figures; see the README."""
        return self.request("stats")[0]

    def snapshot(self) -> dict[str, Any]:
        """Have a snapshot written; path, position, size, checksum, digest once it is durable."""
        return self.request("snapshot")[0]

    def reload(self) -> dict[str, Any]:
        """Have a follower look for a newer snapshot: `reloaded`, `position`, `path`."""
        return self.request("reload")[0]

    def stream(
        self,
        producer: str | bytes | None = None,
        *,
        on_margins: Callable[[int, NDArray[np.float64]], None] | None = None,
    ) -> Stream:
        """A pipelined stream of samples to learn; see `onlinesvm.service.client.stream.Stream`.

        With `producer`, a name of 1 to 64 bytes that no other client uses, each sample is learned
        exactly once, whatever breaks; see `onlinesvm.service.client.exactly_once.NumberedStream`.
        """
        if producer is None:
            return Stream(self, on_margins)
        return NumberedStream(self, producer, on_margins)

    def request(
        self, op: str, body: bytes | None = None, *, deadline: float | None = None, **keys: Any
    ) -> Answer:
        """Ask for `op` and wait for the answer: its header, less the envelope, and its body.

        keys: the operation's own. deadline: as of time.monotonic(), else `timeout_s` from now.
        """
        answers: list[Answer] = []
        if deadline is None:
            deadline = time.monotonic() + self.timeout_s
        id = self.post(op, body, lambda _, answer: answers.append(answer), deadline, **keys)
        try:
            while not answers:
                if not self.receive(deadline):
                    raise DaemonTimeout(
                        f"no answer to {op} from {self.endpoint} within {self.timeout_s:g} s"
                    )
        finally:
            self.forget(id)
        header, reply = answers[0]
        if not header["ok"]:
            raise refusal_of(header)
        return {key: header[key] for key in header if key not in ("v", "id", "ok")}, reply

    # For streams.

    def post(
        self,
        op: str,
        body: bytes | None,
        take: Callable[[int, Answer], None],
        deadline: float,
        **keys: Any,
    ) -> int:
        """Send a request whose answer `take` is called with, after its id; the id."""
        if self._connection.closed:
            raise DaemonLost("the client is closed")
        self._last_id += 1
        if self.model is not None:
            keys["model"] = self.model
        header = encode_request(op, self._last_id, **keys)
        size = len(header) + len(body or b"")
        if size > self.limits.max_message_bytes:
            raise LimitError(
                f"expected a message of at most {self.limits.max_message_bytes} bytes, got {size}"
            )
        frames = (header,) if body is None else (header, body)
        if self._connection.is_broken():
            if self._awaited:
                while self.receive(0):  # what came before the break counts; then it raises
                    pass
            self._connection.renew()
        if not self._connection.send(frames, deadline, self._on_waiting):
            while self.receive(0):
                pass
        self._awaited[self._last_id] = take
        return self._last_id

    def receive(self, deadline: float) -> bool:
        """Hand the next answer to who waits for it; False if none came by `deadline`.

        Raises DaemonLost where the connection broke; then nobody waits for an answer any more.
        """
        try:
            answer = self._connection.receive(deadline)
        except DaemonLost:
            self._awaited.clear()
            self.breaks += 1
            raise
        if answer is None:
            return False
        header, _ = answer
        id = header.get("id")
        if id is None and not header["ok"]:
            raise refusal_of(header)  # the daemon could not even read whose request it was
        if isinstance(id, int) and (take := self._awaited.pop(id, None)):
            take(id, answer)
        return True

    @property
    def renewals(self) -> int:
        """How often the connection was made anew: the daemon takes it for another client's."""
        return self._connection.renewals

    def is_broken(self) -> bool:
        """Whether the connection has broken, and was not made anew yet."""
        return not self.closed and self._connection.is_broken()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._connection.closed

    def forget(self, id: int) -> None:
        """Pass over the answer to request `id`."""
        self._awaited.pop(id, None)

    def _body(self, parts: list[bytes]) -> bytes:
        if len(parts) > self.limits.max_samples_per_batch:
            raise LimitError(
                f"expected at most {self.limits.max_samples_per_batch} samples a request,"
                f" got {len(parts)}"
            )
        return pack_array(parts)

    def close(self) -> None:
        """Close the connection. May be called at any time, and again."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _checked(sample: Any, index: int) -> tuple[Features, float, float]:
    """`sample` as (features, label, importance). Raises TypeError."""
    if not isinstance(sample, tuple | list) or not 2 <= len(sample) <= 3:
        raise TypeError(
            "expected (features, label) or (features, label, importance), got"
            f" {type(sample).__name__} at $[{index}]"
        )
    return sample[0], sample[1], sample[2] if len(sample) == 3 else 1.0
