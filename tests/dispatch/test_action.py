from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from millstream.dispatch.action import Action, compile_action
from millstream.dispatch.expose import Exposure, declared, expose


def compiled(function: Callable[..., Any]) -> Action:
    declaration = declared(function)
    assert declaration is not None
    return compile_action("Root", function.__name__, function, declaration, extensions_of)


def extensions_of(exposure: Exposure) -> list[str]:
    return {"json": ["json"], "html": ["html", "HTM"]}.get(exposure.engine, [])


@expose("json")
@expose("html")
@expose(content_type="image/png")
@expose()
def picture(self: object, name: str) -> str:
    return f"{self}:{name}"


def test_an_action_knows_its_label_its_extensions_and_its_formats() -> None:
    action = compiled(picture)

    assert (action.label, action.name) == ("Root.picture", "picture")
    assert action.extensions == {"json", "html", "htm"}
    assert action.formats == ("json", "htm", "html", "image/png")


def test_bound_to_a_controller_it_can_be_called() -> None:
    assert compiled(picture).bound("controller")("a") == "controller:a"


def test_coroutines_and_async_generators_belong_into_the_task_and_everything_else_on_a_thread() -> None:
    @expose()
    def plain(self: object) -> None: ...

    @expose()
    def generator(self: object) -> Iterator[int]:
        yield 1

    @expose()
    async def coroutine(self: object) -> None: ...

    @expose()
    async def async_generator(self: object) -> AsyncIterator[int]:
        yield 1

    asked: list[Callable[..., Any]] = [plain, generator, coroutine, async_generator]
    assert [compiled(function).is_async for function in asked] == [False, False, True, True]


@pytest.mark.parametrize(
    ("methods", "allowed"),
    [
        (None, "DELETE GET HEAD OPTIONS PATCH POST PUT"),
        (["GET"], "GET HEAD OPTIONS"),
        (["POST"], "OPTIONS POST"),
        (["TRACE", "OPTIONS"], "OPTIONS TRACE"),
    ],
)
def test_head_is_allowed_where_get_is_and_options_always(methods: list[str] | None, allowed: str) -> None:
    @expose(allowed_methods=methods)
    def page(self: object) -> None: ...

    action = compiled(page)

    assert action.allowed == tuple(allowed.split())
    assert all(action.allows(method) for method in action.allowed if method != "OPTIONS")
    assert not action.allows("BREW")
