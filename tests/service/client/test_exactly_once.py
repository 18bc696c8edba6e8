"""Streams under a producer's name: learned exactly once, whatever breaks."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service import Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused, StreamBroken
from tests.daemons import (
    DaemonProcess,
    RawDaemon,
    ask,
    digest_of,
    eventually,
    on_a_thread,
    raw,
    refusal_to,
    reply_to,
    serve,
    thread,
)
from tests.proxy import Proxy

Sample = tuple[list[str], int]


def words(n: int, start: int = 0) -> list[Sample]:
    return [([f"w{i % 17}", f"v{i % 41}", "all"], 1 if i * 7 % 11 < 5 else -1)
            for i in range(start, start + n)]  # fmt: skip


def learned(samples: list[Sample], **config: Any) -> OnlineSVM:
    model = OnlineSVM(**config)
    model.learn(samples)
    return model


def digest_at(endpoint: str) -> str:
    with Client(endpoint) as client:
        return str(client.snapshot()["digest"])


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    with on_a_thread(tmp_path / "state", limits=Limits(max_features_per_sample=4)) as at:
        yield at


def test_a_stream_is_learned_and_its_margins_come_back(endpoint: str) -> None:
    got = np.full(3000, np.nan)

    def on_margins(start: int, margins: NDArray[np.float64]) -> None:
        got[start : start + len(margins)] = margins

    samples = words(3000)
    with Client(endpoint) as client:
        with client.stream("p", on_margins=on_margins) as stream:
            assert stream.applied == 0
            for features, label in samples:
                stream.learn(features, label)
        assert stream.applied == 3000
        assert client.stats()["producers"] == 1
    model = OnlineSVM()
    assert got.tobytes() == model.learn(samples).tobytes()
    assert digest_at(endpoint) == digest_of(model)


@pytest.mark.parametrize("producer", ["p" * 64, "é", b"\xff\x00"])
def test_a_producer_that_starts_again_goes_on_after_the_samples_applied(
    endpoint: str, producer: str | bytes
) -> None:
    samples = words(1000)
    for end in (0, 1, 2, 300, 301, 1000):
        with Client(endpoint) as client, client.stream(producer) as stream:
            for features, label in samples[stream.applied : end]:
                stream.learn(features, label)
            stream.flush()
            assert stream.applied == end
    assert digest_at(endpoint) == digest_of(learned(samples))


@pytest.mark.parametrize("producer", ["", "p" * 65])
def test_names_that_are_none(endpoint: str, producer: str) -> None:
    with Client(endpoint) as client, pytest.raises(RequestRefused, match="a producer of 1 to 64"):
        client.stream(producer)


def test_keys_on_the_wire(endpoint: str) -> None:
    body = [[1, ["a"]]]
    with raw(endpoint) as dealer:
        assert ask(dealer, "resume", producer="p")[0] == {
            "v": 1, "id": None, "ok": True, "sequence": 0, "samples": 0, "cursor": None,
        }  # fmt: skip
        header, margins = ask(dealer, "learn", body, producer="p", sequence=1)
        assert header == {"v": 1, "id": None, "ok": True, "samples": 1, "position": 1}
        assert margins == [0.0]
        header, margins = ask(dealer, "learn", body, producer=b"p", sequence=1)
        assert header == {
            "v": 1, "id": None, "ok": True, "samples": 1, "position": 1, "duplicate": True,
        }  # fmt: skip
        assert margins is None
        header, _ = ask(dealer, "learn", body, producer="p", sequence=3)
        assert header["error"] == {
            "code": "SEQUENCE_GAP", "message": "expected sequence 2, got 3", "at": None,
            "sample": None,
        }  # fmt: skip
        for keys, message in (
            ({"producer": "p"}, "expected sequence as an integer from 1, got nil"),
            ({"producer": "p", "sequence": 0}, "expected sequence as an integer from 1, got 0"),
            (
                {"producer": "p", "sequence": True},
                "expected sequence as an integer from 1, got true",
            ),
            ({"sequence": 1}, "expected producer as text or bytes, got nil"),
            ({"producer": 7, "sequence": 1}, "expected producer as text or bytes, got 7"),
            ({"producer": "", "sequence": 1}, "expected a producer of 1 to 64 bytes, got 0"),
        ):
            header, _ = ask(dealer, "learn", body, **keys)
            expected = {"code": "BAD_REQUEST", "message": message, "at": None, "sample": None}
            assert header["error"] == expected
        # A faulty body is reported first, and its number is still free.
        header, _ = ask(dealer, "learn", [[0.5, []]], producer="p", sequence=2)
        assert header["error"]["code"] == "BAD_SAMPLE"
        assert ask(dealer, "learn", body, producer="p", sequence=2)[0]["ok"]


def test_a_follower_numbers_nothing(tmp_path: Path) -> None:
    learned(words(3)).save(tmp_path / "snapshot-00000000000000000003.msgpack")
    with (
        DaemonProcess(follow=tmp_path) as daemon,
        daemon.client() as client,
        pytest.raises(RequestRefused, match="READ_ONLY"),
    ):
        client.stream("p")


# Refusals.


@pytest.mark.parametrize("bad", [0, 1, 7, 499])
def test_a_refused_sample_holds_up_the_samples_after_it(endpoint: str, bad: int) -> None:
    samples: list[Any] = [*words(500)]
    samples[bad] = (["1", "2", "3", "4", "5"], 1)
    rest = samples[:bad] + samples[bad + 1 :]
    with Client(endpoint) as client:
        with client.stream("p") as stream:
            refused = []
            for features, label in samples:
                try:
                    stream.learn(features, label)
                except RequestRefused as error:
                    refused.append((error.sample, error.applied, client.stats()["position"]))
            try:
                stream.flush()
            except RequestRefused as error:
                refused.append((error.sample, error.applied, client.stats()["position"]))
        assert refused == [(bad, bad, bad)]
        assert stream.applied == 499
    assert digest_at(endpoint) == digest_of(learned(rest))


def test_a_refusal_that_ends_the_stream_ends_it_there(endpoint: str) -> None:
    samples: list[Any] = [*words(500)]
    samples[123] = (["1", "2", "3", "4", "5"], 1)
    for _ in range(2):
        with (
            Client(endpoint) as client,
            pytest.raises(RequestRefused, match="sample 123 of the stream"),
            client.stream("p") as stream,
        ):
            for features, label in samples[stream.applied :]:
                stream.learn(features, label)
        assert stream.applied == 123
    assert digest_at(endpoint) == digest_of(learned(samples[:123]))


def test_a_message_that_is_too_large_goes_in_pieces(endpoint: str) -> None:
    body = msgpack.packb([[label, features] for features, label in words(1000)])
    limits = Limits(max_message_bytes=2000)
    with Client(endpoint, limits=limits) as client, client.stream("p" * 64) as stream:
        stream.learn_packed(body, 1000)
        stream.learn_packed(b"\x90", 0)
    assert stream.applied == 1000
    assert digest_at(endpoint) == digest_of(learned(words(1000)))


class Numbering:
    """A bare daemon that keeps to the numbering, but for what `fault` says."""

    def __init__(self, fault: Any) -> None:
        self.fault = fault
        self.sequence = self.samples = 0
        self.seen: list[int] = []

    def __call__(self, socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        header = msgpack.unpackb(frames[1])
        if header["op"] == "resume":
            keys = {"sequence": self.sequence, "samples": self.samples, "cursor": None}
            reply = reply_to(frames, **keys)
            socket.send_multipart(reply)
            return
        self.seen.append(header["sequence"])
        answer = self.fault(self, header, frames)
        if answer is None:
            if header["sequence"] == self.sequence + 1:
                n = len(msgpack.unpackb(frames[2]))
                self.sequence += 1
                self.samples += n
                answer = reply_to(frames, msgpack.packb([0.0] * n), samples=n, position=0)
            elif header["sequence"] <= self.sequence:
                answer = reply_to(frames, samples=0, position=0, duplicate=True)
            else:
                answer = refusal_to(frames, "SEQUENCE_GAP", "a gap", None)
        socket.send_multipart(answer)


@pytest.mark.parametrize("code", ["BUSY", "NOT_DURABLE"])
def test_a_daemon_that_takes_nothing_for_a_while(code: str) -> None:
    chance = random.Random(5)

    def fault(state: Numbering, header: Any, frames: list[bytes]) -> list[bytes] | None:
        if chance.random() < 0.3:
            return refusal_to(frames, code, "not now", None)
        return None

    numbering = Numbering(fault)
    with RawDaemon(numbering) as daemon, Client(daemon.endpoint) as client:
        with client.stream("p") as stream:
            for _ in range(30):
                stream.learn_packed(msgpack.packb([[1, ["a"]]] * 3), 3)
        assert stream.applied == numbering.samples == 90
        assert numbering.sequence == 30


def test_a_daemon_that_never_takes_anything() -> None:
    numbering = Numbering(lambda state, header, frames: refusal_to(
        frames, "NOT_DURABLE", "the disk is full", None))  # fmt: skip
    with (
        RawDaemon(numbering) as daemon,
        Client(daemon.endpoint, timeout_s=0.3) as client,
        pytest.raises(DaemonTimeout, match=r"refused \(the disk is full\) for 0.3 s; 0 samples"),
        client.stream("p") as stream,
    ):
        stream.learn(["a"], 1)
        stream.flush()


def test_another_client_that_uses_the_name_is_noticed() -> None:
    def fault(state: Numbering, header: Any, frames: list[bytes]) -> list[bytes] | None:
        if header["sequence"] == 3:
            return reply_to(frames, samples=1, position=9, duplicate=True)
        return None

    with RawDaemon(Numbering(fault)) as daemon, Client(daemon.endpoint) as client:
        stream = client.stream("p")
        with pytest.raises(StreamBroken, match="another client uses this name; 2 samples are"):
            for _ in range(9):
                stream.learn(["a"], 1)
                stream.flush()
        with pytest.raises(StreamBroken):
            stream.flush()
        assert stream.applied == 2


def test_two_clients_of_one_name(endpoint: str) -> None:
    """The one that began last goes on; nothing is lost or doubled."""
    samples = words(100)
    with Client(endpoint) as a, Client(endpoint) as b:
        first = a.stream("p")
        for features, label in samples[:40]:
            first.learn(features, label)
        first.flush()
        second = b.stream("p")
        assert second.applied == 40
        with pytest.raises(StreamBroken, match="another connection has asked to resume"):
            first.learn(["x"], 1)
            first.flush()
        for features, label in samples[40:]:
            second.learn(features, label)
        second.flush()
    assert digest_at(endpoint) == digest_of(learned(samples))


def test_a_producer_that_was_forgotten(tmp_path: Path) -> None:
    with serve(tmp_path, max_producers=1) as daemon, daemon.client() as client:
        stream = client.stream("p")
        stream.learn(["a"], 1)
        stream.flush()
        with client.stream("q") as other:
            other.learn(["a"], 1)
        with pytest.raises(StreamBroken, match="expected sequence 1, got 2"):
            stream.learn(["a"], 1)
            stream.flush()


def test_a_daemon_that_lost_what_it_had_acknowledged(tmp_path: Path) -> None:
    with serve(tmp_path / "state") as daemon:
        endpoint = daemon.endpoint
        client = daemon.client()
        stream = client.stream("p")
        for features, label in words(10):
            stream.learn(features, label)
        stream.flush()
        daemon.kill()
    shutil.rmtree(tmp_path / "state")
    with serve(tmp_path / "state", bind=endpoint), client:
        with pytest.raises(StreamBroken, match="it has forgotten the producer, or lost what it"):
            stream.learn(["a"], 1)
            stream.flush()
        assert client.stats()["position"] == 0


# Breaks.


def test_a_restarted_daemon_goes_unnoticed(tmp_path: Path) -> None:
    samples = words(2000)
    with serve(tmp_path) as daemon:
        endpoint, client = daemon.endpoint, daemon.client()
        stream = client.stream("p")
        for features, label in samples[:500]:
            stream.learn(features, label)
        daemon.kill()
    with serve(tmp_path, bind=endpoint) as daemon:
        for features, label in samples[500:1000]:
            stream.learn(features, label)
        stream.flush()
        assert daemon.stop() == 0
    with serve(tmp_path, bind=endpoint) as daemon, client:
        for features, label in samples[1000:]:
            stream.learn(features, label)
        stream.flush()
        assert stream.applied == 2000
        assert client.snapshot()["digest"] == digest_of(learned(samples))


def test_a_daemon_that_does_not_come_back(tmp_path: Path) -> None:
    samples = words(100)
    with serve(tmp_path) as daemon:
        endpoint, client = daemon.endpoint, daemon.client(timeout_s=0.4)
        stream = client.stream("p")
        for features, label in samples[:50]:
            stream.learn(features, label)
        stream.flush()
        daemon.kill()
    with pytest.raises((DaemonTimeout, DaemonLost)):
        for features, label in samples[50:]:
            stream.learn(features, label)
        stream.flush()
    assert stream.applied == 50
    # The samples it had taken were kept: a later call sends them.
    gatherer = stream._delivery._pipeline.gatherer  # type: ignore[union-attr]
    taken = gatherer.start + len(gatherer.parts)
    client.timeout_s = 20
    with serve(tmp_path, bind=endpoint), client:
        for features, label in samples[taken:]:
            stream.learn(features, label)
        stream.flush()
        assert client.snapshot()["digest"] == digest_of(learned(samples))


def test_a_client_that_is_closed(endpoint: str) -> None:
    client = Client(endpoint)
    stream = client.stream("p")
    stream.learn(["a"], 1)
    client.close()
    with pytest.raises(DaemonLost, match="the client is closed"):
        stream.learn(["a"], 1)
        stream.flush()


@pytest.mark.parametrize("delay_s", [0.0, 0.01])
def test_connections_that_are_cut_and_delayed(tmp_path: Path, delay_s: float) -> None:
    samples = words(4000)
    with (
        serve(tmp_path) as daemon,
        Proxy(daemon.endpoint, delay_s=delay_s) as proxy,
        Client(proxy.endpoint, timeout_s=20) as client,
    ):
        deadline = time.monotonic() + 4.0
        with client.stream("p") as stream:
            for i, (features, label) in enumerate(samples):
                stream.learn(features, label)
                if i % 300 == 299 and time.monotonic() < deadline:
                    proxy.cut()
        assert proxy.connections >= 2  # cut at least once, and connected anew
        assert stream.applied == 4000
        assert digest_at(daemon.endpoint) == digest_of(learned(samples))


def test_requests_in_flight_of_a_dead_producer_are_shut_out(tmp_path: Path) -> None:
    """Requests that come late, after the producer has started again with other batches."""
    samples = words(600)
    with serve(tmp_path) as daemon, Proxy(daemon.endpoint) as slow:
        for life in range(6):
            with Client(slow.endpoint, timeout_s=20) as client:
                stream = client.stream("p")
                slow.delay_s = 0.2
                at = stream.applied
                for _ in range(8):
                    batch = [[label, features] for features, label in samples[at : at + 3 + life]]
                    stream.learn_packed(msgpack.packb(batch), len(batch))
                    at += len(batch)
                # It dies here with its requests held up in the network.
            slow.delay_s = 0.0
        with daemon.client() as client:
            with client.stream("p") as stream:
                for features, label in samples[stream.applied :]:
                    stream.learn(features, label)
            assert stream.applied == client.stats()["position"] == 600
            assert client.snapshot()["digest"] == digest_of(learned(samples))


def test_connections_that_are_doubled(tmp_path: Path) -> None:
    """Whose twin comes first is chance: a stream that finds itself doubled starts again."""
    samples = words(1500)
    with serve(tmp_path) as daemon, Proxy(daemon.endpoint, is_doubling=True) as proxy:
        breaks = 0

        def run() -> bool:
            nonlocal breaks
            proxy.is_doubling = breaks < 12
            try:
                with Client(proxy.endpoint, timeout_s=20) as client, client.stream("p") as stream:
                    for features, label in samples[stream.applied :]:
                        stream.learn(features, label)
            except StreamBroken:
                breaks += 1
                return False
            return True

        eventually(run, "all learned")
        with daemon.client() as client:
            assert client.stats()["position"] == 1500
            assert client.snapshot()["digest"] == digest_of(learned(samples))


def test_a_stream_opens_wherever_its_first_connection_ends(tmp_path: Path) -> None:
    # Handshake and first request are about 200 bytes.
    with serve(tmp_path) as daemon, Proxy(daemon.endpoint) as proxy:
        for sent in range(0, 200, 8):
            proxy.cut_after(sent)
            with Client(proxy.endpoint) as client, client.stream(f"p{sent}") as stream:
                assert stream.applied == 0
        assert proxy.connections > 2 * len(range(0, 200, 8))


def test_two_producers_interleave_and_each_is_learned_once(tmp_path: Path) -> None:
    with serve(tmp_path, rule="sgd", bias=False) as daemon, Proxy(daemon.endpoint) as proxy:

        def produce(name: str) -> None:
            with Client(proxy.endpoint, timeout_s=20) as client, client.stream(name) as stream:
                for features, label in words(1500):
                    stream.learn([name + feature for feature in features], label)

        with thread(lambda: produce("a")), thread(lambda: produce("b")):
            for _ in range(10):
                proxy.cut()
                time.sleep(0.05)
        with daemon.client() as client:
            assert client.stats()["position"] == 3000
            model = OnlineSVM(rule="sgd", bias=False)
            for name in "ab":
                model.learn([([name + f for f in fs], y) for fs, y in words(1500)])
            features = [[f"{name}w{i}"] for name in "ab" for i in range(17)]
            assert (
                client.decision_function(features).tobytes()
                == model.decision_function(features).tobytes()
            )
