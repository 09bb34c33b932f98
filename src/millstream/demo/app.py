"""The demo's controllers: what an author writes, and nothing an author could not."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles

from millstream import ASGIAppController, Event, Millstream, Settings, TGController, expose, request, stream
from millstream.demo import page
from millstream.demo.sources import shown

PAGES = Path(__file__).with_name("pages")
FLIGHTS = """
    SELECT * FROM flights
    WHERE (:month IS NULL OR month = :month) AND (:carrier IS NULL OR carrier = :carrier)
"""
CARRIERS = "SELECT DISTINCT carrier FROM flights ORDER BY carrier"
MEAN_DELAY = "SELECT avg(dep_delay) FROM flights WHERE carrier = ? AND month = ?"


class RootController(TGController):
    """The front page, and the streams it shows."""

    static = ASGIAppController(StaticFiles(directory=PAGES))

    def __init__(self, database: Path) -> None:
        self._database = database
        self.page = page.PageController(database)

    @expose("index.html")
    def index(self) -> dict[str, Any]:
        """The front page, with the source of everything it shows."""
        actions: dict[str, Callable[..., Any]] = {
            "generators": page.Generators.stream_list,
            "accessing": page.AccessingRequest.stream,
            "reading": page.ReadingFromDatabase.stream_db,
            "writing": page.WritingToDatabase.stream_list,
            "ticks": RootController.ticks,
            "flights": RootController.flights,
            "job": RootController.job,
        }
        return {"source": {name: shown(action) for name, action in actions.items()}}

    @expose("json")
    @expose("ndjson")
    @expose("csv")
    def flights(
        self,
        month: int | None = None,
        carrier: str | None = None,
    ) -> Iterator[sqlite3.Row]:
        """The flights of a month, of a carrier, or all."""
        wanted = {"month": month, "carrier": carrier}
        with closing(sqlite3.connect(self._database)) as database:
            database.row_factory = sqlite3.Row
            yield from database.execute(FLIGHTS, wanted)

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
        with closing(sqlite3.connect(self._database)) as database:
            carriers = [row[0] for row in database.execute(CARRIERS)]
            questions = list(product(carriers, range(1, 13)))
            total = len(questions)
            for done, (carrier, month) in enumerate(questions):
                yield stream.progress(done, total, f"{carrier}, month {month}")
                answer = database.execute(MEAN_DELAY, [carrier, month])
                (delay,) = answer.fetchone()
                yield {"carrier": carrier, "month": month, "delay": delay}
            yield stream.progress(total, total, "done")


def create(database: Path) -> Millstream:
    """The application over a database that `millstream.demo.data` made."""
    return Millstream(RootController(database), Settings(templates=str(PAGES)))
