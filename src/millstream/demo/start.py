"""`millstream demo`: the database first, with a progress bar, then the application over it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from millstream.app import Millstream
from millstream.demo import app, data


def application(path: Path | None, console: Console) -> Millstream:
    """The demo's application; makes its database where it is missing.

    Raises:
        ConfigurationError: when the database cannot be made or the file is somebody else's.
    """
    path = path or data.default_path()
    if not data.is_ready(path):
        _build(path, console)
    return app.create(path)


def _build(path: Path, console: Console) -> None:
    columns = (TextColumn("Reading the flights"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    terminal = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not terminal) as progress:
        task = progress.add_task("", total=1.0)
        count = data.build(path, on_progress=lambda part: progress.update(task, completed=part))
    console.print(f"{count:,} flights are in {path}", highlight=False, soft_wrap=True)
