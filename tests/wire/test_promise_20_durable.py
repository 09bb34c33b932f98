"""Durable runs on several real processes that share one log: produced once, and read from any of them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.wire.conftest import PATIENCE, needs_curl
from tests.wire.running import Running, started

from millstream.durable.engines import open_log
from millstream.durable.runs.names import stream_of
from millstream.testing import BodyTruncated, EventReader, ReceivedEvent, WireClient, WireReply, connect

pytestmark = pytest.mark.wire

WORKERS = 2
LEASE = 0.6
"""Seconds after which a process that says nothing counts as dead, in tests of just that."""


class House:
    """Several workers behind one port."""

    def __init__(self, server: Running, folder: Path, url: str) -> None:
        self.server = server
        self.url = url
        self._journal = folder / "journal"

    def lines(self) -> Counter[str]:
        return Counter(self._journal.read_text("utf-8").splitlines() if self._journal.exists() else ())

    def wait_line(self, pattern: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = next((line for line in self.lines() if re.fullmatch(pattern, line)), None)
            if found is not None:
                return found
            assert time.monotonic() < deadline, f"{pattern!r} is not in {self.lines()}\n{self.server.log}"
            time.sleep(0.01)

    def connect(self) -> WireClient:
        return connect("127.0.0.1", self.server.port, timeout=PATIENCE)

    def connect_to_another(self, pid: int) -> WireClient:
        """A connection to any worker but one."""
        deadline = time.monotonic() + PATIENCE
        while True:
            wire = self.connect()
            found = json.loads(wire.get("/pid").rest())["pid"]
            if found != pid:
                return wire
            wire.close()
            assert time.monotonic() < deadline, f"there is no worker but {pid}"

    def get(self, path: str, **headers: str) -> tuple[WireReply, bytes]:
        with self.connect() as wire:
            reply = wire.get(path, [(name.replace("_", "-"), value) for name, value in headers.items()])
            return reply, reply.rest()


@contextmanager
def housed(
    folder: Path, *, workers: int = WORKERS, lease: float = 30.0, drain: float = 0.3, url: str = ""
) -> Iterator[House]:
    url = url or f"sqlite:///{folder}/streams.db"
    environment = {
        "JOURNAL": str(folder / "journal"),
        "DURABLE": url,
        "LEASE": str(lease),
        "DRAIN": str(drain),
    }
    command = ["millstream", "serve", "lasting:app", "--workers", str(workers)]
    with started(command, folder, environment) as server:
        server.wait_log("startup complete", times=workers)
        yield House(server, folder, url)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with housed(tmp_path_factory.mktemp("house")) as one:
        yield one


def events(data: bytes) -> list[ReceivedEvent]:
    return EventReader().feed(data)


def read_until(reply: WireReply, text: bytes) -> bytes:
    received = b""
    while text not in received:
        chunk = reply.next_chunk()
        assert chunk is not None, received
        received += chunk.data
    return received


def broken_off(reply: WireReply) -> bytes:
    with pytest.raises(BodyTruncated) as truncated:
        reply.rest()
    return truncated.value.received


# One producer


def test_a_hundred_first_requests_at_once_begin_one_run(tmp_path: Path) -> None:
    with housed(tmp_path, workers=4) as house:
        with ThreadPoolExecutor(100) as crowd:
            replies = list(crowd.map(lambda _: house.get("/answer/1?n=30&pause=0.01"), range(100)))
        assert {reply.status for reply, _ in replies} == {200}
        assert len({body for _, body in replies}) == 1
        assert [event.data for event in events(replies[0][1])][:-1] == [str(n) for n in range(30)]
        assert len({reply.headers["stream-id"] for reply, _ in replies}) == 1
        assert sum(count for line, count in house.lines().items() if "began" in line) == 1


def test_without_a_key_each_request_has_its_own_run(house: House) -> None:
    (one, body), (other, _) = house.get("/words?n=2"), house.get("/words?n=2")
    assert one.headers["stream-id"] != other.headers["stream-id"]
    assert one.headers["location"] == f"/_streams/{one.headers['stream-id']}"
    assert house.get(one.headers["location"])[1] == body


def test_a_refusal_is_told_as_without_a_log_and_to_each_who_asks(house: House) -> None:
    with ThreadPoolExecutor(8) as crowd:
        replies = list(crowd.map(lambda _: house.get("/refused"), range(8)))
    assert {reply.status for reply, _ in replies} == {404}
    assert {json.loads(body)["detail"] for _, body in replies} == {"there is no such thing"}
    assert house.lines()["refused"] == 8


def test_a_wrong_argument_is_told_before_there_is_a_run(house: House) -> None:
    reply, _ = house.get("/words?n=many")
    assert reply.status == 422
    assert "stream-id" not in reply.headers


# Coming back


def test_an_event_source_that_is_killed_again_and_again_sees_each_event_once(house: House) -> None:
    seen: list[ReceivedEvent] = []
    last, lives, chance = "", 0, random.Random(20)  # noqa: S311  a test that repeats itself
    while not seen or seen[-1].event != "end":
        with house.connect() as wire:
            reply = wire.get("/words?n=120&pause=0.005", [("last-event-id", last)] if last else [])
            assert reply.status == 200
            reader, lives = EventReader(), lives + 1
            for _ in range(chance.randint(1, 6)):
                if (chunk := reply.next_chunk()) is None:
                    break
                cut = chunk.data[: chance.randint(1, len(chunk.data))]
                seen += reader.feed(cut)
                if cut.endswith(b"\n\n"):
                    last = reader.last_id  # a browser takes an id in with the event's end, and not before
                elif seen:
                    last = max(last, seen[-1].id)
                if len(cut) < len(chunk.data):
                    break
    assert [json.loads(event.data)["n"] for event in seen[:-1]] == list(range(120))
    assert lives > 3
    assert house.get("/words?n=120", last_event_id=seen[-1].id)[0].status == 204


def test_a_client_that_leaves_before_the_first_event_knows_the_run_by_its_head(house: House) -> None:
    with house.connect() as wire:
        reply = wire.get("/words?n=3&pause=0.3")
        run = reply.headers["stream-id"]
    _, body = house.get("/words?n=3&pause=0.3", stream_id=run)
    assert [event.data for event in events(body)][:-1] == ['{"n":0}', '{"n":1}', '{"n":2}']
    assert {event.id.partition(":")[0] for event in events(body)} == {run}


@pytest.mark.parametrize("way", ["header", "query", "location"])
def test_a_program_goes_on_from_a_number_of_bytes(house: House, way: str) -> None:
    reply, whole = house.get("/writes?what=way&n=5")
    run = reply.headers["stream-id"]
    path = {
        "header": "/writes?what=way&offset=4",
        "query": f"/writes?what=way&stream={run}&offset=4",
        "location": f"/_streams/{run}?offset={4:016d}_{reply.headers['etag'][-17:-1]}",
    }[way]
    assert house.get(path, **({"stream_id": run} if way == "header" else {}))[1] == whole[4:]


def test_a_run_that_began_anew_is_not_gone_on_with(house: House) -> None:
    reply, body = house.get("/answer/7?n=3")
    delete(house.url, reply.headers["stream-id"])
    again, _ = house.get("/answer/7?n=3")
    assert again.headers["stream-id"] == reply.headers["stream-id"]
    gone, _ = house.get("/answer/7?n=3", last_event_id=events(body)[0].id)
    assert gone.status == 410


def delete(url: str, run: str) -> None:
    async def act() -> None:
        async with open_log(url) as log:
            await log.delete(stream_of(run))

    asyncio.run(act())


def test_another_actions_run_is_none_of_this_one(house: House) -> None:
    reply, _ = house.get("/private", x_user="ann")
    assert house.get("/words?n=1", stream_id=reply.headers["stream-id"])[0].status == 404
    assert house.get(f"/_streams/{'x' * 30}")[0].status == 404
    assert house.get("/_streams/.secret")[0].status == 404


# Leaving, stopping


def test_leaving_does_not_end_a_run_and_it_commits(house: House) -> None:
    with house.connect() as wire:
        reply = wire.get("/writes?what=left&n=4&pause=0.1")
        assert reply.next_chunk() is not None
        run = reply.headers["stream-id"]
    house.wait_line("left committed")
    house.wait_line("left ended completed")
    assert house.get(f"/_streams/{run}")[1] == b"0\n1\n2\n3\n"


def test_a_run_is_stopped_from_another_process_within_a_second(house: House) -> None:
    with house.connect() as reader:
        reply = reader.get("/writes?what=stopped&n=1000&pause=0.05")
        assert reply.next_chunk() is not None
        pid = int(house.wait_line(r"stopped began in \d+").split()[-1])
        with house.connect_to_another(pid) as other:
            began = time.monotonic()
            answer = other.get(f"{reply.headers['location']}/stop", method="POST")
            assert answer.status == 202
            house.wait_line("stopped ended stopped")
            assert time.monotonic() - began < 1
        assert broken_off(reply).endswith(b'{"goodbye":{"reason":"stopped"}}\n')
    assert house.lines()["stopped rolled back"] == 1


def test_nobody_writes_into_a_run_or_deletes_it(house: House) -> None:
    _, whole = house.get("/writes?what=safe")
    location = house.get("/writes?what=safe")[0].headers["location"]
    with house.connect() as wire:
        text = [("content-type", "application/x-ndjson")]
        for method, body in (("POST", b"1"), ("PUT", b""), ("DELETE", b"")):
            reply = wire.get(location, text, method=method, body=body)
            assert (method, reply.status) == (method, 403)
            reply.rest()
    assert house.get(location)[1] == whole


# Settling


def test_a_commit_that_fails_leaves_no_run_that_looks_complete(house: House) -> None:
    with house.connect() as wire:
        reply = wire.get("/writes?what=full&fails=true")
        assert b'{"error":' in broken_off(reply)
    assert house.wait_line("full rolled back")
    assert "full committed" not in house.lines()
    with house.connect() as wire:
        assert b'{"error":' in broken_off(wire.get(reply.headers["location"]))


# Dying


def test_a_killed_producer_never_leaves_a_clean_looking_half(tmp_path: Path) -> None:
    with housed(tmp_path, lease=LEASE) as house, house.connect() as first:
        reply = first.get("/answer/1?n=10000&pause=0.01")
        read_until(reply, b"data: 5")
        pid = int(house.wait_line(r"answer 1 began in \d+").split()[-1])
        with house.connect_to_another(pid) as other:
            read = other.get("/answer/1")
            received = read_until(read, b"data: 5")
            os.kill(pid, signal.SIGKILL)
            received += broken_off(read)
        seen = events(received)
        assert [int(event.data) for event in seen[:-1]] == list(range(len(seen) - 1))
        assert seen[-1].event == "error"
        assert "died" in seen[-1].data
        reader = EventReader()
        reader.feed(received)
        assert house.get("/answer/1", last_event_id=reader.last_id)[0].status == 204
        with pytest.raises(BodyTruncated):
            house.get(reply.headers["location"])


def test_a_run_that_may_is_produced_again_to_the_byte(tmp_path: Path) -> None:
    with housed(tmp_path, lease=LEASE) as house, house.connect() as first:
        reply = first.get("/steady?n=60&pause=0.02")
        read_until(reply, b'{"n":9}')
        pid = int(house.wait_line(r"steady began in \d+").split()[-1])
        with house.connect_to_another(pid) as other:
            read = other.get(reply.headers["location"])
            received = read_until(read, b'{"n":9}')
            os.kill(pid, signal.SIGKILL)
            received += read.rest()
        assert received == b"".join(b'{"n":%d}\n' % n for n in range(60))
        assert sum(count for line, count in house.lines().items() if "began" in line) == 2


def test_a_process_that_slept_too_long_writes_nothing_more(tmp_path: Path) -> None:
    with housed(tmp_path, lease=LEASE) as house, house.connect() as first:
        reply = first.get("/writes?what=zombie&n=10000&pause=0.02")
        read_until(reply, b"3\n")
        pid = int(house.wait_line(r"zombie began in \d+").split()[-1])
        with house.connect_to_another(pid) as other:
            read = other.get(reply.headers["location"])
            os.kill(pid, signal.SIGSTOP)
            whole = broken_off(read)
            os.kill(pid, signal.SIGCONT)
        assert b'{"error":' in whole
        house.wait_line("zombie ended revoked")
        house.wait_line("zombie rolled back")
        with house.connect() as later:
            assert broken_off(later.get(reply.headers["location"])) == whole


@pytest.mark.parametrize("path", ["/words?n=1000&pause=0.05", "/writes?what=off&n=1000&pause=0.05"])
def test_a_shutdown_ends_a_run_visibly_and_for_good(tmp_path: Path, path: str) -> None:
    with housed(tmp_path) as house:
        with house.connect() as wire:
            reply = wire.get(path)
            read_until(reply, b"3")
            run = reply.headers["stream-id"]
            house.server.process.terminate()
            broken_off(reply)
        house.server.process.wait(PATIENCE)
        assert house.wait_line(".* ended shutdown")
    with housed(tmp_path) as house, house.connect() as wire:
        assert b"shutdown" in broken_off(wire.get(f"/_streams/{run}"))


def test_a_rolling_deploy_hands_a_run_over(tmp_path: Path) -> None:
    with housed(tmp_path, lease=LEASE) as house, house.connect() as wire:
        reply = wire.get("/steady?n=40&pause=0.05")
        received = read_until(reply, b'{"n":5}')
        house.server.process.terminate()
        received += broken_off(reply)
        house.server.process.wait(PATIENCE)
    run = reply.headers["stream-id"]
    with housed(tmp_path, lease=LEASE) as house:
        _, rest = house.get(f"/steady?n=40&stream={run}&offset={len(received)}")
        assert received + rest == b"".join(b'{"n":%d}\n' % n for n in range(40))


# Downloads


@needs_curl
def test_curl_resumes_a_download_to_the_same_bytes(house: House, tmp_path: Path) -> None:
    _, whole = house.get("/table/curl?n=20000")
    part = tmp_path / "part.csv"
    part.write_bytes(whole[:100_001])
    url = f"http://127.0.0.1:{house.server.port}/table/curl?n=20000"
    subprocess.run(["curl", "-sSf", "-C", "-", "-o", str(part), url], check=True)  # noqa: S603, S607  our own words
    assert part.read_bytes() == whole
    assert house.lines()["table curl ended completed"] == 1


@needs_curl
def test_curl_resumes_what_is_still_being_produced(house: House, tmp_path: Path) -> None:
    part = tmp_path / "part.csv"
    path = "/table/live?n=3000&pause=0.03"
    with house.connect() as wire:
        part.write_bytes(read_until(wire.get(path), b"row 500 "))
    url = f"http://127.0.0.1:{house.server.port}{path}"
    subprocess.run(["curl", "-sSf", "-C", "-", "-o", str(part), url], check=True)  # noqa: S603, S607  our own words
    assert part.read_bytes() == house.get(path)[1]


def test_a_browsers_resumed_download_finds_its_run_by_the_entity_tag(house: House) -> None:
    reply, whole = house.get("/writes?what=browser&n=50")
    etag = reply.headers["etag"]
    rest, body = house.get("/writes?what=browser&n=50", range="bytes=40-", if_range=etag)
    assert (rest.status, body) == (206, whole[40:])
    assert rest.headers["content-range"] == f"bytes 40-{len(whole) - 1}/{len(whole)}"
    other, body = house.get("/writes?what=browser&n=50", range="bytes=40-", if_range=etag.replace(".", ".x"))
    assert (other.status, body) == (200, whole)
    assert house.get(reply.headers["location"], range=f"bytes={len(whole)}-")[0].status == 416


# Access


def test_access_is_asked_at_each_read(house: House) -> None:
    reply, _ = house.get("/private", x_user="ann")
    run = reply.headers["stream-id"]
    for path in (f"/_streams/{run}", f"/_streams/{run}?offset=-1", f"/private?stream={run}"):
        assert house.get(path, x_user="ann")[1] == b"0\n1\n2\n"
        assert house.get(path, x_user="bob")[0].status == 403
    with house.connect() as wire:
        assert wire.get(f"/_streams/{run}/stop", [("x-user", "bob")], method="POST").status == 403


def test_many_readers_on_all_processes_get_the_same_bytes(house: House) -> None:
    with ExitStack() as crowd, house.connect() as first:
        begun = first.get("/answer/99?n=40&pause=0.02")
        replies = []
        for _ in range(30):
            wire = crowd.enter_context(house.connect())
            replies.append(wire.get("/answer/99"))
        bodies = [reply.rest() for reply in [begun, *replies]]
    assert len(set(bodies)) == 1
    assert [event.data for event in events(bodies[0])][:-1] == [str(n) for n in range(40)]
