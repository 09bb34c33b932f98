"""The front page in a real browser: items appear one after another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.demo.app import create
from millstream.testing import Server, serve

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium")
waiting = pytest.importorskip("selenium.webdriver.support.ui")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
PATIENCE = 20.0

pytestmark = [
    pytest.mark.browser,
    pytest.mark.wire,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (on Debian: apt install chromium)"
    ),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver is installed (Debian's: chromium-driver)"),
]


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[Server]:
    with serve(create(database)) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, server: Server) -> Any:
    return opened(browser, server.url)


@pytest.fixture
def downloads(browser: Any, server: Server) -> Any:
    return opened(browser, f"{server.url}/downloads")


@pytest.fixture
def answers(browser: Any, server: Server) -> Iterator[Any]:
    pytest.importorskip("apsw", reason="the page of the answers needs millstream[durable]")
    first = browser.current_window_handle
    yield opened(browser, f"{server.url}/answers")
    for other in browser.window_handles:
        if other != first:
            browser.switch_to.window(other)
            browser.close()
    browser.switch_to.window(first)
    browser.get_log("browser")  # it may have said that a stop is no end; no other test need find that


def opened(browser: Any, url: str) -> Any:
    browser.get("about:blank")  # leaves the page before, and its streams
    browser.get(url)
    return browser


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def count(page: Any, selector: str) -> int:
    return len(page.find_elements("css selector", selector))


def wait_text(page: Any, selector: str, text: str) -> None:
    wait(page, lambda: text in find(page, selector).text)


def wait(page: Any, condition: Callable[[], object]) -> None:
    waiting.WebDriverWait(page, PATIENCE, poll_frequency=0.05).until(lambda _: condition())


def test_the_numbers_appear_one_after_another(page: Any) -> None:
    seen = []
    for number in ("1", "2", "3", "4"):
        wait_text(page, "#examples .items", f"{number},")
        seen.append((count(page, "#examples .item"), find(page, "#examples .items").text))
    counts = [items for items, _ in seen]
    assert counts == sorted(set(counts))
    assert seen[0][1].strip() == "[1,"
    assert find(page, "#examples .state").text == "flowing"


def test_a_stopped_stream_shows_no_more_and_starts_anew(page: Any) -> None:
    wait_text(page, "#examples .items", "2,")
    find(page, "#examples button").click()
    wait_text(page, "#examples .state", "stopped")
    find(page, "#examples button").click()
    wait(page, lambda: find(page, "#examples .items").text.strip() == "[1,")


def test_another_example_comes_with_its_own_code(page: Any) -> None:
    assert find(page, "#source-generators").is_displayed()
    find(page, "input[data-source=accessing]").click()
    wait_text(page, "#examples .items", "/page/accessing/stream/2")
    assert find(page, "#source-accessing").is_displayed()
    assert not find(page, "#source-generators").is_displayed()


def test_ticks_come_by_themselves(page: Any) -> None:
    for number in (1, 2, 3):
        wait_text(page, "#ticks .number", f"event {number}")
    assert count(page, "#ticks .beats li") == 3


def test_flights_are_counted_as_they_come_and_the_end_is_seen(page: Any, database: Path) -> None:
    find(page, "#flights button").click()
    wait_text(page, "#flights .state", "complete")
    assert find(page, "#flights .rows").text == "3,368"
    assert count(page, "#flights tbody tr") == 6


def test_the_links_follow_what_was_chosen(page: Any) -> None:
    find(page, "#flights select[name=month] option[value='2']").click()
    find(page, "#flights select[name=carrier] option[value='UA']").click()
    assert (
        find(page, "#flights a[data-format=csv]")
        .get_attribute("href")
        .endswith("/flights.csv?month=2&carrier=UA")
    )
    assert find(page, "#flights .curl").text.startswith("curl -N 'http://127.0.0.1:")


def test_the_job_fills_its_table_and_its_bar(page: Any) -> None:
    find(page, "#job button").click()
    wait(page, lambda: count(page, "#job td.known") > 0)
    wait_text(page, "#job .state", "complete")
    bar = find(page, "#job progress")
    assert bar.get_property("value") == bar.get_property("max") == count(page, "#job td.known")


def number(page: Any, selector: str) -> int:
    return int(find(page, selector).text.replace(",", ""))


def test_what_an_import_wrote_after_its_last_checkpoint_is_gone_when_it_is_stopped(page: Any) -> None:
    find(page, "#load button").click()
    wait(page, lambda: number(page, "#load .written") > number(page, "#load .committed") > 0)
    find(page, "#load button").click()
    wait(page, lambda: number(page, "#load .written") == number(page, "#load .committed"))
    assert number(page, "#load .committed") % 50_000 == 0


def test_a_stream_that_cannot_be_had_is_told_apart_from_one_that_ended(page: Any) -> None:
    page.execute_script("document.querySelector('#examples input:checked').value = 'no/such/stream'")
    find(page, "#examples button").click()
    wait_text(page, "#examples .state", "stopped")
    find(page, "#examples button").click()
    wait_text(page, "#examples .state", "broken off: 404 Not Found")
    assert page.get_log("browser")  # the browser's own word for it: keeps the next test from finding it


def test_nothing_is_complained_about(page: Any) -> None:
    wait_text(page, "#examples .items", "2,")
    assert page.get_log("browser") == []


@pytest.mark.parametrize(
    ("compressed", "coding"), [(True, {"br", "gzip", "zstd"}), (False, {"as it is"})], ids=["packed", "plain"]
)
def test_a_format_is_measured_while_it_comes(downloads: Any, compressed: bool, coding: set[str]) -> None:
    if not compressed:
        find(downloads, "[name=compressed]").click()
    find(downloads, "#csv button").click()
    wait_text(downloads, "#csv .state", "complete")
    kilobytes = int(find(downloads, "#csv .size").text.removesuffix(" kB"))
    wire = int(find(downloads, "#csv .wire").text.removesuffix(" kB"))
    assert find(downloads, "#csv .coding").text in coding
    assert kilobytes > 300
    assert (wire < kilobytes / 2) == compressed
    assert find(downloads, "#csv path").get_attribute("d").startswith("M0 39L")


def test_a_format_that_was_broken_off_says_so_and_has_no_weight(downloads: Any) -> None:
    downloads.execute_script("window.fetch = () => Promise.reject(new Error('the server is gone'))")
    find(downloads, "#csv button").click()
    wait_text(downloads, "#csv .state", "broken off: the server is gone")
    assert find(downloads, "#csv .wire").text == "–"  # noqa: RUF001  as the page has it before


def test_all_formats_come_one_after_another(downloads: Any) -> None:
    find(downloads, "#downloads .all").click()
    rows = downloads.find_elements("css selector", ".formats li")
    wait(downloads, lambda: all("complete" in row.get_attribute("class") for row in rows))
    assert len(rows) >= 6
    assert downloads.get_log("browser") == []


def test_a_download_is_a_plain_link_to_what_was_chosen(downloads: Any) -> None:
    find(downloads, "option[value='2']").click()
    find(downloads, "[name=compressed]").click()
    link = find(downloads, "#ndjson .save")
    assert link.get_attribute("href").endswith("/plain/flights.ndjson?month=2")
    assert find(downloads, "#downloads .curl").text.endswith("/plain/flights.csv?month=2'")


def words(page: Any) -> str:
    return str(page.execute_script("return document.querySelector('#answers .answer').textContent"))


def wait_words(page: Any, count: int) -> str:
    wait(page, lambda: len(words(page).split()) >= count)
    return words(page)


def test_an_answer_survives_a_reload(answers: Any) -> None:
    find(answers, "#answers button").click()
    before = wait_words(answers, 5)
    address = answers.current_url
    answers.refresh()
    after = wait_words(answers, len(before.split()) + 5)
    find(answers, "#answers button").click()
    wait_text(answers, "#answers .state", "stopped")
    assert answers.current_url == address
    assert after.startswith(before)


def test_a_second_page_follows_the_same_run_and_may_stop_it(answers: Any) -> None:
    first = answers.current_window_handle
    find(answers, "#answers button").click()
    before = wait_words(answers, 3)
    address = answers.current_url
    answers.switch_to.new_window("tab")
    answers.get(address)
    assert wait_words(answers, 3).startswith(before)
    find(answers, "#answers button").click()
    wait_text(answers, "#answers .state", "stopped")
    seen = words(answers)
    answers.switch_to.window(first)
    wait_text(answers, "#answers .state", "stopped")
    assert words(answers) == seen


def test_an_answer_that_was_complete_is_still_there(answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millstream.demo.answers.PACE", 0.0)
    find(answers, "input[value=hour]").find_element("xpath", "..").click()
    find(answers, "#answers button").click()
    wait_text(answers, "#answers .state", "complete")
    whole = words(answers)
    answers.refresh()
    wait_text(answers, "#answers .state", "complete")
    assert words(answers) == whole
    assert whole.endswith("Set the alarm.")
    assert find(answers, "input[value=hour]").is_selected()


@pytest.mark.parametrize("address", ["", "/downloads", "/answers"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_at_any_width(browser: Any, server: Server, address: str, width: int) -> None:
    page = opened(browser, server.url + address)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wait(page, lambda: page.execute_script("return innerWidth") == width)
    page_is, window_is = page.execute_script(
        "const root = document.documentElement; return [root.scrollWidth, root.clientWidth]"
    )
    assert page_is == window_is
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
