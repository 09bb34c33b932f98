"""What `millstream tail` prints, and how it ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Final

import typer
from rich.console import Console

from millstream.errors import ConfigurationError


def run(url: str, *, offset: str, headers: Iterable[str], patience: float) -> None:
    """Print a stream until it ends; bytes as they come to a pipe, JSON in colours to a terminal.

    Raises:
        ConfigurationError: when the URL or a header is none, or the extra is missing.
        typer.Exit: with 1, when the stream did not end well.
    """
    try:
        from millstream.cli.tail import Followed, StreamFailed, follow  # noqa: PLC0415  only this command needs it
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"following a stream needs the library {missing.name}: pip install 'millstream[tail]'"
        ) from missing
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url!r} is no address of a stream: it begins with http:// or https://")
    told = Console(stderr=True, highlight=False)
    followed = Followed(
        url=url,
        headers=dict(map(_header, headers)),
        offset=_OFFSETS.get(offset, offset),
        patience=patience,
        say=lambda text: told.print(f"millstream: {text}", style="dim"),
    )
    show = _to_terminal if sys.stdout.isatty() else _to_pipe
    try:
        for piece in follow(followed):
            show(piece)
    except StreamFailed as failed:
        told.print(f"millstream: {url}: {failed}", style="red")
        raise typer.Exit(1) from None
    except BrokenPipeError:  # whoever read us has had enough; what Python would still flush has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError(f"the header {text!r} is none: write it as 'Name: value'")
    return name.strip(), value.strip()


def _to_pipe(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _to_terminal(piece: bytes) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in piece.decode("utf-8", "replace").splitlines():
        try:
            json.loads(line)
        except ValueError:
            console.print(line)
        else:
            console.print_json(line, indent=None)


_OFFSETS: Final = {"start": "-1"}
INTERRUPTED: Final = 130
"""The status of a program that Ctrl+C ended, as shells have it."""
