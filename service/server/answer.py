"""Answers: replies, and replies to come."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from onlinesvm.service.protocol import Reply
from onlinesvm.service.server.registry import Hosted

__all__ = ["Answer", "created", "later"]

Answer = Reply | Future[Reply]

T = TypeVar("T")


def created(hosted: Hosted) -> dict[str, Any]:
    """The keys of a reply to create."""
    return {"model": hosted.name, "config": hosted.model.config.as_dict(),
            "position": hosted.model.position}  # fmt: skip


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
