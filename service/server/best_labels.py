"""The answer of a model of many labels to predict: the best labels of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from onlinesvm.data.label import packable
from onlinesvm.data.label_sets import LabelSets
from onlinesvm.data.pieces import Decoded, parts
from onlinesvm.model.model import Model
from onlinesvm.service.labels import encode_sets, encode_top
from onlinesvm.service.protocol import Reply, Request, encode_labels
from onlinesvm.service.server.answer import check_scores
from onlinesvm.service.server.slices import Slices

__all__ = ["best_labels"]

_AT_ONCE = 2**11  # features: each has the weights of many labels


def best_labels(model: Model, batch: Decoded, request: Request) -> Slices[Reply]:
    """The reply to `request`, whose samples are `batch`. Raises RequestError for too many scores.

    Of a multiclass model one label a sample unless `top` says otherwise, of a multilabel one those
    above its threshold.
    """
    keys: dict[str, Any] = {"samples": len(batch), "position": model.position}
    _, labels = model.many
    names, ids = labels.names(), labels.ids
    top, is_share = request.top, request.output == "probability"
    if model.is_multilabel and (top is None or request.output == "label"):
        each = []
        for part in parts(batch, _AT_ONCE):
            each.append(model.sets_batch(part, probability=is_share))
            yield None
        sets, scores = each[0]
        if len(each) > 1:
            sets = LabelSets.joined(found for found, _ in each)
            scores = np.concatenate([scores for _, scores in each])
        return Reply(
            keys, encode_sets(names, ids, sets, None if _wants_labels(request) else scores)
        )
    if top is None or _wants_labels(request):
        top = 1
    check_scores(model, len(batch), request)
    tops = []
    for part in parts(batch, _AT_ONCE):
        tops.append(model.top_batch(part, top, probability=is_share))
        yield None
    found, scores = tops[0]
    if len(tops) > 1:
        found, scores = (np.concatenate(each) for each in zip(*tops, strict=True))
    if not top:
        keys["labels"] = [packable(name) for name in names]
    if not _wants_labels(request):
        return Reply(keys, encode_top(names, ids, found, scores))
    if not found.size:
        return Reply(keys, encode_labels([None], np.zeros(len(batch), dtype=np.intp)))
    return Reply(keys, encode_labels(names, np.searchsorted(ids, found[:, 0])))


def _wants_labels(request: Request) -> bool:
    return request.output == "label"
