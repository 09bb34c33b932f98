"""Databases that are given an older state back, each as its administrators do it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import apsw
import psycopg
import redis as redis_py

from millstream.durable.memory import Memory
from millstream.testing.log_restores import Restore
from millstream.testing.postgres import PostgresServer
from millstream.testing.redis import RedisServer


async def saved_memory(memory: Memory) -> Restore:
    kept = deepcopy(_tables(memory))

    async def restore() -> None:
        names = {*memory.states, *kept[0]}
        for table, before in zip(_tables(memory), deepcopy(kept), strict=True):
            table.clear()
            table.update(before)
        for name in names:
            for awake in memory.awake:
                awake(name)

    return restore


def _tables(memory: Memory) -> Sequence[dict[str, Any]]:
    """Any: each has its own values."""
    return memory.states, memory.records, memory.producers


async def saved_sqlite(path: Path) -> Restore:
    """By SQLite's own backup, into the file that others have open: what `.restore` does."""
    copy = path.with_name("copy.db")
    copy.unlink(missing_ok=True)
    _copied(path, copy)

    async def restore() -> None:
        await asyncio.to_thread(_copied, copy, path)

    return restore


def _copied(source: Path, target: Path) -> None:
    one, other = apsw.Connection(str(source)), apsw.Connection(str(target))
    one.set_busy_timeout(10_000)
    other.set_busy_timeout(10_000)
    with other.backup("main", one, "main") as backup:
        backup.step(-1)
    one.close()
    other.close()


async def saved_redis(server: RedisServer) -> Restore:
    """A snapshot, and a crash: what a server without an append-only file, and a failed over one, come to."""
    client = redis_py.Redis.from_url(server.url)
    await asyncio.to_thread(client.save)
    client.close()
    folder = server._log.parent
    shutil.copy(folder / "dump.rdb", folder / "kept.rdb")

    async def restore() -> None:
        server.kill()
        shutil.copy(folder / "kept.rdb", folder / "dump.rdb")
        await asyncio.to_thread(server.start)

    return restore


async def saved_database(server: PostgresServer, name: str) -> Restore:
    """A copy of one database, put in its place again while the server goes on."""
    await asyncio.to_thread(_replaced, server, name, f"{name}_kept")

    async def restore() -> None:
        await asyncio.to_thread(_replaced, server, f"{name}_kept", name)

    return restore


def _replaced(server: PostgresServer, source: str, target: str) -> None:
    """Make one database a copy of another; nobody may be connected to either of them meanwhile."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        for name in (source, target):
            if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
        admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", (source,)
        )
        admin.execute(f"CREATE DATABASE {target} TEMPLATE {source}")
        for name in (source, target):
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def saved_postgres(server: PostgresServer) -> Restore:
    """A copy of its files: timeline and system identifier stay what they were."""
    folder = server._data
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(_copied_folder, folder, folder.with_name("kept"))
    await asyncio.to_thread(server.start)

    async def restore() -> None:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(_copied_folder, folder.with_name("kept"), folder)
        await asyncio.to_thread(server.start)

    return restore


def _copied_folder(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # noqa: S603, S607  with its owner
