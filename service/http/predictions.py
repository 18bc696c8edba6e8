"""Predictions as JSON: labels, with margins or probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from onlinesvm.config import MOST_LABELS
from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.client.held import hold_keys
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.http.answers import plain
from onlinesvm.service.http.problem import Problem
from onlinesvm.service.http.samples import Batch, finite

__all__ = ["OUTPUTS", "Asked", "predict"]

OUTPUTS = ("probability", "label", "margin")


class Asked:
    """How samples are to be predicted, by the members of a body or the parameters of a query.

    output: the label alone, or with its probability or margin. top: of how many labels, 0 for all;
    None as the model decides. ttl_s, default_label: for samples that are held. Raises Problem.
    """

    def __init__(self, given: Mapping[str, Any], root: str = "$.") -> None:
        self.output = given.get("output", "probability")
        self.top = given.get("top")
        if self.output not in OUTPUTS:
            raise _bad(f"expected one of {', '.join(OUTPUTS)}", root + "output")
        if self.top is not None and not (type(self.top) is int and 0 <= self.top <= MOST_LABELS):
            raise _bad(f"expected an integer from 0 to {MOST_LABELS}", root + "top")
        self.hold: dict[str, Any] = {}
        try:
            if given.get("ttl_s") is not None:
                self.hold["ttl_s"] = finite(given["ttl_s"])
        except ValueError as error:
            raise _bad(str(error), root + "ttl_s") from None
        try:
            if (label := given.get("default_label")) is not None:
                self.hold["default_label"] = hold_keys(default_label=label)["default_label"]
        except (TypeError, ValueError) as error:
            raise _bad(str(error), root + "default_label") from None

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Asked:
        """That of the parameters of a query."""
        given: dict[str, Any] = dict(query)
        for name, kind in (("top", int), ("ttl_s", float)):
            if name in given:
                try:
                    given[name] = kind(given[name])
                except ValueError:
                    raise _bad("expected a number", name) from None
        return cls(given, "")


def _bad(detail: str, at: str) -> Problem:
    return Problem(400, "BAD_REQUEST", detail, at=at)


async def predict(client: AsyncClient, batch: Batch, asked: Asked) -> list[dict[str, Any]]:
    """The prediction of each sample, as JSON has it. Raises Problem, what the client raises."""
    keys: dict[str, Any] = {"output": asked.output, "pairs": True}
    if asked.top is not None:
        keys["top"] = asked.top
    if batch.is_held:
        keys |= {"hold": True, **asked.hold}
    elif asked.hold:
        raise _bad(f"expected {min(asked.hold)} with hold alone", "$")
    try:
        header, body = await client.request("predict", batch.body(), **keys)
    except RequestRefused as error:
        raise batch.problem_of(error) from None
    found = msgpack.unpackb(body, strict_map_key=False)
    if asked.output == "label" and not (found and isinstance(found[0], float)):
        rows = [{"label": plain(label)} for label in found]
    else:
        rows = [_of(row, asked) if isinstance(row, list) else {"margin": row} for row in found]
    for place in header.get("duplicate", ()):
        rows[place]["duplicate"] = True
    return [row | id for row, id in zip(rows, batch.ids(), strict=True)]


def _of(row: list[list[Any]], asked: Asked) -> dict[str, Any]:
    """A prediction, the best labels first; all of them where `top` is given, or not one came."""
    pairs = [[plain(label), plain(score)] for label, score in row]
    best, score = pairs[0] if pairs else (None, None)
    found = {"label": best, asked.output: score}
    if asked.top is not None or len(pairs) != 1:
        found["probabilities" if asked.output == "probability" else "margins"] = pairs
    return found
