"""The page's application, as its reader would write it: one file, run by any server."""

# ruff: noqa: UP031  the page prints its examples so

import time
from collections.abc import AsyncIterator, Iterator
from typing import no_type_check

from millstream import Millstream, Settings, TGController, abort, expose, request, stream

PAUSE = 0.02


class Async(TGController):
    @expose(content_type="application/json")
    async def stream_list(self) -> AsyncIterator[str]:
        yield "["
        for number in range(1, 10):
            yield f"{number}, "
            await stream.sleep(PAUSE)
        yield "10]"

    @expose("ndjson")
    async def broken(self) -> AsyncIterator[int]:
        yield 1
        await stream.sleep(PAUSE)
        raise ValueError

    @expose("ndjson")
    async def refused(self) -> AsyncIterator[int]:
        abort(403)
        yield 1

    @expose("ndjson")
    async def ticking(self) -> AsyncIterator[str]:
        while True:
            yield "x" * 100
            await stream.sleep(0.001)

    @expose("ndjson")
    async def idle(self) -> AsyncIterator[int]:
        try:
            yield 1
            await stream.sleep(600)
        finally:
            print(f"closed {request.path_info}", flush=True)  # noqa: T201  the test reads it in the log


class RootController(TGController):
    aio = Async()

    # fmt: off
    @expose(content_type="application/json")
    @no_type_check
    def stream_list(self):
        def output_pause():
            num = 0
            yield "["
            while num < 9:
                num += 1
                yield "%s, " % num
                time.sleep(PAUSE)
            yield "10]"
        return output_pause()

    @expose(content_type="text/css")
    @no_type_check
    def stream(self):
        def output_pause(req):
            num = 0
            while num < 10:
                num += 1
                yield "%s/%s\n" % (req.path_info, num)
                time.sleep(PAUSE)
        return output_pause(request._current_obj())
    # fmt: on

    @expose("ndjson")
    def broken(self) -> Iterator[int]:
        yield 1
        stream.sleep(PAUSE)
        raise ValueError

    @expose("ndjson")
    def refused(self) -> Iterator[int]:
        abort(403)
        yield 1

    @expose("ndjson")
    def idle(self) -> Iterator[int]:
        try:
            yield 1
            stream.sleep(600)
        finally:
            print(f"closed {request.path_info}", flush=True)  # noqa: T201  the test reads it in the log


app = Millstream(RootController(), Settings(debug=True))
