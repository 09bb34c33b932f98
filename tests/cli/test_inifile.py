"""Ini files: what they say, and what is refused in which words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.cli import inifile
from millstream.cli.deployment import SERVER, SETTINGS
from millstream.cli.values import Given
from millstream.errors import ConfigurationError

DEVELOPMENT = """
# as a TurboGears project has it
[DEFAULT]
debug = true
home = %(here)s/web

[server:main]
host = 0.0.0.0
port = 8081

[app:main]
use = shop.app:make
templates = %(home)s/100%%
lifetime: 1h
"""

ONCE = (
    "[app:main] of app.ini must name the application once: "
    "either use = package.module:app or root = package.module:RootController"
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("app.ini")


def read(file: Path, text: str) -> inifile.IniFile:
    file.write_text(text, encoding="utf-8")
    return inifile.read(file, settings=SETTINGS, server=SERVER)


def refusal(file: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read(file, text)
    return str(refused.value)


def test_every_value_comes_with_the_place_it_stands_at(file: Path) -> None:
    found = read(file, DEVELOPMENT)
    assert found.application == Given("shop.app:make", "use in [app:main] of app.ini")
    assert found.settings["debug"] == Given("true", "debug in [DEFAULT] of app.ini")
    assert found.settings["lifetime"] == Given("1h", "lifetime in [app:main] of app.ini")
    assert found.server["port"] == Given("8081", "port in [server:main] of app.ini")


def test_variables_are_put_in_and_a_doubled_percent_sign_is_one(file: Path) -> None:
    assert read(file, DEVELOPMENT).settings["templates"].text == f"{file.resolve().parent}/web/100%"


def test_a_folder_with_a_percent_sign_in_its_name_is_no_variable(tmp_path: Path) -> None:
    folder = tmp_path / "100%(x)s"
    folder.mkdir()
    found = read(folder / "app.ini", "[app:main]\nroot = a:B\ntemplates = %(here)s\n")
    assert found.settings["templates"].text == str(folder)


def test_a_section_wins_over_the_defaults(file: Path) -> None:
    found = read(file, "[DEFAULT]\ndebug = true\n[app:main]\nroot = a:B\ndebug = false\n")
    assert found.settings["debug"] == Given("false", "debug in [app:main] of app.ini")


def test_the_defaults_may_hold_the_servers_port(file: Path) -> None:
    found = read(file, "[DEFAULT]\nport = 1\n[app:main]\nroot = a:B\n")
    assert found.server["port"].text == "1"
    assert "port" not in found.settings


def test_a_root_controller_names_the_application_as_well(file: Path) -> None:
    found = read(file, "[app:main]\nroot = shop.root:RootController\n")
    assert (found.application.text, found.is_root) == ("shop.root:RootController", True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "app.ini has no section [app:main], which names the application"),
        ("[app:main]\ndebug = 1\n", ONCE),
        ("[app:main]\nuse = a:b\nroot = a:B\n", ONCE),
        (
            "[app:main]\nroot = a:B\ndebugg = true\n",
            "debugg in [app:main] of app.ini is not known: did you mean debug?",
        ),
        (
            "[app:main]\nroot = a:B\n[server:main]\nprot = 1\n",
            "prot in [server:main] of app.ini is not known: did you mean port?",
        ),
        (
            "[app:main]\nroot = a:B\n[server:main]\nsession.key = 1\n",
            "session.key in [server:main] of app.ini is not known: known are host, log_level, port, workers",
        ),
        (
            "[app:main]\nroot = a:B\nport = 1\n",
            "port in [app:main] of app.ini stands in the wrong section: it belongs in [server:main]",
        ),
        (
            "[app:main]\nroot = a:B\n[server:main]\ndebug = true\n",
            "debug in [server:main] of app.ini stands in the wrong section: it belongs in [app:main]",
        ),
        (
            "[DEFAULT]\nroot = a:B\n[app:main]\n",
            "root in [DEFAULT] of app.ini stands in the wrong section: it belongs in [app:main]",
        ),
        (
            "[DEFAULT]\ndebig = true\n[app:main]\nroot = a:B\n",
            "debig in [DEFAULT] of app.ini is not known: did you mean debug?",
        ),
        (
            "[app:man]\nroot = a:B\n",
            "the section [app:man] of app.ini is not known: did you mean app:main?",
        ),
        (
            "[app:main]\nroot = a:B\nroot = a:C\n",
            "line 3 of app.ini sets root in [app:main] for the second time",
        ),
        (
            "[app:main]\nroot = a:B\n[app:main]\n",
            "line 3 of app.ini opens the section [app:main] for the second time",
        ),
        (
            "debug = true\n[app:main]\n",
            "line 1 of app.ini stands before the first section: open one, as [DEFAULT]",
        ),
        (
            "[app:main]\nroot = a:B\nhello\n",
            "line 3 of app.ini is neither a section, nor name = value, nor a comment",
        ),
        (
            "[app:main]\nroot = a:B\ntemplates = 100%\n",
            "templates in [app:main] of app.ini has a % that refers to nothing: write %% for the sign itself",
        ),
        (
            "[app:main]\nroot = a:B\ntemplates = %(hre)s\n",
            "templates in [app:main] of app.ini refers to %(hre)s, which stands nowhere",
        ),
        (
            "[DEFAULT]\nx = %(y)s\ny = %(x)s\n[app:main]\nroot = a:B\ntemplates = %(x)s\n",
            "y in [DEFAULT] of app.ini refers to itself through %(x)s",
        ),
    ],
)
def test_what_means_nothing_is_refused_in_one_sentence(file: Path, text: str, sentence: str) -> None:
    assert refusal(file, text) == sentence


def test_a_turbogears_key_is_refused_with_the_keys_that_are_known(file: Path) -> None:
    text = "[app:main]\nroot = a:B\nsqlalchemy.url = sqlite://\n"
    assert refusal(file, text).startswith("sqlalchemy.url in [app:main] of app.ini is not known: known are ")


def test_a_missing_file_is_named_with_the_place_it_was_looked_for(file: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        inifile.read(file, settings=SETTINGS, server=SERVER)
    assert str(refused.value) == f"there is no file app.ini (looked in {Path.cwd()})"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory$"):
        inifile.read(tmp_path, settings=SETTINGS, server=SERVER)


def test_a_file_in_another_charset_is_refused(file: Path) -> None:
    file.write_bytes(b"[app:main]\ntemplates = caf\xe9\n")
    with pytest.raises(ConfigurationError) as refused:
        inifile.read(file, settings=SETTINGS, server=SERVER)
    assert str(refused.value) == "the file app.ini is not UTF-8: byte 26 does not decode"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_no_text_at_all_raises_anything_but_a_sentence(file: Path, text: str) -> None:
    with suppress(ConfigurationError):
        assert read(file, "[app:main]\nroot = a:B\n" + text).application.text.startswith("a:B")
