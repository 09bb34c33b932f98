from typing import Any

import pytest

from millstream.dispatch.action import Action
from millstream.dispatch.controllers import ASGIAppController, RestController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.shape import Shape, is_controller, shape_of
from millstream.errors import ConfigurationError


def of(cls: type) -> Shape:
    return shape_of(cls, lambda exposure: [exposure.engine] if exposure.engine else [])


def action(cls: type, name: str) -> Action:
    found = of(cls).members[name]
    assert isinstance(found, Action)
    return found


class Trap:
    """A descriptor that must never be asked."""

    def __get__(self, *_: object) -> None:
        raise AssertionError("a descriptor was asked")


class Base(TGController):
    @expose("json", lifetime=5.0, allowed_methods=["GET"])
    def rows(self) -> None: ...

    @expose("json")
    def hidden(self) -> None: ...

    @expose()
    def _private(self) -> None: ...


class Heir(Base):
    trap = Trap()

    @expose("csv", inherit=True, keep_alive=1.0, allowed_methods=["POST"])
    def rows(self) -> None: ...

    def hidden(self) -> None: ...


class Grandchild(Heir):
    @expose(inherit=True)
    def rows(self) -> None: ...


class Replaced(Heir):
    @expose("ndjson")
    def rows(self) -> None: ...


class Below(Replaced):
    @expose(inherit=True)
    def rows(self) -> None: ...


def engines(cls: type) -> list[str]:
    return [exposure.engine for exposure in action(cls, "rows").declaration.exposures]


def test_an_heir_takes_over_after_its_own() -> None:
    rows = action(Heir, "rows")

    assert engines(Heir) == ["csv", "json"]
    assert rows.declaration.settings == {"keep_alive": 1.0, "lifetime": 5.0}
    assert rows.declaration.allowed_methods == frozenset({"GET", "POST"})
    assert rows.label == "Heir.rows"


def test_inheritance_goes_on_as_long_as_it_is_asked_for() -> None:
    assert engines(Grandchild) == ["csv", "json"]
    assert engines(Replaced) == ["ndjson"]
    assert engines(Below) == ["ndjson"]


def test_what_is_inherited_from_an_unexposed_method_comes_from_the_one_it_hides() -> None:
    class Again(Heir):
        @expose(inherit=True)
        def hidden(self) -> None: ...

    assert [e.engine for e in action(Again, "hidden").declaration.exposures] == ["json"]


def test_inheriting_from_nobody_is_told_at_start_up() -> None:
    class Orphan(TGController):
        @expose(inherit=True)
        def rows(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Orphan\.rows inherits .* no base class"):
        of(Orphan)


def test_only_public_exposed_names_are_in_the_table() -> None:
    assert set(of(Base).members) == {"rows", "hidden"}
    assert set(of(Heir).members) == {"rows"}


def test_no_descriptor_runs_while_a_class_is_compiled() -> None:
    class Lazy(TGController):
        trap = Trap()

        @property
        def computed(self) -> None:
            raise AssertionError("a property was evaluated")

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

    assert not of(Lazy).members


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_what_is_exposed_but_no_method_is_told_at_start_up(kind: Any) -> None:
    class Wrong(TGController):
        page = kind(expose()(lambda _: None))

    with pytest.raises(ConfigurationError, match=rf"Wrong\.page is exposed but is a {kind.__name__}"):
        of(Wrong)


def test_hooks_are_known_and_need_no_expose() -> None:
    class Hooked(TGController):
        def _before(self) -> None: ...

        def _after(self) -> None: ...

        def _check_security(self) -> None: ...

        def _lookup(self, first: str, *rest: str) -> None: ...

        @expose()
        def _default(self) -> None: ...

    shape = of(Hooked)

    assert all((shape.before, shape.after, shape.security, shape.default))
    assert shape.lookup is not None
    assert shape.lookup.label == "Hooked._lookup"
    assert shape.lookup.signature.missing(0, {}) == ("first",)


def test_a_default_nobody_exposed_is_none() -> None:
    class Silent(TGController):
        def _default(self) -> None: ...

    assert of(Silent).default is None


def test_a_static_lookup_is_told_at_start_up() -> None:
    class Wrong(TGController):
        @staticmethod
        def _lookup(*rest: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Wrong\._lookup is a staticmethod"):
        of(Wrong)


def test_kinds_are_known_by_descent() -> None:
    assert of(RestController).is_rest
    assert of(ASGIAppController).is_mount
    assert not of(TGController).is_rest


class PlainExposing:
    @expose()
    def page(self) -> None: ...


class PlainHolding:
    held = PlainExposing()


class SelfHolding:
    held: Any = None


SelfHolding.held = SelfHolding()


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (TGController, True),
        (PlainExposing, True),
        (PlainHolding, True),
        (SelfHolding, False),
        (int, False),
        (type, False),
        (dict, False),
        (Trap, False),
    ],
)
def test_a_controller_is_one_by_descent_or_by_what_it_exposes_and_holds(cls: type, *, expected: bool) -> None:
    assert is_controller(cls) is expected
