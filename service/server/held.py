"""Plans of requests about held samples, and of what happens when their time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
from numpy import float64
from numpy.typing import NDArray

from onlinesvm.data.codec import encode_margins
from onlinesvm.data.label import label_of_packed
from onlinesvm.data.pieces import Decoded
from onlinesvm.errors import SampleError
from onlinesvm.model.class_labels import AnyLabels
from onlinesvm.model.model import sided
from onlinesvm.service.held_bodies import KEYS_AT, SAMPLES_AT, parse_labels, split_held
from onlinesvm.service.protocol import Request, RequestError
from onlinesvm.service.server.answer import check_scores
from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.plan import Change, Create, Fatal, Limit, features_of
from onlinesvm.service.server.registry import Hosted
from onlinesvm.service.server.slices import Slices, decoded, scored
from onlinesvm.service.storage import held_entries
from onlinesvm.service.storage.entry import Entry
from onlinesvm.service.storage.held import Group, Held, Outcome
from onlinesvm.service.storage.held_entries import Due

__all__ = ["Expire", "Hold", "Label", "plan_to_expire", "plan_to_hold", "plan_to_label", "wall_ms"]

# Of one entry, so that others do not wait long; a sample may be larger.
_EXPIRED_AT_ONCE = 1000
_EXPIRED_BYTES = 2**20


def wall_ms() -> int:
    """The time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _OfHeld(Change):
    """A change of what a model holds. before: changes of the same turn that come first."""

    hosted: Hosted
    changes: Changes
    before: Sequence[Create | Limit] = field(default=(), kw_only=True)

    def begin(self) -> None:
        """Carry out what comes before. Raises NotDurable, MemoryError: then nothing is changed."""
        if (refusal := self.why_not()) is not None:
            raise refusal
        for change in self.before:
            change.carry_out()

    def end(self) -> None:
        """Note that the entry was applied."""
        state, stored = self.hosted.learning
        stored.next_expiry = state.held.next_expiry or 0
        if self.part is not None:
            state.reached(self.part.written, self.index)
            self.changes.note(stored, self.lsn)


@dataclass(slots=True)
class Hold(_OfHeld):
    """The plan to hold the samples of a predict request.

    margins: those given by a binary model, float64[n]; None for many classes.
    """

    request: Request
    group: Group
    batch: Decoded
    margins: NDArray[float64] | None

    def entry(self) -> Entry | None:
        if not len(self.batch):
            return None
        _, stored = self.hosted.learning
        margins = self.margins
        given = msgpack.packb(self.group.given) if margins is None else encode_margins(margins)
        return held_entries.hold_entry(stored.id, self.group, given, self.request.body)

    @property
    def size(self) -> int:
        return len(self.request.body)

    @property
    def features(self) -> int:
        return features_of(self.batch, self.request.body)

    def carry_out(self) -> list[int]:
        """Hold the samples; the places of those whose keys were known already.

        Raises NotDurable, MemoryError: then none is held.
        """
        self.begin()
        state, _ = self.hosted.learning
        known = state.held.hold(self.group) if len(self.batch) else []
        self.end()
        return known


@dataclass(slots=True)
class Label(_OfHeld):
    """The plan to learn held samples whose labels have come."""

    request: Request
    now: int
    outcomes: list[Outcome]
    due: Due

    def entry(self) -> Entry | None:
        if not self.due.keys:
            return None
        _, stored = self.hosted.learning
        return held_entries.label_entry(stored.id, self.now, self.request.body)

    @property
    def size(self) -> int:
        return len(self.request.body)

    def carry_out(self) -> list[Outcome]:
        """Learn the samples; what each label came to.

        Raises NotDurable, MemoryError: then nothing is learned; Fatal where the log and the model
        no longer agree.
        """
        self.begin()
        state, _ = self.hosted.learning
        if self.due.keys:  # without an entry nothing changes, not even its time
            _apply(lambda: held_entries.label(state, self.due, self.now))
        self.hosted.label_order.note(state.model.labels, self.due.batch)
        figures = state.held.figures
        figures.unknown += self.outcomes.count(Outcome.UNKNOWN)
        figures.duplicate += self.outcomes.count(Outcome.DUPLICATE)
        self.end()
        return self.outcomes


@dataclass(slots=True)
class Expire(_OfHeld):
    """The plan to let samples leave whose time is up."""

    now: int
    due: Due
    refused: list[bytes]

    def entry(self) -> Entry:
        _, stored = self.hosted.learning
        return held_entries.expire_entry(stored.id, self.now, len(self.due.keys), self.refused)

    def carry_out(self) -> None:
        """Let them leave, and learn those that have a default label. Raises as Label does."""
        self.begin()
        state, _ = self.hosted.learning
        _apply(lambda: held_entries.expire(state, self.due, self.now))
        self.end()


def _apply(change: Callable[[], None]) -> None:
    try:
        change()
    except Exception as error:
        raise Fatal(
            f"an entry that is in the log could not be applied ({error!r}); start again"
        ) from error


def plan_to_hold(
    request: Request, hosted: Hosted, changes: Changes, now: int, labels: AnyLabels
) -> Slices[Hold]:
    """Score the samples of a predict request, which are to be held.

    labels: the model's, as they will be. Raises BodyError, SampleError, RequestError.
    """
    model, (state, _) = hosted.model, hosted.learning
    if model.is_ranking:
        text = "expected a model with labels to hold samples, got a ranking one"
        raise RequestError("BAD_REQUEST", text, None, request.id)
    options, limit = request.options, state.held.limit
    keys, samples = split_held(request.body, model.limits)
    _check_user(request, state.held, keys, KEYS_AT)
    try:
        batch = yield from decoded(model.decoding(samples, labelled=False, learnable=True))
    except SampleError as error:
        raise type(error)(error.message, error.path, SAMPLES_AT) from None
    default = options["default"]
    if default is not None:
        try:
            labels.copy().learn([label_of_packed(default)])
        except SampleError as error:
            text = f"default_label: {error.message}"
            raise RequestError("BAD_SAMPLE", text, None, request.id) from None
    margins = None
    given: list[Any]
    if model.is_multiclass:
        check_scores(model, len(batch), request)
        given = model.give_batch(batch)
    else:
        margins = yield from scored(model, batch)
        given = margins.tolist()
    user = request.permit.name
    group = Group(samples, keys, given, now, options["ttl_ms"], default, user, left=len(keys))
    if group.units > limit:
        raise RequestError(
            "TOO_LARGE",
            f"expected samples that count as at most {limit} (max_held), got {group.units}: each"
            " KiB counts as one",
            None, request.id,
        )  # fmt: skip
    return Hold(hosted, changes, request, group, batch, margins)


def _check_user(request: Request, held: Held, keys: Sequence[bytes], at: str) -> None:
    """Raise RequestError if a sample is held under one of the keys, which are `at` that place, for
    another user.
    """
    user = request.permit.name
    if not user:
        return
    for i, key in enumerate(keys):
        if held.user_of(key) not in ("", user):
            raise RequestError(
                "FORBIDDEN",
                f"expected a key that {user} holds or nobody does, got another user's",
                f"{at}[{i}]",
                request.id,
                i,
            )


def plan_to_label(
    request: Request, hosted: Hosted, changes: Changes, now: int, labels: AnyLabels,
    planned: Collection[bytes],
) -> tuple[Label, AnyLabels]:  # fmt: skip
    """Find the held samples of a label request; the model's labels as they will be.

    labels: as they are before it. planned: keys that will have been labelled before. Raises
    BodyError, SampleError.
    """
    state, _ = hosted.learning
    limits = hosted.model.limits
    given = parse_labels(request.body, limits)
    _check_user(request, state.held, [label.key for label in given], "$")
    outcomes, due = held_entries.labelled(state, given, now, planned, limits.max_message_bytes)
    try:
        labels = sided(labels, due.batch)
    except SampleError as error:
        assert error.sample is not None
        learned = [i for i, outcome in enumerate(outcomes) if outcome is Outcome.LEARNED]
        raise SampleError(error.message, (learned[error.sample], 1)) from None
    return Label(hosted, changes, request, now, outcomes, due), labels


def plan_to_expire(hosted: Hosted, changes: Changes, now: int) -> Expire | None:
    """Find some samples whose time is up; None where there are none."""
    state, _ = hosted.learning
    keys, size = state.held.due(now, _EXPIRED_AT_ONCE), 0
    for i, key in enumerate(keys):
        size += len(state.held.sample(key).sample)
        if size > _EXPIRED_BYTES and i:
            keys = keys[:i]
            break
    if not keys:
        return None
    refused = held_entries.refused_of(state, keys)
    return Expire(hosted, changes, now, held_entries.due_of(state, keys, refused), refused)
