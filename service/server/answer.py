"""Answers: replies, and replies to come."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from onlinesvm.model.model import Model
from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server.registry import Hosted

__all__ = ["Answer", "check_scores", "created", "later"]

Answer = Reply | Future[Reply]

T = TypeVar("T")
_MOST_SCORES = 2**20  # in one reply


def created(hosted: Hosted) -> dict[str, Any]:
    """The keys of a reply to create."""
    return {"model": hosted.name, "config": hosted.model.config.as_dict(),
            "position": hosted.model.position}  # fmt: skip


def check_scores(model: Model, samples: int, request: Request) -> None:
    """Raise RequestError where a multiclass model's reply would have too many scores."""
    labels = len(model.many[1].ids)
    top = 1 if request.output == "label" or request.top is None else request.top
    width = min(top, labels) if top else labels
    if samples * width > _MOST_SCORES:
        raise RequestError(
            "TOO_LARGE",
            f"expected at most {_MOST_SCORES} scores in a reply, got {samples} samples of {width}"
            " labels",
            None, request.id,
        )  # fmt: skip


def later(future: Future[T], reply: Callable[[Future[T]], Reply]) -> Future[Reply]:
    """The reply to come that `reply` makes of `future` once it is done, on the worker's thread."""
    answer: Future[Reply] = Future()

    def done(future: Future[T]) -> None:
        try:
            answer.set_result(reply(future))
        except Exception as error:
            answer.set_exception(error)

    future.add_done_callback(done)
    return answer
