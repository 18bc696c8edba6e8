"""Inspections of models: diagrams at once, the strongest features beside the loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from onlinesvm.model.diagrams import confusion, reliability
from onlinesvm.model.model import Model
from onlinesvm.model.strongest import ClassWeights, Strongest, strongest
from onlinesvm.service.inspection import encode_inspection
from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server.answer import Answer, later
from onlinesvm.service.server.registry import check_many
from onlinesvm.snapshot.view import ModelView

__all__ = ["Inspector"]

# Inspections that wait or run: each has an open view, and the one that runs a copy of its model.
_MOST = 4


class Inspector:
    """Inspects models, one at a time. Owned by the loop's thread.

    wake: called from the worker when an answer is there.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-inspect")
        self._under_way: dict[Future[Strongest], ModelView] = {}

    def inspect(self, model: Model, request: Request) -> Answer:
        """The answer to a request to inspect `model`. Raises RequestError, SampleError."""
        keys = {"position": model.position, "features": len(model.lookup)}
        diagrams = reliability(model), confusion(model)
        if not request.options["top"]:
            return Reply(keys, encode_inspection(*diagrams, None))
        found = self._strongest(model, request)

        def reply(found: Future[Strongest]) -> Reply:
            if found.cancelled():
                raise RequestError("BUSY", "the daemon stops", None, request.id)
            try:
                return Reply(keys, encode_inspection(*diagrams, found.result()))
            except MemoryError:
                text = "out of memory for a copy of the model"
                raise RequestError("INTERNAL", text, None, request.id) from None

        answer = later(found, reply)
        answer.add_done_callback(lambda _: self._wake())
        return answer

    def _strongest(self, model: Model, request: Request) -> Future[Strongest]:
        options = request.options
        for done in [found for found in self._under_way if found.done()]:
            del self._under_way[done]
        if len(self._under_way) >= _MOST:
            raise RequestError(
                "BUSY", f"expected at most {_MOST} models to inspect at once, got one more", None,
                request.id, retry_after_s=1.0,
            )  # fmt: skip
        of = None
        if model.is_multiclass or options["label"] is not None:
            check_many(model, request)
            head, labels = model.many
            of = ClassWeights(labels.id_of(options["label"]), head.rule.coefficients)
        view = model.view()
        job = partial(_run, view, model, options["top"], options["contains"], of)
        found = self._worker.submit(job)
        self._under_way[found] = view
        return found

    def close(self) -> None:
        """End the worker after the inspection under way; the others are refused."""
        self._worker.shutdown(cancel_futures=True)
        for view in self._under_way.values():
            view.close()
        self._under_way.clear()


def _run(
    view: ModelView, model: Model, n: int, contains: bytes, of: ClassWeights | None
) -> Strongest:
    """The strongest features in a view. Runs on the worker."""
    return strongest(view.snapshot(), model.kernel, n, contains, of)
