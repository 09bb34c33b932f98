from __future__ import annotations

import pytest

from millstream.durable.outage import QUIET, Outage
from millstream.testing.log_streams import Clock


def test_an_outage_is_told_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outage = Outage(clock)
    outage.look()
    for _ in range(100):
        outage.note(ConnectionError("refused\nwith details"))
        clock.advance(1)
        outage.look()
    clock.advance(QUIET)
    outage.look()
    outage.look()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "the durable log cannot be had: refused"),
        ("WARNING", "the durable log can be had again, after 99 s"),
    ]


def test_a_failure_without_a_text_is_told_by_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    Outage().note(TimeoutError())
    assert caplog.messages == ["the durable log cannot be had: TimeoutError()"]
