from __future__ import annotations

import pytest

from millstream.web.mediatypes import media_type_of, parameter_of


@pytest.mark.parametrize(
    ("content_type", "value"),
    [
        ("text/plain", None),
        ("text/plain; charset=utf-8", "utf-8"),
        ('text/plain ;CHARSET = "utf-8"', "utf-8"),
        ('text/plain; note="a; charset=latin-1"', None),
        ('text/plain; note="a\\"; b"; charset=latin-1', "latin-1"),
        ("text/plain; charset", ""),
    ],
)
def test_a_parameter_is_found_where_it_stands(content_type: str, value: str | None) -> None:
    assert parameter_of(content_type, "charset") == value


def test_a_type_is_compared_without_its_parameters_and_case() -> None:
    assert media_type_of(' Text/HTML ; charset="a"') == "text/html"
