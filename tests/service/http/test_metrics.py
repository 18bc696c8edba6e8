"""Figures for Prometheus: its conventions by promtool, the figures by those of `stats`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from onlinesvm.service.client.calls import Lag
from onlinesvm.service.http.metrics import MAX_MODELS
from tests.daemons import HOUSE, DaemonProcess, serve
from tests.service.http.doors import DoorProcess, problem

Samples = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with serve(tmp_path_factory.mktemp("state")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def door(daemon: DaemonProcess) -> Iterator[DoorProcess]:
    with DoorProcess(daemon.endpoint) as door:
        yield door


def scraped(door: DoorProcess, query: str = "") -> Samples:
    """Every sample, by its name and the values of its labels."""
    answer = door.http.get(f"/metrics{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            key = (sample.name, *sample.labels.values())
            assert key not in found
            found[key] = sample.value
    return found


def test_the_figures_are_those_of_stats(daemon: DaemonProcess, door: DoorProcess) -> None:
    client = daemon.client()
    client.learn([(["free"], "spam"), (["noon"], "ham")])
    client.predict([["free"]], hold=["k"], ttl_s=600)
    client.snapshot()
    problem(door.post("default/learn", {"features": {"a": {}}, "label": 1}), 422, "BAD_SAMPLE")
    with client.stream('a "quoted"\\\nproducer') as stream:
        stream.learn(["free"], "spam")
    before = scraped(door)
    stats = client.stats()
    found = scraped(door)
    for key, name in {
        "position": "samples_total",
        "features": "features",
        "progressive_error": "progressive_error",
        "held": "held_samples",
    }.items():
        assert found[f"onlinesvm_{name}", "default"] == stats[key]
    assert found["onlinesvm_log_bytes",] == stats["log_bytes"]
    assert 0 <= found["onlinesvm_snapshot_age_seconds", "default"] < 600
    assert found["onlinesvm_errors_total", "BAD_SAMPLE"] == 1
    assert found["onlinesvm_requests_total", "learn"] == stats["requests"]["learn"]
    assert found["onlinesvm_requests_total", "stats"] > before["onlinesvm_requests_total", "stats"]
    assert found["onlinesvm_turn_seconds_count",] >= sum(stats["turns"]["counts"])
    assert found["onlinesvm_turn_seconds_bucket", "+Inf"] == found["onlinesvm_turn_seconds_count",]
    assert found["onlinesvm_turn_seconds_sum",] > before["onlinesvm_turn_seconds_sum",]


def test_the_lag_of_an_ingester(daemon: DaemonProcess, door: DoorProcess) -> None:
    client = daemon.client()
    client.request("resume", producer="redis://host/a")
    client.request("lag", producer="redis://host/a", **Lag(entries=12, seconds=0.5)._asdict())
    found = scraped(door)
    assert found["onlinesvm_ingest_lag_entries", "default", "redis://host/a"] == 12
    assert found["onlinesvm_ingest_lag_seconds", "default", "redis://host/a"] == 0.5
    assert ("onlinesvm_ingest_lag_bytes", "default", "redis://host/a") not in found


def test_a_hundred_models_have_figures(daemon: DaemonProcess, door: DoorProcess) -> None:
    client = daemon.client()
    for i in range(MAX_MODELS + 20):
        client.create(f"m{i:03}", rule="sgd")
    found = scraped(door)
    shown = {key[1] for key in found if key[0] == "onlinesvm_samples_total"}
    assert len(shown) == MAX_MODELS
    assert shown == {"default", *(f"m{i:03}" for i in range(MAX_MODELS - 1))}
    assert found["onlinesvm_models",] == MAX_MODELS + 21
    named = scraped(door, "?model=m117&model=none&model=m118&model=m117")
    assert {key[1] for key in named if key[0] == "onlinesvm_samples_total"} == {"m117", "m118"}
    problem(door.http.get("/metrics", params={"model": ["m"] * 101}), 400, "BAD_REQUEST")


def test_promtool_finds_no_fault(door: DoorProcess) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool")
    text = door.http.get("/metrics").content
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_dashboard_asks_for_metrics_that_there_are(door: DoorProcess) -> None:
    dashboard = json.loads((HOUSE / "packaging/grafana-dashboard.json").read_text("utf-8"))
    queries = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    assert len(queries) > 10
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    known = {key[0] for key in scraped(door)} | {"onlinesvm_ingest_lag_bytes"}
    asked = {name for query in queries for name in re.findall(r"\bonlinesvm_\w+", query)}
    assert asked <= known
