"""Freed memory is kept: the memory of one message serves the next without page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Memory of 1 MiB, written and freed 50 times: 256 faults each time where it is returned.
PROGRAM = """
import resource, sys
from onlinesvm.service.server.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def fill():
    for size in (2**20, 2**19, 2**18):
        bytearray(size), bytearray(size)
for _ in range(3):
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    held = [bytearray(2**20) for _ in range(4)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other ways")
def test_the_memory_of_a_message_is_used_again() -> None:
    assert faults("returned") > 20_000  # what it is about
    assert faults("kept") < 2_000
