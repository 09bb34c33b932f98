"""The log of an application: opened and closed with it, and looked after for those that died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from millstream import Millstream, Settings, TGController, abort, expose, request, stream
from millstream.durable.appending import Append
from millstream.durable.leasing import Lease
from millstream.durable.naming import Config
from millstream.durable.refusals import LeaseLost, LogRefused
from millstream.durable.runs.declared import Durable
from millstream.durable.runs.names import run_in, stream_of
from millstream.durable.runs.remembered import recall, remember
from millstream.durable.state import State
from millstream.errors import ConfigurationError
from millstream.pipeline.runs import RESTARTS, Opened, Runs
from millstream.testing import BodyTruncated, Client, LifespanFailed, Reply

WHOLE = b"".join(b"%d\n" % number for number in range(5))


class Root(TGController):
    """Actions of which an earlier process has begun a run, and died."""

    def __init__(self) -> None:
        self.refuses = False
        self.first = 0

    @expose("ndjson", durable=Durable(on_death="restart"))
    def steady(self, n: int = 5, body: str = "") -> Iterator[Any]:
        if self.refuses:
            abort(403)
        yield from range(self.first, n)
        if body:
            yield body

    @expose("ndjson", durable=True)
    def mortal(self, n: int = 5) -> Iterator[int]:
        yield from range(n)

    @expose("ndjson", durable=True)
    async def patient(self) -> AsyncIterator[str]:
        yield stream.id
        while not stream.draining:
            await asyncio.sleep(0.001)


class Place:
    """An application, and what another process has left in its log."""

    def __init__(self, app: Millstream, client: Client, root: Root) -> None:
        self.app = app
        self.client = client
        self.root = root
        assert app._runs is not None
        self.runs: Runs = app._runs

    async def opened(self) -> Opened:
        return await self.runs.open()

    async def died(self, action: str, *, after: bytes, scope: dict[str, Any] | None = None) -> State:
        """A run whose process died after so many bytes."""
        owners = self.runs._planner.owners
        tag = next(tag for tag, owner in owners.items() if owner.action.name == action)
        run, log = tag + "r" * 22, (await self.opened()).log
        lease = await log.claim(
            stream_of(run), Config(content_type="application/x-ndjson"), will=b"it died\n"
        )
        assert isinstance(lease, Lease)
        if after:
            await log.append(stream_of(run), Append(records=[after], producer=lease.claim(0)))
        state = await log.describe(stream_of(run))
        if scope is not None:
            await remember(log, state, scope, b"")
        return state

    async def look_after(self, state: State) -> None:
        await self.runs._on_dead(state)

    async def read(self, state: State) -> Reply:
        return await self.client.get(f"/_streams/{run_in(state.name)}")


def asked(path: str) -> dict[str, Any]:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"x-user", b"ann")],
        "client": ("127.0.0.1", 1),
    }


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    root = Root()
    app = Millstream(root, Settings(durable_url="memory:", drain_timeout=0.1))
    async with Client(app, raise_app_errors=False, require_no_leaks=True) as client:
        yield Place(app, client, root)


async def test_a_dead_processs_run_is_closed_with_its_will() -> None:
    async with place() as here:
        state = await here.died("mortal", after=b"0\n1\n")
        await here.look_after(state)
        with pytest.raises(BodyTruncated) as truncated:
            await here.read(state)
        assert truncated.value.received == b"0\n1\nit died\n"


@pytest.mark.parametrize("after", [b"", b"0\n", b"0\n1\n2", WHOLE])
async def test_a_run_that_may_is_produced_again_from_its_request(after: bytes) -> None:
    async with place() as here:
        state = await here.died("steady", after=after, scope=asked("/steady?n=5"))
        await here.look_after(state)
        assert (await here.read(state)).body == WHOLE
        assert await recall((await here.opened()).log, state) is None


async def test_a_run_nobody_remembers_the_request_of_is_closed() -> None:
    async with place() as here:
        state = await here.died("steady", after=b"0\n")
        await here.look_after(state)
        with pytest.raises(BodyTruncated):
            await here.read(state)


async def test_what_does_not_fit_to_what_is_recorded_is_not_joined_to_it() -> None:
    async with place() as here:
        here.root.first = 1
        state = await here.died("steady", after=b"0\n1\n", scope=asked("/steady?n=5"))
        await here.look_after(state)
        with pytest.raises(BodyTruncated) as truncated:
            await here.read(state)
        assert truncated.value.received.startswith(b'0\n1\n{"error":')


async def test_a_second_production_that_is_refused_fails_the_run_and_removes_nothing() -> None:
    async with place() as here:
        here.root.refuses = True
        state = await here.died("steady", after=b"0\n1\n", scope=asked("/steady?n=5"))
        await here.look_after(state)
        with pytest.raises(BodyTruncated) as truncated:
            await here.read(state)
        assert truncated.value.received.startswith(b'0\n1\n{"error":')


async def test_a_second_production_that_is_refused_before_it_begins_fails_the_run() -> None:
    async with place() as here:
        state = await here.died("steady", after=b"0\n1\n", scope=asked("/steady?n=five"))
        await here.look_after(state)
        with pytest.raises(BodyTruncated) as truncated:
            await here.read(state)
        assert truncated.value.received == b"0\n1\nit died\n"


async def test_what_kills_every_process_is_not_produced_for_ever() -> None:
    async with place() as here:
        state = await here.died("steady", after=b"0\n", scope=asked("/steady?n=5"))
        log = (await here.opened()).log
        for _ in range(RESTARTS):
            await log.take_over(await log.describe(state.name))
        await here.look_after(await log.describe(state.name))
        assert (await log.describe(state.name)).failed


async def test_a_run_that_was_to_be_stopped_is_not_begun_again() -> None:
    async with place() as here:
        state = await here.died("steady", after=b"0\n", scope=asked("/steady?n=5"))
        log = (await here.opened()).log
        await here.look_after(await log.stop(state.name))
        assert (await log.describe(state.name)).failed


async def test_a_process_that_is_about_to_end_takes_nothing_over() -> None:
    async with place() as here:
        state = await here.died("steady", after=b"0\n", scope=asked("/steady?n=5"))
        here.runs.ends = lambda: True
        with pytest.raises(LeaseLost):
            await here.look_after(state)
        assert not (await (await here.opened()).log.describe(state.name)).closed


async def test_another_applications_stream_in_the_same_log_is_ended_like_any() -> None:
    async with place() as here:
        log = (await here.opened()).log
        assert await log.claim("somebody's", Config(), will=b"it died") is not None
        await here.look_after(await log.describe("somebody's"))
        assert (await log.describe("somebody's")).failed


async def test_a_request_is_remembered_while_its_run_may_need_it() -> None:
    async with place() as here:
        reply = await here.client.get("/steady")
        assert reply.body == WHOLE
        log = (await here.opened()).log
        assert await recall(log, await log.describe(stream_of(reply.headers["stream-id"]))) is None


@pytest.mark.parametrize("how", ["json", "data"])
async def test_a_request_with_a_body_runs_whether_or_not_it_can_be_remembered(how: str) -> None:
    async with place() as here:
        body: dict[str, Any] = {how: {"n": "1", "body": "text"}}
        reply = await here.client.post("/steady", **body)
        assert reply.body == b'0\n"text"\n'


async def test_a_stream_is_known_to_its_author_by_the_name_its_readers_have() -> None:
    async with place() as here, here.client.stream("GET", "/patient") as reader:
        assert await reader.next_line() == f'"{reader.headers["stream-id"]}"'


async def test_the_log_is_opened_by_the_first_request_where_nobody_tells_of_a_start() -> None:
    app = Millstream(Root(), Settings(durable_url="memory:", drain_timeout=0.1))
    async with Client(app, lifespan=False) as client:
        assert (await client.get("/mortal")).body == b"0\n1\n2\n3\n4\n"
        assert app._runs is not None
        await app._runs.close()


async def test_an_application_may_be_served_again() -> None:
    app = Millstream(Root(), Settings(durable_url="memory:", drain_timeout=0.1))
    for _ in range(2):
        async with Client(app) as client:
            assert (await client.get("/mortal?n=1")).body == b"0\n"


async def test_a_database_that_cannot_be_used_is_told_at_start_up(tmp_path: Any) -> None:
    (tmp_path / "streams.db").write_bytes(b"this is no database, and longer than its header" * 10)
    app = Millstream(Root(), Settings(durable_url=f"sqlite:///{tmp_path}/streams.db"))
    with pytest.raises(LifespanFailed, match="cannot be used"):
        async with Client(app):
            pass


async def test_the_urls_of_runs_are_an_actions_where_there_is_no_log() -> None:
    class Plain(TGController):
        @expose("json")
        def _default(self, *path: str) -> list[str]:
            return [request.path_info, *path]

    async with Client(Millstream(Plain())) as client:
        assert (await client.get("/_streams/a")).json() == ["/_streams/a", "_streams", "a"]


async def test_a_deleted_run_is_none_any_more() -> None:
    async with place() as here:
        reply = await here.client.get("/mortal")
        await (await here.opened()).log.delete(stream_of(reply.headers["stream-id"]))
        with pytest.raises(LogRefused):
            await (await here.opened()).log.describe(stream_of(reply.headers["stream-id"]))
        assert (await here.client.get(reply.headers["location"])).status == 404


async def test_an_application_purges_its_runs() -> None:
    async with place() as here:
        reply = await here.client.get("/mortal")
        assert await here.app.purge(reply.headers["stream-id"])
        assert not await here.app.purge(reply.headers["stream-id"])
        assert (await here.client.get(reply.headers["location"])).status == 404


async def test_there_is_nothing_to_purge_without_a_log() -> None:
    with pytest.raises(ConfigurationError, match="durable_url"):
        await Millstream(TGController()).purge("run")
