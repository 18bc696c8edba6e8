"""Streams: pipelined, in order, in bounded memory, and clear about what was learned."""

from __future__ import annotations

import re
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import decode, encode, encode_margins, pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.errors import LimitError
from onlinesvm.service import Client, Stream
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from onlinesvm.service.server.counters import memory_bytes
from tests.daemons import (
    DEADLINE_S,
    RawDaemon,
    digest_of,
    eventually,
    on_a_thread,
    refusal_to,
    reply_to,
    serve,
    snapshot_path,
    thread,
)
from tests.strategies import WIDE, configurations, samples

SHORT_S = 0.15
WINDOW_REQUESTS = 16
WINDOW_BYTES = 8 * 2**20


class Margins:
    """The outcomes that a stream hands to its callback."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.by_sample: dict[int, float] = {}

    def __call__(self, start: int, margins: NDArray[np.float64]) -> None:
        self.calls.append((start, len(margins)))
        for i, margin in enumerate(margins.tolist(), start):
            assert i not in self.by_sample, f"sample {i} was answered twice"
            self.by_sample[i] = margin

    def of(self, n: int) -> NDArray[np.float64]:
        assert sorted(self.by_sample) == list(range(n))
        return np.array([self.by_sample[i] for i in range(n)])


def samples_in(body: bytes) -> list[Any]:
    rows: list[Any] = msgpack.unpackb(body, strict_map_key=False)
    return rows


def acknowledge(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
    """Answer a learn request with the first feature of each sample, a number, as its margin."""
    margins = np.array([float(row[1][0]) for row in samples_in(frames[2])])
    socket.send_multipart(reply_to(frames, encode_margins(margins), samples=len(margins)))


def stream_numbers(stream: Stream, n: int, start: int = 0) -> None:
    """Samples whose margins, by `acknowledge`, are their indices."""
    for i in range(start, start + n):
        stream.learn([str(i)], 1)


# The laws.


@settings(max_examples=30)
@given(
    config=configurations(),
    rows=st.lists(st.tuples(samples(), st.sampled_from(["", "", "flush", "stats", "packed"])),
                  max_size=30),
)  # fmt: skip
def test_a_stream_is_a_batch_however_it_is_cut(
    config: dict[str, Any], rows: list[tuple[Any, str]]
) -> None:
    model, margins = OnlineSVM(limits=WIDE, **config), Margins()
    whole = model.learn([row for row, _ in rows])
    with (
        tempfile.TemporaryDirectory() as folder,
        on_a_thread(Path(folder), limits=WIDE, **config) as endpoint,
        Client(endpoint) as client,
    ):
        with client.stream(on_margins=margins) as stream:
            for i, (row, then) in enumerate(rows):
                if then == "packed":
                    stream.learn_packed(pack_array([Packer().sample(*row)]), 1)
                else:
                    stream.learn(*row)
                if then == "flush":
                    stream.flush()
                    assert stream.applied == i + 1
                elif then == "stats":
                    assert client.stats()["position"] <= i + 1
        assert stream.applied == len(rows)
        assert margins.of(len(rows)).tobytes() == whole.tobytes()
        assert client.snapshot()["digest"] == digest_of(model)


def words(n: int) -> Iterator[tuple[list[str], int]]:
    for i in range(n):
        yield [f"w{i % 97}", f"v{i * i % 89}", "all"], 1 if i % 5 else -1


def test_a_long_stream_is_in_order(tmp_path: Path) -> None:
    model, margins = OnlineSVM(), Margins()
    with serve(tmp_path) as daemon, daemon.client() as client:
        with client.stream(on_margins=margins) as stream:
            for features, label in words(20_000):
                stream.learn(features, label)
        assert margins.of(20_000).tobytes() == model.learn(words(20_000)).tobytes()
        assert client.snapshot()["digest"] == digest_of(model)
    starts = [start for start, _ in margins.calls]
    assert starts == sorted(starts)
    assert max(size for _, size in margins.calls) > 100  # it gathers under load


def test_packed_batches_and_single_samples_keep_their_order(tmp_path: Path) -> None:
    model, margins = OnlineSVM(), Margins()
    rows = list(words(300))
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        with client.stream(on_margins=margins) as stream:
            for start in range(0, 300, 30):
                batch = decode(
                    pack_array([Packer().sample(*row) for row in rows[start : start + 20]]),
                    Limits(),
                    labelled=True,
                )
                stream.learn_packed(encode(batch, labelled=True), len(batch))
                for row in rows[start + 20 : start + 30]:
                    stream.learn(*row)
        assert margins.of(300).tobytes() == model.learn(rows).tobytes()
        assert client.snapshot()["digest"] == digest_of(model)


def test_any_iterable_in_constant_memory(tmp_path: Path) -> None:
    """A hundred thousand samples of 300 bytes; at most a window of them is held at once."""
    names = [f"{'x' * 290}{i}" for i in range(500)]
    acknowledged = 0

    def count(start: int, margins: NDArray[np.float64]) -> None:
        nonlocal acknowledged
        assert start == acknowledged
        acknowledged += len(margins)

    with serve(tmp_path) as daemon, daemon.client() as client:
        with client.stream(on_margins=count) as stream:
            for i in range(100_000):
                stream.learn([names[i % 499]], 1 if i & 1 else -1)
                if i == 20_000:
                    previous = memory_bytes()
            grown = memory_bytes() - previous
        assert acknowledged == stream.applied == client.stats()["position"] == 100_000
    assert grown < WINDOW_BYTES


# The window.


def test_the_window_is_bounded_in_requests() -> None:
    with RawDaemon(lambda s, frames: None) as daemon:
        with Client(daemon.endpoint, timeout_s=SHORT_S) as client:
            stream = client.stream()
            with pytest.raises(DaemonTimeout, match=r"no answer from .*; 0 samples of the stream"):
                stream_numbers(stream, 10**6)
        assert len(daemon.requests) == WINDOW_REQUESTS
        sizes = [len(samples_in(frames[2])) for frames in daemon.requests]
        assert sizes[0] == 1  # at once while the daemon seems idle
        assert max(sizes) == 1024


def test_the_window_is_bounded_in_bytes() -> None:
    with RawDaemon(lambda s, frames: None) as daemon:
        with Client(daemon.endpoint, timeout_s=SHORT_S) as client:
            stream = client.stream()
            with pytest.raises(DaemonTimeout):
                for _ in range(10):
                    stream.learn_packed(pack_array([bytes(3 * 2**20)]), 1)
        assert len(daemon.requests) == 2
        assert sum(len(frames[2]) for frames in daemon.requests) <= WINDOW_BYTES


def test_a_batch_is_bounded_in_bytes() -> None:
    with RawDaemon(acknowledge) as daemon, Client(daemon.endpoint) as client:
        with client.stream() as stream:
            for i in range(300):
                stream.learn([i, "n" * 4000], 1)
        assert max(len(frames[2]) for frames in daemon.requests) <= 2**18 + 5
        limits = Limits(max_message_bytes=5000, max_samples_per_batch=7)
    with RawDaemon(acknowledge) as daemon, Client(daemon.endpoint, limits=limits) as client:
        with client.stream() as stream:
            stream_numbers(stream, 100)
            for i in range(100):
                stream.learn([i, "n" * 900], 1)
        assert stream.applied == 200
        for frames in daemon.requests:
            assert len(samples_in(frames[2])) <= 7
            assert len(frames[2]) <= 2505


def test_the_next_sample_sends_those_that_wait_for_an_idle_daemon() -> None:
    """Two are in flight, so the third waits; once they are answered, the fourth takes it along."""
    held: list[list[bytes]] = []
    go = threading.Event()

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        held.append(frames)
        if len(held) <= 2:
            assert go.wait(DEADLINE_S)
        acknowledge(socket, frames)

    with RawDaemon(answer) as daemon, Client(daemon.endpoint) as client:
        stream = client.stream()
        stream_numbers(stream, 3)
        go.set()

        def nudged() -> bool:
            stream.learn(["0"], 1)
            return stream.applied >= 3

        eventually(nudged, "the third sample")
        stream.flush()


# Refusals.


def test_a_refused_sample_is_named_and_nothing_else_is_lost(tmp_path: Path) -> None:
    margins = Margins()
    with on_a_thread(tmp_path, rule="sgd", bias=False) as endpoint, Client(endpoint) as client:
        stream = client.stream(on_margins=margins)
        refused = None
        for i in range(100):
            try:
                stream.learn([f"f{i}"], 0.5 if i == 37 else 1)
            except RequestRefused as error:
                assert refused is None
                refused = error
                # Everything that was handed over by then is learned.
                assert error.applied == stream.applied == i
        try:
            stream.flush()
        except RequestRefused as error:
            assert refused is None
            refused = error
        assert refused is not None
        assert (refused.code, refused.sample) == ("BAD_SAMPLE", 37)
        assert refused.message == "expected a label as text, integer or boolean, got 0.5"
        assert "sample 37 of the stream" in str(refused)
        assert f"{refused.applied} samples applied" in str(refused)
        assert stream.applied == client.stats()["position"] == 99
        assert sorted(margins.by_sample) == [i for i in range(100) if i != 37]
        model = OnlineSVM.load(client.snapshot()["path"])
        assert dict(model.weights) == {f"f{i}": 0.1 for i in range(100) if i != 37}


@settings(max_examples=30)
@given(data=st.data())
def test_any_number_of_refused_samples(data: st.DataObject) -> None:
    """Each feature has a weight of its own, so that order does not show: all the good are learned
    once, and no other.
    """
    good = data.draw(st.lists(st.booleans(), max_size=60))
    flushes = data.draw(st.sets(st.integers(0, 60), max_size=3))
    margins = Margins()
    refusals: list[RequestRefused] = []

    def guarded(step: Callable[[], None]) -> None:
        try:
            step()
        except RequestRefused as error:
            refusals.append(error)

    with (
        tempfile.TemporaryDirectory() as folder,
        on_a_thread(Path(folder), rule="sgd", bias=False) as endpoint,
        Client(endpoint) as client,
    ):
        stream = client.stream(on_margins=margins)
        for i, is_good in enumerate(good):
            guarded(lambda i=i, is_good=is_good: stream.learn([str(i)], 1 if is_good else 0.5))
            if i in flushes:
                guarded(stream.flush)
                assert stream.applied == sum(good[: i + 1])
        guarded(stream.close)
        learned = [i for i, is_good in enumerate(good) if is_good]
        assert stream.applied == client.stats()["position"] == len(learned)
        assert sorted(margins.by_sample) == learned
        model = OnlineSVM.load(client.snapshot()["path"])
        assert dict(model.weights) == {str(i): 0.1 for i in learned}
    others = [re.search(r"\((\d+) more samples were refused\)", str(error)) for error in refusals]
    count = len(refusals) + sum(int(found[1]) for found in others if found)
    assert count == len(good) - len(learned)
    assert all(not good[error.sample] for error in refusals if error.sample is not None)


def test_leaving_the_context_raises_a_refusal(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        with (
            pytest.raises(RequestRefused, match=r"sample 1 of the stream\); 2 samples applied"),
            client.stream() as stream,
        ):
            stream.learn_packed(msgpack.packb([[1, []], [0.5, []], [1, []]]), 3)
        assert client.stats()["position"] == 2


def test_a_daemon_of_lower_limits_is_sent_smaller_batches(tmp_path: Path) -> None:
    OnlineSVM().save(snapshot_path(tmp_path, 0))
    limits = Limits(max_samples_per_batch=2)
    seen = []
    with on_a_thread(tmp_path, limits=limits) as endpoint, Client(endpoint) as client:
        stream = client.stream(
            on_margins=lambda start, m: seen.extend(range(start, start + len(m)))
        )
        stream.learn_packed(msgpack.packb([[1, []]] * 7), 7)
        stream.learn(["a"], 1)
        stream.flush()
        assert stream.applied == 8
    assert sorted(seen) == list(range(8))


def test_a_refusal_that_names_no_sample(tmp_path: Path) -> None:
    OnlineSVM().save(snapshot_path(tmp_path, 0))
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        stream = client.stream()
        with pytest.raises(RequestRefused, match="with the 2 samples after it") as caught:
            stream.learn_packed(b"not msgpack", 3)
            stream.flush()
        assert (caught.value.code, caught.value.at) == ("BAD_REQUEST", None)
        assert (caught.value.sample, caught.value.applied) == (0, 0)
        stream.learn(["a"], 1)
        stream.flush()
        assert stream.applied == 1


def test_a_sample_that_no_message_can_hold_is_not_taken(tmp_path: Path) -> None:
    limits = Limits(max_message_bytes=2000)
    margins = Margins()
    model = OnlineSVM()
    with (
        on_a_thread(tmp_path, limits=limits) as endpoint,
        Client(endpoint, limits=limits) as client,
    ):
        with client.stream(on_margins=margins) as stream:
            for i in range(40):
                stream.learn([str(i), "a"], 1)
                if i % 10 == 3:
                    with pytest.raises(LimitError, match=rf"got \d+ at \$\[{i + 1}\]"):
                        stream.learn(["n" * 2000], 1)
                    with pytest.raises(TypeError):
                        stream.learn(3, 1)
        whole = model.learn([([str(i), "a"], 1) for i in range(40)])
        assert margins.of(40).tobytes() == whole.tobytes()
        assert client.snapshot()["digest"] == digest_of(model)


def test_the_largest_sample_that_is_taken_can_be_sent(tmp_path: Path) -> None:
    limits = Limits(max_message_bytes=2000, max_name_bytes=2000)
    with (
        on_a_thread(tmp_path, limits=limits) as endpoint,
        Client(endpoint, limits=limits) as client,
    ):
        stream, taken = client.stream(), 0
        for size in range(1900, 2000):
            try:
                stream.learn(["n" * size], 1)
                taken += 1
            except LimitError:
                break
        stream.flush()
        assert stream.applied == taken > 10


# Busy daemons.


@pytest.mark.parametrize("busy", [1, 2, WINDOW_REQUESTS])
def test_what_a_busy_daemon_refuses_is_sent_again(busy: int) -> None:
    """Also a whole window of it, for which the stream pauses once and not once for each."""
    learned: list[int] = []

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if len(daemon.requests) == busy:
            for refused in daemon.requests:
                socket.send_multipart(refusal_to(refused, "BUSY", "expected patience", None))
        elif len(daemon.requests) > busy:
            learned.extend(int(row[1][0]) for row in samples_in(frames[2]))
            acknowledge(socket, frames)

    margins = Margins()
    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=3) as client:
        with client.stream(on_margins=margins) as stream:
            stream_numbers(stream, 40_000)
        assert stream.applied == 40_000
    assert margins.of(40_000).tolist() == list(range(40_000))
    assert sorted(learned) == list(range(40_000))


def test_a_daemon_that_is_busy_for_ever() -> None:
    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        socket.send_multipart(refusal_to(frames, "BUSY", "expected patience", None))

    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=SHORT_S) as client:
        stream = client.stream()
        with pytest.raises(DaemonTimeout, match=r"was busy for 0\.15 s; 0 samples") as caught:
            stream_numbers(stream, 10**6)
        assert caught.value.applied == 0


# Lost daemons.


@pytest.mark.parametrize("answered", [0, 1, 5])
def test_applied_counts_what_was_acknowledged(answered: int) -> None:
    """The daemon answers some requests, and the connection breaks."""
    acknowledged = 0

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        nonlocal acknowledged
        if len(daemon.requests) <= answered:
            acknowledged += len(samples_in(frames[2]))
            acknowledge(socket, frames)
        else:
            # A connection that breaks takes along the requests in flight.
            eventually(lambda: len(margins.by_sample) == acknowledged, "the answers")
            socket.close()

    margins = Margins()
    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=DEADLINE_S) as client:
        with (
            pytest.raises(DaemonLost, match=r"broke; \d+ samples of the stream were") as caught,
            client.stream(on_margins=margins) as stream,
        ):
            stream_numbers(stream, 10**6)
        assert caught.value.applied == stream.applied == acknowledged
        assert margins.of(acknowledged).tolist() == list(range(acknowledged))


def test_a_daemon_that_is_killed_in_mid_stream(tmp_path: Path) -> None:
    with serve(tmp_path, snapshot_every_s=0.02) as daemon:
        endpoint = daemon.endpoint
        client = Client(endpoint, timeout_s=SHORT_S)
        seen = threading.Event()

        def on_margins(start: int, margins: NDArray[np.float64]) -> None:
            if start > 500:
                seen.set()

        def kill() -> None:
            assert seen.wait(DEADLINE_S)
            daemon.kill()

        stream = client.stream(on_margins=on_margins)
        # Lost with requests in flight, or just between two: then nobody takes the next.
        lost = pytest.raises((DaemonLost, DaemonTimeout))
        with thread(kill), lost as caught, stream:
            for features, label in words(10**7):
                stream.learn(features, label)
        applied = caught.value.applied
        assert applied == stream.applied > 500
        client.timeout_s = DEADLINE_S
    # The daemon comes back with what its last snapshot has; the same client goes on.
    with serve(tmp_path, bind=endpoint) as daemon, client:
        position = client.stats()["position"]
        model = OnlineSVM()
        model.learn(words(position))
        assert client.snapshot()["digest"] == digest_of(model)
        with client.stream() as again:
            for features, label in words(100):
                again.learn(features, label)
        assert client.stats()["position"] == position + 100


def test_a_break_while_another_request_waits() -> None:
    """The stream raises too, and does not wait for answers that cannot come."""

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if msgpack.unpackb(frames[1])["op"] == "stats":
            socket.close()

    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=600) as client:
        stream = client.stream()
        stream_numbers(stream, 5)
        with pytest.raises(DaemonLost):
            client.stats()
        with pytest.raises(DaemonLost, match="0 samples of the stream were acknowledged"):
            stream.flush()


def test_a_timeout_leaves_client_and_stream_usable() -> None:
    silent = True

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if not silent:
            acknowledge(socket, frames)

    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=SHORT_S) as client:
        stream = client.stream()
        stream.learn(["0"], 1)
        with pytest.raises(DaemonTimeout, match="no answer from") as caught:
            stream.flush()
        assert caught.value.applied == stream.applied == 0
        silent, client.timeout_s = False, DEADLINE_S
        stream_numbers(stream, 50, start=1)
        stream.flush()
        assert stream.applied == 50
        with client.stream() as another:
            stream_numbers(another, 50)
        assert another.applied == 50


def test_a_daemon_that_stops_for_a_while(tmp_path: Path) -> None:
    """Late answers to a stream that timed out are ignored by the next one."""
    with serve(tmp_path) as daemon, daemon.client(timeout_s=SHORT_S) as client:
        client.timeout_s = DEADLINE_S
        client.ping()
        client.timeout_s = SHORT_S
        daemon.signal(signal.SIGSTOP)
        timed_out = client.stream(on_margins=lambda *_: pytest.fail("a late answer"))
        with pytest.raises(DaemonTimeout):
            for features, label in words(10**6):
                timed_out.learn(features, label)
        daemon.signal(signal.SIGCONT)
        client.timeout_s = DEADLINE_S
        margins = Margins()
        with client.stream(on_margins=margins) as stream:
            for features, label in words(100):
                stream.learn(features, label)
        assert len(margins.of(100)) == 100
        assert timed_out.applied == 0


# Closing, and everything else at the same time.


def test_an_error_in_the_block_does_not_lose_the_samples_taken(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        with pytest.raises(ZeroDivisionError), client.stream() as stream:
            for features, label in words(10):
                stream.learn(features, label)
            raise ZeroDivisionError
        assert client.stats()["position"] == stream.applied == 10


def test_a_stream_may_be_closed_twice_and_go_on(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        stream = client.stream()
        stream.close()
        stream.learn(["a"], 1)
        stream.close()
        stream.close()
        assert stream.applied == 1


@pytest.mark.parametrize("n", [0, 1, 2, 3, 40, 5000])
def test_a_client_that_is_closed_under_its_stream(n: int) -> None:
    """With nothing, something and a full window in flight."""
    gate = threading.Event()

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if len(daemon.requests) < 10:
            acknowledge(socket, frames)
        else:
            gate.wait(DEADLINE_S)

    with RawDaemon(answer) as daemon:
        client = Client(daemon.endpoint)
        stream = client.stream()
        stream_numbers(stream, n)
        client.close()
        for step in (stream.flush, stream.close, lambda: stream.learn(["0"], 1), stream.flush):
            try:
                step()
            except DaemonLost as error:
                assert "the client is closed" in str(error)
                assert error.applied == stream.applied
        client.close()
        gate.set()


def test_a_client_that_is_closed_inside_the_context(tmp_path: Path) -> None:
    with (
        on_a_thread(tmp_path) as endpoint,
        pytest.raises(DaemonLost, match="the client is closed"),
        Client(endpoint) as client,
        client.stream() as stream,
    ):
        stream.learn(["a"], 1)
        client.close()
        stream.learn(["b"], 1)


def test_requests_between_the_samples(tmp_path: Path) -> None:
    model, margins = OnlineSVM(), Margins()
    with serve(tmp_path) as daemon, daemon.client() as client:
        with client.stream(on_margins=margins) as stream:
            for i, (features, label) in enumerate(words(3000)):
                stream.learn(features, label)
                if i % 100 == 50:
                    # The requests of one connection are taken in order.
                    assert stream.applied <= client.stats()["position"] <= i + 1
                    assert len(client.decision_function([features, []])) == 2
                if i % 1000 == 500:
                    assert client.snapshot()["position"] <= i + 1
        assert margins.of(3000).tobytes() == model.learn(words(3000)).tobytes()
        assert client.snapshot()["digest"] == digest_of(model)


def test_two_streams_of_one_client() -> None:
    with RawDaemon(acknowledge) as daemon, Client(daemon.endpoint) as client:
        first, second = Margins(), Margins()
        with client.stream(on_margins=first) as a, client.stream(on_margins=second) as b:
            for i in range(2000):
                a.learn([str(i)], 1)
                b.learn([str(-i)], 1)
        assert first.of(2000).tolist() == list(range(2000))
        assert second.of(2000).tolist() == [-i for i in range(2000)]


def test_a_callback_that_fails_is_heard(tmp_path: Path) -> None:
    def fail(start: int, margins: NDArray[np.float64]) -> None:
        raise ZeroDivisionError

    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        stream = client.stream(on_margins=fail)
        with pytest.raises(ZeroDivisionError):
            stream.learn(["a"], 1)
            stream.flush()
        assert stream.applied == client.stats()["position"] == 1
