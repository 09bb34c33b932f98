"""What a ported controller still has of TurboGears, and nobody would heed; with TurboGears itself."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from millstream import Millstream, RestController, TGController, expose
from millstream.errors import ConfigurationError
from millstream.testing import Client

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # WebOb imports cgi
    import tg  # type: ignore[import-untyped]  # it has no annotations
    from tg import decorators, predicates


def guarded(**attributes: Any) -> type[TGController]:
    return type("Guarded", (TGController,), {"index": _index(), **attributes})


def _index(*stacked: Callable[[Any], Any]) -> Any:
    """An action below some decorators; the last one is the lowest."""

    def index(self: object, n: str = "") -> str:
        return f"secret {n}"

    for decorator in reversed(stacked or (expose(),)):
        index = decorator(index)
    return index


def copied(function: Any) -> Any:
    """A decorator of the author's."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


NOBODY = predicates.has_permission("manage")


class SetLater(TGController):
    def __init__(self) -> None:
        self.allow_only = NOBODY

    @expose()
    def index(self) -> str:
        return "secret"


class Rest(RestController):
    allow_only = NOBODY

    @expose()
    def get_all(self) -> str:
        return "secret"


class Heir(guarded(allow_only=NOBODY)):  # type: ignore[misc]  # a base made at run time
    pass


Cases = dict[str, tuple[type[TGController], str]]

PARTS: Cases = {
    "a predicate of the class": (guarded(allow_only=NOBODY), "Guarded.allow_only would have no effect"),
    "a predicate of the instance": (SetLater, "SetLater.allow_only would have no effect"),
    "a predicate of a RestController": (Rest, "Rest.allow_only would have no effect"),
    "a predicate of a base class": (Heir, "Heir.allow_only would have no effect"),
    "a value of the author's own": (guarded(allow_only=["ann"]), "another name"),
    "a property": (guarded(allow_only=property(lambda _: NOBODY)), "`_check_security`"),
    "__call__": (guarded(__call__=lambda *_: None), "Guarded.__call__ would have no effect"),
    "_visit": (guarded(_visit=lambda *_: None), "move its code to `_before`"),
    "_dispatch": (guarded(_dispatch=lambda *_: None), "write `_lookup` or `_default` instead"),
    "_perform_call": (guarded(_perform_call=lambda *_: None), "`_before` and `_after`"),
    "__before__": (guarded(__before__=lambda *_: None), "rename it to `_before`"),
}

DECORATED: dict[str, Any] = {
    "@require": decorators.require(NOBODY),
    "@validate": decorators.validate({"n": int}),
    "@https": decorators.https,
    "@before_call": decorators.before_call(lambda *_: None),
    "@with_trailing_slash": decorators.with_trailing_slash,
    "@paginate": decorators.paginate("rows"),
    "@decode_params": decorators.decode_params("json"),
    "@cached": decorators.cached(),
    "@expose": tg.expose("json"),
}
ORDERS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "above": lambda decorator: (decorator, expose()),
    "below": lambda decorator: (expose(), decorator),
    "above a wrapper": lambda decorator: (decorator, expose(), copied),
    "below a wrapper": lambda decorator: (expose(), copied, decorator),
    "instead": lambda decorator: (decorator,),
}
METHODS: Cases = {
    f"{name} {place}": (guarded(index=_index(*order(decorator))), "Guarded.index has ")
    for name, decorator in DECORATED.items()
    for place, order in ORDERS.items()
}


def nested(cls: type[TGController]) -> TGController:
    """A tree with such a controller far down."""
    root = TGController()
    root.shop = TGController()  # type: ignore[attr-defined]  # found by its name
    root.shop.admin = cls()  # type: ignore[attr-defined]
    return root


class Looking(TGController):
    def __init__(self, cls: type[TGController]) -> None:
        self._cls = cls

    @expose()
    def _lookup(self, name: str, *rest: str) -> tuple[TGController, tuple[str, ...]]:
        del name
        return self._cls(), rest


@pytest.mark.parametrize("case", [*PARTS, *METHODS])
def test_what_nobody_would_heed_is_refused_at_start_up(case: str) -> None:
    cls, words = (PARTS | METHODS)[case]
    for root in (cls(), nested(cls)):
        with pytest.raises(ConfigurationError) as refused:
            Millstream(root)
        assert words in str(refused.value)


@pytest.mark.parametrize("case", [*PARTS, *METHODS])
async def test_what_nobody_would_heed_is_never_served_behind_a_lookup(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    cls, words = (PARTS | METHODS)[case]
    async with Client(Millstream(Looking(cls))) as client:
        for _ in range(2):  # also when it is asked for again
            reply = await client.get("/anything/")
            assert (reply.status, "secret" in reply.text) == (500, False)
    assert words in caplog.text


def test_the_decorators_are_named() -> None:
    cls = guarded(index=_index(decorators.require(NOBODY), decorators.https, expose(), tg.expose("json")))
    with pytest.raises(ConfigurationError, match="has @require, @expose, @https of TurboGears"):
        Millstream(cls())


def test_a_guard_of_an_overridden_method_is_inherited_with_its_exposures() -> None:
    base = guarded(index=_index(decorators.require(NOBODY), expose()))
    heir = type("Heir", (base,), {"index": _index(expose(inherit=True))})
    with pytest.raises(ConfigurationError, match=r"Heir\.index has @require"):
        Millstream(heir())


def test_a_method_of_a_base_that_is_replaced_says_nothing_any_more() -> None:
    base = guarded(index=_index(decorators.require(NOBODY), expose()))
    Millstream(type("Heir", (base,), {"index": _index()})())


def test_other_things_of_these_names_are_the_authors_own() -> None:
    def decoration(function: Any) -> Any:
        function.decoration = "of the author"
        return function

    def allow_only(self: object) -> str:
        return "an action"

    Millstream(guarded(index=_index(decoration, expose()), allow_only=expose()(allow_only))())
    Millstream(guarded(allow_only=None)())
