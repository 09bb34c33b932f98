from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import millstream
import millstream.database
import millstream.testing

FACADES = [millstream, millstream.testing]
NAMES = Path(__file__).parent.parent / "docs" / "reference" / "names.md"


@pytest.mark.parametrize("facade", FACADES, ids=lambda facade: facade.__name__)
def test_the_public_names_are_sorted_and_each_is_there_once(facade: ModuleType) -> None:
    names = facade.__all__
    assert names == sorted(set(names))
    assert all(hasattr(facade, name) for name in names)


@pytest.mark.parametrize("facade", FACADES, ids=lambda facade: facade.__name__)
def test_what_a_facade_imports_from_the_house_is_what_it_makes_public(facade: ModuleType) -> None:
    imported = {
        name
        for name, value in vars(facade).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert imported == set(facade.__all__)


@pytest.mark.parametrize("name", millstream.__all__)
def test_every_public_name_explains_itself(name: str) -> None:
    value = getattr(millstream, name)
    described = value if inspect.isclass(value) or inspect.isfunction(value) else type(value)
    assert inspect.getdoc(described)


def test_the_front_door_says_what_it_is() -> None:
    assert importlib.import_module("millstream").__doc__


@pytest.mark.parametrize("module", [*FACADES, millstream.database], ids=lambda module: module.__name__)
def test_the_reference_lists_exactly_the_public_names(module: ModuleType) -> None:
    section = NAMES.read_text("utf-8").partition(f"\n## `{module.__name__}`\n")[2].partition("\n## ")[0]
    firsts = [row.split(" | ")[0] for row in section.splitlines() if row.startswith(("| `", "| [`"))]
    assert sorted(name for first in firsts for name in re.findall(r"`(\w+)`", first)) == module.__all__
