"""Kinds: an annotation taken apart into what a cell is, what is said about it, and whether it may be None."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, NotRequired, Required


@dataclass(frozen=True, slots=True)
class Kind:
    """What an annotation says."""

    type: Any  # a class or a generic of one; Any when it is a union of several
    metadata: tuple[Any, ...]  # of every `Annotated` around it
    nullable: bool


def kind_of(annotation: Any) -> Kind:
    """Take an annotation apart."""
    metadata: list[Any] = []
    nullable = False
    while True:
        if typing.get_origin(annotation) in _WRAPPERS:
            metadata += getattr(annotation, "__metadata__", ())
            annotation = typing.get_args(annotation)[0]
        elif typing.get_origin(annotation) in _UNIONS:
            rest = [each for each in typing.get_args(annotation) if each is not NoneType]
            nullable |= len(rest) < len(typing.get_args(annotation))
            annotation = rest[0] if len(rest) == 1 else Any
        elif (aliased := _aliased(annotation)) is not None:
            annotation = aliased
        else:
            return Kind(Any if annotation is object else annotation, tuple(metadata), nullable)


def _aliased(annotation: Any) -> Any:
    """What a `NewType`, or a `type` statement of Python 3.12, gives another name."""
    return getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)


_WRAPPERS: Final = (Annotated, Required, NotRequired)
_UNIONS: Final = (typing.Union, types.UnionType)
