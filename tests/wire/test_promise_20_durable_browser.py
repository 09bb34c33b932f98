"""A browser's bare `EventSource` on a durable stream, over a line that breaks again and again."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from millstream import Event, Millstream, Settings, TGController, expose
from millstream.testing import Server, serve
from millstream.testing.redis import redis

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium")
waiting = pytest.importorskip("selenium.webdriver.support.ui")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PATIENCE = 60.0
MANY = 150

pytestmark = [
    pytest.mark.browser,
    pytest.mark.wire,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (on Debian: apt install chromium)"
    ),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver is installed (Debian's: chromium-driver)"),
]

PAGE = """<!doctype html><title>waiting</title><script>
const seen = [], source = new EventSource("/numbers");
let opened = 0;
source.onopen = () => { opened += 1; };
source.onmessage = (event) => { seen.push(Number(event.data)); };
source.onerror = () => { if (source.readyState === EventSource.CLOSED) { document.title = "closed"; } };
</script>"""


class Root(TGController):
    runs = 0

    @expose(content_type="text/html")
    def index(self) -> str:
        return PAGE

    @expose("sse", durable=True)
    async def numbers(self) -> AsyncIterator[Event | int]:
        Root.runs += 1
        yield Event(None, event="first", retry=50)  # milliseconds: a test has not the patience of a page
        for number in range(MANY):
            yield number
            await asyncio.sleep(0.02)


class Relay:
    """Passes bytes on, and cuts a connection after some of them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._chance = random.Random(20)  # noqa: S311  a test that repeats itself
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cuts = 0
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection((self._server.host, self._server.port))
                threading.Thread(target=self._up, args=(client, upstream), daemon=True).start()
                threading.Thread(target=self._down, args=(upstream, client), daemon=True).start()

    def _up(self, client: socket.socket, upstream: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                upstream.sendall(data)
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_WR)

    def _down(self, upstream: socket.socket, client: socket.socket) -> None:
        left = self._chance.randint(600, 1500)
        with upstream, client, suppress(OSError):
            while data := upstream.recv(65536):
                client.sendall(data[:left])
                left -= len(data)
                if left <= 0:
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    app = Millstream(Root(), Settings(durable_url=f"sqlite:///{tmp_path}/streams.db", drain_timeout=0.1))
    with serve(app) as server:
        one = Relay(server)
        yield one
        one.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}/chromium"):
        options.add_argument(flag)
    service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def test_each_event_comes_once_and_the_browser_stops_at_the_end(browser: Any, relay: Relay) -> None:
    browser.get(f"http://127.0.0.1:{relay.port}/")
    waiting.WebDriverWait(browser, PATIENCE).until(lambda page: page.title == "closed")
    seen = browser.execute_script("return seen")
    assert seen == list(range(MANY))
    assert relay.cuts > 1
    assert Root.runs == 1


def test_a_page_that_is_opened_while_the_log_is_away_does_not_give_up(browser: Any) -> None:
    with redis() as log:
        app = Millstream(Root(), Settings(durable_url=log.url, drain_timeout=0.1))
        with serve(app) as server:
            log.kill()
            browser.get(f"http://127.0.0.1:{server.port}/")
            waiting.WebDriverWait(browser, PATIENCE).until(lambda page: page.execute_script("return opened"))
            assert browser.title == "waiting"
            log.start()
            waiting.WebDriverWait(browser, PATIENCE).until(lambda page: page.title == "closed")
            assert browser.execute_script("return seen") == list(range(MANY))
