"""What a client and the log are told of each end; that it is told in this order shows `test_hallway`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from millstream import Millstream, Settings, TGController, expose
from millstream.testing import BodyTruncated, Client


@dataclass
class Row:
    n: int


class Tables(TGController):
    def typed(self) -> Iterator[Row]:
        yield Row(1)
        yield Row(2)
        yield {"n": "x"}  # type: ignore[misc]  # what does not fit

    def plain(self) -> Iterator[Any]:
        yield {"n": 1}
        yield {"n": 2}
        yield 5

    async def late(self) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield {"n": 1}
        yield {"n": 2}
        yield {"n": 3, "m": 4}


TABLES = ("arrow", "csv", "parquet", "xlsx")
for table in TABLES:
    for action in (Tables.typed, Tables.plain, Tables.late):
        expose(table)(action)


class Root(TGController):
    @expose("ndjson")
    def rows(self, good: int) -> Iterator[Any]:
        yield from range(good)
        yield object()

    @expose("ndjson")
    def broken(self) -> Iterator[int]:
        yield 1
        raise ValueError("secret")

    @expose("json")
    def document(self) -> dict[str, Any]:
        return {"a": object()}


async def last_line(path: str, *, debug: bool = False) -> str:
    async with Client(Millstream(Root(), Settings(debug=debug))) as client:
        with pytest.raises(BodyTruncated) as broken:
            await client.get(path)
    return broken.value.received.decode().splitlines()[-1]


async def test_a_bad_row_is_told_by_its_number_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert await last_line("/rows?good=3") == (
        '{"error":{"type":"about:blank","title":"Internal Server Error","status":500,"row":4}}'
    )
    assert "Root.rows failed after 3 items, 6 bytes, at row 4" in caplog.text
    assert "yielded object, but its codec 'ndjson' takes" in caplog.text


async def test_debug_tells_what_was_wrong_with_it() -> None:
    line = await last_line("/rows?good=3", debug=True)
    assert '"row":4' in line
    assert "yielded object" in line


async def test_an_error_that_is_not_of_a_row_names_none(caplog: pytest.LogCaptureFixture) -> None:
    line = await last_line("/broken")
    assert "row" not in line
    assert "secret" not in line
    assert "at row" not in caplog.text


async def test_a_document_has_no_rows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with Client(Millstream(Root())) as client:
        assert (await client.get("/document")).status == 500
    assert "at row" not in caplog.text


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("action", ["typed", "plain", "late"])
async def test_the_log_has_the_number_of_the_row_that_does_not_fit_whatever_is_held_back(
    table: str, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Some formats hold rows back, so that what has left is not what was taken."""
    async with Client(Millstream(Tables(), Settings())) as client:
        with suppress(BodyTruncated):
            await client.get(f"/{action}.{table}")
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "at row 3" in told
