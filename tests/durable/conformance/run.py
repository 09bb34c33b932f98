"""Run the public conformance suite of the Durable Streams protocol against our endpoint.

    python tests/durable/conformance/run.py --url sqlite:///streams.db

Needs node and npm; says so, and ends well, where they are absent. The suite is installed once, into a
temporary folder that the lock file names, as it stands in the lock file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams
from millstream.testing import serve

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "suite.test.mjs")
TESTS = 332
"""How many the pinned suite has, subscriptions aside."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the public suite of the Durable Streams protocol.")
    parser.add_argument("--url", default="memory:", help="the log to run it over (default: %(default)s)")
    parser.add_argument("--at", help="a server that runs already, instead of one of ours")
    parser.add_argument("--only", help="a part of the names of the tests to run")
    asked = parser.parse_args()
    why = missing()
    if why:
        print(f"the conformance suite was skipped: {why}")  # noqa: T201  a script says what it did
        return 0
    with served(asked.url) if asked.at is None else _given(asked.at) as address:
        counts = run(address, only=asked.only)
    print(", ".join(f"{number} {status}" for status, number in sorted(counts.items())))  # noqa: T201  as above
    complete = asked.only is not None or sum(counts.values()) >= TESTS
    return 0 if complete and set(counts) <= {"passed"} else 1


def missing() -> str | None:
    """Why the suite cannot be run here, if it cannot."""
    absent = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not found" if absent else None


@contextmanager
def served(url: str) -> Iterator[str]:
    """Our endpoint over a log, on a free port."""
    streams = DurableStreams(open_log(url), long_poll=0.5)
    app = Starlette(routes=[Mount("/v1/stream", streams)], lifespan=lambda _: streams.opened())
    with serve(app) as server:
        yield server.url


@contextmanager
def _given(address: str) -> Iterator[str]:
    yield address


def run(address: str, *, only: str | None = None) -> Counter[str]:
    """Run the suite against a server; how many tests passed, failed, and so on."""
    folder = installed(HERE, FILES)
    report = folder / f"report-{os.getpid()}.json"
    command = [_tool("npx"), "--no-install", "vitest", "run", "--reporter=json", f"--outputFile={report}"]
    if only is not None:
        command += ["--testNamePattern", only, "--passWithNoTests"]
    environment = {**os.environ, "CONFORMANCE_URL": address}
    ended = subprocess.run(  # noqa: S603  the command is ours
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if not report.exists():
        raise RuntimeError(f"vitest did not run:\n{ended.stdout}\n{ended.stderr}")
    try:
        return _counted(json.loads(report.read_text()))
    finally:
        report.unlink()


def installed(source: Path, files: Sequence[str]) -> Path:
    """A temporary folder with some files, and what their lock file names."""
    digest = hashlib.sha256(b"".join((source / name).read_bytes() for name in files)).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"durable-streams-{source.name}-{digest[:16]}"
    if not folder.exists():
        made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))  # under its name only when it is whole
        for name in files:
            shutil.copy(source / name, made)
        command = [_tool("npm"), "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=made, check=True)  # noqa: S603  as above
        with suppress(OSError):  # another run was faster
            made.rename(folder)
    return folder


def _tool(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"{name} not found"
    return path


def _counted(report: Any) -> Counter[str]:  # Any: it is JSON
    counts: Counter[str] = Counter()
    for file in report["testResults"]:
        for test in file["assertionResults"]:
            if test["status"] not in {"pending", "skipped", "todo"}:
                counts[test["status"]] += 1
            if test["status"] == "failed":
                print(f"FAILED {test['fullName']}\n{test['failureMessages'][0]}\n")  # noqa: T201  as above
    return counts


if __name__ == "__main__":
    sys.exit(main())
