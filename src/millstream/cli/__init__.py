"""The command line: `millstream serve`, `routes` and `demo`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command that the process' arguments name."""
    from millstream.cli.commands import cli  # noqa: PLC0415  worker processes import this package for less

    cli(prog_name="millstream")
