"""A snapshot's header: unpacked from the start of its file, and its values checked."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import msgpack

from onlinesvm.config import LEAST_ROW, MANY_LABELS, MAX_MAGNITUDE, MOST_LABELS, LearnerConfig
from onlinesvm.data.label import label_of
from onlinesvm.errors import ConfigError, SnapshotError
from onlinesvm.snapshot.format import DEFAULT_ROW, FORMAT, FORMAT_VERSION, MAX_POSITION
from onlinesvm.text.categories import check_categories

__all__ = ["DTYPES", "check_header", "check_identity", "refuse_extension", "unpack_header"]

_MAX_HEADER_BYTES = 64 * 2**20
_MAX_HEADER_ARRAY = 1024  # msgpack takes an array's memory when it sees its head
_MAX_HEADER_MAP = 2**20
_MAX_FEATURES = 2**31 - 2
DTYPES = {"<u4": 4, "|u1": 1, "<i4": 4, "<f4": 4, "<f8": 8, "<i8": 8}


def unpack_header(
    path: str, file: BinaryIO, read_bytes: int = 65_536
) -> tuple[dict[str, Any], int]:
    """The header of a file that is read from its start, `read_bytes` at a time, of a format known
    here, and its size in bytes; its values are not checked. Raises SnapshotError.
    """
    unpacker = msgpack.Unpacker(
        file,
        read_size=read_bytes,
        max_buffer_size=_MAX_HEADER_BYTES,
        max_array_len=_MAX_HEADER_ARRAY,
        max_map_len=_MAX_HEADER_MAP,
        max_ext_len=0,
        strict_map_key=True,  # other keys can be made to collide
        ext_hook=refuse_extension,
    )
    try:
        header = unpacker.unpack()
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise SnapshotError(
            f"{path}: expected a snapshot's header at byte 0, got none ({error})"
        ) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SnapshotError(
            f'{path}: expected a file of format "{FORMAT}", got another kind of file'
        )
    version = header.get("version")
    if type(version) is not int or version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        hint = "; it was written by a newer onlinesvm" if newer else ""
        raise SnapshotError(
            f"{path}: expected format version {FORMAT_VERSION}, got {version!r}{hint}"
        )
    return header, unpacker.tell()


def refuse_extension(code: int, data: bytes) -> object:
    """Raises ValueError: a snapshot has no extension types."""
    raise ValueError(f"expected no extension types, got one of code {code}")


class _Expect:
    """Raises SnapshotError for a value that is not as expected."""

    def __init__(self, path: str) -> None:
        self._path = path

    def error(self, message: str) -> SnapshotError:
        return SnapshotError(f"{self._path}: {message}")

    def __call__(self, ok: bool, what: str, got: object) -> None:
        if not ok:
            raise self.error(f"header: expected {what}, got {str(got)[:60]!r}")

    def kind(self, header: dict[str, Any], key: str) -> None:
        kind, value = _TYPES[key], header.get(key)
        ok = isinstance(value, kind) and not isinstance(value, bool)
        self(ok, f"{key} to be {_KIND_NAMES[kind]}", value)


def check_identity(path: str, header: dict[str, Any]) -> None:
    """Raise SnapshotError unless `id`, `position` and `attachments` are whole."""
    expect = _Expect(path)
    for key in ("id", "position", "attachments"):
        expect.kind(header, key)
    position = header["position"]
    expect(0 <= position <= MAX_POSITION, f"position from 0 to {MAX_POSITION}", position)
    expect(len(header["id"]) == 16, "id of 16 bytes", header["id"])
    for name in header["attachments"]:
        expect(isinstance(name, str), "attachments with names as text", name)


def check_header(path: str, header: dict[str, Any], size: int) -> dict[str, Any]:
    """Check a header of a file of `size` bytes: its configuration and its bounds are replaced by
    what they mean. Returns the configuration as the file has it.

    Raises SnapshotError.
    """
    expect = _Expect(path)
    for key in _TYPES:
        expect.kind(header, key)
    check_identity(path, header)
    for key, low, high in (
        ("features", 0, _MAX_FEATURES),
        ("max_features", 1, _MAX_FEATURES),
    ):
        expect(low <= header[key] <= high, f"{key} from {low} to {high}", header[key])
    bounds = header.setdefault("bounds", None)
    if bounds is not None:
        expect(
            isinstance(bounds, list)
            and list(map(type, bounds)) == [float, float, bool]
            and all(1 <= bound <= MAX_MAGNITUDE for bound in bounds[:2]),
            f"bounds to be 2 float64 from 1 to {MAX_MAGNITUDE:g} and a boolean",
            bounds,
        )
        header["bounds"] = tuple(bounds)
    stored: dict[str, Any] = header["config"]
    try:
        header["config"] = LearnerConfig.from_dict(header["config"])
    except (ConfigError, TypeError) as error:
        raise expect.error(f"header: {error}") from None
    most = header.setdefault("max_labels_per_feature", DEFAULT_ROW)
    expect(
        type(most) is int and LEAST_ROW <= most <= MOST_LABELS,
        f"max_labels_per_feature from {LEAST_ROW} to {MOST_LABELS}",
        most,
    )
    is_free = header["config"].task in MANY_LABELS  # the counts of its arrays are their own
    totals = header["totals"]
    expect(
        len(totals) == 7 and all(type(t) is float and 0 <= t < float("inf") for t in totals),
        "totals to be 7 finite float64",
        totals,
    )
    counters = header["counters"]
    for name, numbers in counters.items():
        finite = (
            isinstance(numbers, list)
            and set(map(type, numbers)) <= {float}
            and all(map(math.isfinite, numbers))
        )
        expect(isinstance(name, str) and finite, "counters to be finite float64", numbers)
    try:
        header["categories"] = check_categories(header.get("categories", []))
    except ValueError as error:
        raise SnapshotError(f"{path}: header: {error}") from None
    prune = header.setdefault("prune", None)
    if prune is not None:
        whole = isinstance(prune, list) and list(map(type, prune)) == [int] * 5 + [float]
        expect(
            whole and all(0 <= number <= 2 * _MAX_FEATURES for number in prune),
            "prune to be 5 integers and a finite float64, none below 0",
            prune,
        )
    labels = header["labels"]
    for entry in labels:
        known = isinstance(entry, list) and len(entry) == 2 and entry[1] in (-1.0, 1.0)
        expect(known and len(labels) <= 2, "labels to be [label, -1.0 or 1.0] each", entry)
        try:
            label_of(entry[0])
        except (TypeError, ValueError) as error:
            raise expect.error(f"header: {error}") from None
    for name, number in header["scalars"].items():
        finite = type(number) is int or (type(number) is float and abs(number) < float("inf"))
        expect(isinstance(name, str) and finite, "scalars to be finite numbers", number)
    for entry in header["arrays"]:
        whole = isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str)
        expect(whole, "arrays to be [name, dtype, count] each", entry)
        name, dtype, count = entry
        known = isinstance(dtype, str) and dtype in DTYPES
        expect(known, f"array {name}: a dtype among {', '.join(DTYPES)}", dtype)
        own = name == "names" or (is_free and name != "lengths")
        wanted = "its count" if own else f"count {header['features']}"
        expect(
            type(count) is int and count >= 0 and (own or count == header["features"]),
            f"array {name}: {wanted}",
            count,
        )
    known_names = [name for name, _, _ in header["arrays"]]
    expect(len(set(known_names)) == len(known_names), "arrays of distinct names", known_names)
    leading = [(name, dtype) for name, dtype, _ in header["arrays"][:2]]
    expect(
        leading == [("lengths", "<u4"), ("names", "|u1")],
        "arrays lengths, names first",
        leading,
    )
    blobs = header.setdefault("blobs", [])
    expect(
        isinstance(blobs, list) and all(map(_is_blob, blobs)),
        "blobs to be [name, bytes] each",
        blobs,
    )
    blob_names = [name for name, _ in blobs]
    expect(len(set(blob_names)) == len(blobs), "blobs of distinct names", blob_names)
    needed = sum(DTYPES[dtype] * count for _, dtype, count in header["arrays"])
    needed += sum(length for _, length in blobs)
    if needed > size:
        raise expect.error(f"expected arrays of {needed} bytes, got a file of {size}")
    return stored


def _is_blob(entry: object) -> bool:
    if not isinstance(entry, list) or len(entry) != 2:
        return False
    return isinstance(entry[0], str) and type(entry[1]) is int and 0 <= entry[1] < 2**40


_TYPES: dict[str, type] = {
    "library": str, "kernel": str, "id": bytes, "config": dict, "max_features": int,
    "position": int, "features": int, "scalars": dict, "totals": list, "labels": list,
    "counters": dict, "attachments": dict, "arrays": list, "written_at": float,
}  # fmt: skip
_KIND_NAMES: dict[type, str] = {
    str: "text", dict: "a map", int: "an integer", list: "an array", float: "a float",
    bytes: "bytes",
}  # fmt: skip
