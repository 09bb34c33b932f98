"""Exports through a whole application: options of a format, and the same rows on every road."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

from millstream import Millstream, TGController, expose
from millstream.testing import SyncClient


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
