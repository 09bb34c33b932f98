"""Queries: what is one, and which columns are read for it."""

from __future__ import annotations

from sqlalchemy import Integer, func, literal_column, select, text, union
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import DeclarativeBase, Mapped, Query, aliased, mapped_column

from millstream.database.queries import as_query, by_columns


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("the_name")
    secret: Mapped[str] = mapped_column(deferred=True)


def columns(statement: object) -> list[str]:
    query = as_query(statement)
    assert query is not None
    return [column.name for column in by_columns(query, DefaultDialect()).selected_columns]  # type: ignore[attr-defined, arg-type]  # a Select has them


def test_a_class_is_its_columns_without_the_deferred_ones() -> None:
    assert columns(select(Thing)) == ["id", "name"]
    assert columns(select(aliased(Thing))) == ["id", "name"]


def test_attributes_have_the_names_the_author_gave_them() -> None:
    assert columns(select(Thing.name, Thing.secret, Thing.id.label("n"))) == ["name", "secret", "n"]
    assert columns(select(func.count().label("all"), literal_column("1", Integer).label("one"))) == [
        "all",
        "one",
    ]


def test_what_has_no_name_is_called_as_a_session_calls_it() -> None:
    assert columns(select(func.count(Thing.id), func.max(Thing.id), Thing.id + 1)) == [
        "count",
        "max",
        "_no_label",
    ]
    assert columns(select(Thing.id, aliased(Thing).id)) == ["id", "id_1"]


def test_a_query_of_a_session_is_its_statement() -> None:
    assert columns(Query(Thing)) == ["id", "name"]


def test_a_union_stays_as_it_is() -> None:
    both = union(select(Thing.id), select(Thing.id))
    assert by_columns(both, DefaultDialect()) is both
    assert as_query(both) is both


def test_a_text_is_a_query() -> None:
    said = text("select 1")
    assert as_query(said) is by_columns(said, DefaultDialect()) is said


def test_what_is_no_query_is_none() -> None:
    assert [as_query(each) for each in (None, "select 1", [1], Thing)] == [None] * 4
