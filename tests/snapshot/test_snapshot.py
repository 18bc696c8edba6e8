"""Snapshot files: whole or refused, and a model that goes on as if it had never stopped."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM, __version__
from onlinesvm.config import LearnerConfig
from onlinesvm.errors import OnlineSVMError, SnapshotError
from onlinesvm.kernel import KERNELS
from onlinesvm.kernel.contract import Kernel
from onlinesvm.metrics.progressive import TOTALS
from onlinesvm.snapshot.format import CHUNK_BYTES, Snapshot
from onlinesvm.snapshot.reader import read, read_header, verify
from onlinesvm.snapshot.writer import to_bytes, write
from tests.golden import make
from tests.strategies import WIDE, configurations, samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


def trained(kernel: Kernel | None = None, **parameters: Any) -> OnlineSVM:
    """A model of 40 samples; of no kernel in particular where Python alone reads the file."""
    model = OnlineSVM(rule="sgd", kernel=kernel and kernel.NAME, **parameters)
    model.learn(make.stream(0, 40))
    return model


# The file format, by its description and by nothing else.


def parts_of(raw: bytes) -> tuple[dict[str, Any], list[bytes], dict[str, Any], int]:
    """Header, chunks, trailer, and where the trailer begins."""
    unpacker = msgpack.Unpacker(io.BytesIO(raw), max_bin_len=2**30)
    parts, trailer_at = [], 0
    while unpacker.tell() < len(raw):
        trailer_at = unpacker.tell()
        parts.append(unpacker.unpack())
    return parts[0], parts[1:-1], parts[-1], trailer_at


def digest_of(header: dict[str, Any], chunks: list[bytes]) -> str:
    config, scalars = (dict(sorted(header[key].items())) for key in ("config", "scalars"))
    counters = dict(sorted(header["counters"].items()))
    labels = [[str(label).encode(), *rest] for label, *rest in header["labels"]]
    head = msgpack.packb([config, header["position"], scalars, header["totals"], counters, labels])
    return hashlib.sha256(head + b"".join(chunks)).hexdigest()


def forged(raw: bytes, changes: dict[str, Any], chunks: list[bytes] | None = None) -> bytes:
    """A file with another header and other chunks, its checksum and digest as they should be."""
    header, old, _, _ = parts_of(raw)
    header.update(changes)
    chunks = old if chunks is None else chunks
    covered = b"".join(map(msgpack.packb, [header, *chunks]))
    trailer = {"checksum": zlib.crc32(covered), "digest": digest_of(header, chunks)}
    return covered + msgpack.packb(trailer)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 7])
def test_blobs_come_back(folder: Path, size: int) -> None:
    model = trained()
    blobs = {"held": os.urandom(size), "more": b"x"}
    path = folder / f"blobs-{size}"
    saved = write(path, replace(model.snapshot(), blobs=blobs), OnlineSVM.check_snapshot)
    assert read(path).blobs == blobs
    assert verify(path) == (saved.size, saved.digest)
    assert saved.digest == model.snapshot().digest()
    raw = path.read_bytes()
    for at in {len(raw) - 200, len(raw) // 2} if size else ():
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(SnapshotError):
            read(path)
        with pytest.raises(SnapshotError):
            verify(path)


@pytest.mark.parametrize(
    "blobs", [7, [["held"]], [["held", -1]], [[b"held", 1]], [["held", 0], ["held", 0]]]
)
def test_blobs_of_a_header_that_are_refused(folder: Path, blobs: Any) -> None:
    raw = forged(to_bytes(trained().snapshot()), {"blobs": blobs})
    assert "header: expected blobs" in refused(folder / "blobs", raw)


@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_the_file_is_as_described(kernel: Kernel, folder: Path, alpha: float) -> None:
    path = folder / "described.msgpack"
    model = trained(kernel, alpha=alpha, limits=Limits(max_features=77))
    before = time.time()
    saved = model.save(path)
    raw = path.read_bytes()
    header, chunks, trailer, trailer_at = parts_of(raw)

    names = [name.encode("utf-8", "surrogateescape") for name in model.lookup]
    n = len(names)
    assert before <= header.pop("written_at") <= time.time()
    scalars = header.pop("scalars")
    assert (scalars["bias"], scalars["t"]) == (model.bias, model.progressive.count)
    assert len(header["totals"]) == len(TOTALS)
    assert header == {
        "format": "onlinesvm-snapshot",
        "version": 1,
        "library": __version__,
        "kernel": kernel.NAME,
        "id": model.id,
        "config": LearnerConfig(rule="sgd", alpha=alpha).as_dict(),
        "max_features": 77,
        "position": 40,
        "features": n,
        "totals": model.progressive.totals.tolist(),
        "labels": [[-1, -1.0], [1, 1.0]],
        "counters": model.snapshot().counters,
        "attachments": {},
        "arrays": [
            ["lengths", "<u4", n],
            ["names", "|u1", len(b"".join(names))],
            ["weights", "<f8", n],
            *([["mantissas", "<f8", n], ["exponents", "<i8", n]] if alpha else []),
        ],
    }
    arrays = {
        name: np.frombuffer(chunk, dtype)
        for (name, dtype, _), chunk in zip(header["arrays"], chunks, strict=True)
    }
    assert arrays["lengths"].tolist() == [len(name) for name in names]
    assert arrays["names"].tobytes() == b"".join(names)
    if alpha:  # w_i·(P/P_i)
        exponents = scalars["product_exponent"] - arrays["exponents"]
        ratio = scalars["product_mantissa"] / arrays["mantissas"]
        weights = np.ldexp(arrays["weights"] * ratio, exponents)
    else:
        weights = arrays["weights"]
    assert weights.tolist() == list(model.weights.values())

    assert trailer == {
        "checksum": zlib.crc32(raw[:trailer_at]),
        "digest": digest_of({**header, "scalars": scalars}, chunks),
    }
    assert saved == (str(path), 40, len(raw), trailer["checksum"], trailer["digest"])
    assert model.snapshot().digest() == trailer["digest"]


def test_arrays_are_cut_into_chunks(folder: Path) -> None:
    path = folder / "large.msgpack"
    model = OnlineSVM(kernel="native", limits=Limits(max_features_per_sample=200_000))
    model.learn([(map(str, range(140_000)), 1)])
    model.save(path)
    header, chunks, _, _ = parts_of(path.read_bytes())
    expected = []
    for _, dtype, count in header["arrays"]:
        left = np.dtype(dtype).itemsize * count
        while left:
            expected.append(min(left, CHUNK_BYTES))
            left -= expected[-1]
    assert len(expected) > 3
    assert [len(chunk) for chunk in chunks] == expected
    digest = model.snapshot().digest()
    for name in KERNELS:
        assert OnlineSVM.load(path, kernel=name).snapshot().digest() == digest
    # Any other cut, in any form of bin, is as good.
    path.write_bytes(forged(path.read_bytes(), {}, recut(chunks, 70_000)))
    assert OnlineSVM.load(path).snapshot().digest() == digest


def recut(chunks: list[bytes], size: int) -> list[bytes]:
    return [chunk[i : i + size] for chunk in chunks for i in range(0, len(chunk), size)]


# Saving and going on.


@given(
    before=st.lists(samples(), max_size=10),
    after=st.lists(samples(), max_size=10),
    config=configurations(),
)
def test_a_loaded_model_goes_on_as_if_it_had_never_stopped(
    kernel: Kernel,
    folder: Path,
    before: list[tuple[Any, ...]],
    after: list[tuple[Any, ...]],
    config: dict[str, Any],
) -> None:
    path = folder / "stopped.msgpack"
    model = OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config)
    model.learn(before)
    saved = model.save(path)
    loaded = [OnlineSVM.load(path, kernel=name) for name in KERNELS]
    margins = model.learn(after)
    for other in loaded:
        assert other.snapshot().digest() == saved.digest
        assert other.config == model.config
        assert other.learn(after).tobytes() == margins.tobytes()
        assert other.snapshot().digest() == model.snapshot().digest()
        assert list(other.lookup.items()) == list(model.lookup.items())
        assert list(other.weights.items()) == list(model.weights.items())
        assert other.progressive.totals.tobytes() == model.progressive.totals.tobytes()
        assert (other.position, other.bias) == (model.position, model.bias)


@given(rows=st.lists(samples(), min_size=2, max_size=10), config=configurations())
@settings(max_examples=30)
def test_saving_changes_nothing(
    kernel: Kernel, folder: Path, rows: list[tuple[Any, ...]], config: dict[str, Any]
) -> None:
    path = folder / "often.msgpack"
    plain, often = (OnlineSVM(kernel=kernel.NAME, limits=WIDE, **config) for _ in range(2))
    for row in rows:
        plain.learn([row])
        digest = often.save(path).digest
        assert often.save(path).digest == digest
        assert often.snapshot().digest() == digest
        often.learn([row])
        assert often.snapshot().digest() == plain.snapshot().digest()


def test_a_snapshot_is_a_copy(kernel: Kernel, folder: Path) -> None:
    model = trained(kernel, alpha=0.01)
    taken = model.snapshot()
    digest = taken.digest()
    model.learn(make.stream(40, 80))
    assert taken.digest() == digest != model.snapshot().digest()
    assert write(folder / "copy.msgpack", taken, OnlineSVM.check_snapshot).digest == digest


def test_the_digest_tells_models_apart(kernel: Kernel) -> None:
    rows = [(["a"], 1), (["b"], -1)]
    seen = set()
    for parameters in ({}, {"eta0": 0.2}, {"bias": False}, {"alpha": 1e-3}):
        model = OnlineSVM(rule="sgd", kernel=kernel.NAME, **parameters)
        seen.add(model.snapshot().digest())
        model.learn(rows)
        seen.add(model.snapshot().digest())
        model.learn([([], 1, 0)])  # the position alone
        seen.add(model.snapshot().digest())
    swapped = OnlineSVM(rule="sgd", kernel=kernel.NAME)
    swapped.learn(rows[::-1])
    seen.add(swapped.snapshot().digest())
    assert len(seen) == 13


def test_the_digest_covers_neither_id_nor_attachments(kernel: Kernel, folder: Path) -> None:
    path = folder / "same.msgpack"
    model = trained(kernel)
    digest = model.save(path).digest
    attached = {"producers": {b"p": [3, 40]}, "note": None}
    changes = {
        "kernel": "other", "written_at": 1.5, "attachments": attached, "library": "9",
        "id": bytes(16),
    }  # fmt: skip
    path.write_bytes(forged(path.read_bytes(), changes))
    assert read(path).attachments == attached
    assert OnlineSVM.load(path, kernel=kernel.NAME).snapshot().digest() == digest


def test_the_bound_on_features_comes_back_unless_another_is_given(
    kernel: Kernel, folder: Path
) -> None:
    path = folder / "bound.msgpack"
    model = OnlineSVM(kernel=kernel.NAME, limits=Limits(max_features=2))
    model.learn([(["a", "b", "c"], 1)])
    model.save(path)
    for limits, known in [(None, 2), (Limits(max_features=3), 3), (Limits(max_features=1), 2)]:
        loaded = OnlineSVM.load(path, limits=limits, kernel=kernel.NAME)
        loaded.learn([(["c", "d"], 1)])
        assert list(loaded.lookup) == ["a", "b", "c"][:known]


def test_the_header_is_read_by_itself(kernel: Kernel, folder: Path) -> None:
    path = folder / "header.msgpack"
    trained(kernel, eta0=0.3).save(path)
    header = read_header(path)
    assert header["config"] == LearnerConfig(rule="sgd", eta0=0.3)
    assert (header["position"], header["features"]) == (40, 8)


def test_a_file_can_be_read_by_its_owner_alone(kernel: Kernel, folder: Path) -> None:
    path = folder / "private.msgpack"
    trained(kernel).save(path)
    assert path.stat().st_mode & 0o777 == 0o600


# Files that are no snapshots.

HUGE = 2**31 - 2


def refused(path: Path, raw: bytes) -> str:
    """The message with which a file of `raw` is refused, less the file's name."""
    path.write_bytes(raw)
    with pytest.raises(OnlineSVMError) as caught:
        OnlineSVM.load(path)
    assert type(caught.value) is SnapshotError
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message[len(f"{path}: ") :]


@pytest.mark.parametrize("parameters", [{}, {"alpha": 0.01}], ids=["plain", "alpha"])
def test_a_file_cut_at_any_byte_is_refused(folder: Path, parameters: dict[str, Any]) -> None:
    path = folder / "cut.msgpack"
    trained(**parameters).save(path)
    raw = path.read_bytes()
    for end in range(len(raw)):
        refused(path, raw[:end])
    assert refused(path, raw + b"\0").startswith("expected a trailer and then the end of the file")
    assert refused(path, raw + raw).startswith("expected a trailer and then the end of the file")


@pytest.mark.parametrize("bits", [*(1 << bit for bit in range(8)), 0xFF], ids=hex)
def test_a_file_with_any_byte_changed_is_refused(folder: Path, bits: int) -> None:
    path = folder / "changed.msgpack"
    model = OnlineSVM(rule="sgd", alpha=0.01)
    model.learn(make.stream(0, 20))
    model.save(path)
    raw = bytearray(path.read_bytes())
    # Of the many counters, all alike to the reader, the last ones stand for all.
    start = raw.index(b"monitor") + 10
    end = raw.index(b"label_counts") - 60
    for at in (*range(start), *range(end, len(raw))):
        raw[at] ^= bits
        refused(path, raw)
        raw[at] ^= bits


@given(
    at=st.floats(0, 1),
    cut=st.integers(0, 40),
    put=st.binary(max_size=40),
)
def test_a_damaged_file_is_refused(folder: Path, at: float, cut: int, put: bytes) -> None:
    path = folder / "damaged.msgpack"
    trained().save(path)
    raw = path.read_bytes()
    start = int(at * len(raw))
    damaged = raw[:start] + put + raw[start + cut :]
    if damaged != raw:
        refused(path, damaged)


FOREIGN: list[tuple[bytes, str]] = [
    (b"", "expected a snapshot's header at byte 0, got none ("),
    (b"\xc1", "expected a snapshot's header at byte 0, got none ("),
    (b"+1 3:1 11:1\n", 'expected a file of format "onlinesvm-snapshot", got another kind of file'),
    (b"\x1f\x8b\x08\0", 'expected a file of format "onlinesvm-snapshot", got another kind of file'),
    (msgpack.packb({"format": "other"}), "got another kind of file"),
    (msgpack.packb([1, 2, 3]), "got another kind of file"),
    (
        msgpack.packb({"format": "onlinesvm-snapshot", "version": 2}),
        "expected format version 1, got 2; it was written by a newer onlinesvm",
    ),
    (
        msgpack.packb({"format": "onlinesvm-snapshot", "version": "1"}),
        "expected format version 1, got '1'",
    ),
    (msgpack.packb({"format": "onlinesvm-snapshot"}), "expected format version 1, got None"),
    (b"\x91" * 3000, "expected a snapshot's header at byte 0"),
    (b"\xc6\xff\xff\xff\xff", "expected a snapshot's header at byte 0"),
    (msgpack.packb({1: 2}), "int is not allowed for map key"),
    (b"\x81" + msgpack.packb(msgpack.Timestamp(1)) + b"\0", "max_ext_len"),
    (msgpack.packb({"a": [{"b": msgpack.Timestamp(1)}]}), "max_ext_len"),
    (msgpack.packb({"a": msgpack.Timestamp(1, 1)}), "max_ext_len"),
    (msgpack.packb({"a": msgpack.ExtType(5, b"")}), "expected no extension types"),
    (b"\xdf\x00\x20\x00\x00" + b"\xa0\xc0" * 2**21, "max_map_len"),
    (b"\xdd\x00\x00\x04\x01" + b"\xc0" * 2000, "max_array_len"),
]


@pytest.mark.parametrize(("raw", "message"), FOREIGN, ids=lambda v: repr(v)[:30])
def test_a_foreign_file_is_refused(folder: Path, raw: bytes, message: str) -> None:
    assert message in refused(folder / "foreign.msgpack", raw)


PROMISES = """
import resource, sys
from pathlib import Path
from onlinesvm import OnlineSVM
from onlinesvm.errors import SnapshotError

folder = Path(sys.argv[1])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))
for path in sorted(folder.iterdir()):
    try:
        OnlineSVM.load(path)
    except SnapshotError:
        print(path.name)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, limits its memory")
def test_a_file_that_promises_more_than_it_holds_takes_no_memory(
    kernel: Kernel, tmp_path: Path
) -> None:
    path = tmp_path / "0"
    trained(kernel).save(path)
    arrays = [["lengths", "<u4", HUGE], ["names", "|u1", 2**40], ["weights", "<f8", HUGE]]
    path.write_bytes(forged(path.read_bytes(), {"features": HUGE, "arrays": arrays}))
    for i, head in enumerate(
        (b"\xdd\x03\xff\xff\xff", b"\xdf\x03\xff\xff\xff", b"\xc6\x03\xff\xff\xff")
    ):
        (tmp_path / f"{i + 1}").write_bytes(head * 1000)
    done = subprocess.run(
        [sys.executable, "-c", PROMISES, tmp_path], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.split(), done.stderr) == (["0", "1", "2", "3"], "")


def test_every_key_of_the_header_is_needed(kernel: Kernel, folder: Path) -> None:
    path = folder / "keys.msgpack"
    trained(kernel).save(path)
    raw = path.read_bytes()
    header, chunks, trailer, _ = parts_of(raw)
    for key in header:
        fewer = {name: value for name, value in header.items() if name != key}
        for changed in (fewer, {**header, key: None}, {**header, key: [[]]}):
            forgery = b"".join(map(msgpack.packb, [changed, *chunks, trailer]))
            assert key in refused(path, forgery)


WRONG_HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"position": -1}, "header: expected position from 0 to 4611686018427387904, got '-1'"),
    ({"position": 2**63 - 2}, "header: expected position from 0 to 4611686018427387904, got"),
    ({"id": b"short"}, "header: expected id of 16 bytes, got \"b'short'\""),
    ({"attachments": {b"a": 1}}, "header: expected attachments with names as text, got"),
    ({"position": 1.0}, "header: expected position to be an integer, got '1.0'"),
    ({"position": True}, "header: expected position to be an integer, got 'True'"),
    ({"features": 2**31 - 1}, f"header: expected features from 0 to {HUGE}, got '2147483647'"),
    ({"features": 9}, "header: expected array lengths: count 9, got '8'"),
    ({"max_features": 0}, f"header: expected max_features from 1 to {HUGE}, got '0'"),
    (
        {"config": {"rule": "sgd", "eta0": -1.0}},
        "header: eta0: expected a number from 1e-50 to 1e+50, got -1.0",
    ),
    ({"config": {"eta": 1.0}}, "header: configuration: unknown parameter 'eta'"),
    ({"totals": [0.0] * 6}, "header: expected totals to be 7 finite float64"),
    ({"totals": [0.0] * 6 + [float("nan")]}, "header: expected totals to be 7 finite float64"),
    ({"scalars": {"bias": float("inf"), "t": 0}}, "header: expected scalars to be finite numbers"),
    ({"scalars": {"bias": "0", "t": 0}}, "header: expected scalars to be finite numbers"),
    (
        {"scalars": {"bias": 0.0}},
        "snapshot: its parts do not make a model: scalars: expected t, got none",
    ),
    ({"labels": [[1, 0.5]]}, "header: expected labels to be [label, -1.0 or 1.0] each, got"),
    ({"labels": [[1, 1.0]] * 3}, "header: expected labels to be [label, -1.0 or 1.0] each, got"),
    ({"labels": [[0.5, 1.0]]}, "header: expected a label as text, integer or boolean, got 0.5"),
    ({"labels": [[1, 1.0], ["1", -1.0]]}, "labels: expected two different labels, got"),
    ({"labels": [[1, 1.0], [0, 1.0]]}, "labels: expected two different labels, got"),
    ({"counters": {"monitor": [1]}}, "header: expected counters to be finite float64, got '[1]'"),
    (
        {"counters": {"monitor": [1.0], "label_counts": [0.0, 0.0]}},
        "snapshot: its parts do not make a model: metrics: expected",
    ),
    ({"counters": {"label_counts": []}}, "snapshot: its parts do not make a model: 'monitor'"),
    ({"counters": {"monitor": []}}, "snapshot: its parts do not make a model: 'label_counts'"),
    ({"arrays": []}, "header: expected arrays lengths, names first, got '[]'"),
    (
        {"arrays": [["lengths", "<u4", 8], ["names", "|u1", 8], ["names", "|u1", 8]]},
        "header: expected arrays of distinct names, got \"['lengths', 'names', 'names']\"",
    ),
    (
        {"arrays": [["lengths", "<u4", 8], ["names", "|u1", 8], ["lengths", "<u4", 8]]},
        "header: expected arrays of distinct names, got",
    ),
    ({"arrays": [5]}, "header: expected arrays to be [name, dtype, count] each, got '5'"),
    (
        {"arrays": [["lengths", ["<u4"], 8]]},
        "header: expected array lengths: a dtype among <u4, |u1, <i4, <f4, <f8, <i8, got"
        " \"['<u4']\"",
    ),
    (
        {"arrays": [["lengths", "<U4", 8]]},
        "header: expected array lengths: a dtype among <u4, |u1, <i4, <f4, <f8, <i8, got '<U4'",
    ),
    (
        {"arrays": [["lengths", "<u4", 8], ["names", "|u1", -1]]},
        "header: expected array names: its count, got '-1'",
    ),
    (
        {"arrays": [["lengths", "<u4", 8], ["names", "|u1", 2**40]]},
        f"expected arrays of {2**40 + 32} bytes, got a file of ",
    ),
    (
        {
            "features": HUGE,
            "arrays": [["lengths", "<u4", HUGE], ["names", "|u1", 0], ["weights", "<f8", HUGE]],
        },
        f"expected arrays of {12 * HUGE} bytes, got a file of ",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_HEADERS, ids=lambda v: str(v)[:40])
def test_a_header_that_makes_no_sense_is_refused(
    kernel: Kernel, folder: Path, changes: dict[str, Any], message: str
) -> None:
    path = folder / "wrong.msgpack"
    trained(kernel).save(path)
    assert refused(path, forged(path.read_bytes(), changes)).startswith(message)


def test_arrays_that_make_no_sense_are_refused(kernel: Kernel, folder: Path) -> None:
    path = folder / "arrays.msgpack"
    trained(kernel).save(path)
    raw = path.read_bytes()
    header, (lengths, names, weights), _, _ = parts_of(raw)
    n = header["features"]
    spoiled = np.frombuffer(weights, "<f8").copy()
    spoiled[3] = np.nan
    assert refused(path, forged(raw, {}, [lengths, names, spoiled.tobytes()])) == (
        "array weights: expected finite numbers, got nan"
    )
    longer = np.frombuffer(lengths, "<u4").copy()
    longer[0] += 1
    assert refused(path, forged(raw, {}, [longer.tobytes(), names, weights])) == (
        f"names: expected {len(names) + 1} bytes, got {len(names)}"
    )
    equal = np.full(n, 1, "<u4").tobytes()
    arrays = [["lengths", "<u4", n], ["names", "|u1", n], ["weights", "<f8", n]]
    assert refused(path, forged(raw, {"arrays": arrays}, [equal, b"a" * n, weights])) == (
        "snapshot: its parts do not make a model: expected distinct names, got one twice"
    )
    assert refused(path, forged(raw, {}, [lengths, names + b"a", weights])).startswith(
        f"array names: expected a chunk of 1 to {len(names)} bytes at byte"
    )
    assert refused(path, forged(raw, {}, [lengths, names])).startswith(
        "array weights: expected a chunk (bin) at byte"
    )
    # The trailer.
    covered = raw[: parts_of(raw)[3]]
    for trailer in ({}, [], {"checksum": zlib.crc32(covered)}, {"digest": "0"}, "x" * 5000):
        refused(path, covered + msgpack.packb(trailer))
    wrong = {"checksum": zlib.crc32(covered), "digest": "0" * 64}
    assert refused(path, covered + msgpack.packb(wrong)).startswith("the file is damaged: expected")


def test_verifying_finds_the_faults_that_reading_finds(kernel: Kernel, folder: Path) -> None:
    path = folder / "verified.msgpack"
    model = trained(kernel, alpha=0.01)
    saved = model.save(path)
    assert verify(path) == (saved.size, saved.digest)
    raw = path.read_bytes()
    _, chunks, _, _ = parts_of(raw)
    path.write_bytes(forged(raw, {}, recut(chunks, 7)))  # cut within numbers
    assert verify(path) == (path.stat().st_size, saved.digest)
    spoiled = np.frombuffer(chunks[2], "<f8").copy()
    spoiled[3] = np.inf
    longer = np.frombuffer(chunks[0], "<u4").copy()
    longer[0] += 1
    for parts in ([*chunks[:2], spoiled.tobytes(), *chunks[3:]], [longer.tobytes(), *chunks[1:]]):
        for size in (7, 1000):
            path.write_bytes(forged(raw, {}, recut(parts, size)))
            with pytest.raises(SnapshotError) as read_error:
                read(path)
            with pytest.raises(SnapshotError) as verify_error:
                verify(path)
            assert str(verify_error.value) == str(read_error.value)


def infinite(taken: Snapshot) -> Snapshot:
    return replace(taken, totals=[float("inf"), *taken.totals[1:]])


def beyond(taken: Snapshot) -> Snapshot:
    return replace(taken, position=2**63 - 1)


def outside(taken: Snapshot) -> Snapshot:
    return replace(taken, arrays={**taken.arrays, "weights": taken.arrays["weights"] * 1e300})


def extended(taken: Snapshot) -> Snapshot:
    return replace(taken, attachments={"at": msgpack.Timestamp(1)})


@pytest.mark.parametrize("spoiled", [infinite, beyond, outside, extended])
def test_a_snapshot_that_could_not_be_loaded_is_not_written(
    kernel: Kernel, tmp_path: Path, spoiled: Callable[[Snapshot], Snapshot]
) -> None:
    path = tmp_path / "m.msgpack"
    model = trained(kernel)
    model.save(path)
    before = path.read_bytes()
    with pytest.raises(SnapshotError):
        write(path, spoiled(model.snapshot()), OnlineSVM.check_snapshot)
    assert os.listdir(tmp_path) == ["m.msgpack"]
    assert path.read_bytes() == before


def test_a_snapshot_is_checked_in_blocks(kernel: Kernel) -> None:
    taken = trained(kernel).snapshot()
    blocks = list(taken.blocks(3))
    assert [len(block.lengths) for block in blocks] == [3, 3, 2]
    assert b"".join(block.names.tobytes() for block in blocks) == taken.names.tobytes()
    weights = [weight for block in blocks for weight in block.arrays["weights"]]
    assert weights == taken.arrays["weights"].tolist()
    assert len(list(OnlineSVM(kernel=kernel.NAME).snapshot().blocks(3))) == 1


def test_a_file_that_cannot_be_read_is_an_oserror(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.msgpack"):
        OnlineSVM.load(folder / "missing.msgpack")
    with pytest.raises(SnapshotError, match="expected a regular file"):
        OnlineSVM.load(folder)


# Writing it whole or not at all.


def test_a_pipe_or_device_is_not_replaced(kernel: Kernel, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(SnapshotError, match="expected a regular file or none, got a pipe"):
            OnlineSVM(kernel=kernel.NAME).save(path)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, pipe]


def test_a_path_that_cannot_be_written_leaves_no_file(kernel: Kernel, tmp_path: Path) -> None:
    model = trained(kernel)
    digest = model.snapshot().digest()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    for path, kind in [
        (tmp_path / "none" / "m.msgpack", FileNotFoundError),
        (tmp_path / "file" / "m.msgpack", NotADirectoryError),
        (tmp_path / "folder", IsADirectoryError),
    ]:
        with pytest.raises(kind):
            model.save(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert os.listdir(tmp_path / "folder") == []
    assert model.snapshot().digest() == digest


FULL_DISK = """
import os, resource, sys
from onlinesvm import OnlineSVM

path, kernel = sys.argv[1:]
model = OnlineSVM.load(path, kernel=kernel)
digest = model.snapshot().digest()
model.learn([(map(str, range(50_000)), 1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    model.save(path)
except OSError as error:
    print(type(error).__name__, error.errno)
print(OnlineSVM.load(path, kernel=kernel).snapshot().digest() == digest)
"""


def test_a_file_that_cannot_grow_leaves_the_old_one(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "m.msgpack"
    trained(kernel).save(path)
    raw = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path, kernel.NAME],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("OSError 27\nTrue\n", "")
    assert path.read_bytes() == raw
    assert os.listdir(tmp_path) == ["m.msgpack"]


def test_saving_replaces_the_old_file_and_leaves_no_other(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = trained(kernel)
    model.save("m.msgpack")
    model.learn(make.stream(40, 50))
    assert model.save("m.msgpack").path == "m.msgpack"
    assert os.listdir() == ["m.msgpack"]
    assert OnlineSVM.load("m.msgpack").position == 50


# Golden files.

GOLDEN = json.loads(make.DIGESTS.read_text())


def test_no_golden_file_is_without_its_digests() -> None:
    assert {path.stem for path in make.FOLDER.glob("*.msgpack")} == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_load_and_go_on_to_the_same_digest(kernel: Kernel, name: str) -> None:
    path = make.FOLDER / f"{name}.msgpack"
    raw = path.read_bytes()
    model = OnlineSVM.load(path, kernel=kernel.NAME)
    assert parts_of(raw)[2]["digest"] == GOLDEN[name]["digest"]
    assert make.expected(model) == GOLDEN[name]
    assert path.read_bytes() == raw


@pytest.mark.parametrize("name", make.MODELS)
def test_the_script_still_makes_the_golden_models(kernel: Kernel, name: str) -> None:
    model = make.made(name, kernel.NAME)
    assert make.expected(model) == GOLDEN[name]
