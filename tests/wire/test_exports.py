"""Exports through a whole application: options of a format, and the same rows on every road."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types
import pytest
from sqlalchemy import Column, Date, Integer, MetaData, Table, select, text

from millstream import Millstream, TGController, expose
from millstream.database import Database
from millstream.testing import BodyTruncated, SyncClient


class Root(TGController):
    @expose("parquet", compression="snappy")
    @expose("csv", compression=False)
    def small(self) -> Iterator[dict[str, str]]:
        yield {"a": "x" * 10_000}


def test_the_compression_of_parquet_is_what_the_author_says() -> None:
    with SyncClient(Millstream(Root())) as client:
        file = pq.ParquetFile(BytesIO(client.get("/small.parquet").body))
        assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
        assert "content-encoding" not in client.get("/small.csv", headers={"accept-encoding": "gzip"}).headers


DUE = Table("due", MetaData(), Column("id", Integer), Column("due", Date))


@pytest.mark.parametrize("road", ["returned", "iterated", "looped"])
def test_one_bad_stored_value_is_named_with_its_column_and_row(
    road: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'due.db'}")
    with database.engine.begin() as connection:
        connection.execute(text("create table due (id integer, due date)"))
        connection.execute(
            text(
                "insert into due with recursive n (x) as"
                " (values (1) union all select x + 1 from n where x < 3000)"
                " select x, iif(x = 2500, '', '2026-01-02') from n"
            )
        )

    class Dates(TGController):
        @expose("ndjson")
        def returned(self) -> Any:
            return select(DUE)

        @expose("ndjson")
        def iterated(self) -> Iterator[Any]:
            yield from database.rows(select(DUE))

        @expose("ndjson")
        def looped(self) -> Iterator[Any]:
            yield from database.session.execute(select(DUE))

    with (
        SyncClient(Millstream(Dates(), participants=[database])) as client,
        pytest.raises(BodyTruncated) as broken,
    ):
        client.get(f"/{road}")
    lines = broken.value.received.decode().splitlines()
    assert len(lines) == 2500
    assert '"row":2500' in lines[-1]
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "failed after 2499 items" in told.getMessage()
    assert "at row 2500" in told.getMessage()
    assert "the column 'due' " in str(told.exc_info and told.exc_info[1])
    assert "holds '', which is no value of its type" in str(told.exc_info and told.exc_info[1])
