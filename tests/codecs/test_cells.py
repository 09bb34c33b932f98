from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import inf, nan
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape  # type: ignore[import-untyped]  # its types are another package

from millstream.codecs.cells import BLANK, cell_xml, escaped, text_xml


def parsed(value: Any) -> ET.Element:
    return ET.fromstring(f'<c r="A1{cell_xml(value)}')  # noqa: S314  our own XML


def text_of(value: Any) -> str | None:
    return "".join(parsed(value).itertext()) if parsed(value).get("t") == "inlineStr" else None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_well_formed_and_read_back(text: str) -> None:
    assert unescape("".join(parsed(text).itertext())) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a<b>&c", "a&lt;b&gt;&amp;c"),
        ("\0\x1b\r", "_x0000__x001B__x000D_"),
        ("_x0041_", "_x005F_x0041_"),
        ("a_b\t\n😀", "a_b\t\n😀"),
    ],
)
def test_what_xml_cannot_say_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_a_formula_is_text() -> None:
    assert (parsed("=1+1").get("t"), text_of("=1+1")) == ("inlineStr", "=1+1")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (10**15 - 1, "999999999999999"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (Decimal("1.50"), "1.50"),
        (True, "1"),
        (date(1900, 3, 1), "61"),
        (datetime(2024, 1, 1, 12), "45292.5"),  # noqa: DTZ001  a reading
        (datetime(2024, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))), "45292.5"),  # in UTC
        (time(6), "0.25"),
        (timedelta(days=2, hours=12), "2.5"),
    ],
)
def test_a_number_is_a_number(value: Any, number: str) -> None:
    assert parsed(value).findtext("v") == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**15, "1000000000000000"),
        (Decimal("0.1234567890123456"), "0.1234567890123456"),
        (Decimal("1e400"), "1E+400"),
        (date(1900, 2, 28), "1900-02-28"),
        (datetime(1, 1, 1), "0001-01-01T00:00:00"),  # noqa: DTZ001  a reading
        (datetime(1900, 1, 1, tzinfo=UTC), "1900-01-01T00:00:00+00:00"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "9999-12-31T23:59:59.999999-01:00"),
        (time(1, tzinfo=UTC), "01:00:00+00:00"),
        (timedelta(seconds=-1), "-PT1S"),
        (UUID(int=0), str(UUID(int=0))),
        (b"\0", "AA=="),
        ({"a": [1]}, '{"a":[1]}'),
    ],
)
def test_what_a_spreadsheet_would_change_is_text(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [None, nan, inf, Decimal("NaN"), Decimal("-Infinity")])
def test_what_is_no_value_is_blank(value: Any) -> None:
    assert cell_xml(value) == BLANK


@pytest.mark.parametrize("fits", ["x" * 32_767, "😀" * 16_383])
def test_a_cell_holds_so_many_characters_of_utf_16(fits: str) -> None:
    assert text_xml(fits)
    with pytest.raises(ValueError, match="32767 characters"):
        text_xml(fits + "😀")
