"""Querysets of Django, known by their names and never imported.

Their rows are read some at a time, as their own `iterator()` does; tuples get the names of their columns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from millstream.codecs.natures import Adapter, Nature, is_named
from millstream.codecs.records import django_columns, read_cells

READ_AT_ONCE: Final = 2_000
"""Rows."""


def query_set(kind: type) -> Adapter | None:
    """What `Model.objects.all()`, `.values()` and `.values_list()` give."""
    return _QUERY_SET if is_named(kind, "django", "QuerySet") else None


def _rows(queryset: Any) -> Generator[Any, None, None]:
    """The rows: dicts, and whatever else its `values_list` gives."""
    rows = queryset.iterator(chunk_size=READ_AT_ONCE)
    query, how = queryset.query, queryset._iterable_class.__name__  # noqa: SLF001  nothing public tells it
    if how == "ValuesListIterable":
        names = queryset._fields or (*query.extra_select, *query.values_select, *query.annotation_select)
        for row in rows:
            yield read_cells(names, row)
    elif how == "ModelIterable":
        added = (*query.extra_select, *query.annotation_select)
        for row in rows:
            yield {**django_columns(row), **{name: getattr(row, name) for name in added}}
    else:
        yield from rows


_QUERY_SET: Final = Adapter(Nature.ROWS, _rows, in_memory=False, instead="put list(...) of it there")
