"""The README's first example, saved under its own name and started by each command that the README gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.conftest import PATIENCE
from tests.wire.running import Running, started

from millstream.testing import connect

pytestmark = pytest.mark.wire

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[0]
[NAME] = re.findall(r"Save the example as `(\w+\.py)`", README)
COMMANDS = re.findall(rf"`((?:millstream|uvicorn|granian) [^`]*{NAME.removesuffix('.py')}:app)`", README)
[PATH] = re.findall(r"`curl -N http://127\.0\.0\.1:8000(/\S+)`", README)


@pytest.fixture(params=COMMANDS)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    (tmp_path / NAME).write_text(EXAMPLE, encoding="utf-8")
    with started(request.param.split(), tmp_path, {"PYTHONSAFEPATH": ""}, cwd=tmp_path) as server:
        yield server


def test_the_readme_names_three_commands() -> None:
    assert [command.split()[0] for command in COMMANDS] == ["millstream", "uvicorn", "granian"]


def test_the_example_runs_by_the_command(running: Running) -> None:
    with connect("127.0.0.1", running.port, timeout=PATIENCE) as connection:
        chunks = iter(connection.get(f"{PATH}?until=2"))
        first, second = next(chunks), next(chunks)
    assert first.data == f"number,asked\r\n1,{PATH}\r\n".encode()
    assert second.data == f"2,{PATH}\r\n".encode()
    assert second.at - first.at > 0.5
