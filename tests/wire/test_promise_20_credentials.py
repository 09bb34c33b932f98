"""A request that may have to be answered again lies in the log: without what its client proves itself by."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.wire.test_promise_20_durable import LEASE, broken_off, housed, read_until

from millstream.testing.postgres import postgres
from millstream.testing.redis import redis

pytestmark = pytest.mark.wire

TOKEN = "SECRETTOKEN"  # noqa: S105  it is one, of this test
NAMES = ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-token", "x-amz-security-token"]
CREDENTIALS = [(name, f"token={TOKEN}") for name in NAMES]
KEPT = "KEPTTENANT"

Stored = Callable[[], bytes]
"""All that a database has stored."""


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("streams.db*") if path.is_file())


def rows(url: str) -> bytes:
    import psycopg  # noqa: PLC0415  only this engine needs it

    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'millstream%'")
        data: list[Any] = []
        for (table,) in tables.fetchall():
            data += connection.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608  our own names
    cells = (cell for row in data for cell in row)
    return b"".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Stored]]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield "", lambda: files(tmp_path)
        elif request.param == "redis":
            server = stack.enter_context(redis())
            folder = server._log.parent
            yield server.url, lambda: b"".join(file.read_bytes() for file in folder.rglob("*.aof"))
        else:
            database = stack.enter_context(postgres())
            yield database.url, lambda: rows(database.url)


def test_no_credential_is_in_the_log_while_a_run_goes_on(engine: tuple[str, Stored], tmp_path: Path) -> None:
    url, stored = engine
    with housed(tmp_path, url=url) as house, house.connect() as wire:
        reply = wire.get("/steady?n=10000&pause=0.05", [*CREDENTIALS, ("x-tenant", KEPT)])
        read_until(reply, b'{"n":3}')
        found = stored()
        assert b"/steady" in found
        assert KEPT.encode() in found
        assert TOKEN.encode() not in found


@pytest.mark.parametrize("reads", ["x-tenant", "authorization"])
def test_a_restarted_action_has_what_was_kept_and_is_told_of_what_was_not(tmp_path: Path, reads: str) -> None:
    with housed(tmp_path, lease=LEASE) as house, house.connect() as first:
        headers = [*CREDENTIALS, ("x-tenant", KEPT)]
        reply = first.get(f"/steady?n=120&pause=0.02&reads={reads}", headers)
        read_until(reply, b'{"n":5}')
        pid = int(house.wait_line(r"steady began in \d+").split()[-1])
        with house.connect_to_another(pid) as other:
            read = other.get(reply.headers["location"])
            os.kill(pid, signal.SIGKILL)
            if reads == "x-tenant":
                assert read.rest().count(b"\n") == 120
                assert house.lines()[f"steady for {KEPT}"] == 2
            else:
                assert b'{"error":' in broken_off(read)
                house.server.wait_log("the header 'authorization' was not kept for this run")
