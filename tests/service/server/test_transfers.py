"""Snapshot files in pieces, while the daemon stops."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from onlinesvm.service.protocol import RequestError
from tests.daemons import DEADLINE_S
from tests.logs import bench


def test_a_fetch_that_a_stop_comes_before_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with bench(tmp_path) as found:
        found.snapshot()
        newest = found.hosted.learning[1].newest
        assert newest is not None
        transfers = found.service._transfers
        gate = threading.Event()
        transfers._worker.submit(gate.wait, DEADLINE_S)  # the fetch waits for it
        keys = {"lsn": newest.lsn, "offset": 0}
        (asked,) = found.turn(("fetch", None, keys, b"peer"))
        asked.add_done_callback(lambda _: gate.set())
        closing = threading.Thread(target=transfers.close)
        closing.start()
        closing.join(DEADLINE_S)
        assert not closing.is_alive()
        error = asked.exception(0)
        assert isinstance(error, RequestError)
        assert error.args[:2] == ("BUSY", "the daemon stops")
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
