"""The commands, as processes: what they print, how they exit, and what they serve."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import IncompleteRead
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest

SHOP = """
import asyncio
import os
import time
from contextlib import suppress
from millstream import Event, Millstream, TGController, expose, stream

class RootController(TGController):
    @expose()
    def index(self):
        return f"process {os.getpid()}"

    @expose("ndjson")
    @expose("csv")
    def orders(self, since: int = 0):
        yield {"id": 1}

    @expose("sse")
    async def forever(self):
        while not stream.draining:
            yield Event("on")
            await stream.sleep(0.05)
        yield Event("off")

    @expose("ndjson")
    def blocks(self):
        yield {"id": 1}
        time.sleep(600)

    @expose("ndjson")
    async def insists(self):
        yield {"id": 1}
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(600)

    @expose("ndjson")
    def breaks(self):
        yield {"id": 1}
        raise LookupError("the shelf is empty")

app = Millstream(RootController())

def make(settings):
    return Millstream(RootController(), settings)
"""

PATIENCE = 20.0

pytestmark = pytest.mark.wire


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("MILLSTREAM_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "app.ini").write_text(
        "[DEFAULT]\ndebug = true\n\n[server:main]\nport = 0\n\n[app:main]\nroot = shop:RootController\n",
        encoding="utf-8",
    )
    return tmp_path


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "millstream", *arguments]
    return subprocess.run(  # noqa: S603  the command is this interpreter and the test's own words
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | (environment or {}),
        check=False,
    )


class Serving:
    """A `millstream serve` in a process of its own, whose output is read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603  as above
            [sys.executable, "-m", "millstream", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._coming: Queue[str | None] = Queue()
        Thread(target=self._read, daemon=True).start()
        self.url = self.wait_for(r"http://[0-9.]+:\d+")

    def change(self, file: Path, source: str) -> None:
        """Change a file until that is seen: the watch begins a moment after the first start."""
        for _ in range(20):
            file.write_text(source, encoding="utf-8")
            with suppress(Empty):
                self.wait_for("detected changes", patience=1)
                return
        raise AssertionError(f"the change was not seen: {self.lines}")

    def wait_for(self, pattern: str, patience: float = PATIENCE) -> str:
        """The part of the next line of its output that matches."""
        while (line := self._coming.get(timeout=patience)) is not None:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found[0]
        raise AssertionError(f"it ended without writing {pattern!r}: {self.lines}")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as reply:  # noqa: S310  http, see `url`
            body: bytes = reply.read()
        return body.decode()

    def end(self) -> tuple[int, str]:
        """Its exit status after SIGTERM, and everything it wrote."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        status = self.process.wait(PATIENCE)
        self.lines += iter(lambda: self._coming.get(timeout=PATIENCE) or "", "")
        return status, "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(line)
        self._coming.put(None)


@contextmanager
def serving(*arguments: str) -> Iterator[Serving]:
    server = Serving("serve", *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


# What is wrong is told in one sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "nothing.ini"], "there is no file nothing.ini (looked in {here})"),
        (["serve", "shop"], "the target is 'shop': it must be package.module:app or .*"),
        (["serve", "shpo:app"], "there is no module shpo, which the target names .*"),
        (
            ["serve", "shop:aap"],
            "the module shop has no aap, which the target names (it was loaded from {here}/shop.py)",
        ),
        (["serve", "shop:app", "--port", "65536"], "the port is 65536: it must be .*"),
        (["serve", "shop:app", "--port", "http"], "the option --port is 'http': it must be a whole number"),
        (["serve", "shop:app", "--workers", "2", "--reload"], "--reload serves in one process: leave .*"),
        (["serve", "shop:app", "--log-level", "loud"], "the log level is 'loud': .* --log-level.*"),
        (
            ["routes", "shop:nowhere"],
            "the module shop has no nowhere, which the target names (it was loaded from {here}/shop.py)",
        ),
        (["demo", "--port", "-1"], "the port is -1: it must be .*"),
        (["demo", "--port", "0", "--data", "shop.py"], "shop.py is not a database of the demo's: .*"),
    ],
)
def test_what_is_wrong_is_one_sentence_on_stderr(arguments: list[str], sentence: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    expected = re.escape(sentence).replace(r"\.\*", ".*").replace(r"\{here\}", re.escape(os.getcwd()))  # noqa: PTH109  as the process sees it
    assert re.fullmatch(f"millstream: {expected}\n", done.stderr)


def test_a_wrong_line_of_an_ini_file_is_one_sentence(shop: Path) -> None:
    (shop / "app.ini").write_text("[app:main]\nroot = shop:RootController\nmax_streams = many\n", "utf-8")
    done = run("serve", "app.ini")
    assert (done.returncode, done.stderr) == (
        1,
        "millstream: max_streams in [app:main] of app.ini is 'many': it must be a whole number\n",
    )


def test_an_unknown_variable_is_one_sentence() -> None:
    done = run("serve", "app.ini", environment={"MILLSTREAM_DBUG": "1"})
    assert done.returncode == 1
    assert done.stderr == (
        "millstream: the environment variable MILLSTREAM_DBUG is not known: did you mean MILLSTREAM_DEBUG?\n"
    )


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "shop:app", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"millstream: port {port} of 127.0.0.1 cannot be used: address already in use\n"


def test_what_the_authors_module_raised_is_one_sentence_and_a_traceback_on_demand(shop: Path) -> None:
    (shop / "shop.py").write_text("\n1 / 0\n", encoding="utf-8")
    brief, long = run("serve", "shop:app"), run("serve", "shop:app", "--traceback")
    sentence = (
        f"millstream: importing shop failed: ZeroDivisionError: division by zero ({shop}/shop.py, line 2)\n"
    )
    assert brief.stderr == sentence
    assert long.stderr.startswith("Traceback (most recent call last)")
    assert long.stderr.endswith(sentence)


# What is right is served


def test_an_ini_file_is_served_until_sigterm() -> None:
    with serving("app.ini") as server:
        assert server.get("/").startswith("process ")
        assert server.get("/orders.csv") == "id\r\n1\r\n"
        status, log = server.end()
    assert status in {0, -signal.SIGTERM}
    assert '"GET /orders.csv HTTP/1.1" 200' in log


def test_a_factory_is_served_where_an_option_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving("shop:make()", "--port", str(port)) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        assert server.get("/").startswith("process ")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_LOG_LEVEL", "error")
    with serving("app.ini") as server:
        server.get("/")
        _, log = server.end()
    assert "INFO" not in log


def test_several_workers_serve_and_end_together() -> None:
    with serving("app.ini", "--workers", "2") as server:
        server.wait_for("startup complete")
        server.wait_for("startup complete")
        assert server.get("/") != f"process {server.process.pid}"
        status, log = server.end()
    assert status == 0
    assert log.count("Finished server process") == 2


def test_a_changed_file_is_served_anew(shop: Path) -> None:
    with serving("shop:app", "--port", "0", "--reload") as server:
        server.wait_for("startup complete")
        server.change(shop / "shop.py", SHOP.replace("process", "brand-new process"))
        server.wait_for("startup complete")
        assert server.get("/").startswith("brand-new process ")


def test_a_file_changed_for_the_worse_is_told_and_waited_on(shop: Path) -> None:
    with serving("shop:app", "--port", "0", "--reload") as server:
        server.wait_for("startup complete")
        server.change(shop / "shop.py", "def (:\n")
        server.wait_for("millstream: importing shop failed: SyntaxError")
        server.change(shop / "shop.py", SHOP)
        server.wait_for("startup complete")
        assert server.get("/").startswith("process ")


def test_an_endless_stream_is_told_of_sigterm_at_once() -> None:
    with serving("shop:app", "--port", "0") as server:
        with urllib.request.urlopen(f"{server.url}/forever", timeout=PATIENCE) as reply:  # noqa: S310  http
            assert reply.readline() == b": open\n"
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            rest: bytes = reply.read()
        server.wait()
    assert b"data: off\n" in rest
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize(("drain", "signals"), [("0.1", 1), ("600", 2)], ids=["once", "twice"])
@pytest.mark.parametrize(
    ("path", "says", "normally"),
    [
        ("blocks", "the thread blocks, and is given up with the process", True),
        ("insists", "given up with the process: 1", False),
    ],
    ids=["a thread that blocks", "a task that will not end"],
)
def test_what_cannot_be_ended_does_not_keep_the_process(
    shop: Path, *, number: signal.Signals, drain: str, signals: int, path: str, says: str, normally: bool
) -> None:
    limits = f"drain_timeout = {drain}\nclose_timeout = 0.2\n"
    (shop / "app.ini").write_text((shop / "app.ini").read_text("utf-8") + limits, "utf-8")
    with (
        serving("app.ini") as server,
        urllib.request.urlopen(f"{server.url}/{path}", timeout=PATIENCE) as reply,  # noqa: S310  http
    ):
        assert reply.readline() == b'{"id":1}\n'
        for _ in range(signals):
            server.process.send_signal(number)
            server.wait_for("INFO|ERROR")  # it writes something at each: they are not one to it
            time.sleep(0.2)
        status, log = server.wait()
    assert status == (0 if normally and number == signal.SIGINT else -number)
    assert says in log
    assert "lifespan" not in log


def test_a_body_that_breaks_is_logged_once_and_not_as_the_servers_error() -> None:
    with serving("shop:app", "--port", "0") as server:
        with pytest.raises(IncompleteRead):
            server.get("/breaks")
        _, log = server.end()
    assert log.count("LookupError: the shelf is empty") == 1
    assert "Exception in ASGI application" not in log


# Routes, version, help


def test_routes_are_lines_for_programs() -> None:
    done = run("routes", "app.ini")
    assert done.returncode == 0
    formats = {line[0]: line[2].split() for line in (text.split("\t") for text in done.stdout.splitlines())}
    assert {"ndjson", "csv"} <= set(formats["/orders"])


def test_an_application_of_another_kind_has_no_routes(shop: Path) -> None:
    (shop / "other.py").write_text("async def app(scope, receive, send): ...\n", encoding="utf-8")
    done = run("routes", "other:app")
    assert done.returncode == 1
    assert done.stderr == "millstream: other:app is no Millstream application: its routes cannot be known\n"


def test_the_version_is_told() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.startswith("millstream ")) == (0, True)


@pytest.mark.parametrize("command", ["serve", "routes", "demo"])
def test_the_help_of_each_command_shows_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"millstream {command}" in done.stdout
