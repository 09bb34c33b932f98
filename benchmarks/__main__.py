"""All benchmarks, one after another, each in a process of its own.

Run: python benchmarks [--quick] [--write]
"""

from __future__ import annotations

import subprocess
import sys
import time

from rich.console import Console

from harness import HERE, options
from roster import EXPORTS, ITEMS, SCALE

SECTIONS = ("items", "exports", "rows", "compression", "durable", "scale")
LONGEST = 15 * 60.0  # of one section; a server that hangs is ended much sooner


def main() -> None:
    """Each section in turn; what failed is named at the end.

    Raises:
        SystemExit: when a section failed.
    """
    options(__doc__)
    console = Console(stderr=True)
    for peer in {peer.name: peer for peer in (*ITEMS, *EXPORTS, *SCALE) if peer.missing}.values():
        console.print(f"{peer.name} is left out: {peer.missing}", style="yellow")
    failed = []
    started = time.monotonic()
    for section in SECTIONS:
        console.rule(section)
        try:
            ran = subprocess.run(
                [sys.executable, HERE / f"{section}.py", *sys.argv[1:]], check=False, timeout=LONGEST
            )
        except subprocess.TimeoutExpired:
            failed.append(f"{section} took longer than {LONGEST / 60:.0f} minutes")
        else:
            if ran.returncode:
                failed.append(section)
    console.rule(f"{(time.monotonic() - started) / 60:.1f} minutes")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
