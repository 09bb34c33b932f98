from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, Required, TypedDict

import msgspec
import pytest
from sqlalchemy import JSON, Numeric, String, TypeDecorator, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import UserDefinedType

from millstream.codecs.ndjson import Ndjson
from millstream.codecs.typed import checked, columns_of, row_type_of
from millstream.errors import WrongItem
from millstream.protocol.columns import Column


@dataclass
class Flight:
    number: int
    carrier: str | None = None
    price: Annotated[Decimal, Numeric(12, 2)] = Decimal(0)
    tags: list[str] = field(default_factory=list)


@dataclass
class Delayed(Flight):
    pass


class Struct(msgspec.Struct, rename="camel"):
    tail_number: str
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Dict(TypedDict, total=False):
    number: Required[int]
    carrier: str


class Named(NamedTuple):
    number: int
    carrier: str = "UA"


class Base(DeclarativeBase):
    pass


class Money(TypeDecorator[Decimal]):
    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: object) -> Decimal | None:
        return None if value is None else Decimal(value)


class Place(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **kw: Any) -> str:
        return "BLOB"


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[int] = mapped_column("order_number", primary_key=True)
    day: Mapped[date | None]
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    extra: Mapped[Any] = mapped_column(JSON)
    paid: Mapped[Any] = mapped_column(Money)
    place: Mapped[Any] = mapped_column(Place, nullable=True)


FITTING: dict[type, Any] = {
    Flight: Flight(1),
    Struct: Struct("N1"),
    Dict: {"number": 1},
    Named: Named(1),
    Order: Order(number=1),
}


@dataclass
class Unresolved:
    number: Elsewhere  # type: ignore[name-defined]  # noqa: F821  as behind TYPE_CHECKING


@pytest.mark.parametrize(
    "annotation",
    [
        Iterator[Flight],
        AsyncIterator[Flight],
        Generator[Flight, None, None],
        list[Flight],
        tuple[Flight, ...],
        list[Flight] | None,
        Annotated[Iterator[Annotated[Flight, "a row"]], "rows"],
    ],
)
def test_a_row_type_is_found_in_what_is_iterated(annotation: Any) -> None:
    assert row_type_of(annotation) is Flight


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        Any,
        Flight,
        str,
        Iterator,
        Iterator[str],
        Iterator["Flight"],
        Iterator[dict[str, int]],
        Iterator[Flight | None],
        Iterator[Flight | Struct],
        Mapping[str, Flight],
        dict[Flight, int],
    ],
)
def test_other_annotations_name_no_row_type(annotation: Any) -> None:
    assert row_type_of(annotation) is None


@pytest.mark.parametrize(
    ("row_type", "columns"),
    [
        (
            Flight,
            (
                Column("number", int, nullable=False),
                Column("carrier", str),
                Column("price", Decimal, nullable=False, precision=12, scale=2),
                Column("tags", list[str], nullable=False),
            ),
        ),
        (Struct, (Column("tailNumber", str, nullable=False), Column("at", datetime, zoned=True))),
        (Dict, (Column("number", int, nullable=False), Column("carrier", str, nullable=False))),
        (Named, (Column("number", int, nullable=False), Column("carrier", str, nullable=False))),
        (
            Order,
            (
                Column("number", int, nullable=False),
                Column("day", date),
                Column("price", Decimal, nullable=False, precision=12, scale=2),
                Column("extra", nullable=False),
                Column("paid", nullable=False),
                Column("place"),
            ),
        ),
        (Unresolved, (Column("number"),)),
        (int, None),
        (dict, None),
        (tuple, None),
    ],
)
def test_a_row_type_has_columns(row_type: type, columns: tuple[Column, ...] | None) -> None:
    assert columns_of(row_type) == columns


def encoder(row_type: type) -> Callable[[Any], bytes]:
    codec = Ndjson(action="Root.rows", charset="utf-8")
    return checked(codec.item, row_type, action="Root.rows", codec="ndjson")


@pytest.mark.parametrize(
    ("row_type", "item", "line"),
    [
        (Flight, Flight(1), b'{"number":1,"carrier":null,"price":0,"tags":[]}\n'),
        (Flight, Delayed(1), b'{"number":1,"carrier":null,"price":0,"tags":[]}\n'),
        (Flight, {"number": "1", "more": 2}, b'{"number":1,"carrier":null,"price":0,"tags":[]}\n'),
        (Flight, Named(1), b'{"number":1,"carrier":"UA","price":0,"tags":[]}\n'),
        (Struct, {"tailNumber": "N1"}, b'{"tailNumber":"N1","at":null}\n'),
        (Struct, Struct("N1"), b'{"tailNumber":"N1","at":null}\n'),
        (Dict, {"number": "1"}, b'{"number":1}\n'),
        (Named, Named(1, "AA"), b'{"number":1,"carrier":"AA"}\n'),
        (Named, {"number": 1}, b'{"number":1,"carrier":"UA"}\n'),
    ],
)
def test_rows_are_what_their_type_says(row_type: type, item: Any, line: bytes) -> None:
    assert encoder(row_type)(item) == line


def test_models_and_the_rows_of_their_queries_are_rows() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    encode = encoder(Order)
    with Session(engine) as session:
        session.add(Order(number=1, day=None, price=Decimal("1.50"), extra=[1], paid="2"))
        session.commit()
        model = session.scalars(select(Order)).one()
        columns = [Order.number, Order.day, Order.price, Order.extra, Order.paid, Order.place]
        row = session.execute(select(*columns)).one()
        line = b'{"number":1,"day":null,"price":1.50,"extra":[1],"paid":2,"place":null}\n'
        assert (encode(model), encode(row)) == (line, line)
        with pytest.raises(WrongItem, match=r"row 3 does not fit: .* named 'price'"):
            encode(session.execute(select(*columns[:2], *columns[3:])).one())
    engine.dispose()


@pytest.mark.parametrize(
    ("row_type", "item", "why"),
    [
        (Flight, {"number": "x"}, "Expected `int`, got `str`"),
        (Flight, {"carrier": "UA"}, "missing required field `number`"),
        (Flight, "text", "it is no row"),
        (Flight, None, "it is no row"),
        (Flight, (1, "UA"), "it is no row"),
        (Struct, {"tail_number": "N1"}, "missing required field `tailNumber`"),
        (Dict, {"carrier": "UA"}, "missing required field `number`"),
        (Named, {"carrier": "UA"}, "missing required field `number`"),
        (Order, {"number": 1}, "named 'day'"),
    ],
)
def test_a_bad_item_is_named_with_its_row_and_what_was_expected(row_type: type, item: Any, why: str) -> None:
    encode = checked(lambda _: b"", row_type, action="Root.rows", codec="csv")
    encode(FITTING[row_type])
    with pytest.raises(WrongItem) as wrong:
        encode(item)
    said = str(wrong.value)
    assert said.startswith(f"Root.rows yielded {type(item).__qualname__}, but its codec 'csv' takes ")
    assert f"{row_type.__qualname__} rows (" in said
    assert "row 2 does not fit: " in said
    assert why in said


def test_what_the_codec_says_of_a_row_is_not_touched() -> None:
    codec = Ndjson(action="Root.rows", charset="utf-8")
    encode = checked(codec.item, Flight, action="Root.rows", codec="ndjson")
    with pytest.raises(WrongItem, match="what JSON can say"):
        encode(Flight(1, "\ud800"))


def test_an_error_of_the_row_types_own_is_a_bad_item() -> None:
    @dataclass
    class Positive:
        number: int

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError("it must be positive")

    with pytest.raises(WrongItem, match="row 1 does not fit: it must be positive"):
        encoder(Positive)({"number": -1})
