"""Pages of others in a real browser: Turbo, htmx, fetch-event-source, `EventSource`, an `<img>`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clients.conftest import CALLS

from millstream.testing import Server

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium")
waiting = pytest.importorskip("selenium.webdriver.support.ui")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PATIENCE = 60.0
QUIET = 1.5
"""Seconds in which a client that asks again would have done so: all are told to do that after 50 ms."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.wire,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (on Debian: apt install chromium)"
    ),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver is installed (Debian's: chromium-driver)"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    browser.get(server.url)
    yield browser
    browser.get("about:blank")  # leaves the page, and its streams


def wait(page: Any, condition: Callable[[], object]) -> None:
    waiting.WebDriverWait(page, PATIENCE, poll_frequency=0.05).until(lambda _: condition())


def items(page: Any) -> list[str]:
    return [item.text for item in page.find_elements("css selector", "#o li")]


def test_turbo_shows_a_completed_stream_once(node: Path, page: Any) -> None:
    assert node.exists()
    before = CALLS["turbo"]
    page.execute_async_script("""
        const [done] = arguments;
        import("/npm/@hotwired/turbo/dist/turbo.es2017-esm.js").then(() => {
            const source = document.createElement("turbo-stream-source");
            source.setAttribute("src", "/turbo");
            document.body.append(source);
            done();
        });""")
    wait(page, lambda: len(items(page)) >= 3)
    time.sleep(QUIET)
    assert (items(page), CALLS["turbo"] - before) == (["0", "1", "2"], 1)


def test_htmx_shows_a_completed_stream_once(node: Path, page: Any) -> None:
    assert node.exists()
    before = CALLS["items"]
    page.execute_async_script("""
        const [done] = arguments;
        const load = (src) => new Promise((loaded) => {
            const script = document.createElement("script");
            Object.assign(script, { src, onload: loaded });
            document.head.append(script);
        });
        load("/npm/htmx.org/dist/htmx.js").then(() => load("/npm/htmx.org/dist/ext/hx-sse.js")).then(() => {
            const feed = document.getElementById("o");
            feed.setAttribute("hx-sse:connect", "/items");
            feed.setAttribute("hx-swap", "beforeend");
            htmx.process(document.body);
            done();
        });""")
    wait(page, lambda: len(items(page)) >= 3)
    time.sleep(QUIET)
    assert (items(page), CALLS["items"] - before) == (["0", "1", "2"], 1)


def test_a_bare_event_source_stops_by_itself(page: Any) -> None:
    before = CALLS["items"]
    page.execute_script("""
        window.seen = [];
        window.source = new EventSource("/items");
        source.onmessage = (event) => seen.push(event.data);""")
    wait(page, lambda: page.execute_script("return source.readyState === EventSource.CLOSED"))
    assert page.execute_script("return seen.length") == 3
    assert CALLS["items"] - before == 1


def test_an_event_source_that_is_refused_by_the_generator_stops_by_itself(page: Any) -> None:
    before = CALLS["forbidden"]
    page.execute_script('window.source = new EventSource("/forbidden")')
    wait(page, lambda: page.execute_script("return source.readyState === EventSource.CLOSED"))
    assert CALLS["forbidden"] - before == 1


def test_fetch_event_source_posts_once_and_sees_the_items_alone(node: Path, page: Any) -> None:
    assert node.exists()
    before = CALLS["posted"]
    seen = page.execute_async_script("""
        const [done] = arguments;
        const seen = [];
        import("/npm/@microsoft/fetch-event-source/lib/esm/index.js").then(({ fetchEventSource }) =>
            fetchEventSource("/posted", {
                method: "POST",
                openWhenHidden: true,
                onmessage: (message) => seen.push([message.event, JSON.parse(message.data)]),
                onclose: () => done(seen),
            }));""")
    assert seen == [*(["", {"number": number}] for number in range(3)), ["end", {"reason": "completed"}]]
    assert CALLS["posted"] - before == 1


def test_an_img_shows_the_frames_of_a_camera(page: Any) -> None:
    page.execute_script('document.body.append(Object.assign(new Image(), { src: "/camera", id: "camera" }))')
    wait(page, lambda: page.execute_script("return document.getElementById('camera').naturalWidth"))
