from typing import Any

import pytest

from millstream.dispatch.action import Action
from millstream.dispatch.controllers import ASGIAppController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.node import Node, spellings, split_extension
from millstream.dispatch.shape import is_controller, shape_of


def node(controller: object) -> Node:
    shape = shape_of(type(controller), lambda exposure: [exposure.engine] if exposure.engine else [])
    return Node(controller, shape, is_controller)


class Sub(TGController):
    pass


class Root(TGController):
    sub = Sub()

    @expose("csv")
    def flight_list(self) -> None: ...

    @expose()
    def other(self) -> None: ...

    def _before(self) -> "Root":
        return self


class Slotted(TGController):
    __slots__ = ("child",)

    @expose()
    def page(self) -> None: ...


def test_hooks_are_bound_to_their_controller() -> None:
    root = Root()

    assert node(root).before() is root
    assert node(root).after is None


def test_an_instance_that_adds_nothing_shares_its_class_s_table() -> None:
    root = node(Root())

    assert root.members is root.shape.members


def test_an_instance_lays_its_controllers_over_its_class_s_names() -> None:
    controller = Root()
    own: Any = Sub()
    controller.__dict__ |= {"sub": own, "mine": own, "other": None, "_secret": own, "note": "text"}

    members = node(controller).members

    assert members["sub"] is members["mine"] is own
    assert set(members) == {"sub", "mine", "flight_list"}


def test_a_controller_with_slots_has_its_class_s_names() -> None:
    assert set(node(Slotted()).members) == {"page"} | set(node(TGController()).members)


@pytest.mark.parametrize(
    ("segment", "last", "named", "extension"),
    [
        ("flight_list", True, "flight_list", ""),
        ("flight-list", False, "flight_list", ""),
        ("flight.list", False, "flight_list", ""),
        ("flight-list.csv", True, "flight_list", "csv"),
        ("flight-list.CSV", True, "flight_list", "csv"),
        ("flight-list.csv", False, None, ""),
        ("flight-list.json", True, None, ""),
        ("FLIGHT_LIST", True, None, ""),
        ("", True, None, ""),
    ],
)
def test_a_segment_names_an_action(segment: str, named: str | None, extension: str, *, last: bool) -> None:
    member, found = node(Root()).named(segment, last=last)

    assert (member.name if isinstance(member, Action) else member) == named
    assert found == extension


def test_a_sub_controller_is_named_with_any_extension_which_its_action_must_offer() -> None:
    member, extension = node(Root()).named("sub.xml", last=True)

    assert isinstance(member, Sub)
    assert extension == "xml"


def test_the_first_action_there_is_prevails() -> None:
    found = node(Root()).action("nothing", "sub", "other", "flight_list")

    assert found is not None
    assert found.name == "other"
    assert node(Root()).action("nothing", "sub") is None


def test_a_mounted_application_is_at_hand() -> None:
    async def app(*_: Any) -> None: ...

    assert node(ASGIAppController(app)).app is app
    assert node(Root()).app is None


@pytest.mark.parametrize(
    ("segment", "parts"),
    [
        ("a.csv", ("a", "csv")),
        ("a.b.CSV", ("a.b", "csv")),
        ("a", ("a", "")),
        (".csv", (".csv", "")),
        ("a.", ("a.", "")),
        ("", ("", "")),
        ("..", ("..", "")),
    ],
)
def test_an_extension_needs_a_stem(segment: str, parts: tuple[str, str]) -> None:
    assert split_extension(segment) == parts


def test_a_segment_that_is_not_the_last_has_no_extension() -> None:
    assert list(spellings("v1.0", last=False)) == [("v1_0", "")]
    assert list(spellings("v1.0", last=True)) == [("v1_0", ""), ("v1", "0")]
