from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from millstream.errors import ConfigurationError, OutsideRequest
from millstream.web.proxies import Binding, tmpl_context
from millstream.web.templates import Templates


def templates(folder: Path, *, reload: bool = False, **files: str) -> Templates:
    for name, text in files.items():
        (folder / f"{name}.html").write_text(text)
    return Templates(str(folder), reload=reload)


def test_a_template_is_rendered_with_its_values(tmp_path: Path) -> None:
    made = templates(tmp_path, page="{% for n in numbers %}{{ n }};{% endfor %}")
    assert made.render("page.html", {"numbers": [1, 2]}) == "1;2;"


def test_what_is_put_into_html_is_escaped(tmp_path: Path) -> None:
    assert templates(tmp_path, page="{{ x }}").render("page.html", {"x": "<b>"}) == "&lt;b&gt;"


def test_the_names_turbogears_knows_are_there(tmp_path: Path) -> None:
    made = templates(tmp_path, page="{{ url('/a b') }} {{ tmpl_context.title }}{{ tmpl_context.unset }}")
    nothing: Any = None  # a template asks for no more of the request
    binding = Binding.bind(nothing, nothing, nothing)
    try:
        tmpl_context.title = "Orders"
        assert made.render("page.html", {}) == "/a%20b Orders"
    finally:
        binding.release()


def test_the_request_is_there_and_says_when_it_is_not(tmp_path: Path) -> None:
    with pytest.raises(OutsideRequest):
        templates(tmp_path, page="{{ request.path_info }}").render("page.html", {})


def test_a_value_nobody_gave_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="'missing' is undefined"):
        templates(tmp_path, page="{{ missing }}").render("page.html", {})


def test_a_changed_file_is_read_again_only_where_it_is_wanted(tmp_path: Path) -> None:
    for reload, then in [(True, "new"), (False, "old")]:
        made = templates(tmp_path, reload=reload, page="old")
        assert made.render("page.html", {}) == "old"
        (tmp_path / "page.html").write_text("new")
        assert made.render("page.html", {}) == then


@pytest.mark.parametrize("folder", ["missing", "page.html"])
def test_a_folder_that_is_none_is_told_at_start_up(tmp_path: Path, folder: str) -> None:
    (tmp_path / "page.html").touch()
    wanted = str(tmp_path / folder)
    with pytest.raises(ConfigurationError) as told:
        Templates(wanted, reload=False)
    assert str(told.value) == f"the setting templates is {wanted!r}, which is no folder"


def test_without_a_folder_a_name_is_no_template() -> None:
    with pytest.raises(ConfigurationError, match="'jsn' is neither a codec nor a template"):
        Templates(None, reload=False).get("jsn")


def test_a_template_that_is_not_there_or_is_none_is_told_with_its_folder(tmp_path: Path) -> None:
    made = templates(tmp_path, broken="{% for %}")
    (tmp_path / "garbled.html").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "folder.html").mkdir()
    for name in ("missing.html", "broken.html", "garbled.html", "folder.html", "../secret.html", "a\0b"):
        with pytest.raises(ConfigurationError) as told:
            made.get(name)
        assert str(told.value).startswith(f"the template {name!r} in {tmp_path} cannot be used: ")


def test_a_page_can_be_had_piece_by_piece(tmp_path: Path) -> None:
    made = templates(tmp_path, page="<p>{% for n in numbers %}{{ n }};{% endfor %}")
    pieces = made.pieces("page.html", {"numbers": (n for n in (1, 2))})
    assert next(pieces) == "<p>"
    assert "".join(pieces) == "1;2;"


async def test_a_page_can_iterate_asynchronously(tmp_path: Path) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    made = templates(tmp_path, page="{% for n in numbers %}{{ n }}{{ url('/') }}{% endfor %}")
    pieces = made.apieces("page.html", {"numbers": numbers()})
    assert [piece async for piece in pieces] == ["1", "/"]
