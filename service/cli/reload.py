"""Settings read again at a hangup (SIGHUP)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from onlinesvm.service.cli.log_lines import write_log_lines
from onlinesvm.service.cli.parser import UsageError
from onlinesvm.service.config import RELOADED, ServeConfig
from onlinesvm.service.server.service import Service

__all__ = ["Reload"]

log = logging.getLogger(__name__)


class Reload:
    """Has a service take the settings that may change while it runs.

    read: the settings as they are now: the daemon's, and those that are fixed at its start, by
    name. config, fixed: those that it was started with.
    """

    def __init__(
        self,
        read: Callable[[], tuple[ServeConfig, dict[str, Any]]],
        config: ServeConfig,
        fixed: dict[str, Any],
    ) -> None:
        self._read = read
        self._config = config
        self._fixed = fixed

    def __call__(self, service: Service) -> None:
        """Read the settings, and report what changed. A mistake in them changes nothing."""
        try:
            config, fixed = self._read()
        except UsageError as error:
            log.error("settings are as before: %s", error)
            return
        changed = {
            name: getattr(config, name)
            for name in sorted(RELOADED)
            if getattr(config, name) != getattr(self._config, name)
        }
        self._config = replace(self._config, **changed)
        write_log_lines(config.log_level, config.log_format)
        service.reconfigure(self._config)
        text = ", ".join(f"{name}={value}" for name, value in changed.items())
        mine = asdict(self._config) | self._fixed
        now = asdict(config) | fixed
        waiting = sorted(name for name in mine | now if mine.get(name) != now.get(name))
        if text or not waiting:
            log.info("settings read again: %s", text or "nothing changed")
        if waiting:
            log.warning("these settings wait for the next start: %s", ", ".join(waiting))
