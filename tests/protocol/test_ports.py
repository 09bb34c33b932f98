from __future__ import annotations

import pytest
from starlette.datastructures import MutableHeaders

from millstream.protocol.ports import Head


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("text/html", "text/html"),
        ("Text/HTML; charset=utf-8", "text/html"),
        (" text/html ;charset=utf-8", "text/html"),
        ("", ""),
    ],
)
def test_a_head_tells_its_media_type_without_parameters_in_lower_case(header: str, media_type: str) -> None:
    assert Head(200, MutableHeaders({"Content-Type": header}), "GET").content_type == media_type


def test_a_head_without_a_media_type_tells_none() -> None:
    assert Head(204, MutableHeaders(), "GET").content_type == ""
