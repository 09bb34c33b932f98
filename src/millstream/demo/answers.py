"""The demo's model answer: its words go on being written whoever reads them, and wait for who comes back.

No model is asked: three answers are put together from the flights, and given out at the pace of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from millstream import Durable, TGController, expose, stream
from millstream.database import Database
from millstream.demo.layout import values
from millstream.demo.model import CARRIERS, Flight

PACE: Final = 0.1
"""Seconds a word."""


class Question(StrEnum):
    """What can be asked."""

    AIRLINE = "airline"
    HOUR = "hour"
    PLACE = "place"


class Answers(TGController):
    """Answers, each written once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @expose("answers.html")
    def index(self) -> dict[str, Any]:
        """The page."""
        return values("/answers", {"ask": Answers.ask})

    @expose("sse", durable=Durable(key="{question}-{ticket}"))
    def ask(self, question: Question, ticket: str) -> Iterator[str]:  # noqa: ARG002  the key has it
        """The answer, word by word."""
        answer = written(question, self._database.session())
        for word in re.findall(r"\s*\S+", answer):
            yield word
            stream.sleep(PACE)


def written(question: Question, session: Session) -> str:
    """The whole answer."""
    return _ANSWERS[question](session)


def _on_airlines(session: Session) -> str:
    rows = session.execute(_late_by(Flight.carrier)).all()
    (best, _, little), (worst, flights, much), (second, _, second_much) = rows[0], rows[-1], rows[-2]
    punctual = session.scalar(select(func.avg(Flight.dep_delay <= 0))) or 0
    return (
        f"{CARRIERS[worst]}, if the mean is to decide: it left {much:.1f} minutes late on average, over "
        f"{flights:,} flights. {CARRIERS[second]} was hardly better with {second_much:.1f}. At the other "
        f"end stands {CARRIERS[best]} with {little:.1f} minutes.\n\n"
        f"But a mean tells less than it seems to. Of all flights {punctual:.0%} left on time or before; it "
        "is the others, some of them hours late, some a whole day, that pull the figures up. And the "
        "small airlines have so few flights that one bad week makes their year.\n\n"
        "What you can choose every day is the hour. Ask me about that next."
    )


def _on_hours(session: Session) -> str:
    rows = [row for row in session.execute(_late_by(Flight.hour)) if row[1] > _FEW]
    (best, _, little), (worst, flights, much) = rows[0], rows[-1]
    return (
        f"As early as you can bear. What was to leave between {best} and {best + 1} o'clock left "
        f"{little:.1f} minutes late on average. From then on it grows by the hour, because an aircraft "
        "that comes late also leaves late, and nothing in the day gives the time back.\n\n"
        f"It is worst between {worst} and {worst + 1}: {flights:,} flights, and {much:.1f} minutes. Only "
        "late at night, when few are left to be late, does it come down again.\n\n"
        "Of all that these flights can tell this is the surest: between the best hour and the worst lies "
        "more than between the best airline and the worst. Set the alarm."
    )


def _on_places(session: Session) -> str:
    count = func.count().label("flights")
    places = session.execute(
        select(Flight.dest, count).group_by(Flight.dest).order_by(count.desc(), Flight.dest)
    ).all()
    first, second, third = places[:3]
    share = (first.flights + second.flights + third.flights) / sum(place.flights for place in places)
    far, miles = session.execute(
        select(Flight.dest, Flight.distance).order_by(Flight.distance.desc()).limit(1)
    ).one()
    return (
        f"To {first.dest}, most of all: {first.flights:,} times in the year. Close behind come "
        f"{second.dest} with {second.flights:,} and {third.dest} with {third.flights:,}. Together these "
        f"three are {share:.0%} of all flights out of New York.\n\n"
        f"There are {len(places)} places in all. The farthest is {far}, {miles:,} miles away. Some were "
        "served every hour of every day, some in a season, and some just now and then.\n\n"
        "The three airports share the work unevenly: the long ways begin at Kennedy and Newark, the short "
        "ones at La Guardia, where a rule keeps most of the long ones out."
    )


def _late_by(column: Any) -> Select[Any]:
    """Who or when, of how many flights, how late on average: the best first."""
    late = func.avg(Flight.dep_delay)
    return (
        select(column, func.count(), late).group_by(column).having(late.is_not(None)).order_by(late, column)
    )


_FEW: Final = 10
"""Flights that tell nothing."""

_ANSWERS: Final[dict[Question, Callable[[Session], str]]] = {
    Question.AIRLINE: _on_airlines,
    Question.HOUR: _on_hours,
    Question.PLACE: _on_places,
}
