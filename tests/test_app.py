from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from millstream import Codec, Controller, Millstream, Settings, TGController, expose, inject_html
from millstream.errors import ConfigurationError
from millstream.protocol.ports import Join
from millstream.testing import Client


class Shout(Codec):
    name: ClassVar[str] = "shout"
    media_type: ClassVar[str] = "text/x-shout"
    extensions: ClassVar[tuple[str, ...]] = ("shout",)

    def item(self, item: Any, /) -> bytes:
        return str(item).upper().encode() + b"!"


class Root(TGController):
    @expose("json")
    def feed(self) -> Iterator[str]:
        yield "a"

    @expose()
    def page(self) -> str:
        return "<p></body>"


class Shouting(TGController):
    @expose("shout")
    def feed(self) -> Iterator[str]:
        yield "a"


@pytest.mark.parametrize("root", [Root, Root()])
async def test_a_root_controller_is_all_an_application_needs(root: object) -> None:
    async with Client(Millstream(root)) as client:
        assert (await client.get("/feed")).json() == ["a"]


async def test_what_whoever_deploys_it_decided_is_there_to_be_read() -> None:
    settings = Settings(max_streams=7)
    assert Millstream(Root, settings).settings is settings
    assert Millstream(Root).settings == Settings()


async def test_formats_of_ones_own_are_named_beside_the_built_in_ones() -> None:
    async with Client(Millstream(Shouting, codecs=[Shout])) as client:
        reply = await client.get("/feed.shout")
    assert (reply.content_type, reply.body) == ("text/x-shout", b"A!")


async def test_one_applications_formats_are_not_anothers() -> None:
    Millstream(Shouting, codecs=[Shout])
    with pytest.raises(ConfigurationError, match="'shout' is neither a codec nor a template"):
        Millstream(Shouting)


async def test_transforms_and_hooks_see_what_passes_in_their_order() -> None:
    app = Millstream(
        Root,
        transforms=[inject_html("1"), inject_html("2")],
        item_hooks=[lambda item: item + "1", lambda item: item + "2"],
    )
    async with Client(app) as client:
        assert (await client.get("/page")).text == "<p>12</body>"
        assert (await client.get("/feed")).json() == ["a12"]


async def test_participants_begin_with_every_request_in_their_order() -> None:
    class Counting:
        def __init__(self, name: str) -> None:
            self.name = name

        def begin(self, join: Join) -> None:
            begun.append(self.name)

    begun: list[str] = []
    async with Client(Millstream(Root, participants=[Counting("a"), Counting("b")])) as client:
        await client.get("/feed")
        await client.get("/nowhere")
    assert begun == ["a", "b", "a", "b"]


def exposing(decorator: Callable[[Any], Any]) -> type[Controller]:
    class Deep(Controller):
        @decorator
        def feed(self) -> None: ...

    class Top(TGController):
        deep = Deep()

    return Top


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (exposing(expose("jsn")), "Deep.feed: 'jsn' is neither a codec nor a template"),
        (exposing(expose("csv", fields=3)), "Deep.feed: the option 'fields' of the codec 'csv' is 3"),
        (exposing(expose(lifetime=-1)), "Deep.feed: the setting lifetime is -1"),
    ],
)
def test_what_cannot_be_used_is_told_at_start_up_and_not_to_the_first_client(root: object, text: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        Millstream(root)
    assert text in str(told.value)


def test_two_formats_of_one_name_are_told_at_start_up() -> None:
    class Twin(Shout):
        media_type: ClassVar[str] = "text/x-twin"
        extensions: ClassVar[tuple[str, ...]] = ("twin",)

    with pytest.raises(ConfigurationError, match="shout"):
        Millstream(Root, codecs=[Shout, Twin])


def test_a_templates_folder_that_is_not_there_is_told_at_start_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="which is no folder"):
        Millstream(Root, Settings(templates=str(tmp_path / "missing")))
