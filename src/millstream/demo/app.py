"""The demo's controllers: what an author writes, and nothing an author could not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import delete, func, insert, select
from starlette.staticfiles import StaticFiles

from millstream import ASGIAppController, Event, Millstream, Settings, expose, request, stream
from millstream.database import Database
from millstream.demo import data, page
from millstream.demo.answers import Answers
from millstream.demo.exports import Exports, Plain, formats
from millstream.demo.extras import installed
from millstream.demo.layout import values
from millstream.demo.model import Flight, Imported, open_database

PAGES = Path(__file__).with_name("pages")
CHECKPOINT = 50_000
BATCH = 2_500


class RootController(Exports):
    """The pages, and the streams they show."""

    static = ASGIAppController(StaticFiles(directory=PAGES))

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.plain = Plain(database)
        if installed("apsw"):
            self.answers = Answers(database)
        self.page: Any = page.page_controller(database)  # its classes are made in that function

    @expose("index.html")
    def index(self) -> dict[str, Any]:
        """The front page, with the source of everything it shows."""
        actions: dict[str, Callable[..., Any]] = {
            "generators": page.Generators.stream_list,
            "accessing": page.AccessingRequest.stream,
            "reading": self.page.reading.stream_db,
            "writing": self.page.writing.stream_list,
            "ticks": RootController.ticks,
            "flights": Exports.flights,
            "job": RootController.job,
            "load": RootController.load,
        }
        return values("/", actions)

    @expose("downloads.html")
    def downloads(self) -> dict[str, Any]:
        """The page of the exports."""
        actions = {"flights": Exports.flights, "months": Exports.months}
        return values("/downloads", actions) | {"formats": formats()}

    @expose("sse")
    async def ticks(self) -> AsyncIterator[Event]:
        """One event a second; who comes back misses no number."""
        seen = request.headers.get("last-event-id", "0")
        number = int(seen) if re.fullmatch("[0-9]{1,9}", seen) else 0
        while True:
            number += 1
            now = datetime.now(UTC)
            yield Event({"number": number, "time": now}, id=number)
            await stream.sleep(1)

    @expose("ndjson")
    @expose("sse")
    def job(self) -> Iterator[Any]:
        """The mean delay of each carrier in each month."""
        session = self._database.session
        carriers = session.scalars(select(Flight.carrier).distinct().order_by(Flight.carrier))
        questions = list(product(carriers, range(1, 13)))
        total = len(questions)
        for done, (carrier, month) in enumerate(questions):
            yield stream.progress(done, total, f"{carrier}, month {month}")
            those = (Flight.carrier == carrier, Flight.month == month)
            delay = session.scalar(select(func.avg(Flight.dep_delay)).where(*those))
            yield {"carrier": carrier, "month": month, "delay": delay}
        yield stream.progress(total, total, "done")

    @expose("ndjson", allowed_methods=["POST"])
    def load(self) -> Iterator[Any]:
        """Import every flight, from the last checkpoint on."""
        session = self._database.session
        done = session.scalar(select(func.count(Imported.id))) or 0
        if done == data.FLIGHTS:
            session.execute(delete(Imported))
            done = 0
        for batch in data.records(BATCH, skip=done):
            session.execute(insert(Imported), batch)
            done += len(batch)
            if done % CHECKPOINT == 0:
                stream.commit()
            yield stream.progress(done, data.FLIGHTS, "written")
            stream.sleep(0.05)

    @expose("json")
    async def imported(self) -> dict[str, Any]:
        """How many flights of the import are committed: what anybody else can see."""
        session = self._database.async_session
        return {"committed": await session.scalar(select(func.count(Imported.id)))}


def create(database: Path) -> Millstream:
    """The application over a database that `millstream.demo.data` made."""
    flights = open_database(database)
    settings = Settings(templates=str(PAGES), durable_url=_log_beside(database))
    return Millstream(RootController(flights), settings, participants=[flights])


def _log_beside(database: Path) -> str | None:
    """Where answers are kept; nowhere, if the library for it is not installed."""
    log = database.absolute().with_suffix(".streams")
    return f"sqlite:///{quote(str(log))}" if installed("apsw") else None
