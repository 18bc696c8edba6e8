"""A model of a state folder at rest: its snapshots, and its entries of the log after them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from onlinesvm.service.storage.snapshots import StoredSnapshot

__all__ = ["Place", "StoredModel"]

# The first LSN of a segment, and an entry's offset in its file.
Place = tuple[int, int]


@dataclass(slots=True, eq=False)
class StoredModel:
    """A model as its folder and the log have it, whether or not it is in memory.

    newest: its newest snapshot, None for a model without one. older: the LSN of the one before, 0
    for none. salt: that of the segment with the last entry that `newest` holds, 0 if unknown.
    created: the LSN of its entry `create`. first, last: the LSNs of the first and the last entry
    that is in the log and not in `newest`, 0 for none. log_bytes: their size as a start found them.
    required: the LSN of a newer snapshot that
    cannot be read, 0 for none: the log has to make up for it. next_expiry: when the time of a
    sample that it holds is up, or earlier, in milliseconds since 1970; 0 for none. damage: why the
    model cannot be loaded. user: who created it, "" where there were no keys.

    Takes less than a kilobyte.
    """

    name: str
    id: bytes
    created: int
    newest: StoredSnapshot | None = None
    older: int = 0
    salt: int = 0
    first: int = 0
    last: int = 0
    log_bytes: int = 0
    required: int = 0
    next_expiry: int = 0
    damage: str | None = None
    user: str = ""
    _places: array[int] | None = field(default=None, repr=False)

    @property
    def held(self) -> int:
        """The LSN up to which its newest snapshot holds its entries."""
        return self.newest.lsn if self.newest else 0

    @property
    def reached(self) -> int:
        """The LSN of its last entry."""
        return max(self.held, self.last, self.required)

    @property
    def base(self) -> int:
        """The LSN after which its entries make up for its newest snapshot."""
        return self.older or max(0, self.created - 1)

    @property
    def places(self) -> Iterator[Place]:
        """The entries that a start found after its newest snapshot, in order."""
        numbers = iter(self._places or ())
        return zip(numbers, numbers, strict=True)

    def add(self, lsn: int, place: Place, size: int) -> None:
        """Note an entry of the log, of `size` bytes, that the newest snapshot lacks."""
        self.log_bytes += size
        self.first = self.first or lsn
        self.last = lsn
        if self._places is None:
            self._places = array("Q")
        self._places.extend(place)

    def expires(self, at: int) -> None:
        """Note that the time of a sample that it holds is up at `at`."""
        self.next_expiry = min(at, self.next_expiry or at)

    def applied(self) -> None:
        """Note that the model in memory holds the entries; `first` stays until a snapshot does."""
        self._places = None

    def take(self, stored: StoredSnapshot) -> None:
        """Note a snapshot that was written."""
        if self.newest is not None and stored.lsn > self.newest.lsn:
            self.older = self.newest.lsn
        self.newest = stored
