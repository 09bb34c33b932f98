from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import lxml.etree  # type: ignore[import-untyped]
import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.codecs.xml import Xml, element_name
from millstream.errors import ConfigurationError, WrongItem
from millstream.testing.contracts import check_codec

NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


class Named(NamedTuple):
    a: object
    b: object


def write(items: list[Any], **options: Any) -> bytes:
    codec = Xml(action="Root.feed", charset="utf-8", **options)
    return codec.head() + b"".join(map(codec.item, items)) + codec.tail()


def parse(body: bytes) -> Any:
    return lxml.etree.fromstring(body, lxml.etree.XMLParser(resolve_entities=False))


def read(body: bytes) -> list[dict[str, str | None]]:
    """The records, by a reader of another house; and the standard library's must agree."""
    strictly = [
        {cell.tag: None if NIL in cell.attrib else cell.text or "" for cell in row} for row in parse(body)
    ]
    assert [row.tag for row in ET.fromstring(body)] == ["row"] * len(strictly)  # noqa: S314  it is ours
    return strictly


def name_back(name: str) -> str:
    return re.sub("_x([0-9A-F]{8}|[0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), name)


def test_xml_keeps_the_contract() -> None:
    rows: list[dict[str, str | None]] = [
        {"a": "1", "b": "<&>\"'"},
        {"a": "", "b": None},
        {"a": " x\r\n\ty ", "b": "]]>"},
    ]
    check_codec(Xml, rows, read=read)
    check_codec(
        Xml, [tuple(row.values()) for row in rows], options={"fields": ["a", "b"]}, read=read, expected=rows
    )


LEGAL = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r")
)
ILLEGAL = st.sampled_from(["\0", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])


@given(st.lists(st.dictionaries(LEGAL.filter(bool), LEGAL | st.none())))
def test_any_text_and_any_column_is_read_back_equal(rows: list[dict[str, str | None]]) -> None:
    found = read(write(rows))
    assert [{name_back(name): value for name, value in row.items()} for row in found] == rows


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("_x:0-. "), min_size=1))
def test_a_column_s_name_becomes_a_name_and_can_be_turned_back(column: str) -> None:
    name = element_name(column)
    assert name_back(name) == column
    assert parse(f"<{name}/>".encode()).tag == name


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("unit price", "unit_x0020_price"),
        ("größe", "größe"),
        ("2nd", "_x0032_nd"),
        ("a:b", "a_x003A_b"),
        ("_x0020_", "_x005F_x0020_"),
        ("XmlThing", "_x0058_mlThing"),
        ("a><b", "a_x003E__x003C_b"),
        ("\U000f0000", "_x000F0000_"),
    ],
)
def test_names_are_escaped_as_sql_xml_does(column: str, name: str) -> None:
    assert element_name(column) == name


def test_a_column_without_a_name_is_refused() -> None:
    with pytest.raises(WrongItem, match="without a name"):
        write([{"": 1}])


def test_a_record_is_an_element_and_its_columns_are_elements_in_it() -> None:
    assert write([{"a": 1, "b": None}, Named(2, "x")], root="flights", row="flight").splitlines() == [
        b'<?xml version="1.0" encoding="utf-8"?>',
        b'<flights xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">',
        b'<flight><a>1</a><b xsi:nil="true"/></flight>',
        b"<flight><a>2</a><b>x</b></flight>",
        b"</flights>",
    ]


def test_dicts_nest_and_lists_hold_items() -> None:
    body = write([{"a": {"b": {"c": 1}}, "tags": ["x", None, [True]], "empty": [], "none": {}}])
    tags = '<item>x</item><item xsi:nil="true"/><item><item>true</item></item>'
    row = f"<row><a><b><c>1</c></b></a><tags>{tags}</tags><empty></empty><none></none></row>"
    assert row.encode() in body


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        (float("nan"), "NaN"),
        (float("-inf"), "-INF"),
        (Decimal("1.10"), "1.10"),
        (Decimal("sNaN"), "NaN"),
        (Decimal("Infinity"), "INF"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (b"a", "YQ=="),
        (10**30, "1" + "0" * 30),
    ],
)
def test_values_are_text_as_json_would_say_them(value: object, text: str) -> None:
    assert read(write([{"a": value}])) == [{"a": text}]


@given(LEGAL, ILLEGAL, LEGAL)
def test_what_xml_cannot_say_is_refused_or_replaced(before: str, illegal: str, after: str) -> None:
    item = {"a": before + illegal + after}
    with pytest.raises(WrongItem, match=f"no way to say U\\+{ord(illegal):04X}"):
        write([item])
    assert read(write([item], replace_illegal=True)) == [{"a": before + "\ufffd" + after}]


@pytest.mark.parametrize("item", [{"a": object()}, {"a": 1j}, {"a": {"b": object()}}, {"a": 10**5000}])
def test_a_record_that_cannot_be_written_is_refused_with_the_reason(item: Any) -> None:
    with pytest.raises(WrongItem, match=r"Root\.feed .* cannot be written: "):
        write([item])


def test_pandas_reads_it() -> None:
    frame = pd.read_xml(io.BytesIO(write([{"a": 1, "b": "x"}, {"a": 2, "b": None}])), parser="etree")
    assert frame["b"].isna().tolist() == [False, True]
    assert frame["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "problem", [{"detail": "a -- b ---> <!-- \ufffe"}, {"detail": "-"}, {"--": ["--", "-"]}]
)
def test_the_error_is_a_comment_that_a_reader_sees_before_the_body_breaks(problem: Mapping[str, Any]) -> None:
    codec = Xml(action="x", charset="utf-8")
    body = codec.head() + codec.item({"a": 1}) + codec.failed(problem)
    with pytest.raises(lxml.etree.XMLSyntaxError, match="Premature end"):
        parse(body)
    comments = [node for node in parse(body + codec.tail()) if node.tag is lxml.etree.Comment]
    assert [comment.text.startswith(" error: {") for comment in comments] == [True]


@pytest.mark.parametrize("option", ["root", "row"])
@pytest.mark.parametrize("name", ["", "a b", "1", "<x>", "a:b", "x\n"])
def test_a_root_that_is_no_name_is_found_at_start_up(option: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"option '{option}'"):
        Xml.check_options({option: name})


@pytest.mark.parametrize(
    ("nan", "written"), [("NaN", "<a>NaN</a>"), ("none", "<a>none</a>"), ("", '<a xsi:nil="true"/>')]
)
def test_what_is_no_number_is_written_as_its_option_says(nan: str, written: str) -> None:
    codec = Xml(action="Root.rows", charset="utf-8", nan=nan)
    assert written in codec.item({"a": float("nan"), "b": [1]}).decode()
