"""Figures for Prometheus: its conventions by promtool, the figures by those of `stats`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool")


@pytest.mark.page
@needs_promtool
def test_promtool_finds_no_fault(door: DoorProcess) -> None:
    assert PROMTOOL is not None
    text = door.http.get("/metrics").content
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def queries_of(dashboard: dict[str, Any]) -> list[str]:
    """The queries of all panels."""
    panels = dashboard["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.page
@needs_promtool
def test_promtool_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    dashboard = json.loads((HOUSE / "packaging/grafana-dashboard.json").read_text("utf-8"))
    rules = [
        # Grafana puts values in the places of its variables.
        {"record": f"query:{i}", "expr": re.sub(r"\$\w+", "5m", query)}
        for i, query in enumerate(queries_of(dashboard))
    ]
    file = tmp_path / "rules.yml"  # JSON is YAML too
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run(
        [PROMTOOL, "check", "rules", file], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_the_dashboard_is_of_the_form_that_an_import_takes() -> None:
    dashboard = json.loads((HOUSE / "packaging/grafana-dashboard.json").read_text("utf-8"))
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= dashboard.keys()
    assert "id" not in dashboard  # that of one Grafana's database
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval", "__all"}
    assert used <= known
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]  # no panel lies on another
        taken |= cells
        assert panel["type"] and panel["title"]


def test_the_dashboard_asks_for_metrics_that_there_are(door: DoorProcess) -> None:
    dashboard = json.loads((HOUSE / "packaging/grafana-dashboard.json").read_text("utf-8"))
    queries = queries_of(dashboard)
    assert len(queries) > 10
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    known = {key[0] for key in scraped(door)} | {"onlinesvm_ingest_lag_bytes"}
    asked = {name for query in queries for name in re.findall(r"\bonlinesvm_\w+", query)}
    assert asked <= known
