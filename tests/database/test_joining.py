"""The `transaction` package and a session, in scripts and several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction  # type: ignore[import-untyped]  # it has no annotations
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from millstream import Millstream, TGController, expose
from millstream.database import Database
from millstream.errors import ControllerError
from millstream.testing import BodyTruncated, Client


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


@pytest.fixture
def database(url: str, make_database: Callable[..., Database]) -> Iterator[Database]:
    made = make_database(url)
    Base.metadata.create_all(made.engine)
    yield made
    transaction.abort()
    made.session.remove()


def count(database: Database) -> int:
    with database.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Note)) or 0


def out(database: Database) -> int:
    checked_out: int = database.engine.pool.checkedout()  # type: ignore[attr-defined]  # every queued pool has it
    return checked_out


def test_a_script_commits_with_transaction(database: Database) -> None:
    note = Note(id=1, text="x")
    database.session.add(note)
    assert count(database) == 0
    transaction.commit()
    assert (count(database), out(database), note.text) == (1, 0, "x")


def test_a_script_aborts_with_transaction(database: Database) -> None:
    database.session.add(Note(id=1, text="x"))
    database.session.flush()
    transaction.abort()
    assert (count(database), out(database)) == (0, 0)


def test_a_change_of_a_loaded_object_is_committed(database: Database) -> None:
    database.session.add(Note(id=1, text="old"))
    transaction.commit()
    note = database.session.get_one(Note, 1)
    transaction.commit()
    note.text = "new"
    transaction.commit()
    database.session.remove()
    assert database.session.get_one(Note, 1).text == "new"


def test_text_that_writes_is_committed_without_being_marked(database: Database) -> None:
    database.session.execute(text("insert into notes values (1, 'x')"))
    transaction.commit()
    assert count(database) == 1


def test_reading_holds_no_connection_after_the_transaction(database: Database) -> None:
    database.session.get(Note, 1)
    assert out(database) == 1
    transaction.commit()
    assert out(database) == 0


def test_a_savepoint_undoes_what_came_after_it(database: Database) -> None:
    with database.session.begin_nested():
        database.session.add(Note(id=1, text="kept"))
    savepoint = database.session.begin_nested()
    database.session.add(Note(id=2, text="undone"))
    savepoint.rollback()
    transaction.commit()
    assert count(database) == 1


def test_a_flush_that_fails_leaves_a_session_that_works_after_the_abort(database: Database) -> None:
    database.session.add_all([Note(id=1, text="x")])
    transaction.commit()
    database.session.remove()
    database.session.add(Note(id=1, text="again"))
    with pytest.raises(IntegrityError):
        transaction.commit()
    transaction.abort()
    database.session.add(Note(id=2, text="other"))
    transaction.commit()
    assert (count(database), out(database)) == (2, 0)


def test_a_session_that_commits_by_itself_is_told_how_it_is_done(database: Database) -> None:
    database.session.add(Note(id=1, text="x"))
    with pytest.raises(ControllerError, match=r"use stream\.commit\(\) or transaction\.commit\(\)"):
        database.session.commit()


def test_each_thread_has_a_session_of_its_own(database: Database) -> None:
    sessions: list[Any] = [database.session()]
    other = threading.Thread(target=lambda: sessions.append(database.session()))
    other.start()
    other.join()
    assert sessions[0] is not sessions[1]
    assert database.session() is sessions[0]


# Several databases


class Both(TGController):
    def __init__(self, first: Database, second: Database) -> None:
        self.first, self.second = first, second

    @expose("ndjson")
    def write(self, second: int = 1) -> Iterator[int]:
        self.first.session.add(Note(id=1, text="first"))
        yield 1
        self.second.session.add(Note(id=second, text="second"))
        yield 2

    @expose("ndjson")
    async def mixed(self, second: int = 1) -> Any:
        self.first.async_session.add(Note(id=1, text="first"))
        yield 1
        self.second.async_session.add(Note(id=second, text="second"))
        yield 2


@pytest.mark.parametrize("path", ["/write", "/mixed"])
async def test_several_databases_settle_together(
    url: str, tmp_path: Path, make_database: Callable[..., Database], path: str
) -> None:
    first, second = make_database(url), make_database(f"sqlite:///{tmp_path / 'second.db'}")
    for database in (first, second):
        Base.metadata.create_all(database.engine)
    with second.engine.begin() as connection:
        connection.execute(text("insert into notes values (7, 'there')"))
    async with Client(Millstream(Both(first, second), participants=[first, second])) as client:
        with pytest.raises(BodyTruncated):
            await client.get(path, params={"second": 7})
        assert (count(first), count(second)) == (0, 1)
        assert (await client.get(path)).body == b"1\n2\n"
        assert (count(first), count(second)) == (1, 2)


@pytest.mark.parametrize("path", ["/write", "/mixed"])
async def test_in_two_phases_a_commit_that_fails_undoes_the_others(
    postgresql: str, make_database: Callable[..., Database], path: str
) -> None:
    """A deferred constraint is looked at when a transaction is prepared: then all can still be undone."""
    first = make_database(postgresql, twophase=True)
    second = make_database(postgresql, twophase=True)
    Base.metadata.create_all(first.engine)
    with first.engine.begin() as connection:
        connection.execute(text("alter table notes drop constraint notes_pkey"))
        connection.execute(
            text("alter table notes add constraint one unique (id) deferrable initially deferred")
        )
        connection.execute(text("insert into notes values (7, 'there')"))
    async with Client(Millstream(Both(first, second), participants=[first, second])) as client:
        with pytest.raises(BodyTruncated):
            await client.get(path, params={"second": 7})
        assert count(first) == 1
        assert (await client.get(path, params={"second": 8})).body == b"1\n2\n"
        assert count(first) == 3
    with first.engine.connect() as connection:
        assert connection.scalar(text("select count(*) from pg_prepared_xacts")) == 0
