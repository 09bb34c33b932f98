"""Queries: what is one, and which columns are read for it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    ForeignKey,
    Integer,
    create_engine,
    func,
    insert,
    lambda_stmt,
    literal_column,
    select,
    text,
    union,
)
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Query,
    Session,
    aliased,
    load_only,
    mapped_column,
    with_polymorphic,
)

from millstream.database.queries import as_query, by_columns


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("the_name")
    secret: Mapped[str] = mapped_column(deferred=True)


class Animal(Base):
    """Its dogs are always loaded whole, others where a query asks for it; its fish have their own table."""

    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012  SQLAlchemy's way


class Dog(Animal):
    bark: Mapped[str | None]
    chip: Mapped[str | None] = mapped_column(deferred=True)

    __mapper_args__ = {"polymorphic_identity": "dog", "polymorphic_load": "inline"}  # noqa: RUF012  as above


class Cat(Animal):
    purr: Mapped[str | None]

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012  as above


class Fish(Animal):
    __tablename__ = "fish"

    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
    fins: Mapped[int]

    __mapper_args__ = {"polymorphic_identity": "fish"}  # noqa: RUF012  as above


class Person(Base):
    """All of its subclasses are always loaded whole, from their tables."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]

    __mapper_args__ = {  # noqa: RUF012  as above
        "polymorphic_on": "kind",
        "polymorphic_identity": "person",
        "with_polymorphic": "*",
    }


class Pilot(Person):
    __tablename__ = "pilots"

    id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    hours: Mapped[int]

    __mapper_args__ = {"polymorphic_identity": "pilot"}  # noqa: RUF012  as above


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


def test_a_lambda_is_the_query_that_it_makes() -> None:
    assert columns(lambda_stmt(lambda: select(Thing.id, Thing.name))) == ["id", "name"]


ALL: Any = with_polymorphic(Animal, "*")
APART: Any = with_polymorphic(Animal, [Cat, Fish], aliased=True, flat=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            select(Animal),
            [
                ("id", "kind", "bark"),
                (1, "animal", None),
                (2, "dog", "w"),
                (3, "cat", None),
                (4, "fish", None),
            ],
        ),
        (
            select(ALL),
            [
                ("id", "kind", "bark", "purr", "fins"),
                (1, "animal", None, None, None),
                (2, "dog", "w", None, None),
                (3, "cat", None, "p", None),
                (4, "fish", None, None, 2),
            ],
        ),
        (
            select(APART, Animal.kind).join(Animal, Animal.id == APART.id),
            [
                ("id", "kind", "purr", "fins", "kind_1"),
                (1, "animal", None, None, "animal"),
                (2, "dog", None, None, "dog"),
                (3, "cat", "p", None, "cat"),
                (4, "fish", None, 2, "fish"),
            ],
        ),
        (
            select(ALL).options(load_only(ALL.id, ALL.Fish.fins)),
            [("id", "kind", "fins"), (1, "animal", None), (2, "dog", None), (3, "cat", None), (4, "fish", 2)],
        ),
        (select(Fish), [("id", "kind", "fins"), (4, "fish", 2)]),
        (select(Person), [("id", "kind", "hours"), (1, "person", None), (2, "pilot", 9)]),
        (select(Person).where(Person.id > 1), [("id", "kind", "hours"), (2, "pilot", 9)]),
        (
            select(Person, Animal.kind.label("k")).join(Animal, Animal.id == Person.id),
            [("id", "kind", "hours", "k"), (1, "person", None, "animal"), (2, "pilot", 9, "dog")],
        ),
    ],
)
def test_columns_of_subclasses_are_read_that_a_session_loads_with_the_class(
    query: Any, expected: list[tuple[Any, ...]]
) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            [Animal(id=1), Dog(id=2, bark="w", chip="s"), Cat(id=3, purr="p"), Fish(id=4, fins=2)]
        )
        session.add_all([Person(id=1), Pilot(id=2, hours=9)])
        session.flush()
        result = session.connection().execute(by_columns(query, engine.dialect))
        assert [tuple(result.keys()), *sorted(map(tuple, result))] == expected
    engine.dispose()


def test_a_statement_that_only_a_session_can_run_is_no_query() -> None:
    assert as_query(select(Thing).from_statement(text("select * from things"))) is None
    assert as_query(insert(Thing).returning(Thing.id)) is None
