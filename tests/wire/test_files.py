"""Files: what is returned as a path or an open file is sent as one, whole or by pieces."""

from __future__ import annotations

import io
import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from tests.wire.conftest import Probe, needs_curl, watched

from millstream import Millstream, Reason, TGController, expose, response
from millstream.protocol.lifecycle import State
from millstream.testing import BodyTruncated, Framing, Server, WireClient, WireReply, connect

pytestmark = pytest.mark.wire

CONTENT = bytes(range(256)) * 4096  # 1 MiB, no two neighbours alike
OPENED: list[Any] = []


class Sync(TGController):
    folder = Path()

    @expose()
    def path(self, name: str) -> Path:
        watched()
        return self.folder / name

    @expose()
    def file(self, name: str) -> Any:
        watched()
        OPENED.append((self.folder / name).open("rb"))
        return OPENED[-1]

    @expose()
    def rest(self) -> Any:
        file = (self.folder / "data.bin").open("rb")
        file.seek(1000)
        return file

    @expose(content_type="text/csv; charset=latin-1", download="{name}.csv")
    def named(self, name: str) -> io.BytesIO:
        return io.BytesIO(name.encode("latin-1"))

    @expose()
    def made(self) -> Any:
        file = NamedTemporaryFile()  # noqa: SIM115  it is closed with the response
        OPENED.append(file)
        file.write(b"made here")
        file.seek(0)
        return file

    @expose()
    def tagged(self) -> Path:
        response.headers["etag"] = '"mine"'
        response.headers["cache-control"] = "max-age=60"
        return self.folder / "data.bin"

    @expose()
    def pipe(self) -> Any:
        reading, writing = os.pipe()
        os.write(writing, b"from a pipe")
        os.close(writing)
        return os.fdopen(reading, "rb")


class Async(TGController):
    folder = Path()

    @expose()
    async def path(self, name: str) -> Path:
        watched()
        return self.folder / name

    @expose()
    async def file(self, name: str) -> Any:
        watched()
        OPENED.append((self.folder / name).open("rb"))
        return OPENED[-1]


class Root(TGController):
    sync = Sync()
    aio = Async()


app = Millstream(Root())


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("files")
    (made / "data.bin").write_bytes(CONTENT)
    (made / "empty.txt").touch()
    (made / "table.csv").write_text("a\n" + "1\n" * 1000)
    (made / "packed.csv.gz").write_bytes(b"\x1f\x8b not really")
    (made / "inner").mkdir()
    os.mkfifo(made / "fifo")
    Sync.folder = Async.folder = made
    yield made
    assert all(each.closed for each in OPENED)


def whole(
    wire: WireClient, path: str, *headers: tuple[str, str], method: str = "GET"
) -> tuple[WireReply, bytes]:
    reply = wire.get(path, headers, method=method)
    return reply, reply.rest()


@pytest.mark.parametrize("what", ["path", "file"])
def test_a_file_is_sent_with_its_length_type_and_validators(
    wire: WireClient, kind: str, what: str, probe: Probe
) -> None:
    reply, body = whole(wire, f"/{kind}/{what}?name=data.bin", *probe.headers)
    assert (reply.status, reply.framing, body) == (200, Framing.LENGTH, CONTENT)
    assert reply.headers["content-length"] == str(len(CONTENT))
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["etag"].startswith('"')
    assert reply.headers["last-modified"].endswith("GMT")
    assert "cache-control" not in reply.headers
    assert probe.wait_ended().state is State.DELIVERED


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("table.csv", "text/csv; charset=utf-8"),
        ("empty.txt", "text/plain; charset=utf-8"),
        ("packed.csv.gz", "application/gzip"),
    ],
)
def test_the_name_tells_the_type(wire: WireClient, name: str, content_type: str, probe: Probe) -> None:
    reply, _ = whole(wire, f"/sync/path?name={name}", *probe.headers)
    assert reply.headers["content-type"] == content_type


def test_an_empty_file_is_an_empty_body(wire: WireClient, probe: Probe) -> None:
    reply, body = whole(wire, "/sync/path?name=empty.txt", *probe.headers)
    assert (reply.status, reply.headers["content-length"], body) == (200, "0", b"")


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-", 1000, len(CONTENT)),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT)),
        ("bytes=300000-99999999", 300000, len(CONTENT)),
    ],
)
def test_a_range_is_sent_alone(server: Server, wanted: str, start: int, stop: int, probe: Probe) -> None:
    for kind, what in itertools.product(("sync", "aio"), ("path", "file")):
        with connect(server.host, server.port) as wire:
            path = f"/{kind}/{what}?name=data.bin"
            reply, body = whole(wire, path, ("range", wanted), *probe.headers)
        assert (reply.status, body) == (206, CONTENT[start:stop])
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
        assert reply.headers["content-length"] == str(stop - start)


def test_a_range_beyond_the_end_is_a_416_that_tells_the_size(wire: WireClient, probe: Probe) -> None:
    reply, _ = whole(wire, "/sync/path?name=data.bin", ("range", f"bytes={len(CONTENT)}-"), *probe.headers)
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=5-1", "bytes=-", "nonsense"])
def test_what_is_no_single_range_is_answered_by_the_whole(
    wire: WireClient, wanted: str, probe: Probe
) -> None:
    reply, body = whole(wire, "/sync/path?name=data.bin", ("range", wanted), *probe.headers)
    assert (reply.status, len(body)) == (200, len(CONTENT))


def test_a_download_can_be_gone_on_with_only_if_it_is_still_the_same(wire: WireClient, probe: Probe) -> None:
    path = "/sync/path?name=data.bin"
    etag = whole(wire, path, *probe.headers)[0].headers["etag"]
    for validator, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200)):
        reply, _ = whole(wire, path, ("range", "bytes=10-"), ("if-range", validator), *probe.headers)
        assert reply.status == status


def test_a_client_that_has_it_is_told_so(wire: WireClient, kind: str, probe: Probe) -> None:
    path = f"/{kind}/path?name=data.bin"
    first, _ = whole(wire, path, *probe.headers)
    for name, value in (
        ("if-none-match", first.headers["etag"]),
        ("if-modified-since", first.headers["last-modified"]),
    ):
        reply, body = whole(wire, path, (name, value), *probe.headers)
        assert (reply.status, body, reply.headers["etag"]) == (304, b"", first.headers["etag"])
        assert "content-type" not in reply.headers


def test_a_client_that_takes_it_for_another_is_refused(wire: WireClient, probe: Probe) -> None:
    for name, value in (("if-match", '"other"'), ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT")):
        reply, _ = whole(wire, "/sync/path?name=data.bin", (name, value), *probe.headers)
        assert reply.status == 412


def test_head_tells_what_get_would(wire: WireClient, kind: str, probe: Probe) -> None:
    path = f"/{kind}/path?name=data.bin"
    got, told = whole(wire, path, *probe.headers)[0], whole(wire, path, *probe.headers, method="HEAD")
    dropped = {"date"}
    assert {k: v for k, v in told[0].headers.items() if k not in dropped} == {
        k: v for k, v in got.headers.items() if k not in dropped
    }
    assert told[1] == b""


def test_an_open_file_is_sent_from_where_it_stands(wire: WireClient) -> None:
    assert whole(wire, "/sync/rest")[1] == CONTENT[1000:]
    assert whole(wire, "/sync/rest", ("range", "bytes=0-9"))[1] == CONTENT[1000:1010]


def test_a_file_in_memory_has_a_tag_of_its_content_and_may_be_saved_under_a_name(wire: WireClient) -> None:
    reply, body = whole(wire, "/sync/named?name=s%C3%BC%C3%9F")
    assert (body, reply.headers["content-type"]) == ("süß".encode("latin-1"), "text/csv; charset=latin-1")
    assert (
        reply.headers["content-disposition"]
        == "attachment; filename=\"su.csv\"; filename*=UTF-8''s%C3%BC%C3%9F.csv"
    )
    etag = reply.headers["etag"]
    assert whole(wire, "/sync/named?name=s%C3%BC%C3%9F", ("if-none-match", etag))[0].status == 304
    assert whole(wire, "/sync/named?name=x", ("if-none-match", etag))[0].status == 200


def test_a_temporary_file_is_sent_and_closed(wire: WireClient) -> None:
    assert whole(wire, "/sync/made")[1] == b"made here"


def test_what_cannot_be_measured_is_sent_to_its_end(wire: WireClient) -> None:
    reply, body = whole(wire, "/sync/pipe", ("range", "bytes=0-1"))
    assert (reply.status, reply.framing, body) == (200, Framing.CHUNKED, b"from a pipe")


def test_the_authors_own_tag_is_the_one_that_counts(wire: WireClient) -> None:
    reply, body = whole(wire, "/sync/tagged", ("if-none-match", '"mine"'))
    assert (reply.status, body, reply.headers["cache-control"]) == (304, b"", "max-age=60")


@pytest.mark.parametrize(
    ("name", "status"),
    [("missing", 404), ("data.bin/below", 404), ("%00", 404), ("inner", 500), ("fifo", 500)],
)
def test_what_is_no_file_is_an_honest_error(
    wire: WireClient, kind: str, name: str, status: int, probe: Probe
) -> None:
    reply, _ = whole(wire, f"/{kind}/path?name={name}", *probe.headers)
    assert reply.status == status
    assert probe.wait_ended().reason is Reason.FAILED


def test_a_device_is_not_read_for_ever(wire: WireClient, probe: Probe) -> None:
    assert whole(wire, "/sync/path?name=/dev/zero", *probe.headers)[0].status == 500


def test_a_packed_answer_means_the_same_and_has_no_parts(wire: WireClient, probe: Probe) -> None:
    path, accepts = "/sync/path?name=table.csv", ("accept-encoding", "gzip")
    plain, packed = whole(wire, path, *probe.headers)[0], whole(wire, path, accepts, *probe.headers)[0]
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    assert "accept-ranges" not in packed.headers
    part, body = whole(wire, path, accepts, ("range", "bytes=0-3"), *probe.headers)
    assert (part.status, body, "content-encoding" in part.headers) == (206, b"a\n1\n", False)
    known = whole(wire, path, accepts, ("if-none-match", packed.headers["etag"]), *probe.headers)[0]
    assert (known.status, known.headers["etag"]) == (304, packed.headers["etag"])
    assert known.headers["vary"] == "Accept-Encoding"


def big(folder: Path, name: str) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    return path


def slow_reader(server: Server, path: str, probe: Probe) -> tuple[WireClient, WireReply]:
    """A client that has read the head, and a server that waits for it."""
    wire = connect(server.host, server.port, receive_buffer=4096)
    return wire, wire.get(path, probe.headers)


def test_a_file_that_shrinks_breaks_the_body_off(
    server: Server, kind: str, folder: Path, probe: Probe
) -> None:
    path = big(folder, f"shrinks-{kind}")
    wire, reply = slow_reader(server, f"/{kind}/path?name={path.name}", probe)
    with wire:
        os.truncate(path, 1000)
        with pytest.raises(BodyTruncated):
            reply.rest()
    assert probe.wait_ended().reason is Reason.FAILED
    path.unlink()


def test_a_file_that_grows_is_sent_as_long_as_it_was(server: Server, folder: Path, probe: Probe) -> None:
    path = folder / "grows"
    path.write_bytes(CONTENT * 8)
    wire, reply = slow_reader(server, "/sync/path?name=grows", probe)
    with wire:
        with path.open("ab") as file:
            file.write(b"more")
        assert reply.rest() == CONTENT * 8


def test_a_client_that_leaves_closes_the_file(server: Server, kind: str, folder: Path, probe: Probe) -> None:
    path = big(folder, f"left-{kind}")
    wire, _ = slow_reader(server, f"/{kind}/file?name={path.name}", probe)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.close()
    assert probe.wait_ended().reason is Reason.CLIENT_GONE
    assert OPENED[-1].closed
    path.unlink()


@needs_curl
def test_curl_goes_on_where_it_was_broken_off(server: Server, tmp_path: Path, probe: Probe) -> None:
    target = tmp_path / "data.bin"
    target.write_bytes(CONTENT[:300_000])
    command = ["curl", "-sSf", "-C", "-", "-o", str(target), "-H", f"x-probe: {probe.headers[0][1]}"]
    subprocess.run([*command, f"{server.url}/sync/path?name=data.bin"], check=True, timeout=20)  # noqa: S603
    assert target.read_bytes() == CONTENT
