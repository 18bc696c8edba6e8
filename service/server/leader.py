"""The leader: validates and plans the requests of a turn that change models, and has them written.

A turn is planned whole: its valid requests go into the log, in parts, before the first of them is
applied. Then each plan is carried out in its place, once its part is in the log.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, cast

from onlinesvm.config import LearnerConfig, Limits
from onlinesvm.errors import ConfigError, VectorsMissing
from onlinesvm.model.class_labels import ClassLabels
from onlinesvm.model.model import sided
from onlinesvm.service.protocol import DEFAULT_MODEL, Request, RequestError, is_held
from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.held import (
    Hold,
    Label,
    plan_to_expire,
    plan_to_hold,
    plan_to_label,
    wall_ms,
)
from onlinesvm.service.server.plan import (
    Create,
    Drop,
    DropLabel,
    Limit,
    Own,
    Plan,
    Planned,
    Refusal,
)
from onlinesvm.service.server.registry import Hosted, Registry, check_many
from onlinesvm.service.server.slices import Slices, decoded, finish
from onlinesvm.service.server.turn import PlannedTurn
from onlinesvm.service.server.writer import Writer
from onlinesvm.service.storage.entry import LogPosition
from onlinesvm.service.storage.held import Held
from onlinesvm.service.storage.loading import Loaded
from onlinesvm.service.storage.log import Log
from onlinesvm.service.storage.model_state import ModelState
from onlinesvm.service.storage.producers import Producers
from onlinesvm.service.storage.snapshots import Snapshots
from onlinesvm.service.storage.stored_model import StoredModel
from onlinesvm.svm import OnlineSVM
from onlinesvm.text.word_vectors import embedding

__all__ = ["PART_BYTES", "Leader", "Policy", "exists", "has_origin"]

log = logging.getLogger(__name__)

# Below this, handing a part to the thread takes longer than writing it.
PART_BYTES = 2**20


@dataclass(frozen=True)
class Policy:
    """How models are made: the limits of requests and models, the producers that each remembers,
    the configuration of a model that its first sample makes, how many models there may be, and how
    many samples each holds.

    max_user_producers: of a user, in each model. max_user_models: that a user may have created;
    None for no bound.
    """

    limits: Limits
    max_producers: int = 65_536
    given: Mapping[str, Any] = field(default_factory=dict)
    auto_create: bool = False
    max_models: int = 100_000
    max_held: int = 100_000
    max_user_producers: int = 4096
    max_user_models: int | None = None

    @cached_property
    def first_config(self) -> LearnerConfig:
        """The configuration of a model that its first sample makes. Raises ConfigError."""
        return LearnerConfig(**self.given)

    def limits_of(self, config: LearnerConfig) -> Limits:
        """The limits of a model of that configuration."""
        try:
            return self.limits.under(config.rule)
        except ConfigError:  # a rule without bounds has nothing to clip at
            return replace(self.limits, clip=False).under(config.rule)

    def host(self, loaded: Loaded, stored: StoredModel) -> Hosted:
        """A model that was loaded, with these limits; they are logged before its next sample."""
        state = loaded.state
        before = state.recorded
        state.producers.bound(self.max_producers)
        state.held.bound(self.max_held)
        state.model.limit(self.limits_of(state.model.config))
        hosted = Hosted(stored.name, state.model, state.producers, state, stored)
        hosted.must_log_limits = state.recorded != before
        return hosted


class Leader:
    """Plans what changes models. Owns the log's writer; owned by the loop's thread.

    clock: milliseconds since 1970, by which held samples' time is up.
    """

    def __init__(
        self,
        registry: Registry,
        log: Log,
        changes: Changes,
        snapshots: Snapshots,
        policy: Policy,
        *,
        part_bytes: float = PART_BYTES,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self._registry = registry
        self._writer = Writer(log)
        self._changes = changes
        self._snapshots = snapshots
        self.policy = policy
        self.clock = clock
        # Under `always` a turn is made durable at once, so it is written at once.
        self._part_bytes = math.inf if log.fsync == "always" else part_bytes
        self._turn: PlannedTurn | None = None  # the last that had anything to write
        self._watched: dict[str, Hosted] = {}  # learned since the last look for a drift

    def plan(
        self, requests: Sequence[Request], refusal: Refusal | None = None
    ) -> Slices[list[Planned]]:
        """The plan of each request of a turn that changes a model, the error that answers it, or
        None.

        When this ends, all that will be changed is in the log, or on its way there. `refusal`:
        why nothing may be written now.
        """
        yield from self._writer.settled()
        self.report_drifts()
        turn = PlannedTurn(self._writer, self._registry, self._part_bytes, refusal)
        now = cache(self.clock)  # one time for all requests: the clock may go back
        plans: list[Planned] = []
        for request in requests:
            try:
                plans.append((yield from self._plan_one(request, turn, now)))
            except Exception as error:  # answers this request, and stops no other
                plans.append(error)
            if turn.is_full:
                yield from turn.write(more=True)
            yield None
        yield from turn.write(more=False)
        if turn.has_changes:
            self._turn = turn
            self._watched.update(turn.hosted)
        return plans

    def _plan_one(
        self, request: Request, turn: PlannedTurn, now: Callable[[], int]
    ) -> Slices[Planned]:
        if request.op == "learn":
            return (yield from self._plan_to_learn(request, turn))
        if is_held(request):
            return (yield from self._plan_to_hold(request, turn, now()))
        if request.op == "label":
            return self._plan_to_label(request, turn, now())
        if request.op == "resume":
            hosted, _ = self._hosted(request, turn)
            turn.check_user(request, hosted)
            hosted.producers.resume(request.producer, request.peer)
        elif request.op == "lag":
            turn.check_user(request, self._existing(request, turn))
        elif request.op == "create" and not has_origin(request):
            return self._plan_to_create(request, turn)
        elif request.op == "drop":
            return self._plan_to_drop(request, turn)
        elif request.op == "drop_label":
            return self._plan_to_drop_label(request, turn)
        return None

    def _plan_to_learn(self, request: Request, turn: PlannedTurn) -> Slices[Plan]:
        hosted, made = self._hosted(request, turn)
        model = hosted.model
        batch = yield from decoded(model.decoding(request.body, labelled=True))
        labels = sided(turn.labels_of(hosted), batch)
        plan = (
            turn.duplicate_of(request, hosted, batch, self._changes) if request.producer else None
        )
        if plan is not None:
            return plan
        turn.labels[hosted.name] = labels
        before: list[Create | Limit | Own] = []
        if made is not None:
            turn.create(made)
            before.append(made)
        else:
            before += self._before(hosted, turn)
        own = turn.claim(request, hosted, self._changes, self.policy.max_user_producers)
        if own is not None:
            before.append(own)
        plan = Plan(request, hosted, batch, self._changes, before)
        turn.learn(plan)
        return plan

    def _before(self, hosted: Hosted, turn: PlannedTurn) -> list[Create | Limit]:
        """The changes that have to be written before others of a model."""
        if not hosted.must_log_limits or hosted.name in turn.limited:
            return []
        limit = Limit(hosted, self._changes)
        turn.add(limit)
        turn.limited.add(hosted.name)
        return [limit]

    def _plan_to_hold(self, request: Request, turn: PlannedTurn, now: int) -> Slices[Hold]:
        hosted = self._existing(request, turn)
        labels = turn.labels_of(hosted)
        plan = yield from plan_to_hold(request, hosted, self._changes, now, labels)
        plan.before = self._before(hosted, turn)
        turn.add(plan)
        return plan

    def _plan_to_label(self, request: Request, turn: PlannedTurn, now: int) -> Label:
        hosted = self._existing(request, turn)
        labelled = turn.labelled.setdefault(hosted.model.id, set())
        plan, labels = plan_to_label(
            request, hosted, self._changes, now, turn.labels_of(hosted), labelled
        )
        if not plan.due.keys:
            return plan
        turn.labels[hosted.name] = labels
        labelled.update(plan.due.keys)
        plan.before = self._before(hosted, turn)
        turn.teach(plan, hosted, plan.due.batch)
        return plan

    def expire(self, hosted: Hosted, refusal: Refusal | None) -> None:
        """Let some samples of a model leave whose time is up, in a turn of its own.

        Raises NotDurable, MemoryError: then they stay.
        """
        self._writer.settle()
        plan = plan_to_expire(hosted, self._changes, self.clock())
        if plan is None:  # what was to leave has left already
            state, stored = hosted.learning
            stored.next_expiry = state.held.next_expiry or 0
            return
        turn = PlannedTurn(self._writer, self._registry, math.inf, refusal)
        plan.before = self._before(hosted, turn)
        turn.teach(plan, hosted, plan.due.batch)
        finish(turn.write(more=False))
        self._turn = turn
        self._watched[hosted.name] = hosted
        plan.carry_out()

    def _existing(self, request: Request, turn: PlannedTurn) -> Hosted:
        """The model of a request. Raises RequestError."""
        created = turn.created.get(request.model)
        if created is not None:
            return created.hosted
        if request.model in turn.dropped:
            raise RequestError("NO_MODEL", f"model {request.model} was dropped", None, request.id)
        return self._registry.get(request.model, request.id)

    def _hosted(self, request: Request, turn: PlannedTurn) -> tuple[Hosted, Create | None]:
        """The model of a request, and its creation where the request makes it.

        Raises RequestError.
        """
        is_new = request.model in turn.dropped or request.model not in self._registry
        if request.model in turn.created or not is_new or not self.policy.auto_create:
            return self._existing(request, turn), None
        made = self.creation(request, self.policy.first_config, turn)
        return made.hosted, made

    def _plan_to_create(self, request: Request, turn: PlannedTurn) -> Planned:
        config = _config_of(request)
        created = turn.created.get(request.model)
        stored = None if request.model in turn.dropped else self._registry.stored(request.model)
        if created is None and stored is None:
            made = self.creation(request, config, turn)
            turn.create(made)
            return made
        hosted = created.hosted if created else self._registry.find(request.model)
        if request.options["if_exists"] == "same" and hosted is not None:
            if hosted.model.config == config:
                return created
            raise RequestError(
                "EXISTS",
                f"model {request.model}: expected its configuration,"
                f" {_shown(hosted.model.config)}, got {_shown(config)}",
                None, request.id,
            )  # fmt: skip
        raise exists(request)

    def creation(
        self,
        request: Request,
        config: LearnerConfig,
        turn: PlannedTurn | None,
        origin: tuple[OnlineSVM, str] | None = None,
    ) -> Create:
        """The creation of a new model that a request names, or of one that goes on from `origin`,
        which has a digest.

        Raises RequestError where there are too many.
        """
        policy, name, user = self.policy, request.model, request.permit.name
        self.expect_room(request, turn)
        limits = policy.limits_of(config)
        model = OnlineSVM.of(config, limits=limits) if origin is None else origin[0]
        model.id = os.urandom(16)
        model.limit(limits)
        producers, held = Producers(policy.max_producers), Held(policy.max_held)
        state = ModelState(name, model, producers, held, LogPosition(0, 0), 0, 0, user)
        stored = StoredModel(name, model.id, 0, user=user)
        hosted = Hosted(name, model, producers, state, stored)
        return Create(hosted, self._registry, self._changes, origin[1] if origin else None)

    def expect_room(self, request: Request, turn: PlannedTurn | None = None) -> None:
        """Raise RequestError if there are as many models as there may be, or of the request's user;
        those that `turn` creates count.
        """
        policy, registry, user = self.policy, self._registry, request.permit.name
        count, owned = len(registry), registry.created_by(user)
        if turn is not None:
            count += len(turn.created) - len(turn.dropped)
            owned += sum(made.user == user for made in turn.created.values())
            owned -= sum(registry.user_of(name) == user for name in turn.dropped)
        text = ""
        if count >= policy.max_models:
            text = f"{policy.max_models} models (max_models)"
        elif user and policy.max_user_models is not None and owned >= policy.max_user_models:
            text = f"{policy.max_user_models} models of {user} (max_user_models)"
        if text:
            text = f"expected at most {text}, got one more"
            raise RequestError("TOO_LARGE", text, None, request.id)

    def create(self, made: Create) -> None:
        """Write a creation in a turn of its own; `made.carry_out` then serves the model."""
        self._writer.settle()
        turn = PlannedTurn(self._writer, self._registry, math.inf, None)
        turn.create(made)
        finish(turn.write(more=False))
        self._turn = turn

    def _plan_to_drop(self, request: Request, turn: PlannedTurn) -> Drop:
        created = turn.created.pop(request.model, None)
        if created is not None:
            stored = created.hosted.stored
        elif request.model in turn.dropped:
            stored = None
        else:
            stored = self._registry.stored(request.model)
        if stored is None:
            self._registry.get(request.model, request.id)  # raises NO_MODEL
            raise RequestError("NO_MODEL", f"model {request.model} was dropped", None, request.id)
        if stored.damage is not None and not stored.created:
            raise RequestError("DAMAGED", stored.damage, None, request.id)
        drop = Drop(stored, self._registry, self._changes, self._snapshots)
        turn.drop(drop)
        return drop

    def _plan_to_drop_label(self, request: Request, turn: PlannedTurn) -> DropLabel:
        hosted = self._existing(request, turn)
        check_many(hosted.model, request)
        labels = cast(ClassLabels, turn.labels_of(hosted)).copy()
        id = labels.id_of(request.options["label"])
        drop = DropLabel(hosted, self._changes, labels.name(id))
        labels.drop(id)
        turn.drop_label(drop, labels)
        return drop

    @property
    def refusal(self) -> Refusal | None:
        """Why the last turn was not written, or not all of it; None where it was."""
        return None if self._turn is None else self._turn.refusal

    def clear(self) -> None:
        """Forget why the last turn was not written: the next can be."""
        self._turn = None

    def report_drifts(self) -> None:
        """Log the drifts of the models that have learned since the last call."""
        for hosted in self._watched.values():
            model, known = hosted.model, hosted.drifts
            hosted.drifts = model.drifts
            if hosted.drifts > known:
                which = "" if hosted.name == DEFAULT_MODEL else f"model {hosted.name}: "
                log.warning(
                    "%sdrift: the error rose, by position %d; now %.4f",
                    which, model.position, model.progressive.recent_error,
                )  # fmt: skip
        self._watched.clear()

    def settled(self) -> Slices[None]:
        """Wait, in slices, until everything planned is in the log, or is known not to be."""
        return self._writer.settled()

    def settle(self) -> None:
        """Wait until then."""
        self._writer.settle()

    def close(self) -> None:
        """End the writer's thread; may be called again."""
        self._writer.close()


def has_origin(request: Request) -> bool:
    """Whether a request creates a model from a file or another model."""
    options = request.options
    return options["copy_of"] is not None or options["upload"] is not None


def exists(request: Request) -> RequestError:
    """The error of a creation under a name that is taken."""
    return RequestError(
        "EXISTS", f"expected a name that no model has, got {request.model}", None, request.id
    )


def _config_of(request: Request) -> LearnerConfig:
    """The configuration in a request to create. Raises RequestError."""
    try:
        config = LearnerConfig.from_dict(dict(request.options["config"]))
        if config.vectors is not None:
            embedding(config.vectors)  # or the model could never be made
        return config
    except (ConfigError, TypeError, VectorsMissing) as error:
        raise RequestError("BAD_REQUEST", str(error), None, request.id) from None


def _shown(config: LearnerConfig) -> str:
    return " ".join(f"{name}={value}" for name, value in config.as_dict().items())
