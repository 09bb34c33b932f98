"""The streams of the benchmarks on Millstream.

`/sync/COUNT/SIZE` and `/asynchronous/COUNT/SIZE` send COUNT items of SIZE bytes, as fast as they can;
`/sleep/COUNT/MS` and `/asleep/COUNT/MS` sleep so many milliseconds before each of COUNT lines.
`peers/` has the same on others.
"""

import asyncio
import time

from millstream import Millstream, Settings, TGController, expose


class Root(TGController):
    @expose(content_type="application/octet-stream")
    def sync(self, count: int, size: int):
        item = b"x" * size
        for _ in range(count):
            yield item

    @expose(content_type="application/octet-stream")
    async def asynchronous(self, count: int, size: int):
        item = b"x" * size
        for _ in range(count):
            yield item

    @expose(content_type="text/plain")
    def sleep(self, count: int, ms: int):
        for n in range(count):
            time.sleep(ms / 1000)
            yield f"item {n}\n"

    @expose(content_type="text/plain")
    async def asleep(self, count: int, ms: int):
        for n in range(count):
            await asyncio.sleep(ms / 1000)
            yield f"item {n}\n"


millstream = Millstream(Root(), Settings())
