"""Redis Streams: entries are learned once; those that are lost, and other streams, are noticed."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.errors import ConfigError
from onlinesvm.service.client.client import Client
from onlinesvm.service.ingest import redis_connection, redis_streams
from onlinesvm.service.ingest.redis_streams import RedisStream, parse_url
from onlinesvm.service.ingest.source import SourceError
from tests.daemons import DEADLINE_S, digest_of, eventually, on_a_thread, serve
from tests.service.ingest.ingesters import Ingest, ingest, sample_lines
from tests.service.ingest.redis_server import RedisServer
from tests.shell import done, run

N = 500
ROUNDS = int(os.environ.get("REDIS_ROUNDS", "12"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis") / "data") as server:
        yield server


@pytest.fixture
def redis(server: RedisServer) -> Iterator[Any]:
    with server.client() as client:
        client.flushall()
        yield client


class Tail:
    """A source, and what was read of it."""

    def __init__(self, url: str, cursor: bytes | None = None, **options: Any) -> None:
        self.said: list[str] = []
        keys = {"follow": True, "accept_loss": False}
        self.source = RedisStream(url, say=self.said.append, **{**keys, **options})
        try:
            self.source.open(cursor)
        except SourceError:
            self.source.close()
            raise
        self.values: list[Any] = []
        self.cursors: list[bytes] = []

    def read(self) -> list[int]:
        """The numbers of all entries there are."""
        found: list[int] = []
        while (entries := self.source.read(0.01)).values:
            found += [int(value[1]) for value in entries.values]  # type: ignore[index, arg-type]
            cursors = [entries.cursors[i] for i in range(len(entries.cursors))]
            assert list(entries.cursors[1:]) == cursors[1:]
            self.cursors += cursors
        self.values += found
        return found

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()


def refusal_of(url: str, cursor: bytes | None, **options: Any) -> str:
    """Why a source cannot be read from a cursor on."""
    with pytest.raises(SourceError) as caught, Tail(url, cursor, **options) as tail:
        tail.read()
    return str(caught.value)


def add(redis: Any, *numbers: int, id: str = "*", name: str = "s") -> list[bytes]:
    return [redis.xadd(name, {"n": number}, id=id) for number in numbers]


def put(redis: Any, lines: Sequence[bytes], name: str = "s") -> None:
    pipe = redis.pipeline(transaction=False)
    for line in lines:
        pipe.xadd(name, {"sample": line})
    pipe.execute()


def learned(samples: Sequence[Any]) -> str:
    model = OnlineSVM()
    model.learn(samples)
    return digest_of(model)


# The source.


def test_entries_are_read_once_from_any_cursor(server: RedisServer, redis: Any) -> None:
    add(redis, *range(300))
    with Tail(f"{server.url}/s") as tail:
        assert tail.read() == list(range(300))
        add(redis, 300, 301)
        assert tail.read() == [300, 301]
    for at in (0, 1, 63, 64, 65, 299, 301):
        with Tail(f"{server.url}/s", tail.cursors[at]) as again:
            assert again.read() == list(range(at + 1, 302))
            assert again.source.lag(again.source.cursor) == (0, 0.0, None)


STEPS = st.lists(
    st.sampled_from(["add", "add", "add", "trim", "delete", "read", "read", "restart"]), max_size=30
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, data=st.data())
def test_every_entry_is_read_or_counted_as_lost(
    server: RedisServer, redis: Any, steps: list[str], data: st.DataObject
) -> None:
    """Whatever is trimmed or deleted, and wherever it starts again."""
    redis.flushall()
    added = 0
    ids: list[bytes] = []
    there: set[int] = set()
    tail = Tail(f"{server.url}/s", accept_loss=True)
    before: list[int] = []  # what was read up to the last restart
    lost = base = 0
    for step in [*steps, "add", "read", "restart", "read"]:
        if step == "add":
            count = data.draw(st.integers(1, 6))
            there |= set(range(added, added + count))
            ids += add(redis, *range(added, added + count))
            added += count
        elif step == "trim" and there:
            keep = data.draw(st.integers(0, len(there)))
            redis.xtrim("s", maxlen=keep, approximate=False)
            there = set(sorted(there)[len(there) - keep :])
        elif step == "delete" and there:
            number = data.draw(st.sampled_from(sorted(there)))
            redis.xdel("s", ids[number])
            there.discard(number)
        elif step == "read":
            if not before and not tail.values:
                base = added - len(there)  # removed before it was read for the first time
            new = tail.read()
            assert new == sorted(set(new)) and set(new) <= set(range(added))
            assert tail.source.lag(tail.source.cursor).entries == 0
            assert len(before) + len(tail.values) + lost + tail.source.lost + base == added
            assert there <= set(before) | set(tail.values)
        elif step == "restart":
            cursor = tail.source.cursor
            before += tail.values
            lost += tail.source.lost
            tail.source.close()
            tail = Tail(f"{server.url}/s", cursor, accept_loss=True)
    assert before == sorted(set(before))
    tail.source.close()


def test_trimmed_entries_stop_it_with_their_number(server: RedisServer, redis: Any) -> None:
    add(redis, *range(10))
    with Tail(f"{server.url}/s") as tail:
        tail.read()
    redis.xtrim("s", maxlen=6, approximate=False)
    text = refusal_of(f"{server.url}/s", tail.cursors[0])
    assert "/s: 3 entries after " in text and "trimmed or deleted before they were read" in text
    with Tail(f"{server.url}/s", tail.cursors[0], accept_loss=True) as again:
        assert again.read() == list(range(4, 10))
        assert (again.source.lost, len(again.said)) == (3, 1)
        assert again.source.cursor == tail.cursors[-1]
    redis.xtrim("s", maxlen=0, approximate=False)
    text = refusal_of(f"{server.url}/s", tail.cursors[8])
    assert "/s: 1 entries after " in text and "it is empty now" in text
    with Tail(f"{server.url}/s", tail.cursors[9]) as again:  # all of it was learned
        assert again.read() == []


def test_entries_are_trimmed_while_it_runs(server: RedisServer, redis: Any) -> None:
    with Tail(f"{server.url}/s") as tail:
        add(redis, *range(5))
        assert tail.read() == list(range(5))
        add(redis, *range(5, 9))
        redis.xtrim("s", maxlen=2, approximate=False)
        with pytest.raises(SourceError, match="2 entries after"):
            tail.read()


def test_what_was_removed_before_the_first_read_is_no_loss(server: RedisServer, redis: Any) -> None:
    add(redis, *range(5))
    redis.xtrim("s", maxlen=2, approximate=False)
    with Tail(f"{server.url}/s") as tail:
        assert tail.read() == [3, 4]
        assert tail.source.lost == 0 and "3 before were removed" in tail.said[0]


@pytest.mark.parametrize("ids", [["*"], ["1-1"], ["9999999999999-0"], ["*"] * 7])
def test_a_stream_created_anew_stops_it(server: RedisServer, redis: Any, ids: list[str]) -> None:
    """Whether its ids are later, or it has as many entries."""
    add(redis, *range(7))
    with Tail(f"{server.url}/s") as tail:
        tail.read()
        redis.delete("s")
        with pytest.raises(SourceError, match=r"expected a stream with entry .* got none"):
            tail.read()
    for number, id in enumerate(ids):
        add(redis, number, id=id)
    text = refusal_of(f"{server.url}/s", tail.cursors[-1])
    assert "whose entry 7 is " in text and "was created anew, or redis has lost" in text


def test_a_stream_may_come_later(server: RedisServer, redis: Any) -> None:
    with Tail(f"{server.url}/s") as tail:
        assert tail.read() == [] == tail.read()
        assert tail.said == [f"waiting: there is no stream {server.url}/s yet"]
        add(redis, 1)
        assert tail.read() == [1]
    text = refusal_of(f"{server.url}/none", None, follow=False)
    assert "expected a stream, got none of that name" in text


def test_a_key_that_is_no_stream(server: RedisServer, redis: Any) -> None:
    redis.set("s", "text")
    with Tail(f"{server.url}/s") as tail:
        with pytest.raises(SourceError, match="WRONGTYPE"):
            tail.read()
        redis.delete("s")
        add(redis, 1)
        assert tail.read() == [1]  # no answer of before is taken for one of now


def test_ids_that_are_no_times(server: RedisServer, redis: Any) -> None:
    for number, id in enumerate(("0-1", "0-2", "5-0", f"{2**64 - 1}-{2**64 - 1}")):
        add(redis, number, id=id)
    with Tail(f"{server.url}/s") as tail:
        assert tail.read() == [0, 1, 2, 3]
        entries, seconds, _ = tail.source.lag(tail.cursors[0])
        assert (entries, seconds) == (3, (2**64 - 1) / 1000)
    with Tail(f"{server.url}/s", tail.cursors[-1]) as again:
        assert again.read() == []


def test_the_lag_of_a_cursor(server: RedisServer, redis: Any) -> None:
    for number in range(4):
        add(redis, number, id=f"{1000 + 500 * number}-0")
    with Tail(f"{server.url}/s") as tail:
        tail.read()
        assert tail.source.lag(None) == (4, None, None)
        assert tail.source.lag(tail.cursors[1]) == (2, 1.0, None)
        assert tail.source.lag(tail.cursors[3]) == (0, 0.0, None)
        assert tail.source.place(tail.cursors[1]) == f"{server.url}/s, entry 1500-0"


def test_answers_are_bounded(
    server: RedisServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small entries make it ask for many; when they grow, they are asked for again in parts."""
    monkeypatch.setattr(redis_streams, "_MAX_READ_BYTES", 2**20)
    most = 0
    take = redis_connection._Budget.take

    def watched(budget: Any, more: int) -> None:
        nonlocal most
        take(budget, more)
        most = max(most, budget.bytes)

    monkeypatch.setattr(redis_connection._Budget, "take", watched)
    pipe = redis.pipeline(transaction=False)
    for number in range(2000):
        pipe.xadd("s", {"n": number})
    for number in range(2000, 2030):
        pipe.xadd("s", {"n": f"{number}", "pad": b"x" * 2**18})
    pipe.xadd("s", {"n": 2030, "pad": b"x" * 2**22})  # larger than the bound, and alone
    pipe.xadd("s", {"n": 2031})
    pipe.execute()
    with Tail(f"{server.url}/s") as tail:
        eventually(lambda: tail.read() or len(tail.values) == 2032, "all entries")
        while len(tail.values) < 2032:
            tail.read()
        assert tail.values == list(range(2032))
    assert most < 2**22 + 2**20


def test_large_entries_at_the_ends_do_not_slow_it_down(server: RedisServer, redis: Any) -> None:
    """They come with each answer."""
    pipe = redis.pipeline(transaction=False)
    for number in range(5000):
        pad = b"x" * 3 * 2**20 if number in (0, 4999) else b""
        pipe.xadd("s", {"n": number, "pad": pad})
    pipe.execute()
    reads = 0
    with Tail(f"{server.url}/s") as tail:
        while len(tail.values) < 5000:
            reads += 1
            tail.values += [int(value[1]) for value in tail.source.read(0.01).values]  # type: ignore[index, arg-type]
    assert tail.values == list(range(5000))
    assert reads < 30


def test_entries_are_kept_when_the_connection_breaks_after_them(
    server: RedisServer, redis: Any
) -> None:
    add(redis, *range(10))
    with Tail(f"{server.url}/s") as tail:
        connection = tail.source._connection
        send = connection.send

        def broken(*commands: Any, **options: Any) -> None:
            if tail.source._number:  # entries came: the next are asked for
                connection.send = send  # type: ignore[method-assign]
                connection._connection._sock.shutdown(socket.SHUT_RDWR)
            send(*commands, **options)

        connection.send = broken  # type: ignore[method-assign]
        assert tail.read() == [*range(10)]
        assert connection.send == send
        add(redis, 10)
        assert tail.read() == [10]


def test_a_server_that_is_away(server: RedisServer, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "data", fsync="always") as own:
        with own.client() as client:
            add(client, 1, 2)
        with Tail(f"{own.url}/s") as tail:
            assert tail.read() == [1, 2]
            own.kill()
            assert tail.read() == [] == tail.read()
            assert len(tail.said) == 1 and tail.said[0].startswith(f"waiting for {own.url}/s: ")
            own.start()
            with own.client() as client:
                add(client, 3)
            assert tail.read() == [3]
            assert tail.said[1] == f"{own.url}/s is back"
    with pytest.raises(SourceError, match=f"{own.url}/s: .*Connection refused"):
        Tail(f"{own.url}/s")


def test_a_password(server: RedisServer, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.config_set("requirepass", "se:c/ret")
    try:
        add(redis, 1)
        address = server.url.removeprefix("redis://")
        with pytest.raises(SourceError, match=r"(?i)auth"), Tail(f"{server.url}/s") as tail:
            tail.read()
        with pytest.raises(SourceError, match=r"(?i)password|wrongpass"):
            Tail(f"redis://:wrong@{address}/s")
        with Tail(f"redis://:se%3Ac%2Fret@{address}/s") as tail:
            assert tail.read() == [1]
            assert "ret" not in tail.source.name
        monkeypatch.setenv("REDISCLI_AUTH", "se:c/ret")
        with Tail(f"{server.url}/s?db=0") as tail:
            assert tail.read() == [1]
    finally:
        redis.config_set("requirepass", "")


def test_urls() -> None:
    assert parse_url("redis://h/a%2Fb/c") == ("redis://h/0", "a/b/c")
    assert parse_url("rediss://u:p@h:1/s?db=3&ssl_ca_certs=x") == (
        "rediss://u:p@h:1/3?ssl_ca_certs=x", "s",
    )  # fmt: skip
    with pytest.raises(ConfigError):
        parse_url("redis:///s")


# The whole.


def test_samples_of_every_form(server: RedisServer, redis: Any, tmp_path: Path) -> None:
    lines, samples = sample_lines(0, N)
    put(redis, lines, "json")
    for features, label in samples:
        redis.xadd("packed", {"other": "x", "sample": msgpack.packb([label, features])})
        redis.xadd("fields", {**dict.fromkeys(features, 1), "spam": label})
    with on_a_thread(tmp_path / "state") as endpoint, Client(endpoint) as client:
        for name, *flags in (
            ("json",), ("packed", "--format", "msgpack", "--field", "sample"),
            ("fields", "--label-field", "spam"),
        ):  # fmt: skip
            client.create(name)
            arguments = ("ingest", "--connect", endpoint, "--model", name, "--no-follow", *flags)
            outcome = json.loads(done(*arguments, f"{server.url}/{name}").out)
            assert (outcome["samples"], outcome["skipped"], outcome["lost"]) == (N, 0, 0)
            assert client.model(name).snapshot()["digest"] == learned(samples)


def test_a_bad_entry_stops_it_with_its_id(server: RedisServer, redis: Any, tmp_path: Path) -> None:
    lines, samples = sample_lines(0, 4)
    put(redis, lines[:2])
    bad = [redis.xadd("s", {"sample": "{"}), redis.xadd("s", {"sample": lines[0], "more": "x"})]
    put(redis, lines[2:])
    with on_a_thread(tmp_path / "state") as endpoint, Client(endpoint) as client:
        arguments = ("ingest", "--connect", endpoint, "--no-follow", f"{server.url}/s")
        failed = run(*arguments)
        assert failed.code == 1 and f"/s, entry {bad[0].decode()}: expected one JSON" in failed.err
        assert client.snapshot()["digest"] == learned(samples[:2])
        outcome = done(*arguments, "--skip-bad")
        assert json.loads(outcome.out)["skipped"] == 2
        assert all(f"skipped {server.url}/s, entry {id.decode()}" in outcome.err for id in bad)
        assert client.snapshot()["digest"] == learned(samples)
        # Bad entries at the end were passed over: they may go, too.
        redis.xadd("s", {"sample": "["})
        assert json.loads(done(*arguments, "--skip-bad").out)["skipped"] == 1
        redis.xtrim("s", maxlen=0, approximate=False)
        assert json.loads(done(*arguments).out)["samples"] == 0


def test_lag_and_signal(server: RedisServer, redis: Any, tmp_path: Path) -> None:
    lines, samples = sample_lines(0, 20_000)
    put(redis, lines)
    with serve(tmp_path / "state") as daemon, daemon.client() as client:
        with ingest(f"{server.url}/s", daemon.endpoint) as running:
            eventually(lambda: client.stats()["position"], "a first sample")
            outcome = running.stop()
        position = client.stats()["position"]
        assert outcome["samples"] == position
        (lag,) = client.stats()["ingest"]
        assert lag["samples"] == position and lag["producer"] == f"{server.url}/s"
        with ingest(f"{server.url}/s", daemon.endpoint):
            eventually(lambda: client.stats()["position"] == len(samples), "all samples")

            def is_level() -> bool:
                (lag,) = client.stats()["ingest"]
                return (lag["lag_entries"], lag["lag_s"]) == (0, 0.0)

            eventually(is_level, "no lag")
        assert client.snapshot()["digest"] == learned(samples)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_kills_of_ingester_daemon_and_redis(tmp_path: Path) -> None:
    """And trims of what was learned, broken connections, and a second ingester by mistake.

    ``REDIS_ROUNDS`` says how many rounds; ``CHAOS_SEED`` which moments.
    """
    chance = random.Random(SEED)
    lines, samples = sample_lines(0, 60 * ROUNDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    state = {"state": tmp_path / "state", "bind": bind, "fsync": "always"}
    met: dict[str, int] = {}
    with RedisServer(tmp_path / "redis", fsync="always") as server:
        source = f"{server.url}/s"
        daemon = serve(**state)
        running, second = Ingest(source, bind), None
        redis = server.client()
        try:
            for number in range(ROUNDS):
                what = chance.choice(
                    ["ingester", "daemon", "redis", "all", "trim", "break", "second", "none"]
                )
                met[what] = met.get(what, 0) + 1
                put(redis, lines[60 * number : 60 * number + 30])
                time.sleep(chance.random() * chance.choice((0.02, 0.5)))  # the moment
                if what in ("ingester", "all"):
                    running.kill()
                if what in ("daemon", "all"):
                    daemon.__exit__(None)  # kills it
                if what in ("redis", "all"):
                    server.kill()
                    server.start()
                if what in ("daemon", "all"):
                    daemon = serve(**state)
                if what == "break":
                    redis.client_kill_filter(_type="normal", skipme=True)
                if what == "trim":
                    with daemon.client() as client:
                        shown = [row for row in client.stats()["ingest"] if row["cursor"]]
                    for row in shown:  # no more than what was learned
                        redis.xtrim("s", minid=row["cursor"].split()[0], approximate=False)
                if what == "second":
                    running.await_line("learning")
                    second = Ingest(source, bind)
                    second.await_line("learning")
                    put(redis, lines[60 * number + 30 : 60 * number + 31])
                    running.fault()  # it has ended by itself
                    running, second = second, None
                if what in ("ingester", "all"):
                    running = Ingest(source, bind)
                more = 60 * number + (31 if what == "second" else 30)
                put(redis, lines[more : 60 * number + 60])
            with daemon.client() as client:
                eventually(
                    lambda: client.stats()["position"] == len(samples),
                    "all samples",
                    3 * DEADLINE_S,
                )
                assert client.snapshot()["digest"] == learned(samples)
            outcome = running.stop()
            assert (outcome["lost"], outcome["skipped"]) == (0, 0)
        except BaseException as error:
            error.add_note(f"{met}\nfirst: {running.said}\nsecond: {second and second.said}")
            raise
        finally:
            redis.close()
            for each in (running, second):
                if each is not None and each.process.poll() is None:
                    each.kill()
            daemon.__exit__(None)
    print(met)
