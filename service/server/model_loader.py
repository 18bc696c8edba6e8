"""Loads models on a thread beside the loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

from onlinesvm.service.server.turnstile import SMALL_BYTES, Turnstile
from onlinesvm.service.storage.loading import Loaded
from onlinesvm.service.storage.stored_model import StoredModel

__all__ = ["ModelLoader"]


class ModelLoader:
    """Loads models one after the other, in the order in which they are asked for.

    load: runs on the thread. wake: called there after each. turnstile: small models pass it. Owned
    by the loop's thread.
    """

    def __init__(
        self,
        load: Callable[[StoredModel], Loaded],
        wake: Callable[[], None],
        turnstile: Turnstile,
    ) -> None:
        self._load = load
        self._turnstile = turnstile
        self._wake = wake
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onlinesvm-load")
        self._asked: dict[bytes, tuple[StoredModel, Future[Loaded]]] = {}

    def ask(self, stored: StoredModel) -> None:
        """Load a model, unless it was asked for already."""
        if stored.id not in self._asked:
            outcome = self._worker.submit(self._load_in_turn, stored)
            self._asked[stored.id] = stored, outcome
            outcome.add_done_callback(lambda _: self._wake())

    def _load_in_turn(self, stored: StoredModel) -> Loaded:
        size = stored.log_bytes + (stored.newest.size if stored.newest else 0)
        with self._turnstile.turn() if size < SMALL_BYTES else nullcontext():
            return self._load(stored)

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
