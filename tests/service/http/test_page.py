"""The live page in a real browser, before a real daemon that learns a real stream."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from onlinesvm.data.objects import Worse
from tests.daemons import DEADLINE_S, DaemonProcess, eventually, serve
from tests.service.http.browser import MISSING, chromium, opened
from tests.service.http.doors import DoorProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.page,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]

SPAM = ["free prize, click now", "win money now", "cheap pills, free money", "claim your prize"]
HAM = ["minutes of the meeting", "lunch at noon", "see you at the station", "the report is done"]
TAUGHT = [(text, "spam") for text in SPAM] + [(text, "ham") for text in HAM]
HOSTILE = [
    "<img src=x onerror=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "javascript:alert(1)",
    "\u202egnp.exe\u202c",
    "\u2066abc\u2069\u200b",
    "\x00\x1b[31m",
    "long" * 2500,
    '"><svg onload=document.title="owned">',
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with serve(tmp_path_factory.mktemp("state"), max_name_bytes=16_384) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def door(daemon: DaemonProcess) -> Iterator[DoorProcess]:
    with DoorProcess(daemon.endpoint) as door:
        yield door


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def url(door: DoorProcess, place: str = "") -> str:
    return f"http://127.0.0.1:{door.port}/{place}"


def tile(page: Page, name: str) -> str:
    """The figure in the tile of a name."""
    return page.locator(".tile", has=page.get_by_text(name, exact=True)).locator("dd").inner_text()


def number(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text) or "nan")


@contextlib.contextmanager
def learning(daemon: DaemonProcess, model: str) -> Iterator[None]:
    """A stream of samples that goes on during this block."""
    is_over = threading.Event()

    def learn() -> None:
        client = daemon.client(model=model)
        with client.stream() as stream:
            while not is_over.wait(0.05):
                for text, label in TAUGHT:
                    stream.learn(text, label)
                stream.flush()
        client.close()

    thread = threading.Thread(target=learn)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_the_one_model_of_a_daemon_is_shown_at_once(tmp_path: Path, browser: Browser) -> None:
    with serve(tmp_path) as daemon, DoorProcess(daemon.endpoint) as door:
        eventually(lambda: door.http.get("/v1/overview").json()["count"] == 1, "a look")
        with opened(browser, url(door)) as page:
            page.wait_for_url("**/#/m/default")
            page.wait_for_selector(".state.live")
            page.get_by_role("link", name="All models").click()
            page.wait_for_selector(".models tbody tr")
            assert page.locator(".models tbody a").all_inner_texts() == ["default"]


def test_the_curve_moves_while_a_stream_learns(
    daemon: DaemonProcess, door: DoorProcess, browser: Browser
) -> None:
    daemon.client().create("stream")
    with opened(browser, url(door, "#/m/stream")) as page:
        page.wait_for_selector(".state.live")
        chart = page.locator("figure", has=page.get_by_role("heading", name="Samples a second"))
        chart = chart.first.locator(".chart")
        empty = chart.screenshot()
        with learning(daemon, "stream"):
            before = number(tile(page, "Samples"))
            eventually(lambda: number(tile(page, "Samples")) > max(100.0, before), "samples")
            eventually(lambda: number(tile(page, "Samples a second")) > 0, "a rate")
            assert "learned" in (chart.get_attribute("aria-label") or "")
            moved = eventually(lambda: (s := chart.screenshot()) != empty and s, "a curve")
            eventually(lambda: chart.screenshot() != moved, "a curve that moves")
            assert number(tile(page, "Recent error")) < 50
        # What was drawn is there again when the page opens anew: the door has kept it.
        page.reload()
        page.wait_for_selector("figure canvas")
        rows = door.http.get("/v1/history?model=stream").json()["model"]
        assert len(rows["t"]) >= 3
        assert rows["samples"][-1] > 100


def test_typing_explains_and_labelling_changes_the_answer(
    daemon: DaemonProcess, door: DoorProcess, browser: Browser
) -> None:
    client = daemon.client()
    client.create("typed")
    daemon.client(model="typed").learn(TAUGHT * 5)
    with opened(browser, url(door, "#/m/typed"), expected="status of 422") as page:
        page.get_by_label("Try it").fill("a free prize at the station")
        page.wait_for_selector("#verdict")
        assert page.locator("#verdict").inner_text() in ("spam", "ham")
        assert page.locator(".shaded").inner_text() == "a free prize at the station"
        shaded = page.locator(".shaded span").all_inner_texts()
        assert {"free", "prize"} <= set(shaded)
        assert page.locator(".chances li").count() == 2
        assert page.locator(".answer .weights li").count() > 3

        page.get_by_label("Try it").fill("minutes of the meeting")
        page.locator("#verdict", has_text="ham").wait_for()
        for _ in range(12):
            page.get_by_role("button", name="spam", exact=True).click()
            page.wait_for_selector(".said:not([hidden])")
            assert "Learned as spam" in page.locator(".said").inner_text()
            if page.locator("#verdict").inner_text() == "spam":
                break
        assert page.locator("#verdict").inner_text() == "spam"
        assert daemon.client(model="typed").predict_one("minutes of the meeting") == "spam"

        page.get_by_label("Try it").fill('["free", {"a": {}}]')
        page.wait_for_selector(".fault:not([hidden])")
        assert "expected" in page.locator(".fault").first.inner_text()


def test_the_first_label_of_a_new_model_is_typed(
    daemon: DaemonProcess, door: DoorProcess, browser: Browser
) -> None:
    daemon.client().create("new", rule="arow")
    with opened(browser, url(door, "#/m/new")) as page:
        page.get_by_label("Try it").fill("free prize:2, money:0.5")
        page.wait_for_selector("#verdict")
        assert page.locator("#verdict").inner_text() == "no label"
        page.get_by_label("Label to learn").fill("spam")
        page.keyboard.press("Enter")
        page.wait_for_selector(".said:not([hidden])")
        page.locator("#verdict", has_text="spam").wait_for()
        found = daemon.client(model="new").features([{"free": 1, "prize": 2, "money": 0.5}])
        assert daemon.client(model="new").stats()["features"] == len(found[0]) == 3
        page.get_by_role("button", name="spam", exact=True).wait_for()


def test_hostile_names_are_text(daemon: DaemonProcess, door: DoorProcess, browser: Browser) -> None:
    client = daemon.client()
    client.create("hostile", task="multiclass")
    labels = [HOSTILE[0], HOSTILE[3], "plain"]
    many = daemon.client(model="hostile")
    many.learn([([name, "x"], labels[i % 3]) for i, name in enumerate(HOSTILE * 3)])
    client.create("hostile-binary", rule="arow")
    daemon.client(model="hostile-binary").learn(
        [([name], labels[i % 2]) for i, name in enumerate(HOSTILE * 3)]
    )
    for model in ("hostile", "hostile-binary"):
        with opened(browser, url(door, f"#/m/{model}")) as page:
            page.wait_for_selector(".sides .weights .value")
            page.get_by_label("Try it").fill(
                '["x", "<img src=x onerror=document.title=1>", "\u202eab"]'
            )
            page.wait_for_selector("#verdict")
            shown = page.locator("main").inner_text()
            assert "<img src=x onerror=document.title='owned'>" in shown
            assert "\\u202egnp.exe\\u202c" in shown
            assert not re.search("[\u202a-\u202e\u2066-\u2069\x00]", shown)
            assert page.locator("main img, main script, main svg[onload]").count() == 0
            assert page.title() == f"{model} – onlinesvm"
            width, wide = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
            assert wide <= width
            assert max(map(len, page.locator(".name").all_inner_texts())) < 1000


@pytest.mark.long
@pytest.mark.timeout(240)
def test_ten_thousand_models_are_listed(tmp_path: Path, browser: Browser) -> None:
    with serve(tmp_path, max_models=20_000) as daemon:
        with contextlib.closing(daemon.client()) as client:
            for i in range(10_000):
                client.create(f"customer-{i:05}", rule="sgd")
        active = daemon.client(model="customer-07777")
        with DoorProcess(daemon.endpoint) as door, opened(browser, url(door, "#/")) as page:
            eventually(
                lambda: door.http.get("/v1/overview").json()["matches"] == 10_001,
                "a look at all models", within_s=60,
            )  # fmt: skip
            page.get_by_text("10,001 models").wait_for()
            assert page.locator(".models tbody tr").count() == 50
            page.get_by_label("Search models").fill("07777")
            page.get_by_text("1 of 10,001 models").wait_for()
            active.learn([(["a"], 1)] * 100)
            eventually(
                lambda: page.locator(".models tbody td.number").first.inner_text() == "100",
                "its samples", within_s=60,
            )  # fmt: skip
            page.get_by_label("Search models").fill("")
            page.get_by_label("Order of models").select_option("name")
            page.locator(".models tbody a", has_text="customer-00048").wait_for()
            page.get_by_role("button", name="Next").click()
            page.locator(".models tbody a", has_text="customer-00098").wait_for()
            page.get_by_text("51 – 100 of 10,001").wait_for()
            page.locator(".models tbody a", has_text="customer-00098").focus()
            page.keyboard.press("Enter")
            page.wait_for_url("**/#/m/customer-00098")
            page.get_by_role("heading", name="customer-00098").wait_for()
            assert door.memory_bytes() < 400 * 2**20


def test_many_classes_and_sets_of_labels_and_a_ranking(
    daemon: DaemonProcess, door: DoorProcess, browser: Browser
) -> None:
    client = daemon.client()
    names = [f"topic{i}" for i in range(14)]
    for task in ("multiclass", "multilabel", "ranking"):
        client.create(task, task=task)
    daemon.client(model="multiclass").learn(
        [([name, "all", str(i)], name) for i, name in enumerate(names * 6)]
    )
    daemon.client(model="multilabel").learn(
        [([a, b], [a, b]) for a in names[:4] for b in names[:4] if a < b] * 6
    )
    daemon.client(model="ranking").learn([(["good"], Worse(["bad"]))] * 5)

    with opened(browser, url(door, "#/m/multiclass")) as page:
        page.get_by_label("Try it").fill("topic3 all")
        page.locator("#verdict", has_text="topic3").wait_for()
        assert page.locator(".chances li").count() == 5
        page.locator(".chances button").nth(1).click()
        page.locator(".chances li:nth-child(2) button[aria-pressed=true]").wait_for()
        page.wait_for_selector(".confusion tbody tr")
        assert page.locator(".confusion tbody th").last.inner_text() == "others"
        assert page.locator(".confusion tbody tr").count() == 11
        assert page.get_by_role("heading", name="Labels").count() == 1
        page.get_by_label("Label whose features are shown").select_option("topic7")
        page.locator(".sides ul").first.locator("li", has_text="topic7").first.wait_for()
        page.get_by_label("Search features").fill("OPIC1")
        page.get_by_text("5 of", exact=False).wait_for()
        page.get_by_label("Label to learn").fill("another")
        page.get_by_role("button", name="Learn", exact=True).click()
        page.wait_for_selector(".said:not([hidden])")
        labels = daemon.client(model="multiclass").labels()["labels"]
        assert "another" in [row["label"] for row in labels]

    with opened(browser, url(door, "#/m/multilabel")) as page:
        page.get_by_label("Try it").fill("topic1 topic2")
        page.wait_for_selector("#verdict")
        assert set(page.locator("#verdict").inner_text().split(", ")) >= {"topic1", "topic2"}
        page.get_by_label("Label to learn").fill("topic1, topic3")
        page.keyboard.press("Enter")
        page.wait_for_selector(".said:not([hidden])")

    with opened(browser, url(door, "#/m/ranking")) as page:
        page.get_by_label("Try it").fill("good")
        page.wait_for_selector("#verdict")
        assert page.locator("#verdict").inner_text().startswith("score +")
        assert page.locator(".teach").is_hidden()


def test_a_door_with_tokens_asks_for_one(
    daemon: DaemonProcess, browser: Browser, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("read 0123456789abcdef\nlearn fedcba9876543210\n")
    tokens.chmod(0o600)
    refused = "401 (Unauthorized)"
    with (
        DoorProcess(daemon.endpoint, "--tokens", tokens, token="0123456789abcdef") as door,
        opened(browser, url(door, "#/m/default"), expected=refused) as page,
    ):
        page.get_by_label("Token").fill("wrong-wrong-wrong")
        page.keyboard.press("Enter")
        page.get_by_text("That token is not known here").wait_for()
        page.get_by_label("Token").fill("0123456789abcdef")
        page.keyboard.press("Enter")
        page.wait_for_selector(".state.live")
        page.reload()
        page.wait_for_selector(".state.live")
        assert page.evaluate("localStorage.length") == 0
        assert page.evaluate("document.cookie") == ""


def test_a_token_that_may_only_read_does_not_teach(
    daemon: DaemonProcess, browser: Browser, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("read 0123456789abcdef\n")
    tokens.chmod(0o600)
    with (
        DoorProcess(daemon.endpoint, "--tokens", tokens, token="0123456789abcdef") as door,
        opened(browser, url(door, "#/m/default"), expected="40") as page,
    ):
        page.get_by_label("Token").fill("0123456789abcdef")
        page.keyboard.press("Enter")
        page.get_by_label("Try it").fill("free prize")
        page.wait_for_selector("#verdict")
        page.get_by_label("Label to learn").fill("spam")
        page.keyboard.press("Enter")
        page.get_by_text("This token may only read").wait_for()


def test_a_daemon_that_goes_and_comes_back(tmp_path: Path, browser: Browser) -> None:
    with serve(tmp_path / "state") as daemon:
        daemon.client().learn(TAUGHT)
        endpoint = daemon.endpoint
        with (
            DoorProcess(endpoint) as door,
            opened(browser, url(door, "#/m/default"), expected="50") as page,
        ):
            page.wait_for_selector(".state.live")
            assert daemon.stop() == 0
            page.wait_for_selector(".state.lost", timeout=60_000)
            assert "Trying again" in page.locator("#notice").inner_text()
            with serve(tmp_path / "state", bind=endpoint):
                page.wait_for_selector(".state.live", timeout=60_000)
                assert page.locator("#notice").is_hidden()


# The least contrast of texts with what lies behind them, as WCAG computes it; large text counts
# as small here.
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const found = rgb(getComputedStyle(element).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = element instanceof SVGElement ? style.fill : style.color;
    const pair = [light(rgb(ink)), light(behind(element))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), text.data.trim().slice(0, 40), ink]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_names_and_keyboard(
    daemon: DaemonProcess, door: DoorProcess, browser: Browser, scheme: Any
) -> None:
    client = daemon.client()
    client.create(f"seen-{scheme}")
    daemon.client(model=f"seen-{scheme}").learn(TAUGHT * 20)
    for place in ("#/", f"#/m/seen-{scheme}"):
        with opened(browser, url(door, place), color_scheme=scheme) as page:
            page.wait_for_selector(".state.live")
            if place != "#/":
                page.get_by_label("Try it").fill("a free prize at the station")
                page.wait_for_selector("#verdict")
                page.wait_for_selector(".confusion tbody tr")
                page.wait_for_selector("svg.diagram")
                page.locator("summary").click()
            texts = page.evaluate(CONTRAST)
            assert len(texts) > 30
            assert texts[0][0] >= 4.5, texts[:5]
            nameless = page.evaluate(NAMELESS)
            assert nameless == []
            # Tab reaches everything that can be used, and the one reached is seen.
            seen = set()
            for _ in range(80):
                page.keyboard.press("Tab")
                seen.add(
                    page.evaluate("document.activeElement.id || document.activeElement.textContent")
                )
            wanted = {"To the content"} | (
                {"search", "sort"} if place == "#/" else {"sample", "label", "features"}
            )
            assert wanted <= seen
            page.get_by_role("button", name="15 min").focus()
            page.keyboard.press("Enter")
            assert page.get_by_role("button", name="15 min").get_attribute("aria-pressed") == "true"


NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a, [role=img]")]
  .filter((one) => one.getClientRects().length)
  .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() ||
    (one.labels && one.labels.length && one.labels[0].textContent.trim())))
  .map((one) => one.outerHTML.slice(0, 80))"""


def test_a_phone_shows_all_without_scrolling_sideways(
    daemon: DaemonProcess, door: DoorProcess, browser: Browser
) -> None:
    daemon.client().create("phone")
    daemon.client(model="phone").learn(TAUGHT)
    for place in ("#/", "#/m/phone"):
        with opened(
            browser, url(door, place), viewport={"width": 360, "height": 740}, has_touch=True
        ) as page:
            page.wait_for_selector(".state.live")
            page.wait_for_selector(".uplot")
            width, wide = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
            assert (width, wide) == (360, 360)
