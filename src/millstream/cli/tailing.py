"""What `millstream tail` prints, and how it ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Final

import typer
from rich.console import Console
from rich.highlighter import JSONHighlighter

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
    told = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    followed = Followed(
        url=url,
        headers=dict(map(_header, headers)),
        offset=_OFFSETS.get(offset, offset),
        patience=patience,
        say=lambda text: told.print(f"millstream: {shown(text)}", style="dim"),
    )
    show = _to_terminal if sys.stdout.isatty() else _to_pipe
    try:
        for piece in follow(followed):
            show(piece)
    except StreamFailed as failed:
        told.print(shown(f"millstream: {url}: {failed}"), style="red")
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
    """Whoever may write to a stream must not command the terminal of whoever reads it."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in piece.decode("utf-8", "replace").removesuffix("\n").split("\n"):
        try:
            document = json.loads(line)
        except ValueError:
            console.print(shown(line.removesuffix("\r")))
        else:
            console.print(_JSON(shown(json.dumps(document, ensure_ascii=False))))


def shown(text: str) -> str:
    """A text in which characters that a terminal obeys are shown instead of sent."""
    return text.translate(_SHOWN)


_COMMANDS: Final = (
    range(9),
    range(11, 32),  # C0, but for the tab and the line feed
    range(0x7F, 0xA0),  # DEL, and C1: some terminals take each for an escape and a letter
    (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)),  # lines, and their direction
    range(0xD800, 0xE000),  # halves of characters, which nobody can encode
)
_SHOWN: Final = {code: f"\\u{code:04x}" for codes in _COMMANDS for code in codes}
_JSON: Final = JSONHighlighter()
_OFFSETS: Final = {"start": "-1"}
INTERRUPTED: Final = 130
"""The status of a program that Ctrl+C ended, as shells have it."""
