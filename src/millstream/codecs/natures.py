"""Natures: the few things that an object can be to a format, and how a type is told to be one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, auto
from types import NoneType
from typing import Any, Final
from uuid import UUID

import msgspec


class Nature(Enum):
    """What an object is to a format."""

    PLAIN = auto()
    """Known to every format: text, a number, a moment, a list, …"""
    VALUE = auto()
    """Stands for another object, which may be of any nature."""
    RECORD = auto()
    """Has names and values: a row of a table, an object of JSON."""
    ROWS = auto()
    """Has the rows of a table."""
    REFUSED = auto()
    """No format can write it."""


def as_it_is(value: Any) -> Any:
    """Read an object as itself."""
    return value


@dataclass(frozen=True, slots=True)
class Adapter:
    """What the objects of one type are, and how they are read.

    Raises:
        TypeError: from `read`, when an object cannot be read.
        ValueError: as above.
    """

    nature: Nature
    read: Callable[[Any], Any] = as_it_is
    """Of a VALUE, the object that it stands for; of a RECORD, a dict; of ROWS, a source of rows."""
    as_json: Callable[[Any], Any] | None = None
    """Of a RECORD: what it is in JSON, where the record itself says something else than `read`."""
    native: bool = False
    """Whether JSON encoders read it by themselves, and as we do."""
    in_memory: bool = True
    """Of ROWS: whether nobody has to wait for them, so that they may stand inside of other objects."""
    is_own: bool = False
    """Whether an author says what it is."""
    instead: str = ""
    """What to do; of ROWS that are not in memory, and of what is REFUSED when it is returned, too."""

    @property
    def in_json(self) -> Callable[[Any], Any]:
        """How it is read for JSON."""
        return self.as_json or self.read


Recognize = Callable[[type], Adapter | None]
"""Tells what the objects of a type are; None when it does not know the type."""


def refused(why: str, instead: str, *, when_returned: bool = False) -> Adapter:
    """Make the adapter of objects that no format can write.

    Args:
        why: what they are.
        instead: what to do.
        when_returned: whether an action may not return one either, although it could be iterated.
    """

    def read(value: Any) -> Any:
        if isinstance(value, type):
            raise TypeError(f"it holds the class {value.__qualname__}: an object of it is meant")
        raise TypeError(f"{why}: {instead}")

    return Adapter(Nature.REFUSED, read, instead=instead if when_returned else "")


def described(kind: type) -> str:
    """The type of an object, for error texts: `an app.models.Item`."""
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in _VOWELS else 'a'} {name}"


def is_named(kind: type, package: str, *names: str) -> bool:
    """Whether a class, or a base of it, is one of a library's, which need not be imported for that."""
    return any(
        base.__name__ in names and base.__module__.partition(".")[0].lstrip("_") == package
        for base in kind.__mro__
    )


def encoder_reads(kind: type) -> bool:
    """Whether JSON encoders read the objects of a type by themselves, as something."""
    return (
        kind in PLAIN
        or issubclass(kind, dict | list | tuple | set | frozenset | msgspec.Struct | Enum)
        or dataclasses.is_dataclass(kind)
        or hasattr(kind, "__attrs_attrs__")
    )


_PLAIN: Final = Adapter(Nature.PLAIN, native=True)
_VOWELS: Final = frozenset("aeiouAEIOU")

ATOMS: Final = frozenset(
    {
        NoneType,
        bool,
        int,
        float,
        str,
        Decimal,
        datetime,
        date,
        time,
        timedelta,
        UUID,
        bytes,
        bytearray,
        memoryview,
        msgspec.Raw,
    }
)
"""Types of values that every format knows, and that hold nothing."""

PLAIN: Final[dict[type, Adapter]] = {
    **dict.fromkeys(ATOMS, _PLAIN),
    **dict.fromkeys((list, tuple, set, frozenset), _PLAIN),
    dict: Adapter(Nature.RECORD, native=True),
}
"""The types that every format knows by themselves."""
