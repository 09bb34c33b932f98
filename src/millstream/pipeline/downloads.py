"""Downloads: the name an action's body is saved under, written with the action's own parameters.

`@expose("csv", download="flights-{month}.csv")`: what stands in braces is a parameter of the action or
`ext`, the extension of the chosen format; a format specification may follow, as in `{day:%Y-%m}`.
"""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from millstream.dispatch.action import Action
from millstream.errors import ConfigurationError
from millstream.web.disposition import attachment, safe_name

Piece = tuple[str, str | None, str]
"""A text, the parameter that follows it, and how that is written."""


@dataclass(frozen=True, slots=True)
class Download:
    """The name of one format's body."""

    pieces: tuple[Piece, ...]
    signature: inspect.Signature

    def disposition(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The header's value for one call of the action."""
        bound = self.signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        name = "".join(
            text + _written(bound.arguments.get(field or ""), how) for text, field, how in self.pieces
        )
        return attachment(safe_name(_NO_STEM.sub("download", _LOOSE_END.sub("", name))))


def download_of(name: str, action: Action, extension: str, others: Collection[str]) -> Download:
    """Compile a name.

    Args:
        name: as declared.
        action: whose parameters it may hold.
        extension: of the format, "" where it has none.
        others: the extensions of all formats of the action, when there are several: one that the name ends
            in is replaced by this format's own.

    Raises:
        ConfigurationError: when a placeholder cannot be filled.
    """
    try:
        pieces = [(text, field, how, conversion) for text, field, how, conversion in _PARSER.parse(name)]
    except ValueError as broken:
        raise ConfigurationError(f"the download {name!r} cannot be read: {broken}") from None
    known = {*action.signature.named, *(parameter.name for parameter in action.signature.positional)}
    compiled: list[Piece] = []
    for text, field, how, conversion in pieces:
        if field == EXTENSION and EXTENSION not in known:
            if not extension:
                raise ConfigurationError(
                    f"the download {name!r} asks for an extension, but its format has none"
                )
            compiled.append((text + extension, None, ""))
            continue
        if field is not None and (field not in known or conversion or "{" in (how or "")):
            there = ", ".join(sorted({*known, EXTENSION}))
            raise ConfigurationError(
                f"the download {name!r} has the placeholder {field!r}, but there are only {there}"
            )
        compiled.append((text, field, how or ""))
    return Download(_ending(compiled, extension, others), inspect.signature(action.function))


def require_uncompressed(name: str, extension: str) -> None:
    """Refuse the name of a compressed file for what a codec writes; no option compresses a file yet.

    Raises:
        ConfigurationError: when it is one, unless the format itself is.
    """
    ending = name.rpartition(".")[2].lower()
    if ending in _COMPRESSED and ending != extension:
        raise ConfigurationError(
            f"the download {name!r} ends in .{ending}, but the body that is saved is no such file: "
            + (f"end the name in .{extension}" if extension else f"drop the ending .{ending}")
        )


def _ending(pieces: Sequence[Piece], extension: str, others: Collection[str]) -> tuple[Piece, ...]:
    """The pieces, ending in this format's extension when there are several formats."""
    if not others or not extension:
        return tuple(pieces)
    *first, (text, field, how) = pieces or [("", None, "")]
    if field is not None:
        return (*first, (text, field, how), (f".{extension}", None, ""))
    stem, dot, end = text.rpartition(".")
    if not dot or end.lower() not in others:
        stem = text
    return (*first, (f"{stem}.{extension}", None, ""))


def _written(value: Any, how: str) -> str:
    return "" if value is None else format(value, how)


_PARSER: Final = string.Formatter()
EXTENSION: Final = "ext"
_COMPRESSED: Final = frozenset({"br", "bz2", "gz", "lz4", "tgz", "xz", "zip", "zst"})
_LOOSE_END: Final = re.compile(r"[-_ ]+(?=\.[^.]*$|$)")
"""What is left of "flights-{month}.csv" without a month."""
_NO_STEM: Final = re.compile(r"^[ .]*(?=\.[^. ]+$)")
"""What stands before the extension in "{name}.csv" without a name."""
