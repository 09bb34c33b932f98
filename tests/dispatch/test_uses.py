"""What is seen at start-up of sessions whose database the application does not have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text

from millstream import Millstream, RestController, TGController, expose, request
from millstream.database import Database
from millstream.errors import ConfigurationError

database = Database("sqlite:///uses.db")  # which is never opened
DBSession = database.session
model: Any = ModuleType("model")
model.DBSession, model.database = DBSession, database
INSERT = text("insert into t values (1)")


class User:
    @classmethod
    def by_name(cls, name: str) -> Any:
        return DBSession.scalar(text(name))


def helper() -> Any:
    return DBSession.execute(INSERT)


class Global(TGController):
    @expose()
    def index(self) -> str:
        DBSession.execute(INSERT)
        return ""


class Rest(RestController):
    @expose("json")
    def post(self) -> Any:
        return database.session.execute(INSERT)


class OfModule(TGController):
    @expose("json")
    def index(self) -> Any:
        return model.DBSession.execute(INSERT), model.database.url


class OfModuleOfModule(TGController):
    @expose("json")
    def index(self) -> Any:
        return model.database.async_session


class OfController(TGController):
    def __init__(self, database: Database = database) -> None:
        self.database = database

    @expose("ndjson")
    def index(self) -> Iterator[Any]:
        def steps() -> Iterator[Any]:
            yield self.database.session.execute(INSERT)

        return steps()


class OfMethod(OfController):
    @expose("ndjson")
    def index(self) -> Any:
        return self._steps()

    def _steps(self) -> Iterator[Any]:
        yield self.database.session.execute(INSERT)


class Asynchronous(TGController):
    @expose("ndjson")
    async def index(self) -> AsyncIterator[Any]:
        async for row in await database.async_session.stream(INSERT):
            yield row


class InThread(TGController):
    @expose("json")
    async def index(self) -> Any:
        return await asyncio.to_thread(DBSession.execute, INSERT)


class OfModel(TGController):
    @expose("json")
    def index(self, name: str) -> Any:
        return User.by_name(name)


class ByHelper(TGController):
    @expose("json")
    def index(self) -> Any:
        return [helper() for _ in range(2)]


class Hook(TGController):
    def _before(self, *_: Any, **__: Any) -> None:
        DBSession.execute(INSERT)

    @expose()
    def index(self) -> str:
        return ""


class Below(TGController):
    def __init__(self) -> None:
        self.shop = Global()


def closing(database: Database) -> type[TGController]:
    class Closing(TGController):
        @expose("json")
        def index(self) -> Any:
            return database.session.execute(INSERT)

    return Closing


@pytest.mark.parametrize(
    "cls",
    [
        Global, Rest, OfModule, OfModuleOfModule, OfController, OfMethod, Asynchronous, InThread, OfModel,
        ByHelper, Hook, Below, closing(database),
    ],
)  # fmt: skip
def test_a_session_that_nothing_settles_keeps_an_application_from_starting(
    cls: type[TGController], tmp_path: Path
) -> None:
    for participants in ([], [Database(f"sqlite:///{tmp_path / 'other.db'}")]):
        with pytest.raises(ConfigurationError) as refused:
            Millstream(cls(), participants=participants)
        assert "uses a session of Database(sqlite:///uses.db), which is none of" in str(refused.value)
        assert "participants = shop.model:database" in str(refused.value)
    Millstream(cls(), participants=[database])


def test_the_function_that_uses_it_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^User\.by_name uses a session"):
        Millstream(OfModel())


def test_other_uses_of_a_database_and_other_things_of_its_names_are_no_session() -> None:
    class Reads(TGController):
        def __init__(self) -> None:
            self.database = database

        @expose("json")
        def index(self, DBSession: str = "", model: str = "") -> Any:  # noqa: N803  the names are the point
            with database.engine.connect() as connection:
                found = connection.scalar(text("1"))
            return [found, DBSession, model, request.session, self.database.engine]

    Millstream(Reads())
