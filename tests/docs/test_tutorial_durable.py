"""The tutorial of durable streams, saved as it says: its tests and its server run, however often."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.test_docs import BLOCK, ROOT
from tests.wire.conftest import PATIENCE
from tests.wire.running import started

from millstream.testing import EventReader, connect

pytestmark = pytest.mark.wire


def test_the_page_is_saved_and_run_twice(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial-durable.md").read_text("utf-8")
    (tmp_path / "survives.py").write_text("\n\n".join(BLOCK.findall(page)), "utf-8")
    for _ in range(2):
        for command in (["pytest", "-q", "-p", "no:cacheprovider", "survives.py"], ["survives"]):
            done = subprocess.run(  # noqa: S603  our own words
                [sys.executable, "-m", *command],
                check=False,
                capture_output=True,
                text=True,
                cwd=tmp_path,
                timeout=60,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        log = tmp_path / "log"
        log.mkdir(exist_ok=True)
        with (
            started(["millstream", "serve", "survives:app"], log, environment, cwd=tmp_path) as server,
            connect("127.0.0.1", server.port, timeout=PATIENCE) as wire,
        ):
            reply = wire.get("/answer?question=why")
            words = [event.data for event in EventReader().feed(reply.rest())][:-1]
            assert words == ["You", "have", "asked:", "why"]
            assert wire.get(reply.headers["location"]).rest().count(b"data: ") == len(words) + 1
