"""The official clients of the protocol, as their users use them, at our endpoint over SQLite."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from durable_streams import (
    AsyncDurableStream,
    DurableStream,
    RetentionGoneError,
    SeqConflictError,
    StreamExistsError,
    astream,
    stream,
)
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.durable.conformance.run import installed, missing
from tests.durable.cutting import Cutting, cutting
from tests.durable.remote import browser

from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams
from millstream.testing import Server, serve

pytestmark = pytest.mark.wire

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "client.mjs")
JSON = "application/json"
CUTS = 20
PATIENCE = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = open_log(f"sqlite:///{tmp_path_factory.mktemp('log')}/streams.db")
    streams = DurableStreams(log, long_poll=1.0, reconnect=0.5)
    with serve(Starlette(routes=[Mount("/v1", streams)], lifespan=lambda _: streams.opened())) as running:
        yield running


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    return f"{server.url}/v1/{request.node.name}"


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Cutting]:
    """A way to the server on which connections break in the middle of an answer's head, body, or event."""
    async with cutting(server.port, 100, 2000) as running:
        yield running


@pytest.fixture
def bad_line(proxy: Cutting, request: pytest.FixtureRequest) -> str:
    """The same stream over that line."""
    return f"http://127.0.0.1:{proxy.port}/v1/{request.node.name}"


def test_python_creates_appends_and_reads(url: str) -> None:
    with DurableStream.create(url, content_type=JSON) as handle:
        offsets = [handle.append({"n": number}).next_offset for number in range(3)]
        handle.append({"n": 3}, seq="b")
        with pytest.raises(SeqConflictError):
            handle.append({"n": 4}, seq="a")
        assert handle.head().content_type == JSON
        with handle.stream(live=False) as response:
            assert response.read_json() == [{"n": number} for number in range(4)]
        with stream(url, offset=offsets[1], live=False) as response:
            assert response.read_json() == [{"n": 2}, {"n": 3}]
        with pytest.raises(StreamExistsError):
            DurableStream.create(url, content_type="text/plain")
        handle.delete()
    with DurableStream.create(url, content_type=JSON) as again, pytest.raises(RetentionGoneError):
        again.stream(offset=offsets[1], live=False)


@pytest.mark.parametrize("live", ["long-poll", "sse"])
async def test_python_follows_and_loses_nothing_over_a_bad_line(
    url: str, bad_line: str, proxy: Cutting, live: Any
) -> None:
    async with await AsyncDurableStream.create(url, content_type=JSON) as handle:
        appending = asyncio.create_task(appended(handle, proxy))
        assert await followed(bad_line, live) == await appending
    assert proxy.cuts >= CUTS


async def appended(handle: AsyncDurableStream, proxy: Cutting) -> list[Any]:
    """Append numbers until the line has been bad often enough, then the end; all that was appended."""
    count = 0
    async with asyncio.timeout(PATIENCE):
        while proxy.cuts < CUTS:
            await handle.append(count)
            count += 1
    proxy.enough = True
    async with browser() as client:  # this client cannot close
        headers = {"content-type": JSON, "stream-closed": "true"}
        assert (await client.post(handle.url, headers=headers, content=b'"end"')).status_code == 204
    return [*range(count), "end"]


async def followed(url: str, live: Any) -> list[Any]:
    """Follow to the end; whenever that breaks off, go on from the offset of the last event."""
    found: list[Any] = []
    offset = "-1"
    async with asyncio.timeout(PATIENCE):
        while "end" not in found:
            with suppress(httpx.TransportError):
                async with astream(url, offset=offset, live=live) as response:
                    async for event in response.iter_events("json"):
                        found += event.data
                        offset = event.next_offset
                        if "end" in found:  # this client goes on asking after it
                            break
    return found


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder with the TypeScript client."""
    why = missing()
    if why:
        pytest.skip(f"the TypeScript client was not tried: {why}")
    return installed(HERE, FILES)


async def said(node: Path, url: str, *use: str) -> Any:
    """What one use of the TypeScript client has come to."""
    process = await asyncio.create_subprocess_exec(
        "node", "client.mjs", url, *use, cwd=node, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_typescript_writes_with_claims_is_fenced_off_and_closes(url: str, node: Path) -> None:
    told = await said(node, url, "write")
    assert told["found"] == list(range(102))
    assert told["refused"] == "StaleEpochError"
    async with browser() as client:
        head = await client.head(url)
        assert head.headers["stream-closed"] == "true"
        assert head.headers["stream-next-offset"] == told["finalOffset"]


async def test_typescript_reads_bytes_as_events(url: str, node: Path) -> None:
    assert (await said(node, url, "bytes"))["found"] == list(range(256))


@pytest.mark.parametrize("live", ["long-poll", "sse"])
async def test_typescript_follows_and_loses_nothing_over_a_bad_line(
    url: str, bad_line: str, proxy: Cutting, live: str, node: Path
) -> None:
    async with await AsyncDurableStream.create(url, content_type=JSON) as handle:
        appending = asyncio.create_task(appended(handle, proxy))
        told = await said(node, bad_line, "follow", live)
        assert told["found"] == await appending
    assert proxy.cuts >= CUTS
