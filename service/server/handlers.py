"""What is served: the operations, one handler each, over a model.

`server.leader.Learning` owns a model that learns and its state folder;
`server.reader.Replica` follows another daemon's. The loop calls `prepare` with all
requests of a turn, `handle` for each of them in order, and `tick` before each turn; what takes
long runs on a worker thread and is answered when it is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from onlinesvm.data.codec import encode_margins
from onlinesvm.errors import BodyError, OnlineSVMError, SampleError
from onlinesvm.metrics.monitor import NAMES
from onlinesvm.service.protocol import Request, RequestError, encode_explanations, request_error_of
from onlinesvm.service.server.counters import Figures
from onlinesvm.svm import OnlineSVM
from onlinesvm.version import __version__

__all__ = ["Answer", "Fatal", "Reply", "Serving"]


class Fatal(OnlineSVMError):
    """The model is no longer what the journal says; only a new start makes it so."""


@dataclass(slots=True)
class Reply:
    """The answer to a request: the operation's own keys, and a body (None: none)."""

    keys: dict[str, Any]
    body: bytes | None = None


Answer = Reply | Future[Reply]


class Serving(ABC):
    """A model and its operations. The thread that runs the loop owns it."""

    mode: str

    def __init__(self) -> None:
        self.figures = Figures()
        # Called from a worker when it is done, to wake the loop.
        self.wake: Callable[[], None] = lambda: None
        self._handlers: dict[str, Callable[[Request], Answer]] = {
            "ping": self._ping,
            "learn": self._learn,
            "predict": self._predict,
            "explain": self._explain,
            "stats": self._stats,
            "snapshot": self._snapshot,
            "reload": self._reload,
            "resume": self._resume,
        }

    def prepare(self, requests: Sequence[Request]) -> None:  # noqa: B027 - nothing, mostly
        """Do what is to be done for a whole turn before the first of its requests is handled."""

    def handle(self, request: Request) -> Answer:
        """Carry out `request`. Raises RequestError, with the model as it was."""
        try:
            return self._handlers[request.op](request)
        except (BodyError, SampleError) as error:
            raise request_error_of(error, request.id) from None

    @abstractmethod
    def tick(self, now: float) -> float:
        """Do what is due at `now` (time.monotonic()); the seconds until something is due next."""

    @abstractmethod
    def stop(self) -> None:
        """Leave everything on disk as it should be."""

    @abstractmethod
    def model(self, request: Request) -> OnlineSVM:
        """The model that answers `request`. Raises RequestError if there is none yet."""

    def _ping(self, request: Request) -> Answer:
        return Reply({"mode": self.mode})

    def _predict(self, request: Request) -> Answer:
        model = self.model(request)
        batch = model.kernel.decode(request.body, model.limits, labelled=False)
        margins = model.score_batch(batch)
        if request.probability:
            margins = model.probabilities(margins)
        self.figures.samples += len(batch)
        return Reply(
            {"samples": len(batch), "position": model.position},
            encode_margins(margins),
        )

    def _explain(self, request: Request) -> Answer:
        model = self.model(request)
        batch = model.kernel.decode(request.body, model.limits, labelled=False)
        # Each feature becomes objects and some 40 bytes of the reply: others wait meanwhile.
        most, features = model.limits.max_features_per_sample, int(batch.indptr[-1])
        if features > most:
            raise RequestError(
                "TOO_LARGE",
                f"expected at most {most} features to explain at once, got {features}",
                "$",
                request.id,
            )
        explained = model.explain_batch(batch)
        self.figures.samples += len(explained)
        return Reply(
            {"samples": len(explained), "position": model.position}, encode_explanations(explained)
        )

    @abstractmethod
    def _learn(self, request: Request) -> Answer: ...

    @abstractmethod
    def _snapshot(self, request: Request) -> Answer: ...

    @abstractmethod
    def _reload(self, request: Request) -> Answer: ...

    @abstractmethod
    def _resume(self, request: Request) -> Answer: ...

    @abstractmethod
    def _stats(self, request: Request) -> Answer: ...

    def _report(self, model: OnlineSVM | None) -> dict[str, Any]:
        """The figures that learners and followers share; nil where there is no model yet."""
        report: dict[str, Any] = {"mode": self.mode, "version": __version__}
        report.update(self.figures.report())
        progressive = model.progressive if model else None
        report.update(
            position=model.position if model else None,
            features=len(model.lookup) if model else None,
            kernel=model.kernel.NAME if model else None,
            rule=model.config.rule if model else None,
            config=model.config.as_dict() if model else None,
            progressive_error=progressive.error if progressive else None,
            progressive_hinge_loss=progressive.hinge_loss if progressive else None,
            recent_error=progressive.recent_error if progressive else None,
            recent_hinge_loss=progressive.recent_hinge_loss if progressive else None,
        )
        report.update(model.metrics if model else dict.fromkeys(NAMES))
        report["experts"] = model.experts if model else None
        return report
