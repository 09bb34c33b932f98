"""Items that are streams of their own, over the wire: members of an archive, parts of a message."""

from __future__ import annotations

import email
import io
import zipfile
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.wire.conftest import Probe, here

from millstream import Csv, Member, Millstream, Part, TGController, expose
from millstream.testing import BodyTruncated, WireClient

pytestmark = pytest.mark.wire


class Sync(TGController):
    @expose("zip")
    def archive(self) -> Iterator[Member]:
        yield Member("a.txt", (f"line {number}\n" for number in range(3)))
        yield Member("b.csv", ({"n": number} for number in range(2)), codec=Csv)

    @expose("zip")
    def one(self) -> Member:
        return Member("a.txt", iter(["alone"]))

    @expose("zip")
    def gated(self) -> Iterator[Member]:
        seen = here()

        def pieces() -> Iterator[bytes]:
            yield b"first"
            seen.pass_gate()
            yield b"second"

        yield Member("a.bin", pieces(), compress=False)

    @expose("zip")
    def breaks(self) -> Iterator[Member]:
        def pieces() -> Iterator[bytes]:
            yield b"first"
            raise ArithmeticError

        yield Member("a.bin", pieces())

    @expose("multipart")
    def parts(self) -> Iterator[Part]:
        yield Part("one", "text/plain")
        yield Part(iter([b"t", b"wo"]), "application/octet-stream", filename="two.bin")


class Aio(TGController):
    @expose("zip")
    async def archive(self) -> AsyncIterator[Member]:
        async def lines() -> AsyncIterator[str]:
            for number in range(3):
                yield f"line {number}\n"

        yield Member("a.txt", lines())
        yield Member("b.csv", ({"n": number} for number in range(2)), codec=Csv)

    @expose("zip")
    async def one(self) -> Member:
        return Member("a.txt", iter(["alone"]))

    @expose("zip")
    async def gated(self) -> AsyncIterator[Member]:
        seen = here()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            await seen.passed_gate()
            yield b"second"

        yield Member("a.bin", pieces(), compress=False)

    @expose("zip")
    async def breaks(self) -> AsyncIterator[Member]:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            raise ArithmeticError

        yield Member("a.bin", pieces())

    @expose("multipart")
    async def parts(self) -> AsyncIterator[Part]:
        yield Part("one", "text/plain")
        yield Part(iter([b"t", b"wo"]), "application/octet-stream", filename="two.bin")


class Root(TGController):
    sync = Sync()
    aio = Aio()


app = Millstream(Root())


def test_members_are_read_back(wire: WireClient, kind: str) -> None:
    with zipfile.ZipFile(io.BytesIO(wire.get(f"/{kind}/archive").rest())) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {"a.txt": b"line 0\nline 1\nline 2\n", "b.csv": b"n\r\n0\r\n1\r\n"}


def test_one_member_that_is_returned_is_an_archive_of_one(wire: WireClient, kind: str) -> None:
    with zipfile.ZipFile(io.BytesIO(wire.get(f"/{kind}/one").rest())) as archive:
        assert archive.read("a.txt") == b"alone"


def test_a_piece_of_a_member_leaves_before_the_next_is_produced(
    wire: WireClient, kind: str, probe: Probe
) -> None:
    reply = wire.get(f"/{kind}/gated", probe.headers)
    received = b""
    while b"first" not in received:
        chunk = reply.next_chunk()
        assert chunk is not None
        received += chunk.data
    assert b"second" not in received
    probe.open()
    assert b"second" in reply.rest()


def test_an_archive_that_breaks_off_has_no_directory(wire: WireClient, kind: str) -> None:
    with pytest.raises(BodyTruncated) as truncated:
        wire.get(f"/{kind}/breaks").rest()
    assert not zipfile.is_zipfile(io.BytesIO(truncated.value.received))


def test_parts_are_read_back_by_the_boundary_of_the_head(wire: WireClient, kind: str) -> None:
    reply = wire.get(f"/{kind}/parts")
    message = email.message_from_bytes(
        b"Content-Type: " + reply.headers["content-type"].encode() + b"\r\n\r\n" + reply.rest()
    )
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert [part.get_payload(decode=True) for part in parts if not isinstance(part, str)] == [b"one", b"two"]
