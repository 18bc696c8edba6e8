"""Samples that are held until their labels come: by key, with what predicting gave.

A key is held until its sample is labelled or its time is up. Then it is *remembered*, for as long
as it could be held, so that no sample is learned twice. Times are milliseconds since 1970 of the
leader's clock, as the entries of the log have them: what is held depends on these alone.

At most `limit` samples are held; samples that came in one request count as their KiB, where these
are more. Beyond it those held longest leave, unlearned. As many keys are remembered at most.

In a snapshot (`snapshot.format`, blob ``held``) they are a stream of msgpack arrays:

    head          now; how many groups; how many keys are remembered
    group         since, ttl, default (a label, packed, as bin, or nil), user (text), samples (bin:
                  the array in which they came), keys, the place of each key's sample, and what
                  predicting gave it: a margin, or of many classes the bytes of
                  `onlinesvm.model.given`
    remembered    key, until, "duplicate" (it was labelled) or "expired"
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import msgpack

from onlinesvm.data.validation import sample_starts
from onlinesvm.service.held_bodies import MAX_KEY_BYTES

__all__ = ["Figures", "Group", "Held", "HeldSample", "HeldView", "Outcome"]

_UNIT_BYTES = 1024
_KEY_BYTES = 250  # of memory that a key takes, about
_RECENT = 1000  # labels whose delays are kept
_NONE = b""  # no key
_SPARE = 64  # dead places in the queue before it is made anew


class Outcome(StrEnum):
    """The outcome of a label: learned, or why not."""

    LEARNED = "learned"
    DUPLICATE = "duplicate"  # its key was labelled before
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class Group:
    """Samples that came in one request: the msgpack array that they are in.

    given: what predicting gave, margins or bytes, in the order of the samples, as `keys` are.
    since: when they came, or the latest time before; they are held for `ttl`. default: the label,
    packed, that they are learned with when their time is up; None: they are dropped. user: whom
    they belong to; "" where there are no keys of users. left: how many are still held; first: none
    of those before is; size: about the bytes that it takes.
    """

    samples: bytes
    keys: Sequence[bytes]
    given: Sequence[Any]
    since: int
    ttl: int
    default: bytes | None
    user: str = ""
    number: int = 0
    left: int = 0
    first: int = 0
    size: int = 0
    _starts: list[int] | None = None

    @property
    def until(self) -> int:
        """When the time of its samples is up."""
        return self.since + self.ttl

    @property
    def units(self) -> int:
        """The units of the limit that it counts as."""
        return max(self.left, -(-len(self.samples) // _UNIT_BYTES)) if self.left else 0

    def sample(self, place: int) -> bytes:
        """A sample as it came, packed."""
        if self._starts is None:
            self._starts = sample_starts(self.samples, 2**31)
        return self.samples[self._starts[place] : self._starts[place + 1]]


# A held sample is known by its group's number and its place there, in one integer: an object each
# would keep the collector of garbage busy.
_PLACE_BITS = 31
_PLACES = (1 << _PLACE_BITS) - 1


class HeldSample(NamedTuple):
    """A sample as it came, packed, what predicting gave it, and its default label."""

    sample: bytes
    given: Any
    default: bytes | None


@dataclass(slots=True)
class Figures:
    """Counts since the model was loaded. evicted: left as there were too many. delays_ms: of the
    last labels, from hold to label.
    """

    labelled: int = 0
    expired: int = 0
    evicted: int = 0
    unknown: int = 0
    duplicate: int = 0
    delays_ms: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def report(self) -> dict[str, Any]:
        """The figures as keys of a stats reply; the delays in seconds, None before the first."""
        ordered = sorted(self.delays_ms)

        def share(q: float) -> float | None:
            return ordered[min(len(ordered) - 1, int(q * len(ordered)))] / 1e3 if ordered else None

        return {
            "labelled": self.labelled,
            "expired": self.expired,
            "evicted": self.evicted,
            "unknown": self.unknown,
            "duplicate": self.duplicate,
            "label_delay_p50_s": share(0.5),
            "label_delay_p99_s": share(0.99),
        }


class Held:
    """The samples that a model holds. `limit`: how many; see above."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.now = 0  # the latest time of an entry
        self.figures = Figures()
        self._held: dict[bytes, int] = {}
        self._remembered: OrderedDict[bytes, tuple[int, Outcome]] = OrderedDict()  # until when
        self._groups: dict[int, Group] = {}  # those with samples left, by number
        # Of groups with samples left, and of others until they come first or are too many:
        self._oldest: deque[Group] = deque()  # the one held longest first
        self._queue: list[tuple[int, int]] = []  # a heap of (until, number)
        self._number = 0
        self._units = self._sample_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def remembered(self) -> int:
        """How many keys are remembered that are not held any more."""
        return len(self._remembered)

    @property
    def memory_bytes(self) -> int:
        """About the memory that this takes."""
        return self._sample_bytes + (len(self._held) + len(self._remembered)) * _KEY_BYTES

    @property
    def given(self) -> list[Any]:
        """What predicting gave the samples held."""
        places = [(at >> _PLACE_BITS, at & _PLACES) for at in self._held.values()]
        return [self._groups[group].given[place] for group, place in places]

    @property
    def next_expiry(self) -> int | None:
        """When the next sample's time is up; None while nothing is held."""
        while self._queue and self._queue[0][1] not in self._groups:
            heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def hold(self, group: Group) -> list[int]:
        """Hold the samples of a group; the places of those whose keys were known already."""
        self._pass(group.since)
        group.since = self.now  # the leader's clock may go back: its time begins now all the same
        keys, held = group.keys, self._held
        known: list[int] = []
        before = len(held)
        self._number += 1
        group.number = self._number
        first = group.number << _PLACE_BITS
        fresh = dict(zip(keys, range(first, first + len(keys)), strict=True))
        others = (held, self._remembered)
        if len(fresh) == len(keys) and all(d.keys().isdisjoint(fresh) for d in others if d):
            held.update(fresh)
        else:
            for i, key in enumerate(keys):
                if key in held or self._remembers(key):
                    known.append(i)
                else:
                    self._remembered.pop(key, None)
                    held[key] = first + i
        group.left = len(held) - before
        if group.left:
            self._add(group)
        self._evict()
        return known

    def _add(self, group: Group) -> None:
        self._groups[group.number] = group
        heappush(self._queue, (group.until, group.number))
        self._oldest.append(group)
        self._units += group.units
        group.size = len(group.samples)
        group.size += sum(len(part) for part in group.given if type(part) is bytes)
        self._sample_bytes += group.size

    def outcomes(self, keys: Iterable[bytes], now: int) -> list[Outcome]:
        """The outcome of a label of each key at `now`; changes nothing."""
        found: dict[bytes, Outcome] = {}
        outcomes = []
        for key in keys:
            outcome = found.get(key)
            if outcome is None:
                outcome = found[key] = self._outcome(key, max(now, self.now))
            elif outcome is Outcome.LEARNED:
                outcome = Outcome.DUPLICATE
            outcomes.append(outcome)
        return outcomes

    def _outcome(self, key: bytes, now: int) -> Outcome:
        place = self._held.get(key)
        if place is not None:
            until = self._groups[place >> _PLACE_BITS].until
            return Outcome.LEARNED if until > now else Outcome.EXPIRED
        until, outcome = self._remembered.get(key, (0, Outcome.UNKNOWN))
        return outcome if until > now else Outcome.UNKNOWN

    def user_of(self, key: bytes) -> str:
        """The user whom the sample held under a key belongs to; "" for none."""
        at = self._held.get(key)
        return "" if at is None else self._groups[at >> _PLACE_BITS].user

    def sample(self, key: bytes) -> HeldSample:
        """The sample that is held under a key."""
        at = self._held[key]
        group, place = self._groups[at >> _PLACE_BITS], at & _PLACES
        return HeldSample(group.sample(place), group.given[place], group.default)

    def label(self, keys: Iterable[bytes], now: int) -> None:
        """Note that the samples of these keys, which are held, were learned."""
        self._pass(now)
        for key in keys:
            group = self._group_of(key)
            self._leave(group, [key])
            self.figures.labelled += 1
            self.figures.delays_ms.append(self.now - group.since)
            self._remember(key, self.now + group.ttl, Outcome.DUPLICATE)

    def due(self, now: int, most: int) -> list[bytes]:
        """At most `most` keys whose time is up at `now`, in order; changes nothing."""
        now = max(now, self.now)
        keys: list[bytes] = []
        taken = []
        while self._queue and self._queue[0][0] <= now and len(keys) < most:
            item = heappop(self._queue)
            group = self._groups.get(item[1])
            if group is not None:
                taken.append(item)
                keys += [key for key in dict.fromkeys(group.keys) if self._is_of(key, group)]
        for item in taken:
            heappush(self._queue, item)
        return keys[:most]

    def _group_of(self, key: bytes) -> Group:
        return self._groups[self._held[key] >> _PLACE_BITS]

    def _is_of(self, key: bytes, group: Group) -> bool:
        return self._held.get(key, 0) >> _PLACE_BITS == group.number

    def expire(self, keys: Iterable[bytes], now: int) -> None:
        """Drop the samples of these keys, which are held, as their time is up."""
        self._pass(now)
        for key in keys:
            group = self._group_of(key)
            self._leave(group, [key])
            self.figures.expired += 1
            self._remember(key, self.now + group.ttl, Outcome.EXPIRED)

    def bound(self, limit: int) -> None:
        """From now on, hold and remember at most `limit`."""
        self.limit = limit
        self._evict()
        self._forget()

    def _pass(self, now: int) -> None:
        self.now = max(self.now, now)

    def _remembers(self, key: bytes) -> bool:
        return self._remembered.get(key, (0, None))[0] > self.now

    def _leave(self, group: Group, keys: Collection[bytes]) -> None:
        """Hold these samples of a group no longer."""
        for key in keys:
            del self._held[key]
        self._units -= group.units
        group.left -= len(keys)
        self._units += group.units
        if not group.left:
            del self._groups[group.number]
            self._sample_bytes -= group.size
            if len(self._queue) > 2 * len(self._groups) + _SPARE:
                self._queue = [item for item in self._queue if item[1] in self._groups]
                heapify(self._queue)
            if len(self._oldest) > 2 * len(self._groups) + _SPARE:
                self._oldest = deque(each for each in self._oldest if each.left)

    def _evict(self) -> None:
        while self._units > self.limit:
            group = self._oldest[0]
            if not group.left:
                self._oldest.popleft()
                continue
            end = group.first + self._units - self.limit
            keys = group.keys[group.first : end]
            if group.left < len(group.keys) - group.first:  # some have left, or were never held
                keys = [key for key in dict.fromkeys(keys) if self._is_of(key, group)]
            group.first = min(end, len(group.keys))
            self._leave(group, keys)
            self.figures.evicted += len(keys)

    def _remember(self, key: bytes, until: int, outcome: Outcome) -> None:
        self._remembered.pop(key, None)
        self._remembered[key] = until, outcome
        self._forget()

    def _forget(self) -> None:
        """Forget keys whose time is up, up to the first that is not, and those beyond the limit."""
        remembered = self._remembered
        while remembered:
            key = next(iter(remembered))
            if remembered[key][0] > self.now and len(remembered) <= self.limit:
                break
            del remembered[key]

    def view(self) -> HeldView:
        """All of it as it is now, to be packed on any thread."""
        return HeldView(
            self.now, dict(self._held), dict(self._groups), dict(self._remembered)
        )  # fmt: skip

    @classmethod
    def restored(cls, raw: bytes, limit: int) -> Held:
        """The samples that a view has packed. Raises ValueError for other bytes."""
        held = cls(limit)
        try:
            held._restore(raw)
        except (msgpack.UnpackException, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"held samples: expected what a view has packed ({error})") from None
        return held

    def _restore(self, raw: bytes) -> None:
        unpacker = msgpack.Unpacker(max_buffer_size=0, max_ext_len=0, max_map_len=0)
        unpacker.feed(raw)
        now, groups, remembered = unpacker.unpack()
        self._pass(_time(now))
        for _ in range(groups):
            since, ttl, default, user, samples, keys, places, given = unpacker.unpack()
            if not (isinstance(samples, bytes) and isinstance(default, bytes | None)):
                raise ValueError("samples and default as bytes")
            if not isinstance(user, str):
                raise ValueError(f"a user as text, got {user!r:.60}")
            count = len(sample_starts(samples, 2**31)) - 1
            every = [_NONE] * count, [None] * count  # of those that are not held any more, too
            for key, place, numbers in zip(keys, places, given, strict=True):
                if not 0 <= place < count:
                    raise ValueError(f"a place, got {place}")
                every[0][place], every[1][place] = _key(key), numbers
            group = Group(samples, *every, _time(since), _time(ttl), default, user)
            self._restore_group(group, places)
        for _ in range(remembered):
            key, until, outcome = unpacker.unpack()
            self._remembered[_key(key)] = _time(until), Outcome(outcome)
        if unpacker.tell() != len(raw):
            raise ValueError("its end")

    def _restore_group(self, group: Group, places: list[int]) -> None:
        self._number += 1
        group.number = self._number
        before = len(self._held)
        self._held.update((group.keys[i], group.number << _PLACE_BITS | i) for i in places)
        group.left = len(self._held) - before
        if not group.left or group.left != len(places):
            raise ValueError("keys of its own")
        self._add(group)


class HeldView(NamedTuple):
    """The samples held at one instant."""

    now: int
    held: dict[bytes, int]
    groups: dict[int, Group]
    remembered: dict[bytes, tuple[int, Outcome]]

    def pack(self) -> bytes:
        """Its bytes; see the module."""
        left: dict[int, list[tuple[int, bytes]]] = {}
        for key, at in self.held.items():
            left.setdefault(at >> _PLACE_BITS, []).append((at & _PLACES, key))
        pack = msgpack.Packer().pack
        parts = [pack([self.now, len(left), len(self.remembered)])]
        for number, rows in left.items():
            group = self.groups[number]
            columns = (
                [key for _, key in rows],
                [i for i, _ in rows],
                [group.given[i] for i, _ in rows],
            )
            head = group.since, group.ttl, group.default, group.user, group.samples
            parts.append(pack([*head, *columns]))
        parts += [pack([key, *last]) for key, last in self.remembered.items()]
        return b"".join(parts)


def _time(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"a time, got {value!r:.60}")
    return value


def _key(value: object) -> bytes:
    if not isinstance(value, bytes) or not 1 <= len(value) <= MAX_KEY_BYTES:
        raise ValueError(f"a key, got {value!r:.60}")
    return value
