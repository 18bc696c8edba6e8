"""Quotas: how many bytes and features of requests each user may have in a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onlinesvm.service.protocol import Request, RequestError

__all__ = ["Quotas"]


@dataclass(slots=True)
class _Bucket:
    """A user's allowance: `rate` a second flows in, and it holds that of one second.

    A request is carried out while there is any left, and may take more than that: the user then
    waits until the debt is paid.
    """

    rate: int
    level: float
    at: float

    def wait_s(self, now: float) -> float:
        """Seconds until there is some again; 0 where there is."""
        self.level = min(self.rate, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, -self.level / self.rate)

    def take(self, amount: int) -> None:
        self.level -= amount


class Quotas:
    """The allowances of the users; None for no bound. Owned by the loop's thread."""

    def __init__(
        self,
        bytes_per_s: int | None = None,
        features_per_s: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates = {
            unit: rate
            for unit, rate in (("bytes", bytes_per_s), ("features", features_per_s))
            if rate is not None
        }
        self._clock = clock
        self._buckets: dict[str, dict[str, _Bucket]] = {}  # by user and unit

    def enter(self, request: Request, frames: Sequence[bytes]) -> None:
        """Take the `frames` of a request from its user's allowance.

        Raises RequestError (BUSY) while the user is in debt.
        """
        if not self._rates or not request.permit.name:
            return
        now = self._clock()
        buckets = self._buckets_of(request.permit.name, now)
        for unit, bucket in buckets.items():
            seconds = bucket.wait_s(now)
            if seconds > 0.0:
                raise RequestError(
                    "BUSY",
                    f"expected at most {bucket.rate} {unit} a second of {request.permit.name}, got"
                    " more",
                    None, request.id, retry_after_s=seconds,
                )  # fmt: skip
        if "bytes" in buckets:
            buckets["bytes"].take(sum(map(len, frames)))

    def take_features(self, request: Request, count: int) -> None:
        """Take the features of a request that was carried out."""
        user = request.permit.name
        if "features" in self._rates and user:
            self._buckets_of(user, self._clock())["features"].take(count)

    def _buckets_of(self, user: str, now: float) -> dict[str, _Bucket]:
        if user not in self._buckets:
            self._buckets[user] = {
                unit: _Bucket(rate, rate, now) for unit, rate in self._rates.items()
            }
        return self._buckets[user]

    def keep(self, users: set[str]) -> None:
        """Forget all users but these."""
        for user in self._buckets.keys() - users:
            del self._buckets[user]
