"""The list of routes, for people and for programs."""

from __future__ import annotations

import io

from rich.console import Console

from millstream.cli import listing
from millstream.dispatch.routes import Route

ROUTES = [
    Route("/", ("GET", "HEAD"), "RootController.index", (), "()"),
    Route("/[bold]x", (), "RootController.flights", ("json", "csv"), "(month: int | None = None)"),
]


def shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    listing.show(ROUTES, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_program_gets_one_line_a_route_and_four_columns_in_each() -> None:
    assert shown(terminal=False) == (
        "/\tGET HEAD\t-\tRootController.index()\n"
        "/[bold]x\tany\tjson csv\tRootController.flights(month: int | None = None)\n"
    )


def test_people_get_a_table_with_a_head() -> None:
    head, first, second = shown(terminal=True).splitlines()
    assert head.split() == list(listing.COLUMNS)
    assert first.split() == ["/", "GET", "HEAD", "-", "RootController.index()"]
    assert second.split()[0] == "/[bold]x"
