"""The public suite of the protocol, over the memory engine; the other engines' tests run it over theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "conformance" / "run.py"


@pytest.mark.wire
def test_the_public_suite_passes_whole() -> None:
    ended = subprocess.run(  # noqa: S603  our own script
        [sys.executable, str(RUN), "--url", "memory:"], capture_output=True, text=True, check=False
    )
    if "was skipped" in ended.stdout:
        pytest.skip(ended.stdout.strip())
    assert (ended.returncode, ended.stdout.strip()) == (0, "332 passed"), ended.stdout + ended.stderr
