"""Every Python block of the documentation is executed, in order, one namespace a page."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(((?!https?:)[^)#]+)")


def _named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=_named)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a page may leave a file
    text = page.read_text(encoding="utf-8")
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where annotations are looked up
    namespace = vars(module)
    for block in BLOCK.finditer(text):
        before = text.count("\n", 0, block.start(1))
        code = compile("\n" * before + block[1], str(page), "exec", dont_inherit=True)
        exec(code, namespace)  # noqa: S102  the page is ours, and this is what the test is for
    assert namespace.keys() > vars(ModuleType("page")).keys()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=_named)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / link).resolve() for link in LINK.findall((ROOT / "README.md").read_text("utf-8"))}
    assert set(PAGES) - linked == {ROOT / "README.md"}


def test_every_file_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "src" / "millstream").rglob("*.py")}
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", text):
        assert (ROOT / "src" / "millstream" / name).exists() if "/" in name else name in files, name
