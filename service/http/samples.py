"""Samples of bodies, packed as the daemon has them, and the places that its errors name."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, NoReturn

from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.errors import SampleError
from onlinesvm.service.client.held import held_body, labels_body
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.http.problem import Problem, problem_of

__all__ = ["Batch", "Labels", "finite", "in_body"]

# A path in a request's body, or in the samples of one that has keys too: an index and the rest.
_ITEM = re.compile(r"\$\[(\d+)\](.*)", re.S)
# The parts of a sample to learn, of a pair of a ranking, and of a label, on the wire.
_PAIR_PARTS = {"[0]": ".better", "[1]": ".worse", "[2]": ".importance"}
_SAMPLE_PARTS = {"[0]": ".label", "[1]": ".features", "[2]": ".importance"}
_LABEL_PARTS = {"[0]": ".key", "[1]": ".label", "[2]": ".importance"}


class _Place(NamedTuple):
    """Where a sample is: its path, its index among all samples, its line where it has one; and its
    id, which goes back with its answer.
    """

    at: str
    sample: int
    line: int | None
    id: Any


class Batch:
    """The samples of one request, packed."""

    def __init__(self, *, labelled: bool) -> None:
        self._labelled = labelled
        self._packer = Packer()
        self._parts: list[bytes] = []
        self._places: list[_Place] = []
        self._keys: list[Any] = []
        self._is_ranking = False

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def is_held(self) -> bool:
        """True where the samples have keys, under which the daemon holds them."""
        return bool(self._keys)

    def body(self) -> bytes:
        """The body of a request. Raises Problem."""
        body = pack_array(self._parts)
        try:
            return held_body(self._keys, body) if self._keys else body
        except (TypeError, ValueError) as error:
            raise Problem(422, "BAD_SAMPLE", f"hold: {error}") from None

    def ids(self) -> list[dict[str, Any]]:
        """The members that go back with each answer: the id of its sample, where it has one."""
        return [{} if place.id is None else {"id": place.id} for place in self._places]

    def add(self, given: Any, at: str, index: int, line: int | None = None) -> None:
        """Add a sample: an object of features, label, importance, hold, id; or a pair of a ranking,
        of better, worse, importance, id. Raises Problem.
        """
        place = _Place(at, index, line, given.get("id") if isinstance(given, dict) else None)
        needed = ("features", "label") if self._labelled else ("features",)
        if self._labelled and isinstance(given, dict) and "better" in given:
            needed, self._is_ranking = ("better", "worse"), True
        if not isinstance(given, dict) or not all(name in given for name in needed):
            self._refuse(f"expected an object with {' and '.join(needed)}", place)
        key = None if self._labelled else given.get("hold")
        if self._parts and (key is not None) != bool(self._keys):
            self._refuse("expected hold for all samples or for none", place, ".hold")
        try:
            self._parts.append(self._packed(given, place))
        except SampleError as error:
            self._refuse(error.message, place, ".features")
        except (TypeError, ValueError) as error:
            self._refuse(re.sub(r" at \$\[0\]\S*", "", str(error)), place, ".features")
        self._places.append(place)
        if key is not None:
            self._keys.append(key)

    def _packed(self, given: dict[str, Any], place: _Place) -> bytes:
        if not self._labelled:
            return self._packer.features(given["features"], (0,))
        try:
            importance = finite(given.get("importance", 1.0))
        except ValueError as error:
            self._refuse(str(error), place, ".importance")
        if "better" in given:
            return self._packer.sample(given["worse"], given["better"], importance)
        return self._packer.sample(given["features"], given["label"], importance)

    def _refuse(self, detail: str, place: _Place, rest: str = "") -> NoReturn:
        raise Problem(
            422, "BAD_SAMPLE", detail, at=place.at + rest, sample=place.sample, line=place.line
        )

    def problem_of(self, error: RequestRefused) -> Problem:
        """The problem that a refusal of these samples is, with the place in the body that came."""
        at, part = error.at or "", "" if self._labelled else ".features"
        if self._keys and at[:4] in ("$[0]", "$[1]"):
            at, part = "$" + at[4:], ".hold" if at[:4] == "$[0]" else part
        found = _ITEM.fullmatch(at)
        if found is None or not int(found[1]) < len(self._places):
            return problem_of(error)
        place, rest = self._places[int(found[1])], found[2]
        if self._labelled:
            parts = _PAIR_PARTS if self._is_ranking else _SAMPLE_PARTS
            rest = parts.get(rest[:3], "") + rest[3:]
        return problem_of(_moved(error, place.at + part + rest, place.sample), line=place.line)


def _moved(error: RequestRefused, at: str, sample: int) -> RequestRefused:
    """`error`, of another place."""
    return RequestRefused(
        error.code, error.message, at, sample=sample, retry_after_s=error.retry_after_s
    )


def in_body(body: dict[str, Any], *, labelled: bool) -> tuple[Batch, bool]:
    """The samples of a body, and True where it is one sample and not an array of them.

    Takes `samples` out of the body. Raises Problem.
    """
    batch = Batch(labelled=labelled)
    if "samples" not in body:
        batch.add(body, "$", 0)
        return batch, True
    if "features" in body:
        raise Problem(400, "BAD_REQUEST", "expected samples or features, got both", at="$")
    given = body.pop("samples")
    if not isinstance(given, list):
        raise Problem(
            400, "BAD_REQUEST", f"expected an array, got {type(given).__name__}", at="$.samples"
        )
    for i, one in enumerate(given):
        batch.add(one, f"$.samples[{i}]", i)
    return batch, False


class Labels:
    """The labels of held samples in a body."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.is_one = "labels" not in body
        given = [body] if self.is_one else body.pop("labels")
        if not isinstance(given, list):
            raise Problem(
                400, "BAD_REQUEST", f"expected an array, got {type(given).__name__}", at="$.labels"
            )
        self._parts = [self._packed(one, i) for i, one in enumerate(given)]

    def body(self) -> bytes:
        """The body of a request."""
        return pack_array(self._parts)

    def _at(self, index: int) -> str:
        return "$" if self.is_one else f"$.labels[{index}]"

    def _packed(self, given: Any, index: int) -> bytes:
        if not isinstance(given, dict) or not {"key", "label"} <= given.keys():
            error: Exception = ValueError("expected an object with key and label")
        else:
            try:
                importance = finite(given.get("importance", 1.0))
                body, _ = labels_body([(given["key"], given["label"], importance)])
                return body[1:]  # without the head of the array
            except (TypeError, ValueError) as caught:
                error = caught
        raise Problem(422, "BAD_SAMPLE", str(error), at=self._at(index), sample=index)

    def problem_of(self, error: RequestRefused) -> Problem:
        """The problem that a refusal of these labels is."""
        found = _ITEM.fullmatch(error.at or "")
        if found is None:
            return problem_of(error)
        index, rest = int(found[1]), found[2]
        rest = _LABEL_PARTS.get(rest[:3], "") + rest[3:]
        return problem_of(_moved(error, self._at(index) + rest, index))


def finite(value: Any) -> float:
    """A number of a body. Raises ValueError."""
    if type(value) not in (int, float) or abs(value) > 1e300:
        raise ValueError("expected a number")
    return float(value)
