"""Figures of a daemon in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.errors import RequestRefused

__all__ = ["MAX_MODELS", "collected"]

# The models that have figures of their own: the first by name. More would make a series each.
MAX_MODELS = 100

# Figures of the daemon: the key of `stats`, the metric, its help, and True for a counter.
_OF_DAEMON = (
    ("requests", "requests", "Messages received", True),
    ("dropped_requests", "dropped_requests", "Requests of clients that do not read", True),
    ("uptime_s", "uptime_seconds", "Time since the start", False),
    ("memory_bytes", "memory_bytes", "Resident memory", False),
    ("log_bytes", "log_bytes", "Bytes of the log that a start replays", False),
    ("snapshot_age_s", "snapshot_age_seconds", "Age of the newest snapshot", False),
    ("models", "models", "Models in all", False),
    ("loaded_models", "loaded_models", "Models in memory", False),
    ("models_bytes", "models_bytes", "Memory of the models, about", False),
    ("unloaded_models", "unloaded_models", "Models unloaded since the start", True),
)
_OF_MODEL = (
    ("position", "samples", "Samples learned", True),
    ("features", "features", "Features in the model", False),
    ("progressive_error", "progressive_error", "Error of all samples so far", False),
    ("recent_error", "recent_error", "Error of the recent past", False),
    ("progressive_hinge_loss", "progressive_hinge_loss", "Mean hinge loss so far", False),
    ("recent_calibration_error", "recent_calibration_error", "Error of probabilities", False),
    ("drifts", "drifts", "Changes of the stream found", True),
    ("refused_features", "refused_features", "Features left out of a full model", True),
    ("held", "held_samples", "Samples that wait for their labels", False),
)


class _Collected:
    """What `generate_latest` takes: families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All families."""
        return self._families


async def collected(client: AsyncClient) -> tuple[bytes, str]:
    """The figures as they are now, and their content type. Raises what the client raises."""
    page, _ = await client.request("models", after="", limit=MAX_MODELS)
    names = [model["name"] for model in page["models"] if model["loaded"]]
    daemon = await client.stats()
    models = []
    for name in names:
        try:
            models.append((name, await client.model(name).stats()))
        except RequestRefused:  # dropped or unloaded meanwhile
            continue
    return generate_latest(_Collected(_families(daemon, models))), CONTENT_TYPE_LATEST


def _families(
    daemon: dict[str, Any], models: Sequence[tuple[str, dict[str, Any]]]
) -> Iterator[Metric]:
    """The families of a daemon's figures and of those of its models."""
    for key, name, help, is_counter in _OF_DAEMON:
        if isinstance(daemon.get(key), int | float):
            family = _family(name, help, is_counter, [])
            family.add_metric([], daemon[key])
            yield family
    errors = CounterMetricFamily("onlinesvm_errors", "Requests refused", labels=["code"])
    for code, count in sorted(daemon["errors"].items()):
        errors.add_metric([code], count)
    yield errors
    for key, name, help, is_counter in _OF_MODEL:
        family = _family(name, help, is_counter, ["model"])
        for model, figures in models:
            if isinstance(figures.get(key), int | float):
                family.add_metric([model], figures[key])
        yield family


def _family(
    name: str, help: str, is_counter: bool, labels: list[str]
) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if is_counter else GaugeMetricFamily
    return kind(f"onlinesvm_{name}", help, labels=labels)
