"""All 336,776 flights in every format, read by what people read them with: the same rows every time."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from millstream.demo import data
from millstream.demo.app import create
from millstream.demo.model import Flight
from millstream.testing import Server, serve

pandas: Any = pytest.importorskip("pandas")
polars: Any = pytest.importorskip("polars")
duckdb: Any = pytest.importorskip("duckdb")
openpyxl: Any = pytest.importorskip("openpyxl")
ipc: Any = pytest.importorskip("pyarrow.ipc")
parquet: Any = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.wire

CURL = shutil.which("curl")
COLUMNS = {
    column.name: "VARCHAR" if column.name in data.TEXTS else "BIGINT" for column in Flight.__table__.columns
}
READERS: list[tuple[str, Callable[[Path], Any]]] = []


def reads(extension: str) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Note a reader: it returns a frame of polars, whatever it reads with."""

    def note(reader: Callable[[Path], Any]) -> Callable[[Path], Any]:
        READERS.append((extension, reader))
        return reader

    return note


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("all") / "flights.sqlite"
    data.build(file)
    return file


@pytest.fixture(scope="module")
def server(flights: Path) -> Iterator[Server]:
    with serve(create(flights)) as running:
        yield running


@pytest.fixture(scope="module")
def download(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Fetch an address once, however many read what came."""
    folder = tmp_path_factory.mktemp("downloads")

    def fetch(address: str) -> Path:
        file = folder / address.replace("?", ".")
        if not file.exists():
            coming = file.with_suffix(".part")
            with httpx.stream("GET", f"{server.url}/{address}", timeout=60) as reply, coming.open("wb") as to:
                to.writelines(reply.iter_bytes())
            coming.rename(file)
        return file

    return fetch


def rows(flights: Path, where: str = "1") -> Any:
    with closing(sqlite3.connect(flights)) as database:
        cursor = database.execute(f"SELECT * FROM flights WHERE {where} ORDER BY id")  # noqa: S608  the test's own words
        names = [name for name, *_ in cursor.description]
        types = {name: polars.String if name in data.TEXTS else polars.Int64 for name in names}
        return polars.DataFrame(cursor.fetchall(), schema=types, orient="row")


@pytest.fixture(scope="module")
def expected(flights: Path) -> Any:
    return rows(flights)


@reads("csv")
def python_csv(file: Path) -> Any:
    with file.open(encoding="utf-8", newline="") as text:
        names, *cells = csv.reader(text)
    columns = zip(names, zip(*cells, strict=True), strict=True)
    return polars.DataFrame({name: [cell or None for cell in column] for name, column in columns})


@reads("csv")
def pandas_csv(file: Path) -> Any:
    return polars.from_pandas(pandas.read_csv(file, dtype_backend="pyarrow", parse_dates=False))


@reads("csv")
def polars_csv(file: Path) -> Any:
    return polars.read_csv(file, infer_schema_length=None)


@reads("csv")
def duckdb_csv(file: Path) -> Any:
    return duckdb.read_csv(str(file), all_varchar=True).pl()


@reads("ndjson")
def python_lines(file: Path) -> Any:
    with file.open(encoding="utf-8") as text:
        first = json.loads(next(text))
        cells = [tuple(first.values()), *(tuple(json.loads(line).values()) for line in text)]
    return polars.DataFrame(cells, schema=list(first), orient="row", infer_schema_length=None)


@reads("ndjson")
def polars_lines(file: Path) -> Any:
    return polars.read_ndjson(file, infer_schema_length=None)


@reads("ndjson")
def duckdb_lines(file: Path) -> Any:
    return duckdb.read_json(str(file), format="newline_delimited", columns=COLUMNS).pl()


@reads("json")
def polars_json(file: Path) -> Any:
    return polars.read_json(file, infer_schema_length=None)


@reads("json")
def duckdb_json(file: Path) -> Any:
    return duckdb.read_json(str(file), format="array", columns=COLUMNS).pl()


@reads("arrow")
def pyarrow_stream(file: Path) -> Any:
    return polars.from_arrow(ipc.open_stream(file.read_bytes()).read_all())


@reads("arrow")
def polars_stream(file: Path) -> Any:
    return polars.read_ipc_stream(file)


@reads("parquet")
def pyarrow_parquet(file: Path) -> Any:
    return polars.from_arrow(parquet.read_table(file))


@reads("parquet")
def pandas_parquet(file: Path) -> Any:
    return polars.from_pandas(pandas.read_parquet(file, dtype_backend="pyarrow"))


@reads("parquet")
def polars_parquet(file: Path) -> Any:
    return polars.read_parquet(file)


@reads("parquet")
def duckdb_parquet(file: Path) -> Any:
    return duckdb.read_parquet(str(file)).pl()


@pytest.mark.parametrize(
    ("extension", "reader"), [pytest.param(*each, id=each[1].__name__) for each in READERS]
)
def test_all_flights_are_the_same_for_every_reader(
    download: Callable[[str], Path], expected: Any, extension: str, reader: Callable[[Path], Any]
) -> None:
    got = reader(download(f"flights.{extension}"))
    assert got.height == data.FLIGHTS
    assert got.cast(expected.schema).equals(expected)


def test_a_workbook_has_the_rows_of_what_was_asked_for(
    download: Callable[[str], Path], flights: Path
) -> None:
    book = openpyxl.load_workbook(
        BytesIO(download("flights.xlsx?month=2&carrier=UA").read_bytes()), read_only=True
    )
    with closing(book):
        (sheet,) = book.worksheets
        names, *cells = sheet.iter_rows(values_only=True)
    expected = rows(flights, "month = 2 AND carrier = 'UA'")
    assert polars.DataFrame(cells, schema=expected.schema, orient="row").equals(expected)
    assert list(names) == expected.columns


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
@pytest.mark.parametrize("extension", ["csv", "ndjson", "json", "xml"])
def test_curl_shows_compressed_rows_at_once(server: Server, extension: str) -> None:
    # What curl has not been relieved of stays with the server: it cannot have come to the end.
    command = [str(CURL), "--compressed", "-N", "-s", f"{server.url}/flights.{extension}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:  # noqa: S603  curl
        assert curl.stdout is not None
        text = b""
        while b"N14228" not in text:  # the first flight's aircraft
            text += curl.stdout.readline()
        assert curl.poll() is None
        curl.kill()
