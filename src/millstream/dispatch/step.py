"""The next step of a walk through the tree: facts, and the fit of a method to what is left of the path.

The rules of both kinds of dispatch are pure: from a place to a step. Only the walk waits, asks for security,
and remembers where it may turn back to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from millstream.dispatch.action import Action
from millstream.dispatch.node import Node, split_extension


class Place(NamedTuple):
    """Where a walk stands."""

    node: Node
    rest: tuple[str, ...]  # the segments nobody has taken yet
    extension: str = ""  # an extension the controller was named with: whatever answers must offer it


class Found(NamedTuple):
    """An action that fits."""

    action: Action
    args: tuple[str, ...]
    extension: str


class Down(NamedTuple):
    """On into a sub-controller."""

    child: object
    rest: tuple[str, ...]
    extension: str
    passed: Mapping[str, str | tuple[str, ...]]  # segments between names


class Unfit(NamedTuple):
    """An action was named but lacks arguments that fields could fill; a 422 unless another answers."""

    missing: tuple[str, ...]
    final: bool = False  # nothing else is to be tried; nothing missing then means too many segments


class Denied(NamedTuple):
    """This place is never reached by this method: a 405."""


Step = Found | Down | Unfit | Denied | None
Fit = Found | Unfit | None


def fit(action: Action | None, args: tuple[str, ...], extension: str, params: Mapping[str, Any]) -> Fit:
    """Whether a method takes these segments, its extension being given."""
    if action is None or (extension and extension not in action.extensions):
        return None
    signature = action.signature
    if not signature.takes(len(args)):
        return None
    if signature.required and (missing := signature.missing(len(args), params)):
        return Unfit(missing) if signature.named.keys() >= set(missing) else None
    return Found(action, args, extension)


def fit_tail(action: Action | None, args: tuple[str, ...], extension: str, params: Mapping[str, Any]) -> Fit:
    """As `fit`, where the last segment is the path's: an extension that is offered is no part of it."""
    if action is not None and args and "." in args[-1]:
        stem, found = split_extension(args[-1])
        if found in action.extensions:
            return fit(action, (*args[:-1], stem), found, params)
    return fit(action, args, extension, params)


def best(fits: Iterable[Fit]) -> Fit:
    """The first that fits; else the first that was named."""
    unfit = None
    for candidate in fits:
        if isinstance(candidate, Found):
            return candidate
        unfit = unfit or candidate
    return unfit


class Unread(Mapping[str, Any]):
    """The fields of a request whose body was not read: any name may be among them.

    Args:
        query: those of the query, which are known.
    """

    __slots__ = ("query",)

    def __init__(self, query: Mapping[str, Any]) -> None:
        self.query = query

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return self.query[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.query)

    def __len__(self) -> int:
        return len(self.query)


ANYTHING: Final = Unread({})
"""Asks whether a path could be answered at all, whatever the fields."""
