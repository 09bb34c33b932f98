"""The flights as downloads: what they are called, what they are packed with, what is in the archive."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from millstream.demo.app import create
from millstream.testing import Server, serve

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[Server]:
    with serve(create(database)) as running:
        yield running


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("flights.csv", "flights.csv"),
        ("flights.csv?month=2", "flights-2.csv"),
        ("flights.ndjson?month=2&carrier=UA", "flights-2-UA.ndjson"),
        ("flights?format=xlsx", "flights.xlsx"),
        ("plain/flights.json?month=12", "flights-12.json"),
        ("months.zip?month=3", "flights-3.zip"),
    ],
)
def test_a_download_has_the_name_of_what_is_in_it(server: Server, address: str, name: str) -> None:
    reply = httpx.head(f"{server.url}/{address}")
    assert reply.headers["content-disposition"] == f'attachment; filename="{name}"'


def test_the_same_bytes_come_packed_and_plain(server: Server) -> None:
    packed = httpx.get(f"{server.url}/flights.csv", headers={"accept-encoding": "gzip"})
    plain = httpx.get(f"{server.url}/plain/flights.csv", headers={"accept-encoding": "gzip"})
    assert (packed.headers["content-encoding"], plain.headers.get("content-encoding")) == ("gzip", None)
    assert packed.num_bytes_downloaded < plain.num_bytes_downloaded / 2
    assert packed.content == plain.content


def test_the_archive_has_a_file_a_month_and_every_flight_in_one_of_them(server: Server) -> None:
    archive = zipfile.ZipFile(io.BytesIO(httpx.get(f"{server.url}/months.zip").content))
    assert archive.namelist() == [f"2013-{month:02}.csv" for month in range(1, 13)]
    rows = []
    for month, name in enumerate(archive.namelist(), 1):
        file = list(csv.DictReader(io.StringIO(archive.read(name).decode(), newline="")))
        assert {row["month"] for row in file} == {str(month)}
        rows += file
    whole = httpx.get(f"{server.url}/flights.csv").text
    assert sorted(rows, key=lambda row: int(row["id"])) == list(csv.DictReader(whole.splitlines()))


def test_a_month_of_the_archive_can_be_had_alone(server: Server) -> None:
    reply = httpx.get(f"{server.url}/months.zip?month=7&carrier=UA")
    archive = zipfile.ZipFile(io.BytesIO(reply.content))
    alone = httpx.get(f"{server.url}/flights.csv?month=7&carrier=UA").content
    assert (archive.namelist(), archive.read("2013-07.csv")) == (["2013-07.csv"], alone)


def test_the_page_offers_every_format_there_is(server: Server) -> None:
    page = httpx.get(f"{server.url}/downloads").text
    for address in ("csv", "ndjson", "json", "xml", "xlsx", "arrow", "parquet"):
        assert f'href="flights.{address}" download' in page
    assert 'href="months.zip" download' in page
