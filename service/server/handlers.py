"""The operations of the wire, one handler each, over the parts of a daemon."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.batch import BatchColumns
from onlinesvm.data.codec import encode_margins
from onlinesvm.data.label import packable
from onlinesvm.errors import BodyError, SampleError
from onlinesvm.metrics.monitor import NAMES
from onlinesvm.model.model import Model
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.protocol import (
    Reply,
    Request,
    RequestError,
    encode_explanations,
    encode_labels,
    encode_page,
    encode_top,
    request_error_of,
)
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.leader import Leader
from onlinesvm.service.server.log_health import LogHealth
from onlinesvm.service.server.plan import Plan, Planned
from onlinesvm.service.server.reader import Look, Reader
from onlinesvm.service.server.registry import Registry, check_many
from onlinesvm.service.server.snapshotter import Snapshotter, Written
from onlinesvm.service.storage.log import Log
from onlinesvm.version import __version__

__all__ = ["Answer", "Handlers", "LeaderHandlers", "ReaderHandlers"]

Answer = Reply | Future[Reply]

T = TypeVar("T")


_MOST_SCORES = 2**20  # in one reply


def encode_predictions(model: Model, margins: NDArray[np.float64], output: str) -> bytes:
    """The body of a binary model's reply to predict: margins, labels, or probabilities of +1."""
    if output == "label":
        _, labels = model.binary
        names = [labels.name(-1.0), labels.name(1.0)]
        return encode_labels(names, (margins > model.config.threshold).astype(np.intp))
    return encode_margins(model.probabilities(margins) if output == "probability" else margins)


class Handlers(ABC):
    """The operations that every daemon has, and the names of those that depend on its mode."""

    mode: str

    def __init__(self, registry: Registry, counters: Counters) -> None:
        self._registry = registry
        self._counters = counters
        self._handlers: dict[str, Callable[[Request], Answer]] = {
            "ping": self._ping,
            "predict": self._predict,
            "explain": self._explain,
            "labels": self._labels,
            "stats": self._stats,
            "snapshot": self._snapshot,
            "reload": self._reload,
            "resume": self._resume,
        }

    def handle(self, request: Request, plan: Planned = None) -> Answer:
        """Carry out `request`, a learn request by its `plan`.

        Raises RequestError, with the models as they were.
        """
        try:
            if request.op in ("learn", "drop_label"):
                return self._learn(request, plan)
            return self._handlers[request.op](request)
        except (BodyError, SampleError) as error:
            raise request_error_of(error, request.id) from None

    def _ping(self, request: Request) -> Answer:
        return Reply({"mode": self.mode})

    def _predict(self, request: Request) -> Answer:
        model = self._registry.get(request.model, request.id).model
        batch = model.kernel.decode(request.body, model.limits, labelled=False)
        keys: dict[str, Any] = {"samples": len(batch), "position": model.position}
        if model.is_multiclass:
            body = self._best_labels(model, batch, request, keys)
        else:
            body = encode_predictions(model, model.score_batch(batch), request.output)
        self._counters.samples += len(batch)
        return Reply(keys, body)

    def _best_labels(
        self, model: Model, batch: BatchColumns, request: Request, keys: dict[str, Any]
    ) -> bytes:
        """The body of a multiclass model's reply; adds to the keys of its header."""
        _, labels = model.many
        names, ids = labels.names(), labels.ids
        top = 1 if request.output == "label" else request.top
        width = min(top, len(names)) if top else len(names)
        if len(batch) * width > _MOST_SCORES:
            raise RequestError(
                "TOO_LARGE",
                f"expected at most {_MOST_SCORES} scores in a reply, got {len(batch)} samples of"
                f" {width} labels",
                None,
                request.id,
            )
        is_share = request.output == "probability"
        found, scores = model.top_batch(batch, top, probability=is_share)
        if not top:
            keys["labels"] = [packable(name) for name in names]
        if request.output == "label":
            if not found.size:
                return encode_labels([None], np.zeros(len(batch), dtype=np.intp))
            return encode_labels(names, np.searchsorted(ids, found[:, 0]))
        return encode_top(names, ids, found, scores)

    def _labels(self, request: Request) -> Answer:
        model = self._registry.get(request.model, request.id).model
        check_many(model, request)
        rows, following = model.label_figures(request.first, request.most)
        confusion = None if request.first else model.confusion()
        return Reply({"position": model.position}, encode_page(rows, following, confusion))

    def _explain(self, request: Request) -> Answer:
        model = self._registry.get(request.model, request.id).model
        batch = model.kernel.decode(request.body, model.limits, labelled=False)
        # Each feature becomes objects and some 40 bytes of the reply, while others wait.
        limit, features = model.limits.max_features_per_sample, int(batch.indptr[-1])
        if features > limit:
            raise RequestError(
                "TOO_LARGE",
                f"expected at most {limit} features to explain at once, got {features}",
                "$",
                request.id,
            )
        if request.label is not None or request.other is not None:
            check_many(model, request)
        explained = model.explain_batch(batch, request.label, request.other)
        self._counters.samples += len(explained)
        return Reply(
            {"samples": len(explained), "position": model.position}, encode_explanations(explained)
        )

    @abstractmethod
    def _learn(self, request: Request, plan: Planned) -> Answer: ...

    @abstractmethod
    def _snapshot(self, request: Request) -> Answer: ...

    @abstractmethod
    def _reload(self, request: Request) -> Answer: ...

    @abstractmethod
    def _resume(self, request: Request) -> Answer: ...

    def _stats(self, request: Request) -> Answer:
        """The figures that all modes share; nil where there is no model yet."""
        hosted = self._registry.find(request.model)
        model = hosted.model if hosted else None
        report: dict[str, Any] = {"mode": self.mode, "version": __version__}
        report.update(self._counters.report())
        progressive = model.progressive if model else None
        report.update(
            position=model.position if model else None,
            features=len(model.lookup) if model else None,
            kernel=model.kernel.NAME if model else None,
            rule=model.config.rule if model else None,
            task=model.config.task if model else None,
            labels=_labels_of(model) if model else None,
            config=model.config.as_dict() if model else None,
            progressive_error=progressive.error if progressive else None,
            progressive_hinge_loss=progressive.hinge_loss if progressive else None,
            recent_error=progressive.recent_error if progressive else None,
            recent_hinge_loss=progressive.recent_hinge_loss if progressive else None,
        )
        report.update(model.metrics if model else dict.fromkeys(NAMES))
        report["experts"] = model.experts if model else None
        report.update(self._report(request))
        return Reply(report)

    @abstractmethod
    def _report(self, request: Request) -> dict[str, Any]:
        """The figures of this mode alone."""


class LeaderHandlers(Handlers):
    """The operations of a daemon that learns."""

    mode = "leader"

    def __init__(
        self,
        registry: Registry,
        counters: Counters,
        leader: Leader,
        snapshotter: Snapshotter,
        log: Log,
        health: LogHealth,
    ) -> None:
        super().__init__(registry, counters)
        self._leader = leader
        self._snapshotter = snapshotter
        self._log = log
        self._health = health

    def _learn(self, request: Request, plan: Planned) -> Answer:
        if not isinstance(plan, Plan):
            assert plan is not None
            raise plan
        try:
            learned = plan.carry_out()
        except NotDurable as error:
            text = f"{error}; nothing of it is applied"
            raise RequestError("NOT_DURABLE", text, None, request.id) from None
        except MemoryError:
            text = "out of memory; nothing of it is applied"
            raise RequestError("INTERNAL", text, None, request.id) from None
        keys: dict[str, Any] = {"samples": learned.samples, "position": learned.position}
        if plan.batch is None:
            return Reply({"position": learned.position})
        if learned.margins is None:
            return Reply({**keys, "duplicate": True})
        self._counters.samples += learned.samples
        return Reply(keys, encode_margins(learned.margins))

    def _resume(self, request: Request) -> Answer:
        hosted = self._registry.get(request.model, request.id)
        return Reply(hosted.producers.last(request.producer)._asdict())

    def _snapshot(self, request: Request) -> Answer:
        self._registry.get(request.model, request.id)
        self._leader.settle()

        def reply(written: Future[Written]) -> Reply:
            try:
                return Reply(dict(written.result().stored._asdict()))
            except Exception as error:
                text = f"the snapshot failed: {error}"
                raise RequestError("INTERNAL", text, None, request.id) from None

        return _later(self._snapshotter.request(), reply)

    def _reload(self, request: Request) -> Answer:
        raise RequestError(
            "BAD_REQUEST", "expected reload at a reader, got it at a leader", None, request.id
        )

    def _report(self, request: Request) -> dict[str, Any]:
        hosted = self._registry.get(request.model, request.id)
        self._leader.settle()
        model = hosted.model
        return {
            **self._snapshotter.report(),
            "fsync": self._log.fsync,
            "log_error": self._health.error,
            "producers": len(hosted.producers),
            "label_run": hosted.label_order.longest,
            "refused_features": model.refused_features,
            "prunes": model.pruning.prunes,
            "pruned_features": model.pruning.features,
            "longest_prune_s": model.pruning.longest_s,
        }


class ReaderHandlers(Handlers):
    """The operations of a daemon that serves another's snapshots read-only."""

    mode = "reader"

    def __init__(self, registry: Registry, counters: Counters, reader: Reader) -> None:
        super().__init__(registry, counters)
        self._reader = reader

    def _learn(self, request: Request, plan: Planned) -> Answer:
        raise RequestError("READ_ONLY", "a reader does not learn; ask its leader", None, request.id)

    def _resume(self, request: Request) -> Answer:
        raise RequestError("READ_ONLY", "a reader does not learn; ask its leader", None, request.id)

    def _snapshot(self, request: Request) -> Answer:
        raise RequestError("READ_ONLY", "a reader writes no snapshot", None, request.id)

    def _reload(self, request: Request) -> Answer:
        def reply(looked: Future[Look]) -> Reply:
            look = looked.result()
            return Reply(
                {
                    "reloaded": look.is_new,
                    "position": look.served.model.position if look.served else None,
                    "path": str(look.served.path) if look.served else None,
                    "reload_error": look.error,
                }
            )

        # A look under way may have listed the folder before a snapshot that the client knows of
        # was there, so this asks for one that begins from now on.
        return _later(self._reader.look(), reply)

    def _report(self, request: Request) -> dict[str, Any]:
        return self._reader.report()


def _labels_of(model: Model) -> list[Any] | int:
    """The labels of both sides; of many classes how many there are."""
    if model.is_multiclass:
        return len(model.many[1].ids)
    return [packable(name) for name in model.binary[1].names()]


def _later(future: Future[T], reply: Callable[[Future[T]], Reply]) -> Future[Reply]:
    """The reply to come that `reply` makes of `future` once it is done, on the worker's thread."""
    answer: Future[Reply] = Future()

    def done(future: Future[T]) -> None:
        try:
            answer.set_result(reply(future))
        except Exception as error:
            answer.set_exception(error)

    future.add_done_callback(done)
    return answer
