"""The model answer: written once, read from anywhere, stopped by whoever reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session

from millstream.demo import answers
from millstream.demo.answers import Question, written
from millstream.demo.app import create
from millstream.demo.model import open_database
from millstream.testing import EventReader, ReceivedEvent, Server, serve

pytest.importorskip("apsw", reason="the answers need millstream[durable]")
pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[Server]:
    with serve(create(database)) as running:
        yield running


def ask(server: Server, ticket: str, question: str = "hour") -> str:
    return f"{server.url}/answers/ask?question={question}&ticket={ticket}"


def events(body: str) -> list[ReceivedEvent]:
    return EventReader().feed(body.encode())


def text(body: str) -> str:
    return "".join(event.data for event in events(body) if event.event == "message")


@pytest.mark.parametrize("question", Question)
def test_an_answer_is_the_same_for_whoever_reads_it_and_whenever(
    server: Server, database: Path, monkeypatch: pytest.MonkeyPatch, question: Question
) -> None:
    monkeypatch.setattr(answers, "PACE", 0.0)
    first, second = (httpx.get(ask(server, "same", question)) for _ in range(2))
    with Session(open_database(database).engine) as session:
        assert text(first.text) == written(question, session)
    assert first.headers["stream-id"] == second.headers["stream-id"]
    assert first.content == second.content
    assert events(first.text)[-1].event == "end"


def test_another_ticket_is_another_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PACE", 0.0)
    one, other = (httpx.get(ask(server, ticket)).headers["stream-id"] for ticket in ("one", "other"))
    assert one != other


def test_who_comes_back_goes_on_behind_the_last_word(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PACE", 0.0)
    whole = httpx.get(ask(server, "back")).text
    seen = [event for event in events(whole) if event.event == "message"][:7]
    rest = httpx.get(ask(server, "back"), headers={"last-event-id": seen[-1].id}).text
    assert "".join(event.data for event in seen) + text(rest) == text(whole)


def test_whoever_reads_may_stop_it(server: Server) -> None:
    with httpx.stream("GET", ask(server, "stop")) as reply:
        lines = reply.iter_lines()
        while not next(lines).startswith("data:"):
            pass
        run = reply.headers["stream-id"]
        assert httpx.post(f"{server.url}/_streams/{run}/stop").status_code == 202
        rest: list[str] = []
        with pytest.raises(httpx.RemoteProtocolError):  # an answer that was stopped is not whole
            rest.extend(lines)
    assert 'data: {"reason":"stopped"}' in rest


def test_a_question_that_nobody_knows_is_named(server: Server) -> None:
    reply = httpx.get(ask(server, "why", "weather"))
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "question")


@pytest.mark.parametrize("question", Question)
def test_an_answer_has_no_holes(database: Path, question: Question) -> None:
    with Session(open_database(database).engine) as session:
        answer = written(question, session)
    assert not re.search(r"None|nan|\{|\}", answer)
    assert len(answer.split()) > 70
