"""Predictions as JSON: labels, margins, probabilities."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

import msgpack

from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.http.problem import Problem
from onlinesvm.service.protocol import label_shown

__all__ = ["OUTPUTS", "Predictor", "plain"]

OUTPUTS = ("probability", "label", "margin")
_KNOWN_S = 5.0
_MAX_KNOWN = 10_000


class Predictor:
    """Asks a daemon's models for predictions.

    The names of a binary model's labels, which its probabilities belong to, are asked for at most
    every five seconds.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._labels: dict[str, tuple[float, list[Any]]] = {}

    async def predict(
        self, model: str, features: Sequence[Any], output: str, top: int
    ) -> list[dict[str, Any]]:
        """The prediction of each sample, as JSON has it.

        output: "label" alone; "margin", or of many classes the scores, too; "probability", too, of
        the `top` most probable labels (0: all).
        """
        if output not in OUTPUTS:
            raise Problem(
                400, "BAD_REQUEST", f"expected one of {', '.join(OUTPUTS)}, got {output!r}",
                at="$.output",
            )  # fmt: skip
        if type(top) is not int or not 0 <= top <= 100_000:
            raise Problem(400, "BAD_REQUEST", "expected an integer from 0 to 100000", at="$.top")
        client = self._client.model(model)
        if output == "label":
            return [{"label": plain(label)} for label in await client.predict(features)]
        call = client._calls
        body = call._features(features)
        asked = client.request("predict", body, output=output, top=top)
        labels, (_, answer) = await asyncio.gather(client.predict(features), asked)
        values = msgpack.unpackb(answer)
        if values and isinstance(values[0], list):
            return [_of_many(row, output) for row in values]
        names = await self._names(model) if output == "probability" else []
        return [
            {"label": plain(label)} | _of_two(label, value, names, output)
            for label, value in zip(labels, values, strict=True)
        ]

    async def _names(self, model: str) -> list[Any]:
        """The labels of a binary model's sides −1 and +1."""
        now = time.monotonic()
        known = self._labels.get(model)
        if known is not None and now < known[0]:
            return known[1]
        names = list((await self._client.model(model).stats())["labels"] or ())
        if len(self._labels) >= _MAX_KNOWN:
            self._labels.clear()
        self._labels[model] = now + (_KNOWN_S if None not in names else 0.0), names
        return names


def _of_many(row: list[list[Any]], output: str) -> dict[str, Any]:
    """The prediction of a model of many classes: its labels, the best first."""
    pairs = [[plain(label_shown(label)), number(value)] for label, value in row]
    best, value = pairs[0] if pairs else (None, None)
    of = "probabilities" if output == "probability" else "scores"
    return {"label": best, output: value, of: pairs}


def _of_two(label: Any, value: float, names: list[Any], output: str) -> dict[str, Any]:
    """The rest of the prediction of a binary model."""
    if output == "margin":
        return {"margin": number(value)}
    positive = len(names) == 2 and label == names[1]
    return {"probability": value if positive else 1.0 - value}


def plain(label: Any) -> Any:
    """A label as JSON has it: NumPy's numbers become Python's, what is not UTF-8 is replaced."""
    label = label.item() if hasattr(label, "item") else label
    if isinstance(label, str):
        return label.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return label


def number(value: float) -> float | None:
    """A number as JSON has it; None for a score that a label does not have."""
    return value if math.isfinite(value) else None
