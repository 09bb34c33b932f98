"""What the server's log leaves out, and what it does not."""

from __future__ import annotations

import logging
import logging.config
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from millstream.cli import logs
from millstream.errors import Truncated

CONFIGURED = ("uvicorn", "uvicorn.error", "uvicorn.access", "millstream")
CUT = Truncated("RootController.flights", "failed")

Capture = pytest.CaptureFixture[str]


@contextmanager
def configured() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in CONFIGURED]
    before = [(one.handlers[:], one.filters[:], one.level, one.propagate) for one in loggers]
    logging.config.dictConfig(logs.configuration("info"))
    try:
        yield
    finally:
        for one, (handlers, filters, level, propagate) in zip(loggers, before, strict=True):
            one.handlers[:], one.filters[:], one.propagate = handlers, filters, propagate
            one.setLevel(level)


def written(capsys: Capture, error: BaseException) -> str:
    with configured():
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=error)
    return capsys.readouterr().err


def test_a_body_broken_off_on_purpose_is_not_logged_again(capsys: Capture) -> None:
    assert written(capsys, CUT) == ""


def test_nor_is_one_that_a_task_group_wrapped(capsys: Capture) -> None:
    assert written(capsys, BaseExceptionGroup("tasks", [ExceptionGroup("inner", [CUT])])) == ""


def test_any_other_error_is_logged_with_its_traceback(capsys: Capture) -> None:
    assert "ZeroDivisionError" in written(capsys, ZeroDivisionError())


def test_an_error_beside_a_broken_off_body_is_logged(capsys: Capture) -> None:
    assert "ZeroDivisionError" in written(capsys, ExceptionGroup("tasks", [CUT, ZeroDivisionError()]))


def test_a_record_without_an_error_passes(capsys: Capture) -> None:
    with configured():
        logging.getLogger("uvicorn.error").info("Shutting down")
    assert capsys.readouterr().err == "INFO:     Shutting down\n"


def test_our_own_loggers_write_beside_the_servers(capsys: Capture) -> None:
    with configured():
        logging.getLogger("millstream.engine").info("hello")
    assert capsys.readouterr().err == "INFO:     hello\n"


def test_the_level_trace_is_pythons_debug_for_our_loggers() -> None:
    assert logs.configuration("trace")["loggers"]["millstream"]["level"] == "DEBUG"


def test_worker_processes_can_receive_it() -> None:
    ours = logs.configuration("info")
    assert pickle.loads(pickle.dumps(ours)) == ours  # noqa: S301  our own bytes


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        ("/orders.csv?token=SECRET&since=1", '"GET /orders.csv HTTP/1.1" 200'),
        ("/_streams/abcdefghijklmnop?offset=-1", '"GET /_streams/abcdef… HTTP/1.1" 200'),
        ("/app/_streams/abcdefghijklmnop/stop", '"GET /app/_streams/abcdef…/stop HTTP/1.1" 200'),
        ("/plain", '"GET /plain HTTP/1.1" 200'),
    ],
)
def test_the_access_log_has_neither_queries_nor_the_ids_of_runs(
    capsys: Capture, target: str, logged: str
) -> None:
    with configured():
        logging.getLogger("uvicorn.access").info(
            '%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", target, "1.1", 200
        )
    assert logged in capsys.readouterr().out
