"""The operations of the wire, one handler each, over the parts of a daemon."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.codec import encode_margins
from onlinesvm.data.label import packable
from onlinesvm.data.pieces import Decoded, Pieces
from onlinesvm.data.validation import sample_starts
from onlinesvm.errors import BodyError, SampleError
from onlinesvm.metrics.monitor import NAMES
from onlinesvm.model.asking import B, distances_of, worth_asking
from onlinesvm.model.fields import with_fields
from onlinesvm.model.model import Model
from onlinesvm.service.errors import NotDurable
from onlinesvm.service.labels import encode_page, encode_pairs
from onlinesvm.service.protocol import (
    DEFAULT_MODEL,
    Reply,
    Request,
    RequestError,
    encode_explanations,
    encode_features,
    encode_labels,
    is_held,
    request_error_of,
)
from onlinesvm.service.server.answer import Answer, created, later
from onlinesvm.service.server.auth.users import Users
from onlinesvm.service.server.best_labels import best_labels
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.held import Hold, Label
from onlinesvm.service.server.inspector import Inspector
from onlinesvm.service.server.leader import Leader, has_origin
from onlinesvm.service.server.log_health import LogHealth
from onlinesvm.service.server.memory import Memory
from onlinesvm.service.server.plan import (
    Change,
    Create,
    Drop,
    DropLabel,
    Learned,
    Plan,
    Planned,
    features_of,
)
from onlinesvm.service.server.reader import Look, Reader
from onlinesvm.service.server.registry import Hosted, Registry, check_many
from onlinesvm.service.server.slices import Slices, decoded, scored
from onlinesvm.service.server.snapshot_requests import SnapshotRequests
from onlinesvm.service.server.snapshot_round import Written
from onlinesvm.service.server.snapshotter import Snapshotter
from onlinesvm.service.server.transfers import Transfers, piece_of
from onlinesvm.service.storage.held import Outcome
from onlinesvm.service.storage.log import Log
from onlinesvm.service.storage.snapshots import DroppedModel
from onlinesvm.version import __version__

__all__ = ["Handlers", "LeaderHandlers", "ReaderHandlers"]

_SHOWN_FEATURES = 2**18  # of one sample; a text of 65,536 bytes has at most 210,000


def encode_predictions(
    model: Model, margins: NDArray[np.float64], output: str, *, pairs: bool = False
) -> bytes:
    """The body of a binary model's reply to predict: margins, labels, or probabilities of +1; as
    pairs, each label with its score. Of a ranking the scores.
    """
    if model.is_ranking:
        return encode_margins(margins)
    scores = model.probabilities(margins) if output == "probability" else margins
    if output != "label" and not pairs:
        return encode_margins(scores)
    _, labels = model.binary
    names = [labels.name(-1.0), labels.name(1.0)]
    sides = margins > model.config.threshold
    if output == "label":
        return encode_labels(names, sides.astype(np.intp))
    if output == "probability":
        scores = np.where(sides, scores, 1.0 - scores)
    return encode_pairs(names, sides.astype(np.intp), scores)


class Handlers(ABC):
    """The operations that every daemon has, and the names of those that depend on its mode."""

    mode: str
    ask_b = B  # where a request that asks has none

    def __init__(
        self, registry: Registry, counters: Counters, users: Users, inspector: Inspector
    ) -> None:
        self._registry = registry
        self._counters = counters
        self._users = users
        self._inspector = inspector
        # Those that may take long go in slices.
        self._handlers: dict[str, Callable[[Request], Answer | Slices[Answer]]] = {
            "ping": self._ping,
            "predict": self._predict,
            "label": self._label,
            "explain": self._explain,
            "features": self._features,
            "labels": self._labels,
            "inspect": self._inspect,
            "stats": self._stats,
            "snapshot": self._snapshot,
            "reload": self._reload,
            "resume": self._resume,
            "lag": self._lag,
            "models": self._models,
            "create": self._create,
            "drop": self._drop,
            "upload": self._upload,
            "fetch": self._fetch,
        }

    def handle(self, request: Request, plan: Planned = None) -> Slices[Answer]:
        """Carry out `request`, in slices; one that changes models by its `plan`.

        Raises RequestError, with the models as they were.
        """
        try:
            if isinstance(plan, Exception):
                raise plan
            if isinstance(plan, Change):
                return (yield from self._carry_out(request, plan))
            answer = self._handlers[request.op](request)
            return (yield from answer) if isinstance(answer, Generator) else answer
        except (BodyError, SampleError) as error:
            raise request_error_of(error, request.id) from None

    def _ping(self, request: Request) -> Answer:
        return Reply({"mode": self.mode})

    def _batch(self, model: Model, request: Request) -> Slices[Decoded]:
        """The samples in a request to score, which its user's quota pays for."""
        batch = yield from decoded(model.decoding(request.body, labelled=False))
        self._users.quotas.take_features(request, features_of(batch, request.body))
        return batch

    def _predict(self, request: Request) -> Slices[Answer]:
        model = self._registry.get(request.model, request.id).model
        batch = yield from self._batch(model, request)
        return (yield from self._predicted(request, model, batch, request.body))

    def _predicted(
        self,
        request: Request,
        model: Model,
        batch: Decoded,
        samples: bytes,
        margins: NDArray[np.float64] | None = None,
    ) -> Slices[Reply]:
        """The reply to predict. samples: as they came; margins: those of a binary model, where they
        are known.
        """
        is_ask = "b" in request.options
        if model.is_ranking and (is_ask or request.output == "probability"):
            got = "ask" if is_ask else 'output "probability"'
            text = f'expected output "margin" or "label" alone of a ranking model, got {got}'
            raise RequestError("BAD_REQUEST", text, None, request.id)
        if model.is_multiclass:
            reply = yield from best_labels(model, batch, request)
        else:
            margins = (yield from scored(model, batch)) if margins is None else margins
            pairs = "pairs" in request.options
            body = encode_predictions(model, margins, request.output, pairs=pairs)
            reply = Reply({"samples": len(batch), "position": model.position}, body)
        if is_ask:
            b = self.ask_b if request.options["b"] is None else request.options["b"]
            starts = sample_starts(samples, len(batch))
            each = [samples[start:end] for start, end in pairwise(starts)]
            distances = distances_of(model, batch, margins)
            reply.keys["ask"] = worth_asking(distances, each, model.position, b).tolist()
        self._counters.samples += len(batch)
        return reply

    def _labels(self, request: Request) -> Answer:
        model = self._registry.get(request.model, request.id).model
        check_many(model, request)
        first = request.options["first"]
        rows, following = model.label_figures(first, request.options["count"])
        confusion = None if first or model.is_multilabel else model.confusion()
        return Reply({"position": model.position}, encode_page(rows, following, confusion))

    def _inspect(self, request: Request) -> Answer:
        model = self._registry.get(request.model, request.id).model
        return self._inspector.inspect(model, request)

    def _explain(self, request: Request) -> Slices[Answer]:
        model = self._registry.get(request.model, request.id).model
        batch = yield from self._batch(model, request)
        self._check_shown(batch, model, request)
        label, other = request.options.get("label"), request.options.get("other")
        if label is not None or other is not None:
            check_many(model, request)
        explained = with_fields(model, model.explain_batch(batch, label, other), request.body)
        self._counters.samples += len(explained)
        return self._shown(request, model, len(batch), encode_explanations(explained))

    def _features(self, request: Request) -> Slices[Answer]:
        model = self._registry.get(request.model, request.id).model
        batch = yield from self._batch(model, request)
        self._check_shown(batch, model, request)
        body = encode_features(model.features_batch(batch))
        return self._shown(request, model, len(batch), body)

    def _check_shown(self, batch: Decoded, model: Model, request: Request) -> None:
        """Raise RequestError for more features than one reply shows: each becomes objects and some
        40 bytes, while others wait.
        """
        limit = model.limits.max_features_per_sample
        features = features_of(batch, request.body)
        if len(batch) == 1:  # a text is cut to have fewer
            limit = max(limit, _SHOWN_FEATURES)
        if isinstance(batch, Pieces) or features > limit:
            raise RequestError(
                "TOO_LARGE",
                f"expected at most {limit} features to {request.op} at once, got {features}",
                "$",
                request.id,
            )

    def _shown(self, request: Request, model: Model, samples: int, body: bytes) -> Reply:
        limit = model.limits.max_message_bytes
        if len(body) > limit:
            raise RequestError(
                "TOO_LARGE", f"expected a reply of at most {limit} bytes, got {len(body)}", "$",
                request.id,
            )  # fmt: skip
        return Reply({"samples": samples, "position": model.position}, body)

    def _carry_out(self, request: Request, plan: Change) -> Slices[Answer]:
        """Carry out the plan of a request that changes models."""
        raise AssertionError(f"{self.mode}: no plan was made for {request.op}")

    def _models(self, request: Request) -> Answer:
        """A page of the models that the user's role is for, by name."""
        options, registry, permit = request.options, self._registry, request.permit
        is_shown = None if permit.models == "*" else permit.has_model
        names = registry.names_after(options["after"], options["limit"] + 1, is_shown)
        page = names[: options["limit"]]
        return Reply(
            {
                "models": [self._row(name) for name in page],
                "count": len(registry) if is_shown is None else registry.count(is_shown),
                "next": page[-1] if len(names) > len(page) else None,
            }
        )

    def _row(self, name: str) -> dict[str, Any]:
        """The entry of a model in the list of models."""
        hosted, stored = self._registry.find(name), self._registry.stored(name)
        row: dict[str, Any] = {"name": name, "loaded": hosted is not None}
        if hosted is not None:
            row["position"] = hosted.model.position
            row["features"] = len(hosted.model.lookup)
            row["rule"] = hosted.model.config.rule
        elif stored is not None and stored.newest is not None:
            row["position"] = stored.newest.position
        if stored is not None and stored.damage is not None:
            row["damage"] = stored.damage
        return row

    def _reloaded_keys(self) -> dict[str, Any]:
        """Read the permits again: what a reply says of them."""
        if not self._users.has_keys:
            return {}
        errors = self._users.reload()
        return {"keys": len(self._users), "key_errors": errors}

    @abstractmethod
    def _label(self, request: Request) -> Answer: ...

    @abstractmethod
    def _create(self, request: Request) -> Answer: ...

    @abstractmethod
    def _drop(self, request: Request) -> Answer: ...

    @abstractmethod
    def _upload(self, request: Request) -> Answer: ...

    @abstractmethod
    def _fetch(self, request: Request) -> Answer: ...

    @abstractmethod
    def _snapshot(self, request: Request) -> Answer | Slices[Answer]: ...

    @abstractmethod
    def _reload(self, request: Request) -> Answer: ...

    @abstractmethod
    def _resume(self, request: Request) -> Answer: ...

    @abstractmethod
    def _lag(self, request: Request) -> Answer: ...

    def _stats(self, request: Request) -> Slices[Answer]:
        """The figures that all modes share; nil where there is no model yet."""
        yield from self._settled()
        if request.model != DEFAULT_MODEL:
            self._registry.get(request.model, request.id)
        hosted = self._registry.find(request.model)
        model = hosted.model if hosted else None
        report: dict[str, Any] = {"mode": self.mode, "version": __version__}
        report.update(self._counters.report())
        report.update(models=len(self._registry), loaded_models=self._registry.loaded)
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
        report.update(self._report(request, hosted))
        return Reply(report)

    def _settled(self) -> Slices[None]:
        """Wait, in slices, until the log is at hand."""
        yield from ()

    @abstractmethod
    def _report(self, request: Request, hosted: Hosted | None) -> dict[str, Any]:
        """The figures of this mode alone."""


class LeaderHandlers(Handlers):
    """The operations of a daemon that learns."""

    mode = "leader"

    def __init__(
        self,
        registry: Registry,
        counters: Counters,
        users: Users,
        inspector: Inspector,
        leader: Leader,
        snapshotter: Snapshotter,
        requested: SnapshotRequests,
        log: Log,
        health: LogHealth,
        memory: Memory,
        transfers: Transfers,
    ) -> None:
        super().__init__(registry, counters, users, inspector)
        self._leader = leader
        self._snapshotter = snapshotter
        self._requested = requested
        self._log = log
        self._health = health
        self._memory = memory
        self._transfers = transfers

    def _carry_out(self, request: Request, plan: Change) -> Slices[Answer]:
        yield from plan.written()
        hosted = self._registry.find(request.model)
        outcome: Any
        try:
            if isinstance(plan, Plan):
                outcome = yield from plan.carry_out()
            else:
                assert isinstance(plan, Hold | Label | Create | DropLabel | Drop)
                outcome = plan.carry_out()
        except NotDurable as error:
            text = f"{error}; nothing of it is applied"
            raise RequestError("NOT_DURABLE", text, None, request.id) from None
        except MemoryError:
            text = "out of memory; nothing of it is applied"
            raise RequestError("INTERNAL", text, None, request.id) from None
        # It is applied: an error from here on is one of the reply alone.
        if isinstance(plan, Plan):
            self._users.quotas.take_features(request, plan.features)
            return self._learned(outcome)
        if isinstance(plan, Hold):
            return (yield from self._held(request, plan, outcome))
        if isinstance(plan, Label):
            return self._labelled(plan, outcome)
        if isinstance(plan, Create):
            return Reply(created(outcome))
        if isinstance(plan, DropLabel):
            return Reply({"position": plan.hosted.model.position})
        if hosted is not None:  # a model that was dropped
            self._memory.forget(hosted)
        return Reply({})

    def _learned(self, learned: Learned) -> Reply:
        keys: dict[str, Any] = {"samples": learned.samples, "position": learned.position}
        if learned.margins is None:
            return Reply({**keys, "duplicate": True})
        self._counters.samples += learned.samples
        return Reply(keys, encode_margins(learned.margins))

    def _held(self, request: Request, plan: Hold, known: list[int]) -> Slices[Reply]:
        self._users.quotas.take_features(request, plan.features)
        reply = yield from self._predicted(
            request, plan.hosted.model, plan.batch, plan.group.samples, plan.margins
        )
        reply.keys["duplicate"] = known
        return reply

    def _labelled(self, plan: Label, outcomes: list[Outcome]) -> Reply:
        learned = len(plan.due.keys)
        self._counters.samples += learned
        return Reply(
            {"samples": learned, "position": plan.hosted.model.position}, msgpack.packb(outcomes)
        )

    def _label(self, request: Request) -> Answer:
        raise AssertionError("no plan was made to label held samples")

    def _create(self, request: Request) -> Answer:
        if has_origin(request):
            return self._transfers.create(request)
        return Reply(created(self._registry.get(request.model, request.id)))  # it is there

    def _drop(self, request: Request) -> Answer:
        raise AssertionError("no plan was made to drop a model")

    def _upload(self, request: Request) -> Answer:
        return Reply(self._transfers.upload(request))

    def _fetch(self, request: Request) -> Answer:
        return self._transfers.fetch(request)

    def _resume(self, request: Request) -> Answer:
        hosted = self._registry.get(request.model, request.id)
        last = hosted.producers.last(request.producer)
        return Reply({**last._asdict(), "cursor": last.cursor or None})

    def _lag(self, request: Request) -> Answer:
        hosted = self._registry.get(request.model, request.id)
        if not hosted.producers.may_send(request.producer, request.peer):
            text = "expected the connection that last asked to resume this producer, got another"
            raise RequestError("SEQUENCE_GAP", text, None, request.id)
        hosted.lags.note(request.producer, request.options)
        return Reply({})

    def _snapshot(self, request: Request) -> Slices[Answer]:
        hosted = self._registry.get(request.model, request.id)
        yield from self._leader.settled()

        def reply(written: Future[Written]) -> Reply:
            try:
                return Reply(written.result().stored._asdict())
            except DroppedModel as error:
                raise RequestError("NO_MODEL", str(error), None, request.id) from None
            except Exception as error:
                text = f"the snapshot failed: {error}"
                raise RequestError("INTERNAL", text, None, request.id) from None

        return later(self._requested.ask(hosted), reply)

    def _reload(self, request: Request) -> Answer:
        if self._users.has_keys:
            return Reply(self._reloaded_keys())
        raise RequestError(
            "BAD_REQUEST",
            "expected reload at a reader, or at a leader with keys, got it at one without",
            None, request.id,
        )  # fmt: skip

    def _settled(self) -> Slices[None]:
        return self._leader.settled()

    def _report(self, request: Request, hosted: Hosted | None) -> dict[str, Any]:
        report = {
            "fsync": self._log.fsync,
            "log_error": self._health.error,
            "models_bytes": self._memory.bytes,
            "unloaded_models": self._memory.unloaded,
        }
        if hosted is None:
            return report
        model, (state, _) = hosted.model, hosted.learning
        return {
            **self._snapshotter.report(hosted),
            **report,
            "producers": len(hosted.producers),
            "held": len(state.held),
            **state.held.figures.report(),
            "ingest": hosted.lags.report(hosted.producers),
            "label_run": hosted.label_order.longest,
            "refused_features": model.refused_features,
            "cut_texts": model.cut_texts,
            "prunes": model.pruning.prunes,
            "pruned_features": model.pruning.features,
            "longest_prune_s": model.pruning.longest_s,
        }


class ReaderHandlers(Handlers):
    """The operations of a daemon that serves another's snapshots read-only."""

    mode = "reader"

    def __init__(
        self,
        registry: Registry,
        counters: Counters,
        users: Users,
        inspector: Inspector,
        reader: Reader,
    ) -> None:
        super().__init__(registry, counters, users, inspector)
        self._reader = reader
        self._handlers |= {"learn": self._learn, "drop_label": self._learn}

    def _learn(self, request: Request) -> Answer:
        raise RequestError("READ_ONLY", "a reader does not learn; ask its leader", None, request.id)

    _resume = _lag = _create = _drop = _upload = _label = _learn

    def _predict(self, request: Request) -> Slices[Answer]:
        if is_held(request):
            raise RequestError(
                "READ_ONLY", "a reader holds no samples; ask its leader", None, request.id
            )
        return (yield from super()._predict(request))

    def _fetch(self, request: Request) -> Answer:
        return Reply(*piece_of(self._reader.folder, request))

    def _snapshot(self, request: Request) -> Answer:
        raise RequestError("READ_ONLY", "a reader writes no snapshot", None, request.id)

    def _reload(self, request: Request) -> Answer:
        keys = self._reloaded_keys()

        def reply(looked: Future[Look]) -> Reply:
            look = looked.result()
            return Reply(
                {
                    **keys,
                    "reloaded": look.is_new,
                    "position": look.served.model.position if look.served else None,
                    "path": str(look.served.path) if look.served else None,
                    "reload_error": look.error,
                }
            )

        # A look under way may have listed the folder before a snapshot that the client knows of
        # was there, so this asks for one that begins from now on.
        return later(self._reader.look(request.model), reply)

    def _report(self, request: Request, hosted: Hosted | None) -> dict[str, Any]:
        return self._reader.report(request.model)


def _labels_of(model: Model) -> list[Any] | int:
    """The labels of both sides; of many classes how many there are."""
    if model.is_multiclass:
        return len(model.many[1].ids)
    return [packable(name) for name in model.binary[1].names()]
