"""From a name to an application, and one sentence for each way this fails."""

from __future__ import annotations

import asyncio
import itertools
import numbers
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.app import Millstream
from millstream.cli import target
from millstream.cli.deployment import collect
from millstream.errors import ConfigurationError
from millstream.testing import Client

NAMES = (f"shop{number}" for number in itertools.count())

SHOP = """
from millstream import Millstream, Settings, TGController, expose

class RootController(TGController):
    @expose()
    def index(self):
        return "welcome"

class Holder:
    app = Millstream(RootController())

app = Holder.app
number = 7

def make(settings):
    return Millstream(RootController, settings)

def plain():
    return Millstream(RootController())

def useless():
    return None

async def late():
    return None

def broken(settings):
    return settings.no_such_setting

async def raw(scope, receive, send): ...

class Made:
    def __init__(self, settings):
        self.settings = settings
    async def __call__(self, scope, receive, send): ...

class Picky(TGController):
    def __init__(self):
        raise LookupError("no database")
"""

PARTICIPANTS = """
begun = []

class Begins:
    def __init__(self, name):
        self.name = name
    def begin(self, join):
        begun.append(self.name)

first, second = Begins("first"), Begins("second")
"""

MODEL = """
from millstream.database import Database
database = Database("sqlite:///shop.db")
session, engine = database.session, database.engine
"""

WRITE_NAME = "write participants = package.model:database"
KIND = "it must be a participant, such as the Database that package.model:database would name"

Write = Callable[[str], str]
DEBUG = {"MILLSTREAM_DEBUG": "true"}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module of a name nobody used before, in a folder nobody put on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    modules = set(sys.modules)

    def write_module(source: str) -> str:
        name = next(NAMES)
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    yield write_module
    for name in set(sys.modules) - modules:
        if name.startswith("shop"):
            del sys.modules[name]


def load(name: str, environ: dict[str, str] | None = None) -> Any:
    return target.load(collect(name, {}, environ or {}))


def refusal(name: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(name, environ)
    return str(refused.value)


@pytest.mark.parametrize("path", ["app", "Holder.app", "plain", "plain()", "make", "make()"])
def test_an_application_or_a_factory_in_the_current_folder_is_found(write: Write, path: str) -> None:
    assert isinstance(load(f"{write(SHOP)}:{path}"), Millstream)


def test_a_factory_is_given_the_settings(write: Write) -> None:
    assert load(f"{write(SHOP)}:make", DEBUG).settings.debug is True
    assert load(f"{write(SHOP)}:Made", DEBUG).settings.debug is True


def test_any_asgi_application_may_stand_there(write: Write) -> None:
    shop = write(SHOP)
    assert load(f"{shop}:raw") is sys.modules[shop].raw


def test_a_root_controller_in_an_ini_file_becomes_an_application(write: Write) -> None:
    Path("app.ini").write_text(f"[app:main]\nroot = {write(SHOP)}:RootController\ndebug = on\n", "utf-8")
    application = load("app.ini")
    assert (type(application), application.settings.debug) == (Millstream, True)


@pytest.mark.parametrize(
    "name", ["shop", "shop:", ":app", "shop:app:x", "shop.py", "../shop:app", "shop:1", ""]
)
def test_what_is_no_name_of_an_application_is_refused(name: str) -> None:
    assert refusal(name) == (
        f"the target is {name!r}: it must be package.module:app or package.module:factory(), "
        "or the name of an ini file that ends with .ini"
    )


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("aap", "the module {shop} has no aap, which the target names"),
        ("app.x.y", "the module {shop} has no app.x.y, which the target names"),
        (
            "number",
            "{shop}:number, which the target names, is a int: it must be an ASGI application or a factory",
        ),
        ("number()", "{shop}:number() cannot be called as a factory: it is a int"),
        ("late()", "{shop}:late() cannot be called as a factory: it is a function"),
        ("useless", "the factory {shop}:useless returned a NoneType: it must return an ASGI application"),
    ],
)
def test_what_cannot_be_served_is_named(write: Write, path: str, sentence: str) -> None:
    shop = write(SHOP)
    assert refusal(f"{shop}:{path}").partition(" (it was loaded")[0] == sentence.format(shop=shop)


def test_a_module_that_another_one_shadows_is_named_by_its_file() -> None:
    assert refusal("numbers:app") == (
        f"the module numbers has no app, which the target names (it was loaded from {numbers.__file__})"
    )


def test_a_controller_is_no_application_and_told_how_to_become_one(write: Write) -> None:
    name = f"{write(SHOP)}:RootController"
    assert refusal(name) == (
        f"{name} is a controller, not an application: write root = {name} in an ini file, "
        "or app = Millstream(RootController()) in the module"
    )


def test_a_missing_module_is_named_with_the_place_it_was_looked_for(write: Write) -> None:
    write("")
    assert refusal("shopp.web:app") == (
        f"there is no module shopp, which the target names (looked in {Path.cwd()} "
        "and the installed packages)"
    )


def test_an_import_that_the_module_itself_fails_at_is_told_with_its_line(write: Write) -> None:
    shop = write("\nimport no_such_library\n")
    assert refusal(f"{shop}:app") == (
        f"importing {shop} failed: ModuleNotFoundError: No module named 'no_such_library' "
        f"({Path.cwd() / shop}.py, line 2)"
    )


def test_the_line_told_is_the_authors_not_a_librarys(write: Write) -> None:
    shop = write("import json\n\njson.loads('{')\n")
    assert refusal(f"{shop}:app").endswith(f"({Path.cwd() / shop}.py, line 3)")


def test_a_syntax_error_is_told_with_its_line(write: Write) -> None:
    shop = write("x = 1\ndef (:\n")
    assert refusal(f"{shop}:app") == (
        f"importing {shop} failed: SyntaxError: invalid syntax ({Path.cwd() / shop}.py, line 2)"
    )


def test_a_module_that_exits_is_no_way_out(write: Write) -> None:
    shop = write("raise SystemExit(0)\n")
    assert refusal(f"{shop}:app").startswith(f"importing {shop} failed: SystemExit: 0 ")


def test_what_the_authors_code_raised_is_the_cause(write: Write) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(f"{write(SHOP)}:broken")
    assert isinstance(refused.value.__cause__, AttributeError)


def test_a_controller_that_cannot_be_made_is_told_with_its_line(write: Write) -> None:
    shop = write(SHOP)
    Path("app.ini").write_text(f"[app:main]\nroot = {shop}:Picky\n", "utf-8")
    assert refusal("app.ini").startswith(f"making {shop}:Picky failed: LookupError: no database (")


@pytest.mark.parametrize("separator", [", ", " ", "\n    "])
def test_an_ini_file_names_the_participants(write: Write, separator: str) -> None:
    shop = write(SHOP + PARTICIPANTS)
    names = separator.join((f"{shop}:first", f"{shop}:second"))
    Path("app.ini").write_text(f"[app:main]\nroot = {shop}:RootController\nparticipants = {names}\n", "utf-8")
    asyncio.run(_one_request(load("app.ini")))
    assert sys.modules[shop].begun == ["first", "second"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            "",
            "participants in [app:main] of app.ini names nothing: " + WRITE_NAME,
        ),
        ("first", "participants in [app:main] of app.ini is 'first': it must be package.model:database"),
        ("{0}:third", "the module {0} has no third, which participants in [app:main] of app.ini names"),
        ("{0}:number", "{0}:number, which participants in [app:main] of app.ini names, is a int: " + KIND),
        (
            "{0}:Begins",
            "{0}:Begins, which participants in [app:main] of app.ini names, is the class Begins: " + KIND,
        ),
        ("{0}:engine", "{0}:engine, which participants in [app:main] of app.ini names, is a Engine: " + KIND),
        (
            "{0}:session",
            "{0}:session, which participants in [app:main] of app.ini names, is a RequestSession: " + KIND,
        ),
    ],
)
def test_what_is_no_participant_is_refused(write: Write, names: str, sentence: str) -> None:
    shop = write(SHOP + PARTICIPANTS + MODEL)
    text = f"[app:main]\nroot = {shop}:RootController\nparticipants = {names.format(shop)}\n"
    Path("app.ini").write_text(text, "utf-8")
    assert refusal("app.ini").startswith(sentence.format(shop))


def test_participants_of_an_application_that_makes_its_own_are_refused(write: Write) -> None:
    shop = write(SHOP + PARTICIPANTS)
    for use in ("app", "make", "plain()"):
        text = f"[app:main]\nuse = {shop}:{use}\nparticipants = {shop}:first\n"
        Path("app.ini").write_text(text, "utf-8")
        assert refusal("app.ini") == (
            "participants in [app:main] of app.ini has no effect, because "
            f"{shop}:{use} makes its own application: write Millstream(…, participants=[…]) there, "
            f"or name a root instead of {shop}:{use}"
        )


async def _one_request(application: Any) -> None:
    async with Client(application) as client:
        assert (await client.get("/")).status == 200


def test_a_root_that_is_no_controller_is_refused(write: Write) -> None:
    shop = write(SHOP)
    Path("app.ini").write_text(f"[app:main]\nroot = {shop}:app\n", "utf-8")
    assert refusal("app.ini") == (
        f"{shop}:app, which root in [app:main] of app.ini names, is a Millstream: it must be a TGController"
    )


@pytest.mark.parametrize(
    ("path", "because"),
    [
        ("app", "{shop}:app was built with its own settings"),
        ("plain", "the factory {shop}:plain takes no Settings"),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused(write: Write, path: str, because: str) -> None:
    shop = write(SHOP)
    assert refusal(f"{shop}:{path}", DEBUG) == (
        f"the environment variable MILLSTREAM_DEBUG has no effect, because {because.format(shop=shop)}: "
        "name a factory that takes Settings, or a root"
    )
