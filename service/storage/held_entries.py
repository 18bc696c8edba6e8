"""Entries of the log about held samples, and what they do to a model.

    kind     header                                                      body
    hold     map {now, ttl, default, given, user}: milliseconds; the     the request's own frame
             default label, packed, or nil; what predicting gave the
             samples, margins or bins, a msgpack array, as bin; the
             user whom the keys belong to from now on, as text
    label    map {now}                                                   the request's own frame
    expire   map {now, count, refused}: the first `count` whose time    empty
             is up at `now` leave; default labels, packed, that the
             model did not take: their samples are dropped

`now` is the leader's clock, in milliseconds since 1970: a replay and a follower have no clock of
their own, and do not predict anew. Nor have they the leader's `max_labels`: which default labels it
refused is in the entry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
import numpy as np

from onlinesvm.data.label import label_of_packed
from onlinesvm.data.pieces import Decoded
from onlinesvm.errors import LimitError, SampleError
from onlinesvm.model.given import Given, GivenBefore
from onlinesvm.service.held_bodies import Labelled, learnable, parse_labels, split_held
from onlinesvm.service.storage.entry import Entry, Kind, Record
from onlinesvm.service.storage.held import Group, Outcome
from onlinesvm.text.constants import TEXT_BYTES

if TYPE_CHECKING:
    from onlinesvm.model.model import Model
    from onlinesvm.service.storage.model_state import ModelState

__all__ = [
    "KINDS", "Due", "apply", "due_of", "expire", "expire_entry", "given_of", "hold_entry", "label",
    "label_entry", "labelled", "refused_of", "until_of",
]  # fmt: skip

KINDS = frozenset((Kind.HOLD, Kind.LABEL, Kind.EXPIRE))


class Due(NamedTuple):
    """Held samples that leave. batch: those of them that are learned, with their labels; given:
    what predicting gave them, by which the metrics go.
    """

    keys: list[bytes]
    batch: Decoded
    given: GivenBefore


def hold_entry(model: bytes, group: Group, given: bytes, body: bytes) -> Entry:
    """The entry of samples that are to be held; `given`: a msgpack array."""
    keys = {"now": group.since, "ttl": group.ttl, "default": group.default, "given": given}
    return Entry(Kind.HOLD, model, msgpack.packb({**keys, "user": group.user}), body)


def label_entry(model: bytes, now: int, body: bytes) -> Entry:
    """The entry of labels that have come."""
    return Entry(Kind.LABEL, model, msgpack.packb({"now": now}), body)


def expire_entry(model: bytes, now: int, count: int, refused: Sequence[bytes]) -> Entry:
    """The entry of samples whose time is up; `refused`: as `refused_of` has them."""
    keys = {"now": now, "count": count, "refused": refused}
    return Entry(Kind.EXPIRE, model, msgpack.packb(keys))


def until_of(record: Record) -> int:
    """When the time of the samples of an entry `hold` is up. Raises ValueError."""
    keys = msgpack.unpackb(record.header)
    if not isinstance(keys, dict):
        raise ValueError("expected a map in its header")
    return _number(keys, "now") + _number(keys, "ttl")


def apply(state: ModelState, record: Record, keys: Mapping[str, Any]) -> None:
    """Apply an entry of one of these kinds; `keys`: the map in its header.

    Raises ValueError, OnlineSVMError for one that cannot be; nothing has changed then.
    """
    now, limits = _number(keys, "now"), state.recorded.limits
    if record.kind == Kind.HOLD:
        names, samples = split_held(record.body, limits)
        default, given = keys.get("default"), keys.get("given")
        if not (isinstance(default, bytes | None) and isinstance(given, bytes)):
            raise ValueError("expected default and given as bytes in an entry hold")
        user = keys.get("user")
        if not isinstance(user, str):
            raise ValueError(f"expected a user as text in an entry hold, got {user!r:.60}")
        numbers = msgpack.unpackb(given)
        if not isinstance(numbers, list) or len(numbers) != len(names):
            raise ValueError(f"expected the numbers of {len(names)} samples in an entry hold")
        given_of(state.model, numbers)
        ttl = _number(keys, "ttl")
        state.held.hold(Group(samples, names, numbers, now, ttl, default, user))
    elif record.kind == Kind.LABEL:
        _, due = labelled(state, parse_labels(record.body, limits), now)
        label(state, due, now)
    else:
        due_keys, refused = state.held.due(now, _number(keys, "count")), keys.get("refused")
        if not (isinstance(refused, list) and all(isinstance(each, bytes) for each in refused)):
            raise ValueError(f"expected refused as an array of bytes, got {refused!r:.60}")
        expire(state, due_of(state, due_keys, refused), now)


def labelled(
    state: ModelState,
    labels: list[Labelled],
    now: int,
    planned: Collection[bytes] = (),
    max_bytes: int | None = None,
) -> tuple[list[Outcome], Due]:
    """The outcome of each of `labels`, and the samples to be learned; changes nothing.

    planned: keys that will have been labelled before. Raises LimitError where the samples have more
    than `max_bytes`, or more text than a message may have.
    """
    outcomes = state.held.outcomes((label.key for label in labels), now)
    if planned:
        outcomes = [
            Outcome.DUPLICATE if outcome is Outcome.LEARNED and label.key in planned else outcome
            for outcome, label in zip(outcomes, labels, strict=True)
        ]
    places = [i for i, outcome in enumerate(outcomes) if outcome is Outcome.LEARNED]
    learned = [labels[i] for i in places]
    if max_bytes is not None:
        size = sum(len(state.held.sample(label.key).sample) for label in learned)
        if size > max_bytes:
            raise LimitError(
                f"expected labels of held samples of at most {max_bytes} bytes, got {size} (send"
                " fewer labels at once)"
            )
    try:
        return outcomes, _due(state, learned)
    except SampleError as error:  # of more text than can be read at once
        path = () if error.sample is None else (places[error.sample],)
        raise type(error)(error.message, path) from None


def refused_of(state: ModelState, keys: list[bytes]) -> list[bytes]:
    """The default labels of the samples of `keys` that the model does not take any more: others
    have come since these were held.
    """
    known = state.model.labels.copy()
    refused = []
    for default in dict.fromkeys(state.held.sample(key).default for key in keys):
        if default is not None:
            try:
                known.learn([label_of_packed(default)])
            except SampleError:
                refused.append(default)
    return refused


def due_of(state: ModelState, keys: list[bytes], refused: Sequence[bytes]) -> Due:
    """The samples of `keys`, whose time is up, each with its default label, if it has one that is
    not among the `refused`.

    Changes nothing.
    """
    dropped = frozenset(refused)
    defaults = [(key, state.held.sample(key).default) for key in keys]
    found = [Labelled(key, d, 1.0) for key, d in defaults if d is not None and d not in dropped]
    return _due(state, found)._replace(keys=keys)


def _due(state: ModelState, labels: list[Labelled]) -> Due:
    held = [state.held.sample(label.key) for label in labels]
    rows = ((a.label, a.importance, b.sample) for a, b in zip(labels, held, strict=True))
    given = given_of(state.model, [sample.given for sample in held])
    return Due([label.key for label in labels], _decode(state, rows), given)


def given_of(model: Model, parts: Sequence[Any]) -> GivenBefore:
    """What predicting gave samples, as they are held: margins, or of many classes bytes. Raises
    ValueError for others.
    """
    if model.is_multiclass:
        return Given.unpacked(parts)
    if not all(type(part) is float for part in parts):
        raise ValueError("expected the margins of held samples as floats, got others")
    return np.array(parts, dtype=np.float64)


def _decode(state: ModelState, rows: Iterable[tuple[bytes, float, bytes]]) -> Decoded:
    """Samples that were checked when they were held: by the limits that are recorded alone."""
    model, limits = state.model, state.recorded.limits
    extractor = model.kernel.Extractor(model.config.text_options(), limits, TEXT_BYTES)
    return model.kernel.decode(learnable(rows), limits, labelled=True, extractor=extractor)


def label(state: ModelState, due: Due, now: int) -> None:
    """Learn the samples whose labels have come. Raises as `Model.learn_batch` does."""
    state.model.learn_batch(due.batch, given=due.given)
    state.held.label(due.keys, now)


def expire(state: ModelState, due: Due, now: int) -> None:
    """Let samples leave whose time is up, and learn those that have a default label.

    Raises as `Model.learn_batch` does.
    """
    state.model.learn_batch(due.batch, given=due.given)
    state.held.expire(due.keys, now)


def _number(keys: Mapping[str, Any], name: str) -> int:
    """A number in an entry's header. Raises ValueError."""
    value = keys.get(name)
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"expected {name} as an integer from 0, got {value!r:.60}")
    return value
