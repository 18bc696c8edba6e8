"""The answer of a model of many labels to predict: the best labels of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from onlinesvm.data.label import packable
from onlinesvm.data.pieces import Decoded
from onlinesvm.model.model import Model
from onlinesvm.service.labels import encode_sets, encode_top
from onlinesvm.service.protocol import Reply, Request, encode_labels
from onlinesvm.service.server.answer import check_scores

__all__ = ["best_labels"]


def best_labels(model: Model, batch: Decoded, request: Request) -> Reply:
    """The reply to `request`, whose samples are `batch`. Raises RequestError for too many scores.

    Of a multiclass model one label a sample unless `top` says otherwise, of a multilabel one those
    above its threshold.
    """
    keys: dict[str, Any] = {"samples": len(batch), "position": model.position}
    _, labels = model.many
    names, ids = labels.names(), labels.ids
    top, is_share = request.top, request.output == "probability"
    if model.is_multilabel and (top is None or request.output == "label"):
        sets, scores = model.sets_batch(batch, probability=is_share)
        return Reply(
            keys, encode_sets(names, ids, sets, None if _wants_labels(request) else scores)
        )
    if top is None or _wants_labels(request):
        top = 1
    check_scores(model, len(batch), request)
    found, scores = model.top_batch(batch, top, probability=is_share)
    if not top:
        keys["labels"] = [packable(name) for name in names]
    if not _wants_labels(request):
        return Reply(keys, encode_top(names, ids, found, scores))
    if not found.size:
        return Reply(keys, encode_labels([None], np.zeros(len(batch), dtype=np.intp)))
    return Reply(keys, encode_labels(names, np.searchsorted(ids, found[:, 0])))


def _wants_labels(request: Request) -> bool:
    return request.output == "label"
