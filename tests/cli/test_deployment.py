"""Who wins: options over the environment, the environment over the file, the file over the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from millstream.cli.deployment import LOG_LEVELS, ServerOptions, collect, server_options
from millstream.cli.values import Given
from millstream.errors import ConfigurationError

LEVELS = ", ".join(LOG_LEVELS)
PORT = {"port": Given("3", "the option --port")}


@pytest.fixture
def ini(tmp_path: Path) -> str:
    file = tmp_path / "app.ini"
    file.write_text("[app:main]\nroot = a:B\nmax_streams = 7\n[server:main]\nport = 1\n", encoding="utf-8")
    return str(file)


def test_without_anything_said_the_defaults_stand() -> None:
    decided = collect("a:b", {}, {})
    assert decided.server == ServerOptions(host="127.0.0.1", port=8080, workers=1, log_level="info")
    assert (decided.given, decided.file) == ({}, None)


def test_the_file_wins_over_the_defaults(ini: str) -> None:
    decided = collect(ini, {}, {})
    assert (decided.server.port, decided.settings.max_streams) == (1, 7)


def test_the_environment_wins_over_the_file(ini: str) -> None:
    decided = collect(ini, {}, {"MILLSTREAM_PORT": "2", "MILLSTREAM_MAX_STREAMS": "8"})
    assert (decided.server.port, decided.settings.max_streams) == (2, 8)


def test_options_win_over_the_environment(ini: str) -> None:
    assert collect(ini, PORT, {"MILLSTREAM_PORT": "2"}).server.port == 3


def test_a_server_alone_knows_no_other_settings() -> None:
    assert server_options(PORT, {"MILLSTREAM_HOST": "::1"}) == ServerOptions(host="::1", port=3)
    with pytest.raises(ConfigurationError, match="MILLSTREAM_DEBUG is not known"):
        server_options({}, {"MILLSTREAM_DEBUG": "1"})


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("port", "65536", "the port is 65536: it must be 0 (a free one) to 65535 (see the option --port)"),
        ("port", "-1", "the port is -1: it must be 0 (a free one) to 65535 (see the option --port)"),
        ("port", "http", "the option --port is 'http': it must be a whole number"),
        ("workers", "0", "the number of workers is 0: it must be at least 1 (see the option --workers)"),
        (
            "log_level",
            "loud",
            f"the log level is 'loud': it must be one of {LEVELS} (see the option --log_level)",
        ),
    ],
)
def test_a_server_option_out_of_its_range_is_named(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        collect("a:b", {name: Given(text, f"the option --{name}")}, {})
    assert str(refused.value) == sentence
