"""The files of the page: what is served, with which headers, and what they may not hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.daemons import HOUSE, serve
from tests.service.http.doors import DoorProcess, problem

PAGE = HOUSE / "service/http/page"
FILES = sorted(path for path in PAGE.rglob("*") if path.is_file())
OWN = [path for path in FILES if path.parent == PAGE and path.suffix in (".js", ".html", ".css")]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorProcess]:
    with serve(tmp_path_factory.mktemp("state")) as daemon, DoorProcess(daemon.endpoint) as door:
        yield door


def test_every_file_is_served_and_nothing_else(door: DoorProcess) -> None:
    assert len(FILES) > 15
    for path in FILES:
        answer = door.http.get(f"/page/{path.relative_to(PAGE)}")
        assert answer.status_code == 200, path
        assert answer.content == path.read_bytes()
        kind = {"js": "text/javascript", "css": "text/css", "html": "text/html"}
        expected = kind.get(path.suffix[1:], "")
        assert answer.headers["content-type"].startswith(expected)
        again = door.http.get(
            f"/page/{path.relative_to(PAGE)}", headers={"If-None-Match": answer.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
    problem(door.http.get("/page/none.js"), 404, "NOT_FOUND")
    for name in ("", "../app.py", "%2e%2e/app.py", "vendor", "vendor/../page.css", "/etc/passwd"):
        answer = door.raw(
            f"GET /page/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(b"HTTP/1.1 404 "), name


def test_the_page_may_run_its_own_scripts_alone(door: DoorProcess) -> None:
    answer = door.http.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'",
        "connect-src": "'self'", "img-src": "'self'", "base-uri": "'none'",
        "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    for policed in ("/page/main.js", "/page/icon.svg"):
        assert door.http.get(policed).headers["content-security-policy"]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_of_it_makes_html_of_text_or_asks_other_hosts(path: object) -> None:
    text = path.read_text("utf-8")  # type: ignore[attr-defined]
    for banned in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(",
                   "new Function", "DOMParser", "createContextualFragment", "style=",
                   " onclick=\"", "localStorage", "document.cookie"):  # fmt: skip
        assert banned not in text, banned
    hosts = set(re.findall(r"https?://[^\s\"'`/]+", text))
    assert hosts <= {"http://www.w3.org"}  # the name of SVG


def _light(colour: str) -> float:
    def channel(c: float) -> float:
        return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4

    r, g, b = (channel(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2."""
    low, high = sorted((_light(one), _light(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast() -> None:
    css = (PAGE / "page.css").read_text("utf-8")
    light, dark = css.split("prefers-color-scheme: dark")
    for part in (light, dark.split("\n}\n")[0]):
        of = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part))
        assert len(of) > 20
        for ink in ("text", "muted", "accent", "up", "down", "good", "bad"):
            for ground in ("page", "surface"):
                assert contrast(of[ink], of[ground]) >= 4.5, (ink, ground)
        shades = [f"{side}-{level}" for side in ("up", "down") for level in range(1, 5)]
        for ground in ("sunken", "bad-surface", *shades):
            assert contrast(of["text"], of[ground]) >= 4.5, ground
        assert contrast(of["muted"], of["sunken"]) >= 4.5
        assert contrast(of["on-accent"], of["accent"]) >= 4.5
        for line in ("strong-line", "up", "down", "mark"):  # no text: borders and curves
            assert contrast(of[line], of["surface"]) >= 3.0, line
