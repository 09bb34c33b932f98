"""A process that appends numbers to a log and says which were acknowledged; the tests kill it."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection

from millstream.durable.appending import Append
from millstream.durable.engines import open_log
from millstream.durable.naming import Config
from millstream.durable.state import Producer


def write(url: str, name: str, epoch: int, begin: int, said: Connection) -> None:
    asyncio.run(_write(url, name, epoch, begin, said))


async def _write(url: str, name: str, epoch: int, begin: int, said: Connection) -> None:
    async with open_log(url) as log:
        await log.create(name, Config(content_type="text/plain"))
        for number in range(begin, begin + 1_000_000):
            claim = Producer("writer", epoch, number - begin)
            await log.append(name, Append(records=[b"%d\n" % number], producer=claim))
            said.send(number)
