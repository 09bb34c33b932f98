from millstream.dispatch.action import Action, compile_action
from millstream.dispatch.expose import declared, expose
from millstream.dispatch.step import ANYTHING, Found, Unfit, best, fit, fit_tail


@expose("csv")
def page(self: object, name: str, day: str = "") -> None: ...


@expose()
def raw(self: object, name: str, /) -> None: ...


def compiled(function: object) -> Action:
    declaration = declared(function)
    assert declaration is not None
    assert callable(function)
    return compile_action("Root", "page", function, declaration, lambda e: [e.engine] if e.engine else [])


PAGE = compiled(page)
RAW = compiled(raw)


def test_segments_fit_when_they_are_neither_too_few_nor_too_many() -> None:
    assert fit(PAGE, ("a",), "", {}) == Found(PAGE, ("a",), "")
    assert fit(PAGE, ("a", "b", "c"), "", {}) is None
    assert fit(PAGE, (), "", {}) == Unfit(("name",))
    assert fit(PAGE, (), "", {"name": "a"}) == Found(PAGE, (), "")


def test_what_no_field_can_fill_is_not_told_as_missing() -> None:
    assert fit(RAW, (), "", {}) is None


def test_an_extension_fits_only_where_it_is_offered() -> None:
    assert fit(PAGE, ("a",), "csv", {}) == Found(PAGE, ("a",), "csv")
    assert fit(PAGE, ("a",), "json", {}) is None
    assert fit(None, ("a",), "", {}) is None


def test_the_last_segment_loses_an_extension_that_is_offered() -> None:
    assert fit_tail(PAGE, ("a.b", "c.csv"), "", {}) == Found(PAGE, ("a.b", "c"), "csv")
    assert fit_tail(PAGE, ("a.csv", "b.pdf"), "", {}) == Found(PAGE, ("a.csv", "b.pdf"), "")
    assert fit_tail(PAGE, ("a.",), "", {}) == Found(PAGE, ("a.",), "")


def test_the_best_is_what_fits_else_what_was_named_first() -> None:
    found, first, second = Found(PAGE, (), ""), Unfit(("a",)), Unfit(("b",))

    assert best(iter([None, first, found])) is found
    assert best(iter([None, first, second])) is first
    assert best(iter([None])) is None


def test_anything_has_every_field_but_lists_none() -> None:
    assert "whatever" in ANYTHING
    assert not list(ANYTHING)
    assert len(ANYTHING) == 0
    assert ANYTHING.get("whatever") is None
