from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

import pytest

from millstream.dispatch.action import Action, compile_action
from millstream.dispatch.expose import declared, expose
from millstream.errors import ConfigurationError
from millstream.pipeline.downloads import download_of, require_uncompressed


class Root:
    @expose()
    def feed(
        self, month: int, name: str = "all", *rest: str, day: date | None = None, **fields: str
    ) -> None: ...

    @expose()
    def named(self, ext: str = "") -> None: ...


def action(name: str) -> Action:
    function = vars(Root)[name]
    declaration = declared(function)
    assert declaration is not None
    return compile_action("Root", name, function, declaration, lambda _: ())


def called(
    written: str,
    *args: Any,
    extension: str = "csv",
    others: Collection[str] = (),
    of: str = "feed",
    **kwargs: Any,
) -> str:
    return download_of(written, action(of), extension, others).disposition(args, kwargs)


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("flights.csv", "flights.csv"),
        ("flights-{month}.csv", "flights-7.csv"),
        ("{month:02d}/{name}.csv", "07_all.csv"),
        ("{{{month}}}.csv", "{7}.csv"),
        ("a.{ext}", "a.csv"),
        ("{ext}-{name}", "csv-all"),
        ("flights-{day}.csv", "flights.csv"),
        ("{day}", "download"),
        ("{day}.csv", "download.csv"),
        ("{day}-{day}.csv", "download.csv"),
        (".{month}.csv", "7.csv"),
    ],
)
def test_a_name_holds_the_arguments_of_the_call(name: str, saved: str) -> None:
    assert called(name, 7) == f'attachment; filename="{saved}"'


def test_arguments_are_found_however_they_were_given() -> None:
    given = called("{month}-{name}-{day:%Y-%m}.csv", name="x", month=1, day=date(2026, 2, 3), other="y")
    assert given == 'attachment; filename="1-x-2026-02.csv"'
    assert called("{month}-{name}.csv", 1, "x", "surplus") == 'attachment; filename="1-x.csv"'


def test_what_a_client_says_cannot_leave_its_place() -> None:
    given = called("{name}.csv", 1, '../../x"\r\nSet-Cookie: a=b')
    assert given == 'attachment; filename="_.._x___Set-Cookie_ a=b.csv"'


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("flights.csv", "flights.json"),
        ("flights.CSV", "flights.json"),
        ("flights.json", "flights.json"),
        ("flights", "flights.json"),
        ("flights.v2", "flights.v2.json"),
        ("flights.{ext}", "flights.json"),
        ("flights-{month}", "flights-7.json"),
        ("flights.{month}.csv", "flights.7.json"),
    ],
)
def test_of_several_formats_each_has_its_own_extension(name: str, saved: str) -> None:
    assert called(name, 7, extension="json", others={"csv", "json"}) == f'attachment; filename="{saved}"'


def test_a_parameter_named_ext_is_that_parameter() -> None:
    assert called("a.{ext}", "own", of="named") == 'attachment; filename="a.own"'


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{monht}.csv", "the placeholder 'monht', but there are only day, ext, month, name"),
        ("{rest}.csv", "the placeholder 'rest'"),
        ("{fields}.csv", "the placeholder 'fields'"),
        ("{}.csv", "the placeholder ''"),
        ("{month.real}.csv", "the placeholder 'month.real'"),
        ("{month!r}.csv", "the placeholder 'month'"),
        ("{month:{name}}.csv", "the placeholder 'month'"),
        ("{month.csv", "cannot be read"),
        ("month}.csv", "cannot be read"),
    ],
)
def test_what_cannot_be_filled_is_told_at_start_up(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        called(name)
    assert told in str(refused.value)


@pytest.mark.parametrize("name", ["a.csv.gz", "{month}.csv.GZ", "a.zip", "{name}.zst"])
def test_a_name_promises_no_compression_that_the_format_has_not(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"but the body that is saved is no such file: .* \.csv"):
        require_uncompressed(name, "csv")
    require_uncompressed("a.zip", "zip")
    require_uncompressed("a.csv", "csv")


def test_an_extension_that_is_not_known_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigurationError, match="its format has none"):
        called("a.{ext}", 7, extension="")
