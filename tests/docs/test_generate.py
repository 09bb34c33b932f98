"""What the documentation says of the code is what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", ["ARCHITECTURE.md", "docs/reference/settings.md"])
def test_a_generated_section_is_what_the_code_says_now(file: str) -> None:
    generator = _generator()
    (name,) = [name for page, name in generator.SECTIONS if page == file]
    assert generator.rendered(file, name) == (ROOT / file).read_text(encoding="utf-8"), "run `make docs`"


def test_the_diagram_has_every_state() -> None:
    generator = _generator()
    assert all(state.name in generator.lifecycle() for state in generator.State)
