"""Every benchmark runs to its end with small loads. What it measures is nobody's promise here."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="pip install -r benchmarks/requirements.txt")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PEERS = {
    "items": ("Millstream", "bare ASGI", "Starlette", "FastAPI", "Flask", "TurboGears2", "Go net/http"),
    "exports": ("Millstream", "FastAPI", "Flask", "Django", "TurboGears2"),
    "rows": ("PostgreSQL 18 | csv | FastAPI, row by row", "SQLite | ndjson | FastAPI, row by row"),
    "scale": ("Millstream", "Starlette", "FastAPI", "Flask", "TurboGears2", "Go net/http"),
}


@pytest.mark.wire
@pytest.mark.parametrize("name", PEERS)
def test_a_quick_run_has_a_row_for_every_peer_installed_or_not(name: str) -> None:
    script = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick"]
    ran = subprocess.run(  # noqa: S603  a script of ours
        script, check=False, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    for peer in PEERS[name]:
        assert f"| {peer}" in ran.stdout
