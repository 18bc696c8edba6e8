"""Figures of a daemon in the format of Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.http.problem import Problem

__all__ = ["MAX_MODELS", "collected"]

# Models that have figures of their own, and producers: each more would be a series more.
MAX_MODELS = 100
_MAX_PRODUCERS = 100
_LISTED = 1000

# A key of `stats`, the metric, its help, and True for a counter.
_Row = tuple[str, str, str, bool]
_OF_DAEMON: tuple[_Row, ...] = (
    ("dropped_requests", "dropped_requests", "Requests of clients that do not read", True),
    ("uptime_s", "uptime_seconds", "Time since the start", False),
    ("memory_bytes", "memory_bytes", "Resident memory", False),
    ("log_bytes", "log_bytes", "Bytes of the log that a start replays", False),
    ("models", "models", "Models in all", False),
    ("loaded_models", "loaded_models", "Models in memory", False),
    ("models_bytes", "models_bytes", "Memory of the models, about", False),
    ("unloaded_models", "unloaded_models", "Models unloaded since the start", True),
)
_OF_MODEL: tuple[_Row, ...] = (
    ("position", "samples", "Samples learned", True),
    ("features", "features", "Features in the model", False),
    ("progressive_error", "progressive_error", "Error of all samples so far", False),
    ("progressive_hinge_loss", "progressive_hinge_loss", "Mean hinge loss so far", False),
    ("recent_error", "recent_error", "Error of the recent past", False),
    ("recent_hinge_loss", "recent_hinge_loss", "Mean hinge loss of the recent past", False),
    ("recent_calibration_error", "recent_calibration_error", "Error of probabilities", False),
    ("drifts", "drifts", "Changes of the stream found", True),
    ("refused_features", "refused_features", "Features left out of a full model", True),
    ("snapshot_age_s", "snapshot_age_seconds", "Age of the newest snapshot", False),
    ("held", "held_samples", "Samples that wait for their labels", False),
    ("labelled", "labelled_samples", "Held samples learned by their labels", True),
    ("expired", "expired_samples", "Held samples whose time was up", True),
    ("evicted", "evicted_samples", "Held samples dropped for want of room", True),
)
_OF_PRODUCER: tuple[_Row, ...] = (
    ("samples", "ingested_samples", "Samples learned from a source", True),
    ("lag_entries", "ingest_lag_entries", "Entries still to read in a source", False),
    ("lag_s", "ingest_lag_seconds", "Time between the last entry learned and the newest", False),
    ("lag_bytes", "ingest_lag_bytes", "Bytes still to read in a source", False),
    ("age_s", "ingest_report_age_seconds", "Time since an ingester reported", False),
)
# The labels of a series, and its figures.
_Source = tuple[list[str], dict[str, Any]]


class _Collected:
    """The collector that `generate_latest` takes: families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All families."""
        return self._families


async def collected(client: AsyncClient, names: Sequence[str] = ()) -> tuple[bytes, str]:
    """The figures as they are now, and their content type.

    names: of the models that have figures; without any, the first by name that are in memory.
    Raises Problem, and what the client raises.
    """
    if len(names) > MAX_MODELS:
        raise Problem(400, "BAD_REQUEST", f"expected at most {MAX_MODELS} models", at="model")
    daemon = await client.stats()
    if not names:
        page, _ = await client.request("models", after="", limit=_LISTED)
        names = [model["name"] for model in page["models"] if model["loaded"]][:MAX_MODELS]

    async def figures_of(name: str) -> list[_Source]:
        try:
            return [([name], await client.model(name).stats())]
        except RequestRefused:  # dropped meanwhile, not permitted, or none
            return []

    found = await asyncio.gather(*map(figures_of, dict.fromkeys(names)))
    models = [source for sources in found for source in sources]
    return generate_latest(_Collected(_families(daemon, models))), CONTENT_TYPE_LATEST


def _families(daemon: dict[str, Any], models: Sequence[_Source]) -> Iterator[Metric]:
    """The families of a daemon's figures and of those of its models."""
    info = {"version": daemon["version"], "mode": daemon["mode"]}
    yield InfoMetricFamily("onlinesvm", "The daemon", value=info)
    yield _counts("requests", "Requests", "op", daemon["requests"])
    yield _counts("errors", "Requests refused", "code", daemon["errors"])
    yield _turns(daemon["turns"])
    yield from _rows(_OF_DAEMON, [], [([], daemon)])
    yield from _rows(_OF_MODEL, ["model"], models)
    producers = [
        ([*names, lag["producer"]], lag)
        for names, figures in models
        for lag in figures.get("ingest") or ()
    ]
    yield from _rows(_OF_PRODUCER, ["model", "producer"], producers[:_MAX_PRODUCERS])


def _counts(name: str, help: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"onlinesvm_{name}", help, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _turns(turns: dict[str, Any]) -> Metric:
    """The histogram of the loop's turns; Prometheus counts all up to each bound."""
    bounds = [*map(str, turns["bounds_s"]), "+Inf"]
    buckets = list(zip(bounds, accumulate(turns["counts"]), strict=True))
    family = HistogramMetricFamily(
        "onlinesvm_turn_seconds", "Time between two looks of the loop at its socket"
    )
    family.add_metric([], buckets, turns["seconds"])
    return family


def _rows(
    rows: Sequence[_Row], labels: Sequence[str], sources: Sequence[_Source]
) -> Iterator[Metric]:
    """A family for each row, of the sources that have its figure."""
    for key, name, help, is_counter in rows:
        kind = CounterMetricFamily if is_counter else GaugeMetricFamily
        family = kind(f"onlinesvm_{name}", help, labels=list(labels))
        for values, figures in sources:
            if isinstance(figures.get(key), int | float):
                family.add_metric(values, figures[key])
        if family.samples:
            yield family
