"""The demo's exports: one action, every format, and an archive of as many files as there are months."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Select, select

from millstream import TGController, expose
from millstream.codecs.csv import Csv
from millstream.codecs.zip import Member
from millstream.database import Database
from millstream.demo.extras import if_installed, installed
from millstream.demo.model import Flight


class Exports(TGController):
    """The flights, for whoever wants them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @expose("csv", download="flights-{month}-{carrier}.csv")
    @expose("ndjson")
    @expose("json")
    @expose("xml")
    @expose("xlsx")
    @if_installed("pyarrow", expose("arrow"))
    @if_installed("pyarrow", expose("parquet"))
    def flights(
        self,
        month: int | None = None,
        carrier: str | None = None,
    ) -> Select[Any]:
        """The flights of a month, of a carrier, or all."""
        flights = select(Flight).order_by(Flight.id)
        if month is not None:
            flights = flights.where(Flight.month == month)
        if carrier is not None:
            flights = flights.where(Flight.carrier == carrier)
        return flights

    @expose("zip", download="flights-{month}-{carrier}.zip")
    def months(
        self,
        month: int | None = None,
        carrier: str | None = None,
    ) -> Iterator[Member]:
        """A file a month, each a query of its own."""
        for each in range(1, 13) if month is None else [month]:
            flights = self._database.rows(self.flights(each, carrier))
            yield Member(f"2013-{each:02}.csv", flights, codec=Csv)


class Plain(Exports):
    """The same, uncompressed: a page cannot choose what its browser accepts."""

    @expose(inherit=True, compression=False)
    def flights(
        self,
        month: int | None = None,
        carrier: str | None = None,
    ) -> Select[Any]:
        """The flights, as they are."""
        return super().flights(month, carrier)


def formats() -> dict[str, str]:
    """What can be had here, by its address, in a few words each."""
    return {
        address: words
        for address, words in _FORMATS.items()
        if installed("pyarrow") or not address.endswith(_COLUMNAR)
    }


_FORMATS: Final = {
    "flights.csv": "text a row, for everything that reads tables",
    "flights.ndjson": "JSON a line, for programs that read while it comes",
    "flights.json": "one JSON array, for browsers and scripts",
    "flights.xml": "elements, for what was there before JSON",
    "flights.xlsx": "a workbook, for people",
    "flights.arrow": "record batches, for polars, pandas and duckdb",
    "flights.parquet": "columns in row groups, for the lake",
    "months.zip": "an archive, a CSV file a month",
}
_COLUMNAR: Final = ("arrow", "parquet")
