"""What a durable action's author and its readers see, in one process and without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from millstream import Millstream, Settings, TGController, abort, expose, redirect, request, response, stream
from millstream.durable.runs import following
from millstream.durable.runs.declared import Durable
from millstream.errors import ConfigurationError, HTTPError
from millstream.protocol.events import Reason
from millstream.testing import BodyTruncated, Client, Reply, StreamReply


class Root(TGController):
    """Actions whose producers wait for the test where they say so."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls: list[str] = []
        self.ends: list[Reason] = []
        self.readers = {"ann"}

    def _before(self, *_: Any, **__: Any) -> None:
        if request.headers.get("x-user") == "nobody":
            abort(401)
        self.calls.append("before")

    def _note(self, what: str) -> None:
        self.calls.append(what)
        stream.on_end(lambda reason, _: self.ends.append(reason))

    @expose("sse", durable=True)
    async def words(self) -> AsyncIterator[str]:
        self._note("words")
        yield "one"
        await self.gate.wait()
        yield "two"

    @expose("ndjson", durable=Durable(key="lines-{name}"))
    @expose("csv")
    @expose("json")
    async def lines(self, name: str = "a", n: int = 3) -> AsyncIterator[dict[str, int]]:
        self._note("lines")
        for number in range(n):
            yield {"n": number}
        await self.gate.wait()

    @expose("ndjson", durable=Durable(key=lambda name: name.lower()))
    def by_function(self, name: str) -> list[str]:
        self._note("by_function")
        return [name]

    @expose("ndjson", durable=Durable(key=lambda: 7))  # type: ignore[arg-type,return-value]  # a mistake
    def by_number(self) -> list[int]:
        return [1]

    @expose("ndjson", durable=Durable(access=lambda _request, _run: request.headers.get("x-user") == "ann"))
    async def private(self) -> AsyncIterator[int]:
        yield 1
        await self.gate.wait()

    @expose("ndjson", durable=Durable(key="live"))
    async def revocable(self) -> AsyncIterator[int]:
        yield 1
        await self.gate.wait()

    @expose(content_type="text/plain", durable=Durable(key="raw", max_bytes=1000))
    async def trimmed(self) -> AsyncIterator[bytes]:
        for number in range(400):
            yield b"%09d\n" % number
            if not number % 20:
                await asyncio.sleep(0.06)

    @expose("ndjson", durable=True, download="numbers.ndjson")
    async def named(self) -> AsyncIterator[str]:
        response.headers["X-Author"] = "says"
        response.set_cookie("seen", "yes")
        yield stream.id

    @expose("ndjson", durable=True)
    def odd(self, how: str) -> Any:
        kinds: dict[str, Callable[[], Any]] = {
            "nothing": lambda: None,
            "redirect": lambda: redirect("/elsewhere"),
            "abort": lambda: abort(404),
            "crash": lambda: 1 // 0,
            "document": lambda: {"a": 1},
            "foreign": lambda: StreamingResponse(iter([b"a", b"b"]), headers={"X-Own": "1"}),
            "late": late,
        }
        return kinds[how]()

    @expose("json", durable=True)
    async def posted(self, text: str) -> AsyncIterator[str]:
        yield text
        await self.gate.wait()
        yield (await request.body()).decode()

    @expose("ndjson", durable=True, max_streams_per_client=1)
    async def few(self) -> AsyncIterator[int]:
        yield 1
        await self.gate.wait()


def late() -> Iterator[int]:
    yield 1
    raise HTTPError(404)


@asynccontextmanager
async def visiting(root: Root | None = None, **settings: Any) -> AsyncIterator[tuple[Client, Root]]:
    root = Root() if root is None else root
    app = Millstream(root, Settings(durable_url="memory:", drain_timeout=0.1, **settings))
    async with Client(app, raise_app_errors=False, require_no_leaks=True) as client:
        yield client, root
        root.gate.set()


def ids(reply: Reply) -> list[str]:
    return [line.removeprefix("id: ") for line in reply.text.splitlines() if line.startswith("id: ")]


async def test_a_later_reader_gets_the_same_bytes_at_the_runs_own_url() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        first = await client.get("/words")
        again = await client.get(first.headers["location"])
        assert again.body == first.body
        assert root.calls.count("words") == 1
    assert root.ends == [Reason.COMPLETED]


async def test_a_bare_event_source_goes_on_with_its_run_and_then_stops() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        whole = await client.get("/words")
        for number, last in enumerate(ids(whole)[:-1]):
            rest = await client.get("/words", headers={"last-event-id": last})
            assert whole.text.endswith(rest.text)
            assert len(ids(rest)) == len(ids(whole)) - number - 1
        assert (await client.get("/words", headers={"last-event-id": ids(whole)[-1]})).status == 204
        assert root.calls.count("words") == 1


async def test_a_reader_sees_items_as_they_come_and_leaving_ends_nothing() -> None:
    async with visiting() as (client, root):
        async with client.stream("GET", "/words") as reader:
            event = await reader.next_event()
            assert event is not None
            assert event.data == "one"
            run = reader.headers["stream-id"]
            await reader.disconnect()
        root.gate.set()
        later = await client.get(f"/words?stream={run}")
        assert "data: two" in later.text
    assert root.ends == [Reason.COMPLETED]


async def test_what_runs_on_without_readers_knows_no_client_that_could_leave() -> None:
    async with visiting() as (client, root):
        async with client.stream("GET", "/lines") as reader:
            await reader.disconnect()
        root.gate.set()
        assert (await client.get("/lines")).body == b'{"n":0}\n{"n":1}\n{"n":2}\n'
        assert root.calls.count("lines") == 1


async def test_each_format_of_an_action_has_runs_of_its_own() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        assert (await client.get("/lines.csv")).text == "n\r\n0\r\n1\r\n2\r\n"
        as_json = await client.get("/lines.json")
        assert as_json.json() == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert as_json.headers["content-type"] == "application/json"
        own = await client.get(as_json.headers["location"])
        assert (own.body, own.headers["content-type"]) == (as_json.body, "application/json")
        run = as_json.headers["stream-id"]
        assert (await client.get("/lines", headers={"stream-id": run})).body == as_json.body
        assert root.calls.count("lines") == 2


async def test_a_key_may_be_a_function_of_the_arguments() -> None:
    async with visiting() as (client, root):
        assert (await client.get("/by_function/Ann")).body == b'"Ann"\n'
        assert (await client.get("/by_function/ANN")).body == b'"Ann"\n'
        assert root.calls.count("by_function") == 1


async def test_a_key_that_is_no_text_is_the_authors_mistake() -> None:
    async with visiting() as (client, _):
        assert (await client.get("/by_number")).status == 500


async def test_whoever_may_not_ask_begins_no_run() -> None:
    async with visiting() as (client, root):
        assert (await client.get("/lines", headers={"x-user": "nobody"})).status == 401
        assert root.calls == []


async def test_the_hooks_of_a_reader_run_and_once_for_each() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        first = await client.get("/lines")
        await client.get("/lines")
        assert (await client.get("/lines", headers={"x-user": "nobody"})).status == 401
        await client.get("/lines", headers={"stream-id": first.headers["stream-id"]})
        assert root.calls == ["before", "lines", "before", "before"]


@pytest.mark.parametrize(
    ("how", "status", "body"),
    [
        ("nothing", 204, b""),
        ("redirect", 302, b""),
        ("abort", 404, None),
        ("crash", 500, None),
        ("late", 200, None),
        ("document", 200, b'{"a":1}\n'),
        ("foreign", 200, b"ab"),
    ],
)
async def test_an_answer_that_is_no_stream_is_told_as_without_a_log(
    how: str, status: int, body: bytes | None
) -> None:
    async with visiting() as (client, _):
        async with client.stream("GET", f"/odd/{how}") as reply:
            assert reply.status == status
            assert ("location" in reply.headers) == (status in {200, 302})
            if how == "late":
                with pytest.raises(BodyTruncated):
                    await reply.rest()
            elif body is not None:
                assert await reply.rest() == body
        if status != 200:
            assert "stream-id" not in reply.headers


async def test_an_item_before_a_failure_is_recorded_with_it() -> None:
    async with visiting() as (client, _):
        async with client.stream("GET", "/odd/late") as reply:
            with pytest.raises(BodyTruncated) as truncated:
                await reply.rest()
        async with client.stream("GET", reply.headers["location"]) as again:
            with pytest.raises(BodyTruncated) as truncated_again:
                await again.rest()
        assert truncated.value.received == truncated_again.value.received
        assert truncated.value.received.startswith(b'1\n{"error":')


async def test_what_the_author_says_of_the_response_is_told_to_who_began_it() -> None:
    async with visiting() as (client, _):
        first = await client.get("/named")
        assert first.headers["x-author"] == "says"
        assert first.headers["set-cookie"].startswith("seen=yes")
        assert first.headers["content-disposition"] == 'attachment; filename="numbers.ndjson"'
        assert json.loads(first.body) == first.headers["stream-id"]
        again = await client.get("/named", headers={"stream-id": first.headers["stream-id"]})
        assert again.headers["content-disposition"] == 'attachment; filename="numbers.ndjson"'
        assert "set-cookie" not in again.headers


async def test_nobody_keeps_what_somebody_else_may_not_read() -> None:
    async with visiting() as (client, _):
        first = await client.get("/named")
        assert first.headers["cache-control"] == "private, no-store, no-transform"


async def test_a_head_begins_no_run_and_describes_one() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        assert (await client.head("/lines")).status == 200
        assert "stream-id" not in (await client.head("/lines")).headers
        whole = await client.get("/lines")
        for url in (whole.headers["location"], f"/lines?stream={whole.headers['stream-id']}"):
            described = await client.head(url)
            assert described.headers["content-length"] == str(len(whole.body))
            assert described.headers["etag"] == whole.headers["etag"]
            assert described.body == b""


async def test_a_part_of_a_run_that_goes_on_is_answered_when_it_has_ended() -> None:
    async with visiting(first_item_timeout=0.05) as (client, root):
        async with client.stream("GET", "/lines") as reader:
            await reader.next_chunk()
            waiting = asyncio.ensure_future(client.get("/lines", headers={"range": "bytes=8-"}))
            done, _ = await asyncio.wait((waiting,), timeout=0.2)
            assert not done
            root.gate.set()
            part = await waiting
        assert (part.status, part.body) == (206, b'{"n":1}\n{"n":2}\n')
        assert part.headers["content-range"] == "bytes 8-23/24"


async def test_a_part_of_another_run_is_not_part_of_a_fresh_one() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        for headers in ({"range": "bytes=8-"}, {"range": "bytes=8-", "if-range": f'"{"x" * 30}.ab"'}):
            reply = await client.get("/words", headers=headers)
            assert (reply.status, reply.text[:6]) == (200, ": open")


async def test_a_range_that_means_nothing_is_answered_by_all_of_it() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        for header in ("bytes=x", "lines=1-2", "bytes=0-1,3-4"):
            assert (await client.get("/lines", headers={"range": header})).status == 200
        assert (await client.get("/lines", headers={"range": "bytes=99-"})).status == 416


async def test_a_reader_that_compresses_gets_the_same_and_a_part_is_never_compressed() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        url = "/lines?n=2000"
        plain = await client.get(url)
        packed = await client.get(url, headers={"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["etag"].startswith("W/")
        part = await client.get(url, headers={"accept-encoding": "gzip", "range": "bytes=100-"})
        assert (part.status, part.body) == (206, plain.body[100:])
        assert "content-encoding" not in part.headers


async def test_what_was_trimmed_is_gone_and_never_left_out_silently() -> None:
    async with visiting() as (client, _):
        async with client.stream("GET", "/trimmed") as reader:
            await reader.disconnect()
        run = reader.headers["stream-id"]
        async with client.stream("GET", f"/_streams/{run}?live=long-poll&offset=now") as waiting:
            await waiting.rest()
        while (await client.get("/trimmed?offset=3990")).status != 200:
            await asyncio.sleep(0.02)
        late = await client.get("/trimmed")
        assert late.status == 410
        assert ".run" not in late.json()["detail"]  # the name that a run has in the log
        assert (await client.get("/trimmed?offset=10")).status == 410
        assert (await client.get("/trimmed?offset=3980")).body == b"000000398\n000000399\n"


@pytest.mark.parametrize("offset", ["99999", "-2", "x", "now!", "1" * 40])
async def test_a_place_that_is_none_is_told_so(offset: str) -> None:
    async with visiting() as (client, root):
        root.gate.set()
        await client.get("/lines")
        assert (await client.get(f"/lines?offset={offset}")).status in {400, 410}


async def test_who_may_not_read_is_told_at_each_url_and_who_began_is_not_asked() -> None:
    async with visiting() as (client, root):
        root.gate.set()
        run = (await client.get("/private", headers={"x-user": "bob"})).headers["stream-id"]
        for url in (f"/private?stream={run}", f"/_streams/{run}", f"/_streams/{run}?offset=-1"):
            assert (await client.get(url, headers={"x-user": "bob"})).status == 403
            assert (await client.get(url, headers={"x-user": "ann"})).body == b"1\n"


async def test_a_reader_whose_permission_goes_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RECHECK", 0.02)
    async with (
        visiting() as (client, _),
        client.stream("GET", "/private", headers={"x-user": "bob"}) as reader,
    ):
        assert await reader.next_chunk() == b"1\n"
        with pytest.raises(BodyTruncated):
            await reader.rest()


async def test_a_form_goes_with_its_run() -> None:
    async with visiting() as (client, root):
        async with client.stream("POST", "/posted", json={"text": "a"}) as reader:
            await reader.next_chunk()
            await reader.disconnect()
        root.gate.set()
        whole = await client.get(reader.headers["location"])
        assert [json.loads(text) if text[0] == "{" else text for text in whole.json()] == ["a", {"text": "a"}]


async def test_a_cap_of_an_action_counts_its_runs_and_not_their_readers() -> None:
    async with visiting() as (client, root), client.stream("GET", "/few") as reader:
        await reader.next_chunk()
        assert (await client.get("/few")).status == 429
        async with client.stream("GET", reader.headers["location"]) as other:
            assert await other.next_chunk() == b"1\n"
            root.gate.set()
            await other.rest()


async def test_a_run_is_stopped_at_its_url() -> None:
    async with visiting() as (client, root):
        async with client.stream("GET", "/words") as reader:
            await reader.next_event()
            assert (await client.post(f"{reader.headers['location']}/stop")).status == 202
            with pytest.raises(BodyTruncated) as truncated:
                await reader.rest()
        assert b'data: {"reason":"stopped"}' in truncated.value.received
    assert root.ends == [Reason.STOPPED]


async def test_an_event_source_is_told_that_a_run_that_failed_has_no_more() -> None:
    async with visiting() as (client, _):
        async with client.stream("GET", "/words") as reader:
            await reader.next_event()
            await client.post(f"{reader.headers['location']}/stop")
            with pytest.raises(BodyTruncated) as truncated:
                await reader.rest()
        last = truncated.value.received.decode().rpartition("id: ")[2].strip()
        assert (await client.get("/words", headers={"last-event-id": last})).status == 204


async def test_silence_is_broken_in_events_and_in_nothing_else() -> None:
    async with visiting(keep_alive=0.02) as (client, root):
        async with client.stream("GET", "/words") as events, client.stream("GET", "/lines") as lines:
            seen = b""
            while b"keep-alive" not in seen:
                seen += await piece(events)
            root.gate.set()
            assert await lines.rest() == b'{"n":0}\n{"n":1}\n{"n":2}\n'
            run = events.headers["stream-id"]
            await events.rest()
        assert "keep-alive" not in (await client.get(f"/_streams/{run}")).text


async def piece(reply: StreamReply) -> bytes:
    data = await reply.next_chunk()
    assert data is not None
    return data


@pytest.mark.parametrize(
    ("durable", "settings", "told"),
    [
        (True, {}, "set durable_url"),
        ("yes", {"durable_url": "memory:"}, "must be True"),
        (Durable(key="a-{nothing}"), {"durable_url": "memory:"}, "placeholder 'nothing'"),
        (Durable(key="a-{name!r}"), {"durable_url": "memory:"}, "placeholder 'name'"),
        (Durable(key="a-{name"), {"durable_url": "memory:"}, "cannot be read"),
        (True, {"durable_url": "carrier-pigeon:"}, "must be one of memory, sqlite"),
        (True, {"durable_url": "sqlite:"}, "names no file"),
    ],
)
def test_what_cannot_be_durable_is_found_at_start_up(durable: Any, settings: Any, told: str) -> None:
    class Wrong(TGController):
        @expose("ndjson", durable=durable)
        def lines(self, name: str = "") -> list[str]:
            return [name]

    with pytest.raises(ConfigurationError, match=told):
        Millstream(Wrong(), Settings(**settings))
