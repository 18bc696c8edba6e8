"""What a command asks a daemon before it begins."""

from __future__ import annotations

from typing import Any, cast

import pytest

from onlinesvm.service import Client
from onlinesvm.service.cli.target import figures_of
from onlinesvm.service.errors import DaemonLost, DaemonUnreachable, RequestRefused

BUSY = RequestRefused("BUSY", "the daemon is starting: 0% of the log replayed", None)
LOST, ABSENT = DaemonLost("the connection broke"), DaemonUnreachable("no daemon is there")


class Answers:
    """A client whose daemon answers with these, one after the other."""

    def __init__(self, *answers: Any, timeout_s: float = 60.0) -> None:
        self.timeout_s = timeout_s
        self._answers = iter(answers)

    def stats(self) -> dict[str, Any]:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return cast("dict[str, Any]", answer)


@pytest.mark.parametrize("before", [[BUSY, BUSY], [LOST, ABSENT, BUSY], [BUSY, ABSENT, LOST]])
def test_a_command_waits_for_a_daemon_that_starts(before: list[Exception]) -> None:
    client = Answers(*before, {"position": 7})
    assert figures_of(cast("Client", client)) == {"position": 7}


@pytest.mark.parametrize("error", [ABSENT, RequestRefused("NO_MODEL", "there is no model", None)])
def test_other_answers_are_final(error: Exception) -> None:
    with pytest.raises(type(error)):
        figures_of(cast("Client", Answers(error, {})))


def test_a_daemon_that_stays_busy_is_reported() -> None:
    with pytest.raises(RequestRefused, match="BUSY"):
        figures_of(cast("Client", Answers(BUSY, BUSY, timeout_s=-1.0)))
