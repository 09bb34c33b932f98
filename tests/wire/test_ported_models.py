"""An application ported from TurboGears by its guide: its writes are in the file, or it says so."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.wire.running import Running

from millstream.testing import connect

pytestmark = pytest.mark.wire

MODEL = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

class Base(DeclarativeBase):
    pass

class Movie(Base):
    __tablename__ = "movies"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
"""
PORTED = (
    MODEL
    + """
from millstream.database import Database
database = Database("sqlite:///movies.db")
DBSession = database.session
Base.metadata.create_all(database.engine)
"""
)
KEPT = (
    MODEL
    + """
import zope.sqlalchemy
DBSession = scoped_session(sessionmaker())
zope.sqlalchemy.register(DBSession)
engine = create_engine("sqlite:///movies.db")
DBSession.configure(bind=engine)
Base.metadata.create_all(engine)
"""
)
ROOT = """
from millstream import TGController, expose
from shopmodel import DBSession, Movie

class RootController(TGController):
    @expose("json")
    def add(self, title):
        DBSession.add(Movie(title=title))
        DBSession.flush()
        return {"ok": 1}
"""
INI = "[app:main]\nroot = shoproot:RootController\n"

Serve = Callable[[str, str], Running]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve a model with an ini file, in a folder of its own."""
    running: list[Running] = []

    def serve_model(model: str, ini: str) -> Running:
        (tmp_path / "shopmodel.py").write_text(model)
        (tmp_path / "shoproot.py").write_text(ROOT)
        (tmp_path / "development.ini").write_text(ini)
        running.append(Running(["millstream", "serve", "development.ini"], tmp_path / "log", cwd=tmp_path))
        return running[-1]

    yield serve_model
    for each in running:
        each.stop()


def titles(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "movies.db")) as connection:
        return [title for (title,) in connection.execute("select title from movies")]


def add(server: Running) -> int:
    server.wait_started()
    with connect("127.0.0.1", server.port) as wire:
        return wire.get("/add?title=Brazil").status


def test_a_write_is_in_the_file_when_the_process_has_ended(serve: Serve, tmp_path: Path) -> None:
    server = serve(PORTED, INI + "participants = shopmodel:database\n")
    assert add(server) == 200
    server.end(signal.SIGTERM, within=20)
    assert titles(tmp_path) == ["Brazil"]


def test_an_ini_file_that_forgets_the_database_does_not_start(serve: Serve) -> None:
    server = serve(PORTED, INI)
    assert server.process.wait(60) == 1
    assert "RootController.add uses a session of Database(sqlite:///movies.db)" in server.log
    assert "participants = shop.model:database" in server.log
    assert "Traceback" not in server.log


def test_the_model_of_a_quickstart_that_is_kept_says_that_nothing_is_stored(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(KEPT, INI)
    assert add(server) == 500
    assert "DBSession = Database(url).session" in server.log
    server.end(signal.SIGTERM, within=20)
    assert titles(tmp_path) == []
