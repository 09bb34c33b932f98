import datetime as dt
import enum
import io
import math
import typing
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile

from millstream.dispatch.conversion import SINGLE, Several, Unusable, conversion


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Person:
    name: str
    age: int = 0


class Unknown:
    pass


ID = "6f1c2b4e-0d8a-4f63-9d3c-3d6d6d0f8f11"


@pytest.mark.parametrize(
    ("annotation", "given_", "expected"),
    [
        (int, "42", 42),
        (int, "-7", -7),
        (int, 42, 42),
        (float, "1.5", 1.5),
        (str, "42", "42"),
        (str, "", ""),
        (str | None, "", ""),
        (bool, "true", True),
        (bool, "0", False),
        (bool, "on", True),
        (bool | None, "OFF", False),
        (dt.date, "2026-01-31", dt.date(2026, 1, 31)),
        (dt.date | None, "", None),
        (typing.Optional[int], "", None),  # noqa: UP045  the old spelling is an author's right
        (int | None, "3", 3),
        (
            dt.datetime,
            "2026-01-31T12:00:00Z",
            dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC),
        ),
        (uuid.UUID, ID, uuid.UUID(ID)),
        (Decimal, "1.10", Decimal("1.10")),
        (Colour, "red", Colour.RED),
        (Level, "2", Level.HIGH),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], "2", 2),
        (list[int], ["1", "2"], [1, 2]),
        (list[int], "1", [1]),
        (list[int] | None, "1", [1]),
        (list[int] | None, "", None),
        (list[str], "", [""]),
        (set[int], ["1", "1"], {1}),
        (tuple[int, ...], "1", (1,)),
        (Sequence[int], "1", [1]),
        (list, "1", ["1"]),
        (Annotated[list[int], msgspec.Meta(max_length=2)], "1", [1]),
        (Annotated[int, msgspec.Meta(ge=1)], "1", 1),
        (Person, {"name": "Ada", "age": 36}, Person("Ada", 36)),
        (Point, ["1", "2"], Point(1, 2)),
    ],
)
def test_a_value_becomes_what_the_annotation_says(annotation: Any, given_: Any, expected: Any) -> None:
    convert = conversion(annotation)

    assert convert is not None
    assert convert(given_) == expected


@pytest.mark.parametrize(
    ("annotation", "given_", "told"),
    [
        (int, "x", "must be a whole number"),
        (int, "", "must be a whole number"),
        (int, "9" * 5000, "must be a whole number"),
        (int, "\udc80", "must be a whole number"),
        (int, ["1", "2"], "must be a whole number"),
        (int | None, "x", "must be a whole number"),
        (float, "x", "must be a number"),
        (bool, "maybe", "must be true or false"),
        (dt.date, "31.1.2026", "must be a date such as 2026-12-31"),
        (dt.datetime, "now", "must be a time such as 2026-12-31T23:59:00Z"),
        (dt.time, "noon", "must be a time such as 23:59:00"),
        (uuid.UUID, "1", "must be a UUID"),
        (Decimal, "\udc80", "must be a number"),
        (Colour, "green", "must be one of red, blue"),
        (Colour, "\udc80", "must be one of red, blue"),
        (Level, "3", "must be one of 1, 2"),
        (Literal["a", "b"], "c", "must be one of a, b"),
        (list[int], ["1", "x"], "every value must be a whole number"),
        (Annotated[int, msgspec.Meta(ge=1)], "0", "Expected `int` >= 1"),
        (Annotated[int, msgspec.Meta(title="nr")], "x", "must be a whole number"),
        (Annotated[int, msgspec.Meta(ge=1)], "\udc80", "is not valid"),
        (Person, {"age": 1}, "Object missing required field `name`"),
        (Person, {"name": "a", "age": "x"}, "Expected `int`, got `str`, at `.age`"),
        (str, 7, "Expected `str`, got `int`"),
        (str, ["a", "b"], "Expected `str`, got `array`"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_words(annotation: Any, given_: Any, told: str) -> None:
    convert = conversion(annotation)

    assert convert is not None
    with pytest.raises(Unusable) as unusable:
        convert(given_)
    assert str(unusable.value) == told


@pytest.mark.parametrize(
    "annotation",
    [Any, object, Unknown, Unknown | None, int | Unknown, UploadFile, typing.TypeVar("T"), "int", list | set],
)
def test_what_nothing_can_be_converted_to_lets_values_pass(annotation: Any) -> None:
    assert not hasattr(conversion(annotation), "type")


@pytest.mark.parametrize("annotation", [list[UploadFile], list[Unknown] | None, Sequence[Unknown]])
def test_a_single_value_of_an_unknown_kind_still_becomes_a_list(annotation: Any) -> None:
    convert = conversion(annotation)

    assert isinstance(convert, Several)
    assert convert(1) == [1]
    assert convert([1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("annotation", "said"), [(int, "must be a whole number"), (str, "must not be a file")]
)
def test_a_file_is_none_of_the_values_that_texts_become(annotation: type, said: str) -> None:
    convert = conversion(annotation)

    assert convert is not None
    with pytest.raises(Unusable, match=said):
        convert(UploadFile(io.BytesIO(b"x")))


class Measured(msgspec.Struct):
    values: dict[str, list[float]]


@dataclass
class Weighed:
    weight: Decimal


@pytest.mark.parametrize("text", ["nan", "-NaN", "inf", "Infinity", "-inf"])
@pytest.mark.parametrize(
    ("annotation", "wrapped"),
    [
        (float, "{}"),
        (Decimal, "{}"),
        (float | None, "{}"),
        (int | float, "{}"),
        (Annotated[float, msgspec.Meta(ge=0)] | None, "{}"),
        (list[float], ["1", "{}"]),
        (tuple[int, float], ["1", "{}"]),
        (dict[str, float], {"a": "{}"}),
        (dict[float, str], {"{}": "a"}),
        (Measured, {"values": {"a": ["1", "{}"]}}),
        (Weighed, {"weight": "{}"}),
        (list[Weighed], [{"weight": "{}"}]),
    ],
    ids=str,
)
def test_what_is_no_finite_number_is_no_number(annotation: Any, wrapped: Any, text: str) -> None:
    convert = conversion(annotation)

    assert convert is not None
    with pytest.raises(Unusable):
        convert(filled(wrapped, text))


def test_a_number_too_large_for_a_float_is_none() -> None:
    convert = conversion(float)

    assert convert is not None
    with pytest.raises(Unusable, match="must be a number"):
        convert("1e999")


def filled(wrapped: Any, text: str) -> Any:
    if isinstance(wrapped, list):
        return [filled(each, text) for each in wrapped]
    if isinstance(wrapped, dict):
        return {filled(name, text): filled(value, text) for name, value in wrapped.items()}
    return text if wrapped == "{}" else wrapped


def test_a_text_may_be_called_nan() -> None:
    convert = conversion(list[str])

    assert convert is not None
    assert convert(["nan", "inf"]) == ["nan", "inf"]


@pytest.mark.parametrize("value", ["text", 1, 1.5, True, None])
def test_a_single_value_passes_where_nothing_is_annotated(value: object) -> None:
    assert SINGLE(value) is value


@pytest.mark.parametrize("value", [["a", "b"], [], {"$ne": None}, {}])
def test_several_values_or_an_object_do_not_pass_where_nothing_is_annotated(value: object) -> None:
    with pytest.raises(Unusable, match="must be a single value"):
        SINGLE(value)


def test_an_empty_field_is_the_default_where_there_is_one() -> None:
    convert = conversion(int, 25)

    assert convert is not None
    assert convert("") == 25


def test_what_a_constructor_of_the_author_s_says_stays_inside() -> None:
    class Secretive(msgspec.Struct):
        name: str

        def __post_init__(self) -> None:
            raise KeyError("the password is 1234")

    convert = conversion(Secretive)

    assert convert is not None
    with pytest.raises(KeyError):  # an error of the author's is a 500, not the client's
        convert({"name": "a"})


@given(st.text() | st.lists(st.text()))
def test_no_text_breaks_a_conversion(value: Any) -> None:
    for annotation in (
        int,
        float,
        bool,
        dt.date,
        uuid.UUID,
        Decimal,
        Colour,
        Level,
        list[int],
        int | None,
    ):
        convert = conversion(annotation)
        assert convert is not None
        try:
            converted = convert(value)
        except Unusable:
            continue
        assert converted is None or converted == converted or math.isnan(converted)  # noqa: PLR0124  not NaN
