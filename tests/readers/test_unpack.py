"""Compressed input and other encodings than UTF-8: read, or refused by name."""

from __future__ import annotations

import bz2
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from onlinesvm.errors import FormatError
from onlinesvm.readers.reader import Reader

LINES = b"".join(b"1 f%d:%d\n" % (i, i * i) for i in range(1, 30))
PACKERS: dict[str, Callable[[bytes], bytes]] = {"bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


def read(path: Path, content: bytes, block_bytes: int = 2**18) -> tuple[list[bytes], str]:
    """The names of the samples, and the error after them."""
    path.write_bytes(content)
    found: list[bytes] = []
    with Reader(path, skip_bad=True, _block_bytes=block_bytes) as reader:
        try:
            for batch in reader:
                found += batch.names
        except FormatError as error:
            assert error.line == len(found) + 1 == reader.lines
            return found, error.message
        assert reader.bytes_read == reader.total_bytes == len(content)
    return found, ""


NAMES = [b"f%d" % i for i in range(1, 30)]


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("block_bytes", [1, 7, 2**18])
def test_streams_after_each_other(path: Path, kind: str, block_bytes: int) -> None:
    pack = PACKERS[kind]
    packed = pack(LINES[:100]) + pack(b"") + pack(LINES[100:]) + b"\0" * 8
    assert read(path, packed, block_bytes) == (NAMES, "")


@pytest.mark.parametrize("kind", PACKERS)
def test_a_file_cut_at_any_byte(path: Path, kind: str) -> None:
    packed = PACKERS[kind](LINES)
    for end in range(7, len(packed)):
        found, error = read(path, packed[:end], 50)
        assert found == NAMES[: len(found)]
        assert error.startswith("expected a whole ")
        assert error.endswith(" file, got one that ends early")


@pytest.mark.parametrize("kind", PACKERS)
def test_a_file_with_any_byte_changed(path: Path, kind: str) -> None:
    packed = PACKERS[kind](LINES)
    for i in range(7, len(packed)):
        changed = packed[:i] + bytes([packed[i] ^ 0x55]) + packed[i + 1 :]
        found, error = read(path, changed)
        assert error.startswith("expected a whole ") or found == NAMES
    assert "got a damaged one" in read(path, packed + b"garbage" * 2)[1]


def test_xz_that_asks_for_too_much_memory_is_refused(path: Path) -> None:
    forged = bytearray(lzma.compress(LINES))
    # The block's header: its size, flags, one filter (LZMA2) with one byte for the dictionary.
    assert forged[12:16] == b"\x02\x00\x21\x01"
    forged[16] = 36  # 1 GiB
    forged[20:24] = zlib.crc32(forged[12:20]).to_bytes(4, "little")
    assert read(path, bytes(forged)) == (
        [], "expected a whole xz file, got a damaged one: Memory usage limit exceeded",
    )  # fmt: skip


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.svm", LINES)
    return file.getvalue()


REFUSED = {
    "a zip archive (unpack it: unzip -p FILE | onlinesvm … -)": zipped(),
    "a 7z archive (unpack it: 7z e -so FILE | onlinesvm … -)": b"7z\xbc\xaf\x27\x1c...",
    "lz4 (unpack it: lz4 -dc FILE | onlinesvm … -)": b"\x04\x22\x4d\x18...",
    "compress (.Z) (unpack it: zcat FILE | onlinesvm … -)": b"\x1f\x9d...",
    "a Parquet file (write it as text)": b"PAR1\x15...",
    "a NumPy array (write it as text)": b"\x93NUMPY...",
}
if sys.version_info < (3, 14):
    REFUSED["zstd, which Python reads from 3.14 on (unpack it: zstd -dc FILE | onlinesvm … -)"] = (
        b"\x28\xb5\x2f\xfd..."
    )


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("block_bytes", [1, 2**18])
def test_other_compressions_are_refused_by_name(path: Path, kind: str, block_bytes: int) -> None:
    error = f"expected text, perhaps gzip, bzip2 or xz, got {kind}"
    assert read(path, REFUSED[kind], block_bytes) == ([], error)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.gz", "a gzip file"), ("a.svm.bz2", "bzip2"), ("a.xz", "xz")]
)
def test_a_name_that_promises_more_than_the_content(tmp_path: Path, name: str, kind: str) -> None:
    error = read(tmp_path / name, LINES)[1]
    assert error.startswith(f"expected {kind}, as ")
    assert error.endswith('name says, got "1 f1:1\\n1 f2:4\\n1 f3:9\\n1 f4:16\\n1 f5:25\\n1 f…"')


# Encodings and line ends ----------------------------------------------------------------------

MARKS = {
    "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff", "utf-32-le": b"\xff\xfe\0\0",
    "utf-32-be": b"\0\0\xfe\xff",
}  # fmt: skip


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("block_bytes", [1, 3, 2**18])
def test_utf_16_and_32_are_known_by_their_mark(path: Path, encoding: str, block_bytes: int) -> None:
    text = "1 größe:2 𝒳:1\r\n0 b:1\r\n"
    content = MARKS[encoding] + text.encode(encoding)
    path.write_bytes(content)
    with Reader(path, _block_bytes=block_bytes) as reader:
        found = [name for batch in reader for name in batch.names]
    assert found == ["größe".encode(), "𝒳".encode(), b"b"]
    assert read(path, bz2.compress(b"\xff\xfe" + LINES.decode().encode("utf-16-le")))[0] == NAMES


def test_utf_16_that_breaks_off(path: Path) -> None:
    found, error = read(path, b"\xff\xfe" + "1 a:1\n1 b:1\n".encode("utf-16-le") + b"1", 4)
    assert error.startswith("expected UTF-16-LE text, as its byte order mark says, got a fault: ")
    assert found == [b"a", b"b"]


@pytest.mark.parametrize("block_bytes", [1, 4, 2**18])
def test_lines_that_end_in_a_carriage_return_alone(path: Path, block_bytes: int) -> None:
    assert read(path, LINES.replace(b"\n", b"\r"), block_bytes) == (NAMES, "")
    assert read(path, LINES.replace(b"\n", b"\r")[:-1], block_bytes) == (NAMES, "")
    assert read(path, LINES.replace(b"\n", b"\r\n"), block_bytes) == (NAMES, "")
    assert read(path, b"1 a:1\rb:1\n1 c:1\n", block_bytes) == ([b"a", b"b", b"c"], "")
