"""The demo's tables, and the database they live in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import URL, event, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from millstream.database import Database

CARRIERS: Final = {
    "9E": "Endeavor",
    "AA": "American",
    "AS": "Alaska",
    "B6": "JetBlue",
    "DL": "Delta",
    "EV": "ExpressJet",
    "F9": "Frontier",
    "FL": "AirTran",
    "HA": "Hawaiian",
    "MQ": "Envoy",
    "OO": "SkyWest",
    "UA": "United",
    "US": "US Airways",
    "VX": "Virgin America",
    "WN": "Southwest",
    "YV": "Mesa",
}
"""What they are called."""


class Base(DeclarativeBase):
    """What the tables have in common."""


class _FlightColumns:
    """A flight out of New York in 2013, as in the source; times are local, delays and durations minutes."""

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    dep_time: Mapped[int | None]
    sched_dep_time: Mapped[int]
    dep_delay: Mapped[int | None]
    arr_time: Mapped[int | None]
    sched_arr_time: Mapped[int]
    arr_delay: Mapped[int | None]
    carrier: Mapped[str]
    flight: Mapped[int]
    tailnum: Mapped[str | None]
    origin: Mapped[str]
    dest: Mapped[str]
    air_time: Mapped[int | None]
    distance: Mapped[int]
    hour: Mapped[int]
    minute: Mapped[int]
    time_hour: Mapped[str]


class Flight(_FlightColumns, Base):
    """A flight that `millstream.demo.data` has loaded."""

    __tablename__ = "flights"


class Imported(_FlightColumns, Base):
    """A flight that the page's import has written."""

    __tablename__ = "imported"


class User(Base):
    """The page's `model.User`."""

    __tablename__ = "tg_user"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    user_name: Mapped[str]


class Permission(Base):
    """The page's `model.Permission`."""

    __tablename__ = "tg_permission"

    permission_id: Mapped[int] = mapped_column(primary_key=True)
    permission_name: Mapped[str]


@event.listens_for(User.__table__, "after_create")
def _add_users(_table: object, connection: Connection, **_options: object) -> None:
    """Somebody for the page's examples to find; nobody has the number 0."""
    names = ["manager", "editor", "ada", "grace", "alan", "edsger", "barbara", "donald"]
    connection.execute(insert(User), [{"user_name": name} for name in names])


def open_database(path: Path) -> Database:
    """The database in a file that `millstream.demo.data` made, with the tables that are still missing."""
    database = Database(URL.create("sqlite", database=str(path)))
    Base.metadata.create_all(database.engine)
    with Session(database.engine) as session:
        session.execute(select(Flight.id).limit(1))  # say now, and not in a stream, if it cannot be read
    return database
