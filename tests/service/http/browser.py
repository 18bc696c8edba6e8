"""Debian's Chromium, headless, for the tests of the page."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.daemons import DEADLINE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["CHROMIUM", "MISSING", "chromium", "opened"]

CHROMIUM = shutil.which("chromium")
# The parts that are not there; the tests of the page are skipped without them.
MISSING = [name for name in ("playwright",) if importlib.util.find_spec(name) is None]
if CHROMIUM is None:
    MISSING.append("chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, as a context manager."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a sandbox of its own, which containers do not permit: it sees our door alone.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, expected: str = "", **options: Any) -> Iterator[Page]:
    """A page in a profile of its own. Fails at its end on an error in the console that does not
    hold the text `expected`, where there is one, and on any request to another host.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(DEADLINE_S * 1e3)
    page = context.new_page()
    faults: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: hosts.add("/".join(request.url.split("/")[:3])))
    try:
        page.goto(url)
        yield page
        assert [fault for fault in faults if not expected or expected not in fault] == []
        assert hosts == {"/".join(url.split("/")[:3])}
    finally:
        context.close()
