"""The demo without its extras, in an interpreter that has none of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from millstream.demo import extras

PROGRAM = """
import json, sys
for name in sys.argv[2:]:
    sys.modules[name] = None  # what is so cannot be imported, nor found
from pathlib import Path
from millstream.demo.app import create
from millstream.testing import SyncClient
with SyncClient(create(Path(sys.argv[1]))) as client:
    paths = ("/", "/downloads", "/answers", "/flights.arrow?month=2", "/flights.csv")
    replies = {path: client.get(path) for path in paths}
page = replies["/downloads"].text
print(json.dumps({"page": page, "status": [reply.status for reply in replies.values()]}))
"""


def ask(database: Path, *absent: str) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, str(database), *absent]
    answer: dict[str, Any] = json.loads(subprocess.check_output(command))  # noqa: S603  this interpreter
    return answer


def test_without_extras_the_demo_starts_and_says_what_is_left_out(database: Path) -> None:
    answer = ask(database, "pyarrow", "apsw")
    assert answer["status"] == [200, 200, 404, 404, 200]
    page = answer["page"]
    assert "pip install &#39;millstream[arrow]&#39;" in page
    assert "pip install &#39;millstream[durable]&#39;" in page
    assert "flights.parquet" not in page
    assert "/answers" not in page


def test_with_all_of_them_nothing_is_said(database: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("apsw")
    answer = ask(database)
    assert answer["status"] == [200] * 5
    assert "left out" not in answer["page"]


def test_a_decorator_is_left_out_where_its_library_is() -> None:
    def doubled(function: Any) -> Any:
        return lambda: 2 * function()

    def one() -> int:
        return 1

    assert extras.if_installed("no_such_library", doubled)(one)() == 1
    assert extras.if_installed("json", doubled)(one)() == 2
