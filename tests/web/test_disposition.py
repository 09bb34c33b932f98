from __future__ import annotations

import re
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.web.disposition import LONGEST, attachment, safe_name


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("orders.csv", "orders.csv"),
        ("Aufträge März.csv", "Aufträge März.csv"),
        ("../../etc/passwd", "_._etc_passwd"),
        ("..\\boot.ini", "_boot.ini"),
        (".htaccess", "htaccess"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie_ x"),
        ('a"b.csv', "a_b.csv"),
        ("a\0.csv", "a_.csv"),
        ("x\u202egpj.exe", "x_gpj.exe"),
        ("\udc80.csv", "_.csv"),
        ("NUL", "_NUL"),
        ("con.tar.gz", "_con.tar.gz"),
        ("com\xb9.csv", "_com\xb9.csv"),
        ("CONIN$", "_CONIN$"),
        ("a. .csv", "a.csv"),
        ("", "download"),
        ("...", "download"),
        ("/", "_"),
        ("e\u0301.csv", "\xe9.csv"),
    ],
)
def test_a_name_is_made_harmless(wanted: str, name: str) -> None:
    assert safe_name(wanted) == name


@pytest.mark.parametrize("character", ["x", "ü", "\U0001f600"])
def test_a_long_name_is_shortened_before_its_extension(character: str) -> None:
    name = safe_name(character * 500 + ".csv")
    assert name.endswith(f"{character}.csv")
    assert LONGEST - 4 <= len(name.encode()) <= LONGEST


@given(st.text())
def test_no_name_is_a_path_or_hidden_or_empty(wanted: str) -> None:
    name = safe_name(wanted)
    assert name
    assert not set(name) & set('/\\"\r\n\0:')
    assert not name.startswith(".")
    assert len(name.encode()) <= LONGEST


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("orders.csv", 'attachment; filename="orders.csv"'),
        ("März.csv", "attachment; filename=\"Marz.csv\"; filename*=UTF-8''M%C3%A4rz.csv"),
        ("日本.csv", "attachment; filename=\"download.csv\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.csv"),
        ("日本", "attachment; filename=\"download\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ("50%20.csv", "attachment; filename=\"50_20.csv\"; filename*=UTF-8''50%2520.csv"),
        (
            "a\uff0fb\uff02.csv",
            "attachment; filename=\"a_b_.csv\"; filename*=UTF-8''a%EF%BC%8Fb%EF%BC%82.csv",
        ),
        (
            "\uff23\uff2f\uff2e.csv",
            "attachment; filename=\"_CON.csv\"; filename*=UTF-8''%EF%BC%A3%EF%BC%AF%EF%BC%AE.csv",
        ),
    ],
)
def test_a_name_that_is_not_ascii_is_said_twice(name: str, value: str) -> None:
    assert attachment(name) == value


@given(st.text())
def test_whatever_is_wanted_a_foreign_reader_finds_the_safe_name(wanted: str) -> None:
    name = safe_name(wanted)
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    message = Message()
    message["content-disposition"] = value
    plain = message.get_param("filename", header="content-disposition")
    exact = re.search(r"filename\*=UTF-8''(\S+)$", value)
    assert (unquote(exact[1]) if exact else plain) == name
