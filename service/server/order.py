"""The requests of a turn in parts, each of which can be planned before it is carried out.

A turn is planned whole, then carried out. A sample that is to be held is scored when it is planned,
as its entry of the log has its margin; so what changes its model has to be carried out before. A
label looks up its key when it is planned, so what is held has to be held before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onlinesvm.service.protocol import Request, is_held

__all__ = ["parts_of"]

# Of each kind of request, the kinds whose effects on the same model its plan has to see.
_SEEN_BY = {
    "hold": frozenset(("learn", "label", "drop_label", "create", "drop")),
    "label": frozenset(("hold", "create", "drop")),
}
_NOTHING: frozenset[str] = frozenset()


def parts_of(requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
    """`requests` in order, in as few parts as can be.

    Each part has to be carried out before the next is planned.
    """
    if not any(request.op == "label" or is_held(request) for request in requests):
        yield requests
        return
    part: list[Request] = []
    done: dict[str, set[str]] = {}  # what the part does to models, by name
    for request in requests:
        kind = "hold" if is_held(request) else request.op
        before = done.get(request.model, set())
        if before & _SEEN_BY.get(kind, _NOTHING):
            yield part
            part, done = [], {}
        part.append(request)
        done.setdefault(request.model, set()).add(kind)
    yield part
