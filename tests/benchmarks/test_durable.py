"""The benchmark of durable streams runs to its end with a small load; its figures are promised nowhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="pip install -r benchmarks/requirements.txt")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "durable.py"
FIGURES = ("appends/s, 64", "appends/s, 1", "catching up", "20 followers", "most deliveries/s")


@pytest.mark.wire
def test_a_quick_run_has_every_figure_of_ours_and_of_the_reference_server() -> None:
    ran = subprocess.run(  # noqa: S603  a script of ours
        [sys.executable, str(SCRIPT), "--quick"], check=False, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    if "are not measured" in ran.stdout:
        pytest.skip(ran.stdout.strip())
    for figure in FIGURES:
        row = next(line for line in ran.stdout.splitlines() if figure in line)
        _, _, ours, memory, *_ = row.split("|")
        assert re.search("[0-9]", ours), row
        assert re.search("[0-9]", memory), row
