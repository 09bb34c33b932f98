from __future__ import annotations

import sys

import pytest

from millstream.durable.engines import open_log
from millstream.durable.log import Log
from millstream.errors import ConfigurationError


def test_memory_needs_nothing() -> None:
    assert isinstance(open_log("memory:"), Log)


@pytest.mark.parametrize("url", ["", "mysql://x", "streams.db", "sqlite3:x"])
def test_a_url_nobody_understands_says_which_are_understood(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must be one of memory, sqlite, redis"):
        open_log(url)


@pytest.mark.parametrize(
    ("url", "module", "library", "extra"),
    [
        ("sqlite:///x.db", "sqlite", "apsw", "durable"),
        ("redis://x", "redis", "redis", "redis"),
        ("postgresql://x", "postgres", "psycopg", "postgres"),
    ],
)
def test_a_missing_library_names_its_extra(
    url: str, module: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith(f"millstream.durable.{module}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Missing(library), *sys.meta_path])
    with pytest.raises(ConfigurationError, match=rf"millstream\[{extra}\]"):
        open_log(url)


class _Missing:
    """An importer of a machine that has not got one library."""

    def __init__(self, library: str) -> None:
        self._library = library

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name.partition(".")[0] == self._library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
