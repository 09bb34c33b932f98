"""`millstream routes`: a table for people, one line a route for programs."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from millstream.dispatch.routes import Route

COLUMNS = ("path", "methods", "formats", "action")


def show(rows: Iterable[Route], console: Console) -> None:
    """Print the routes; separated by tabs and without a head where nobody but a program reads."""
    cells = [_cells(row) for row in rows]
    if not console.is_terminal:
        for line in cells:
            console.file.write("\t".join(line) + "\n")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for path, methods, formats, action in cells:
        # Text, because a path such as /[x] is not markup.
        table.add_row(Text(path, style="cyan"), Text(methods), Text(formats, style="green"), Text(action))
    console.print(table)


def _cells(row: Route) -> tuple[str, str, str, str]:
    # No cell is empty: `cut` and `awk` count columns.
    methods, formats = " ".join(row.methods) or "any", " ".join(row.formats) or "-"
    return row.path, methods, formats, f"{row.action}{row.signature}"
