from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from typing import Any

import pytest

from millstream.dispatch.expose import Declaration, Exposure, declared, expose
from millstream.errors import ConfigurationError


def of(function: object) -> Declaration:
    declaration = declared(function)
    assert declaration is not None
    return declaration


def test_the_function_itself_comes_back_whatever_its_kind() -> None:
    def plain() -> None: ...

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    functions: list[Callable[[], Any]] = [plain, coroutine, generator, async_generator]
    assert [expose("json")(function) for function in functions] == functions
    assert all(of(function).exposures == (Exposure("json"),) for function in functions)


def test_exposures_stand_in_the_order_they_are_written_top_to_bottom() -> None:
    @expose("json")
    @expose("ndjson", "application/jsonl")
    @expose("csv", fields=["a"])
    def rows() -> None: ...

    assert [e.engine for e in of(rows).exposures] == ["json", "ndjson", "csv"]
    assert of(rows).exposures[1].content_type == "application/jsonl"
    assert of(rows).exposures[2].options == {"fields": ["a"]}


def test_nothing_at_all_exposes_text_and_bytes_as_they_come() -> None:
    @expose()
    def page() -> None: ...

    assert of(page).exposures == (Exposure("", None, {}),)


def test_settings_are_merged_over_all_exposes_and_the_topmost_prevails() -> None:
    @expose("json", lifetime=5.0)
    @expose("csv", lifetime=9.0, keep_alive=None, bom=True)
    def rows() -> None: ...

    assert of(rows).settings == {"lifetime": 5.0, "keep_alive": None}
    assert [dict(e.options) for e in of(rows).exposures] == [{}, {"bom": True}]


def test_of_a_name_that_a_setting_and_a_codec_share_text_is_the_codec_s() -> None:
    @expose("parquet", compression="snappy")
    @expose("csv", compression=False)
    def rows() -> None: ...

    assert of(rows).settings == {"compression": False}
    assert [dict(e.options) for e in of(rows).exposures] == [{"compression": "snappy"}, {}]


def test_allowed_methods_of_all_exposes_are_joined() -> None:
    @expose("json", allowed_methods=["get"])
    @expose("csv", allowed_methods=("POST",))
    def rows() -> None: ...

    assert of(rows).allowed_methods == frozenset({"GET", "POST"})


def test_a_wrapper_that_copies_attributes_carries_the_declaration_and_leaves_the_original_alone() -> None:
    @expose("json")
    def rows() -> None: ...

    @expose("csv")
    @wraps(rows)
    def wrapper() -> None: ...

    assert [e.engine for e in of(wrapper).exposures] == ["csv", "json"]
    assert [e.engine for e in of(rows).exposures] == ["json"]


def test_an_expose_that_only_inherits_adds_no_alternative() -> None:
    @expose(inherit=True)
    def rows() -> None: ...

    assert of(rows).exposures == ()
    assert of(rows).inherit


def test_an_exposure_is_a_fact_that_can_be_a_key() -> None:
    assert len({Exposure("json", None, {"a": [1]}), Exposure("json", None, {"a": [1]})}) == 1


def test_without_parentheses_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"rows without parentheses: write @expose\(\)"):

        @expose  # type: ignore[arg-type]  # the mistake this test is about
        def rows() -> None: ...


class Lines:
    name = "lines"
    media_type = "text/x-lines"


def test_a_codec_may_be_given_itself() -> None:
    @expose(Lines)
    def rows() -> None: ...

    declaration = declared(rows)
    assert declaration is not None
    (exposure,) = declaration.exposures
    assert (exposure.engine, exposure.codec) == ("lines", Lines)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Lines(), "an object of the codec Lines: give the class itself"),
        (dict, r"stands on dict without parentheses: write @expose\(\)"),
    ],
)
def test_what_is_no_codec_is_told_at_once(wrong: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        expose(wrong)


@pytest.mark.parametrize(
    "thing", [Exposure, property(), staticmethod(print), classmethod(print), partial(print), print, 7]
)
def test_only_plain_functions_can_be_exposed(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match="which is no plain function"):
        expose()(thing)


@pytest.mark.parametrize("methods", ["GET", [], ["FETCH"], ["GET", "GE T"], [None]])
def test_methods_http_does_not_know_are_refused(methods: Any) -> None:
    with pytest.raises(ConfigurationError, match="allowed_methods"):
        expose(allowed_methods=methods)


def test_a_download_belongs_to_its_exposure() -> None:
    @expose("json")
    @expose("csv", download="orders-{month}.csv")
    def orders() -> None: ...

    assert [each.download for each in of(orders).exposures] == [None, "orders-{month}.csv"]


def test_a_download_that_is_no_name_is_refused() -> None:
    wrong: Any = True
    with pytest.raises(ConfigurationError, match="download True"):
        expose("csv", download=wrong)


def test_a_download_of_nothing_but_inherited_formats_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="of no format"):
        expose(inherit=True, download="orders.csv")


@pytest.mark.parametrize("content_type", ["json", "text/", "text/html\r\nX: y", "text/ü", "", "a/b; c=\0"])
def test_a_content_type_that_is_none_is_refused(content_type: str) -> None:
    with pytest.raises(ConfigurationError, match="content type"):
        expose(content_type=content_type)


def test_a_content_type_may_have_parameters() -> None:
    @expose(content_type='text/plain; charset="utf-8"')
    def page() -> None: ...

    assert of(page).exposures[0].content_type == 'text/plain; charset="utf-8"'


@pytest.mark.parametrize("thing", [None, 7, print, property(), type])
def test_what_was_never_exposed_declares_nothing(thing: object) -> None:
    assert declared(thing) is None


def test_a_foreign_attribute_of_our_name_is_no_declaration() -> None:
    def page() -> None: ...

    page.__millstream__ = "mine"  # type: ignore[attr-defined]  # what no author should do

    assert declared(page) is None
