"""Loads models on a thread beside the loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from onlinesvm.service.storage.loading import Loaded
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["ModelLoader"]


class ModelLoader:
    """Loads models one after the other, in the order in which they are asked for.

    load: runs on the thread. wake: called there after each. Owned by the loop's thread.
    """

    def __init__(self, load: Callable[[StoredModel], Loaded], wake: Callable[[], None]) -> None:
        self._load = load
        self._wake = wake
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-load")
        self._asked: dict[bytes, tuple[StoredModel, Future[Loaded]]] = {}

    def ask(self, stored: StoredModel) -> None:
        """Load a model, unless it was asked for already."""
        if stored.id not in self._asked:
            outcome = self._worker.submit(self._load, stored)
            self._asked[stored.id] = stored, outcome
            outcome.add_done_callback(lambda _: self._wake())

    def take(self) -> tuple[StoredModel, Future[Loaded]] | None:
        """The next model that was loaded or could not be, and the outcome; None while there is
        none. It may be asked for again from then on.
        """
        for id, (stored, outcome) in self._asked.items():
            if not outcome.done():
                break
            del self._asked[id]
            return stored, outcome
        return None

    def __len__(self) -> int:
        return len(self._asked)

    def close(self) -> None:
        """End the thread after the model under way; the others are not loaded."""
        self._worker.shutdown(cancel_futures=True)
