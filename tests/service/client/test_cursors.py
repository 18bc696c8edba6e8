"""Cursors of numbered streams: kept with the samples, through kills, and given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from onlinesvm import AsyncClient, Client
from onlinesvm.service.client.calls import Lag
from onlinesvm.service.errors import RequestRefused, StreamBroken
from tests.daemons import DaemonProcess, serve

N = 700


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with serve(tmp_path / "state") as daemon:
        yield daemon


def sample(i: int) -> tuple[list[str], int]:
    return [f"f{i % 7}", f"g{i % 5}"], i % 2


def packed(first: int, end: int) -> bytes:
    body: bytes = msgpack.packb([[sample(i)[1], sample(i)[0]] for i in range(first, end)])
    return body


def test_a_cursor_outlives_kills_in_log_and_snapshot(tmp_path: Path) -> None:
    state, at = tmp_path / "state", 0
    for end in (0, 1, 300, N):
        with serve(state) as daemon, daemon.client() as client:
            with client.stream("p") as stream:
                assert stream.cursor == (b"%d" % at if at else None)
                while at < end:
                    at += 1
                    stream.learn(*sample(at - 1), cursor=str(at))
                stream.flush()
                assert stream.cursor == (b"%d" % end if end else None)
            if end == 300:
                client.snapshot()
            daemon.kill()
    with serve(state) as daemon, daemon.client() as client:
        header, _ = client.request("resume", producer="p")
        assert (header["samples"], header["cursor"]) == (N, b"%d" % N)
        assert client.stats()["position"] == N


def test_packed_samples_have_a_cursor_each(daemon: DaemonProcess) -> None:
    cursors = [b"%d" % (i + 1) for i in range(N)]
    with daemon.client() as client, client.stream("p") as stream:
        stream.learn_packed(packed(0, N), N, cursors)
        stream.learn_packed(packed(0, 3), 3)  # without: the last one stays
        stream.flush()
        assert (stream.applied, stream.cursor) == (N + 3, b"%d" % N)


def test_a_refused_sample_has_its_cursor(daemon: DaemonProcess) -> None:
    body = msgpack.packb([[1, ["a"]], [0, ["a"]], [1, {"a": float("inf")}], [0, ["b"]]])
    with daemon.client() as client, client.stream("p") as stream:
        with pytest.raises(RequestRefused) as caught:
            stream.learn_packed(body, 4, [b"1", b"2", b"3", b"4"])
            stream.flush()
        assert (caught.value.cursor, caught.value.sample, stream.cursor) == (b"3", 2, b"2")
        stream.flush()
        assert (stream.applied, stream.cursor) == (3, b"4")


def test_asyncio_streams_have_cursors_too(daemon: DaemonProcess) -> None:
    async def run() -> None:
        async with AsyncClient(daemon.endpoint) as client:
            async with client.stream("p") as stream:
                assert stream.cursor is None
                await stream.learn(*sample(0), cursor="1")
                await stream.learn_packed(packed(1, N), N - 1, [b"%d" % i for i in range(2, N + 1)])
                await stream.flush()
                assert stream.cursor == b"%d" % N
                await stream.report_lag(Lag(seconds=2.5))
                (shown,) = (await client.stats())["ingest"]
                assert (shown["lag_entries"], shown["lag_s"]) == (None, 2.5)
            async with client.stream("p") as stream:
                assert stream.cursor == b"%d" % N
            async with client.stream() as plain:
                with pytest.raises(ValueError, match="expected a stream with a producer's name"):
                    await plain.learn(*sample(0), cursor="1")
                with pytest.raises(ValueError, match="expected a stream with a producer's name"):
                    await plain.report_lag(Lag())

    asyncio.run(run())


@pytest.mark.parametrize(
    ("cursors", "text"),
    [
        ([b"1"], "expected a cursor for each of 3 samples, got 1"),
        ([None, None, b"c" * 257], "expected a cursor of 1 to 256 bytes, got 257"),
    ],
)
def test_cursors_that_are_none(daemon: DaemonProcess, cursors: list[Any], text: str) -> None:
    with daemon.client() as client, client.stream("p") as stream:
        with pytest.raises(ValueError, match=text):
            stream.learn_packed(packed(0, 3), 3, cursors)
        with pytest.raises(ValueError, match="a cursor of 1 to 256"):
            stream.learn(*sample(0), cursor="")
        stream.flush()
        assert stream.applied == 0


def test_a_cursor_may_come_without_samples(daemon: DaemonProcess) -> None:
    with daemon.client() as client, client.stream("p") as stream:
        stream.learn(*sample(0), cursor="1")
        stream.mark("2")
        stream.flush()
        assert (stream.applied, stream.cursor) == (1, b"2")
        with pytest.raises(ValueError, match="a cursor of 1 to 256"):
            stream.mark(b"")

    async def run() -> None:
        async with AsyncClient(daemon.endpoint) as client, client.stream("p") as stream:
            assert stream.cursor == b"2"
            await stream.mark("3")
            await stream.flush()
            assert (stream.applied, stream.cursor) == (1, b"3")

    asyncio.run(run())
    with daemon.client() as client:
        assert client.request("resume", producer="p")[0]["cursor"] == b"3"


# The lag.


def test_the_lag_of_a_producer_is_shown_by_stats(daemon: DaemonProcess) -> None:
    with daemon.client() as client, client.stream("p") as stream:
        assert client.stats()["ingest"] == []
        stream.learn_packed(packed(0, N), N, [b"%d" % (i + 1) for i in range(N)])
        stream.report_lag(Lag(entries=5, seconds=0.25))  # while requests are in flight
        stream.flush()
        (shown,) = client.stats()["ingest"]
        assert shown.pop("age_s") >= 0.0
        assert shown == {
            "producer": "p", "cursor": str(N), "samples": N,
            "lag_entries": 5, "lag_s": 0.25, "lag_bytes": None,
        }  # fmt: skip
        assert stream.applied == N


def test_an_idle_stream_hears_by_its_lag_that_another_client_took_its_name(
    daemon: DaemonProcess,
) -> None:
    with daemon.client() as client:
        stream = client.stream("p")
        stream.learn(*sample(0), cursor="1")
        stream.flush()
        with Client(daemon.endpoint) as other, other.stream("p") as second:
            assert second.cursor == b"1"
            with pytest.raises(StreamBroken, match="another client uses this name"):
                stream.report_lag(Lag(entries=1))
            second.report_lag(Lag(entries=2))
        (shown,) = client.stats()["ingest"]
        assert shown["lag_entries"] == 2


def test_a_lag_is_not_reported_over_a_broken_connection(tmp_path: Path) -> None:
    """The next exchange connects again, and goes on."""
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        endpoint = daemon.endpoint
        stream = client.stream("p")
        stream.learn(*sample(0), cursor="1")
        stream.flush()
        daemon.kill()
        with serve(tmp_path / "state", bind=endpoint):
            stream.report_lag(Lag(entries=1))
            stream.learn(*sample(1), cursor="2")
            stream.flush()
            assert (stream.applied, stream.cursor) == (2, b"2")
            stream.report_lag(Lag(entries=0))
            (shown,) = client.stats()["ingest"]
            assert shown["lag_entries"] == 0
