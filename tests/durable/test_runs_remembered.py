from __future__ import annotations

from typing import Any

from millstream.durable.log import Log
from millstream.durable.memory import MemoryEngine
from millstream.durable.runs.names import stream_of
from millstream.durable.runs.remembered import forget, recall, remember
from millstream.durable.state import State

RUN = State(stream_of("r"), "a" * 16, "text/plain")
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/a",
    "raw_path": b"/a",
    "query_string": b"x=1",
    "root_path": "",
    "headers": [(b"accept", b"*/*"), (b"cookie", b"who=ann"), (b"x-tenant", b"a"), (b"x-key", b"k")],
    "client": ("127.0.0.1", 5),
    "server": None,
    "state": {"pool": object()},
}


async def test_a_request_is_recalled_as_it_was_but_for_what_is_no_data() -> None:
    async with Log(MemoryEngine()) as log:
        await remember(log, RUN, SCOPE, b"body")
        recalled = await recall(log, RUN)
        assert recalled is not None
        assert recalled.body == b"body"
        assert recalled.scope["headers"] == [[b"accept", b"*/*"]]
        assert recalled.withheld == ("cookie", "x-key", "x-tenant")
        assert (recalled.scope["path"], recalled.scope["query_string"]) == ("/a", b"x=1")
        assert recalled.scope.keys() == SCOPE.keys() - {"state", "server"}


async def test_an_author_names_further_headers() -> None:
    async with Log(MemoryEngine()) as log:
        await remember(log, RUN, SCOPE, b"", headers=["X-Tenant"])
        recalled = await recall(log, RUN)
        assert recalled is not None
        assert recalled.scope["headers"] == [[b"accept", b"*/*"], [b"x-tenant", b"a"]]
        assert recalled.withheld == ("cookie", "x-key")


async def test_a_run_that_is_begun_anew_has_a_request_of_its_own() -> None:
    async with Log(MemoryEngine()) as log:
        await remember(log, RUN, SCOPE, b"first")
        again = RUN.but(incarnation="b" * 16)
        assert await recall(log, again) is None
        await remember(log, again, SCOPE, b"second")
        recalled = await recall(log, again)
        assert recalled is not None
        assert recalled.body == b"second"


async def test_a_long_body_is_recalled_whole() -> None:
    async with Log(MemoryEngine()) as log:
        await remember(log, RUN, SCOPE, b"x" * 3_000_000)
        recalled = await recall(log, RUN)
        assert recalled is not None
        assert len(recalled.body) == 3_000_000


async def test_what_is_forgotten_or_never_was_is_not_recalled() -> None:
    async with Log(MemoryEngine()) as log:
        await remember(log, RUN, SCOPE, b"")
        await forget(log, RUN)
        await forget(log, RUN)
        assert await recall(log, RUN) is None
