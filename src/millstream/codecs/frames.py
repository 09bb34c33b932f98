"""Frames: tables in Arrow's memory, known by `__arrow_c_stream__` and never imported.

pandas, polars, pyarrow, duckdb and others give their tables by this one method. Record batches pass to Arrow
and Parquet as they are; every other format gets their rows, some at a time. A lazy table is read while it is
sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from importlib import import_module
from typing import Any, Final

from millstream.codecs.natures import Adapter, Nature, described, is_named, refused


def arrow_stream(kind: type) -> Adapter | None:
    """Tables that can be had as record batches."""
    if not hasattr(kind, "__arrow_c_stream__") and not _is_one_of(kind, _LAZY):
        return None
    return _IN_MEMORY if _is_one_of(kind, _TABLES) else _READ_LATER


def arrow_values(kind: type) -> Adapter | None:
    """The columns and cells of such tables."""
    if is_named(kind, "pandas", "Series"):
        return _SERIES
    if is_named(kind, "pyarrow", "Scalar"):
        return _SCALAR
    if is_named(kind, "pandas", "Index", "ExtensionArray"):
        return _SEQUENCE
    return _ARRAY if _is_one_of(kind, _ARRAYS) else None


def iterated_wrongly(kind: type) -> Adapter | None:
    """Objects that can be iterated, but into something else than their author means."""
    for package, names, what, instead in _REFUSED:
        if is_named(kind, package, *names):
            return refused(f"it holds {what}", instead, when_returned=True)
    return None


def unread(kind: type) -> Adapter | None:
    """What is only iterated once, and while it is sent: it is no value inside of another object."""
    if issubclass(kind, Coroutine):
        return refused(f"it holds {described(kind)}", "await it")
    if issubclass(kind, Iterator | AsyncIterator) or _is_one_of(kind, _QUERIES):
        return refused(f"it holds {described(kind)}", "put list(...) of it there, or return it alone")
    return None


def _is_one_of(kind: type, known: tuple[tuple[str, ...], ...]) -> bool:
    return any(is_named(kind, *each) for each in known)


def _arrow() -> Any:
    """The module that imports pyarrow.

    Raises:
        TypeError: when pyarrow is not installed.
    """
    try:
        return import_module("millstream.codecs.arrowrows")
    except ImportError as error:
        raise TypeError(
            "tables and columns of data frames need pyarrow, which is not installed: "
            "pip install 'millstream[arrow]'"
        ) from error


def _series(series: Any) -> dict[str, Any] | list[Any]:
    """A row of pandas, whose index names its cells; else a column, which is a list."""
    cells = [None if absent else cell for cell, absent in zip(series.tolist(), series.isna(), strict=True)]
    names = series.index.tolist()
    if not names or not all(isinstance(name, str) for name in names):
        return cells
    if not series.index.is_unique:
        raise ValueError("it has two columns of one name")
    return dict(zip(names, cells, strict=True))


_ALONE: Final = "return it alone or yield it, or collect it before"
_IN_MEMORY: Final = Adapter(Nature.ROWS, lambda table: _arrow().ArrowRows(table))
_READ_LATER: Final = Adapter(
    Nature.ROWS, lambda table: _arrow().ArrowRows(table), in_memory=False, instead=_ALONE
)
_SERIES: Final = Adapter(Nature.VALUE, _series)
_SEQUENCE: Final = Adapter(Nature.VALUE, lambda values: values.tolist())
_SCALAR: Final = Adapter(Nature.VALUE, lambda scalar: scalar.as_py())
_ARRAY: Final = Adapter(Nature.VALUE, lambda array: _arrow().values_of(array))

_TABLES: Final = (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table", "RecordBatch"))
"""The libraries' tables that are in memory."""
_LAZY: Final = (("polars", "LazyFrame"), ("pyarrow", "Dataset", "Scanner"))
"""Their tables that have another method than the one for all."""
_ARRAYS: Final = (("polars", "Series"), ("pyarrow", "Array", "ChunkedArray"))

_QUERIES: Final = (("sqlalchemy", "Query"), ("millstream", "RowSource"))

_REFUSED: Final = (
    ("pandas", ("BaseGroupBy",), "a grouping of pandas", "aggregate it into a frame"),
    ("polars", ("GroupBy", "LazyGroupBy", "Expr"), "an expression of polars", "collect it into a frame"),
    (
        "duckdb",
        ("DuckDBPyConnection",),
        "a connection of duckdb",
        "return the relation that connection.sql(...) gives",
    ),
    (
        "requests",
        ("Response",),
        "a response of requests",
        "return response.json(), or response.iter_content(65536) with its content type",
    ),
    (
        "httpx",
        ("Response",),
        "a response of httpx",
        "return response.json(), or response.iter_bytes() with its content type",
    ),
    ("xml", ("Element",), "an element of XML", "return ElementTree.tostring(element) with its content type"),
    ("lxml", ("_Element",), "an element of XML", "return etree.tostring(element) with its content type"),
    ("sqlalchemy", ("Session", "scoped_session", "AsyncSession"), "a session", "return a query of it"),
    (
        "sqlalchemy",
        ("SelectBase", "TextClause"),
        "a query",
        "return it, or database.rows(query), with its Database among the participants of the application",
    ),
    (
        "sqlalchemy",
        ("FromStatement", "UpdateBase"),
        "a statement that only a session can run",
        "yield from what session.execute(...) of it gives",
    ),
    ("django", ("BaseManager",), "a manager of Django", "return its .all()"),
)
"""By package, names of classes, what it is, and what to do."""
