"""Engines: what a URL means here, with the defaults a server needs."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import time
from collections.abc import MutableMapping
from typing import Any, Final

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.engine import URL, Dialect, Engine
from sqlalchemy.exc import ArgumentError, DisconnectionError, InvalidRequestError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from millstream.database.lease import INFO_KEY, Lease, watch_engine
from millstream.database.naming import name_columns
from millstream.database.numbers import loads
from millstream.errors import ConfigurationError

BUSY_SECONDS: Final = 5.0
"""How long SQLite waits for another writer."""

POOL_SECONDS: Final = 5.0
"""How long a request waits for a connection before it is told to come back."""

OPERATIONS: Final = 200_000
"""After so many of SQLite's operations, a few milliseconds, it is asked whether they are still wanted."""

IDLE_SECONDS: Final = 5.0
"""A connection that rested longer in the pool is tried before it is used: the server may have gone."""


def sync_engine(url: URL, options: dict[str, Any]) -> Engine:
    """An engine for synchronous code.

    Raises:
        ConfigurationError: when the URL cannot be used, or its driver is not installed.
    """
    url = _with_driver(url, "psycopg", "pysqlite")
    try:
        engine = create_engine(url, **_defaults(url) | options)
    except _WRONG as wrong:
        raise _unusable(url, wrong) from wrong
    if engine.dialect.is_async:
        raise ConfigurationError(
            f"the database URL {url.render_as_string()} names a driver for asynchronous code only, "
            f"and a returned query is read by synchronous code: name a driver that has both, as in {_BOTH}"
        )
    _furnish(engine)
    return engine


def async_engine(url: URL, options: dict[str, Any]) -> AsyncEngine:
    """An engine for asynchronous code to the same database.

    Raises:
        ConfigurationError: as `sync_engine`.
    """
    url = _with_driver(url, "psycopg_async", "aiosqlite")
    try:
        engine = create_async_engine(url, **_async_defaults(url) | options)
    except _WRONG as wrong:
        raise _unusable(url, wrong) from wrong
    _furnish(engine.sync_engine)
    return engine


def parsed(url: str | URL) -> URL:
    """Take a URL in.

    Raises:
        ConfigurationError: when it is none, or names a database that only one connection can see.
    """
    if isinstance(url, AsyncEngine):
        raise ConfigurationError(
            "Database was given an AsyncEngine, and a returned query is read by synchronous code: "
            "give it the URL, of which both engines are made"
        )
    try:
        made = make_url(url)
    except ArgumentError as wrong:
        raise ConfigurationError("the database URL cannot be read: write it as sqlite:///app.db") from wrong
    if made.get_backend_name() == "sqlite" and made.database in _MEMORY:
        raise ConfigurationError(
            f"the database URL {made} is an SQLite database in memory, which one connection alone can see: "
            "name a file, as in sqlite:///app.db"
        )
    return made


def _with_driver(url: URL, postgresql: str, sqlite: str) -> URL:
    backend = _BACKENDS.get(url.get_backend_name(), url.get_backend_name())
    wanted = {"postgresql": postgresql, "sqlite": sqlite}.get(backend)
    named = url.drivername.partition("+")[2]
    if wanted is None or (named and named not in _OURS):
        return url  # a driver the author chose, or a database we know nothing of
    module, cure = _MODULES[wanted]
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(
            f"the database URL {url.render_as_string()} needs the driver {module}, which is not installed: "
            f"{cure}"
        )
    return url.set(drivername=f"{backend}+{wanted}")


def _defaults(url: URL) -> dict[str, Any]:
    options: dict[str, Any] = {"pool_timeout": POOL_SECONDS}
    if url.get_backend_name() in _STORING_JSON:
        options["json_deserializer"] = loads
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": BUSY_SECONDS}
    return options


def _async_defaults(url: URL) -> dict[str, Any]:
    options = _defaults(url)
    if url.drivername == "sqlite+aiosqlite":
        options["connect_args"]["async_creator_fn"] = _connect_aiosqlite
    return options


async def _connect_aiosqlite(*arguments: Any, **options: Any) -> Any:
    """Connect, or not at all: a client that leaves meanwhile must not leave a connection nobody closes.

    aiosqlite opens the file on a thread, and forgets what comes of it when the wait is cancelled.
    """
    import aiosqlite  # noqa: PLC0415  only who uses it needs it

    connection = aiosqlite.connect(*arguments, **options)
    connection._thread.daemon = True  # noqa: SLF001  as SQLAlchemy does where it makes the connection
    opening = asyncio.ensure_future(connection)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda done: done.cancelled() or done.exception() or connection.stop())
        raise


def read_all_values(engine: Engine) -> None:
    """Let an engine read what PostgreSQL alone has, and name a stored value that no type can convert."""
    name_columns(engine)
    if engine.dialect.driver in _TAUGHT:
        event.listen(engine, "connect", _teach)


def _teach(_driver: Any, record: Any) -> None:
    importlib.import_module("millstream.database.loading").teach(record.driver_connection)


def prepare(engine: Engine) -> None:
    """Let whatever a database does for a stream be known, and end with the stream."""
    watch_engine(engine)
    read_all_values(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _look_now_and_then)
    elif engine.dialect.driver == "psycopg" and not engine.dialect.is_async:
        event.listen(engine, "do_connect", importlib.import_module("millstream.database.stopping").connect)


def _look_now_and_then(driver: Any, record: Any) -> None:
    """Let SQLite ask after so many operations whether a statement is for nobody any more."""

    def must_stop(info: MutableMapping[Any, Any] = record.info) -> bool:
        lease: Lease | None = info.get(INFO_KEY)
        return lease is not None and lease.must_stop()

    if hasattr(driver, "run_async"):
        driver.run_async(lambda connection: connection.set_progress_handler(must_stop, OPERATIONS))
    else:
        driver.set_progress_handler(must_stop, OPERATIONS)


def _furnish(engine: Engine) -> None:
    prepare(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    else:
        event.listen(engine, "checkin", _note_rest)
        event.listen(engine, "checkout", _Trial(engine.dialect))


def _set_up_sqlite(driver: Any, _record: Any) -> None:
    """Readers do not wait for a writer, nor a writer for readers; foreign keys mean something."""
    cursor = driver.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _note_rest(_driver: Any, record: Any) -> None:
    record.info[_RESTS_SINCE] = time.monotonic()


class _Trial:
    """Tries a connection that has rested for long, so that a database may be restarted under our feet.

    SQLAlchemy's `pool_pre_ping` asks before every use; a stream that gives its connection back at each pause
    would ask at each step.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def __call__(self, driver: Any, record: Any, _proxy: Any) -> None:
        since = record.info.get(_RESTS_SINCE)
        if since is None or time.monotonic() - since < IDLE_SECONDS:
            return
        try:
            alive = self._dialect.do_ping(driver)
        except self._dialect.loaded_dbapi.Error:
            alive = False
        if not alive:
            raise DisconnectionError("the connection was lost while it rested in the pool")


def _unusable(url: URL, wrong: Exception) -> ConfigurationError:
    if isinstance(wrong, ImportError) and wrong.name:
        return ConfigurationError(
            f"the database URL {url.render_as_string()} needs the driver {wrong.name}, "
            f"which is not installed: install {_PACKAGES.get(wrong.name, wrong.name)}"
        )
    return ConfigurationError(f"the database {url.render_as_string()} cannot be used: {wrong}")


_WRONG: Final = (ArgumentError, NoSuchModuleError, InvalidRequestError, ImportError, TypeError)
"""What SQLAlchemy raises about a URL, or options, of which it can make no engine."""

_PACKAGES: Final = {
    "MySQLdb": "mysqlclient, or name another driver, as in mysql+pymysql://",
    "psycopg": "millstream[postgres]",
    "psycopg2": "psycopg2-binary, or millstream[postgres] and write postgresql://",
    "pysqlcipher3": "sqlcipher3",
}
"""What has the module of a driver, where its name does not tell."""

_BOTH: Final = "postgresql+psycopg://"
_RESTS_SINCE: Final = "millstream.rests"
_MEMORY: Final = (None, "", ":memory:")
_BACKENDS: Final = {"postgres": "postgresql"}  # the short name is everywhere but in SQLAlchemy
_STORING_JSON: Final = frozenset({"postgresql", "sqlite"})
_TAUGHT: Final = frozenset({"psycopg", "psycopg_async"})
_OURS: Final = frozenset({"psycopg", "psycopg_async", "pysqlite", "aiosqlite"})
_MODULES: Final = {
    "psycopg": ("psycopg", "install millstream[postgres]"),
    "psycopg_async": ("psycopg", "install millstream[postgres]"),
    "pysqlite": ("sqlite3", "this Python was built without it"),
    "aiosqlite": ("aiosqlite", "install millstream again, it belongs to it"),
}
