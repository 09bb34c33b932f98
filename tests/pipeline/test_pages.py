from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from millstream.engine.source import AsyncSource, SyncSource
from millstream.errors import ConfigurationError
from millstream.pipeline.pages import Flow, flow_of, page_source
from millstream.protocol.columns import Column
from millstream.web.templates import Templates

PAGE = "<h1>{{ title }}</h1>{% for row in rows %}<p>{{ row }}</p>{% endfor %}{{ after }}"


class Rows:
    """Rows that can be asked how far they are."""

    def __init__(self, *rows: object) -> None:
        self.rows = rows
        self.log: list[object] = []

    def sync(self) -> Iterator[object]:
        try:
            for row in self.rows:
                self.log.append(row)
                yield row
        finally:
            self.log.append("closed")

    async def aio(self) -> AsyncIterator[object]:
        for row in self.sync():
            yield row


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    (tmp_path / "page.html").write_text(PAGE)
    return Templates(str(tmp_path), reload=False)


def flow(**values: Any) -> Flow:
    found = flow_of({"title": "T", "after": "", **values})
    assert found is not None
    return found


def sync_page(templates: Templates, charset: str = "utf-8", **values: Any) -> SyncSource:
    source = page_source(templates, "page.html", flow(**values), charset)
    assert isinstance(source, SyncSource)
    return source


def async_page(templates: Templates, **values: Any) -> AsyncSource:
    source = page_source(templates, "page.html", flow(**values), "utf-8")
    assert isinstance(source, AsyncSource)
    return source


@pytest.mark.parametrize("value", ["text", 1, None, [1], (1,), {1}, {"a": iter(())}, range(3), b"x"])
def test_a_page_of_plain_values_does_not_stream(value: object) -> None:
    assert flow_of({"value": value}) is None


class QueryRows:
    """The rows of a query, which can be had one by one as well."""

    def __init__(self) -> None:
        self.columns: tuple[Column, ...] = ()
        self.is_closed = False

    def __iter__(self) -> Iterator[object]:
        yield from (1, 2)

    def batches(self) -> Generator[Sequence[Sequence[Any]], None, None]:
        raise NotImplementedError("a template asks for single rows")

    def took(self, rows: int, size: int) -> None: ...

    def close(self) -> None:
        self.is_closed = True


def test_the_rows_of_a_query_are_a_stream(templates: Templates) -> None:
    query = QueryRows()
    page = sync_page(templates, rows=query)
    assert b"<p>1</p><p>2</p>" in b"".join(page.iterator)
    page.close()
    assert query.is_closed


@pytest.mark.parametrize("value", [iter([1]), (n for n in [1]), map(str, [1]), Rows().aio()])
def test_a_page_with_a_stream_among_its_values_does(value: object) -> None:
    found = flow_of({"title": "T", "rows": value})
    assert found is not None
    assert found.producers == (value,)


class Query:
    """What a participant makes rows of."""


class Knows:
    def begin(self, join: object) -> None: ...

    def adopt(self, result: object, /) -> Iterable[Any] | None:
        return ["row"] if isinstance(result, Query) else None


def test_a_query_is_a_stream_where_a_participant_knows_it(templates: Templates) -> None:
    found = flow_of({"title": "T", "after": "", "rows": Query()}, [Knows()])
    assert found is not None
    source = page_source(templates, "page.html", found, "utf-8")
    assert isinstance(source, SyncSource)
    assert b"".join(source.iterator) == b"<h1>T</h1><p>row</p>"
    assert flow_of({"rows": Query()}) is None


def test_what_was_written_leaves_before_the_next_row_is_asked_for(templates: Templates) -> None:
    rows = Rows(1, "<ü>")
    pieces = sync_page(templates, rows=rows.sync()).iterator
    written = b""
    while b"<h1>T</h1>" not in written:
        written += next(pieces)
    assert rows.log == []
    while b"<p>1</p>" not in written:
        written += next(pieces)
    assert rows.log == [1]
    assert (written + b"".join(pieces)).decode() == "<h1>T</h1><p>1</p><p>&lt;ü&gt;</p>"


def test_what_the_charset_lacks_is_a_reference(templates: Templates) -> None:
    source = sync_page(templates, "latin-1", title="ü☃", rows=iter(()))
    assert b"".join(source.iterator) == "<h1>ü&#9731;</h1>".encode("latin-1")


def test_a_byte_order_mark_is_written_once(templates: Templates) -> None:
    source = sync_page(templates, "utf-16", rows=iter("ab"))
    assert b"".join(source.iterator).decode("utf-16") == "<h1>T</h1><p>a</p><p>b</p>"


@pytest.mark.parametrize("steps", [0, 5])
def test_closing_a_page_closes_its_rows_and_its_other_streams(templates: Templates, steps: int) -> None:
    rows, others = Rows(1, 2, 3), Rows()
    left = others.sync()
    source = sync_page(templates, rows=rows.sync(), others=left)
    for _ in range(steps):
        next(source.iterator)
    source.close()
    assert rows.log[-1:] == (["closed"] if steps else [])
    assert next(left, None) is None
    assert next(source.iterator, None) is None


async def test_rows_may_come_asynchronously(templates: Templates) -> None:
    rows = Rows(1, 2)
    source = async_page(templates, rows=rows.aio())
    assert b"".join([piece async for piece in source.generator]) == b"<h1>T</h1><p>1</p><p>2</p>"
    await source.close()
    assert rows.log == [1, 2, "closed"]


@pytest.mark.parametrize("steps", [0, 5])
async def test_closing_an_asynchronous_page_closes_all_its_streams(templates: Templates, steps: int) -> None:
    rows, other, third = Rows(1, 2, 3).aio(), Rows().aio(), Rows().sync()
    source = async_page(templates, rows=rows, other=other, third=third)
    for _ in range(steps):
        await anext(source.generator)
    await source.close()
    for each in (rows, other):
        assert isinstance(each, AsyncGenerator)
        assert await anext(each, None) is None
    assert next(third, None) is None


async def test_a_template_may_call_what_has_to_be_awaited(templates: Templates, tmp_path: Path) -> None:
    async def told() -> str:
        return "later"

    (tmp_path / "page.html").write_text("{% for row in rows %}{% endfor %}{{ after() }}")
    source = async_page(templates, rows=Rows().aio(), after=told)
    assert b"".join([piece async for piece in source.generator]) == b"later"


def test_an_error_in_a_row_is_the_pages(templates: Templates) -> None:
    def rows() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        b"".join(sync_page(templates, rows=rows()).iterator)


def test_a_template_that_is_broken_meanwhile_closes_its_rows(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{% for")
    rows = Rows().sync()
    source = page_source(Templates(str(tmp_path), reload=True), "page.html", flow(rows=rows), "utf-8")
    assert isinstance(source, SyncSource)
    with pytest.raises(ConfigurationError):
        next(source.iterator)
    source.close()
    assert next(rows, None) is None
