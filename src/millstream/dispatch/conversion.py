"""Texts from a URL or a form → values of an annotated type; everything that can be decided is, at start-up.

Annotations msgspec cannot convert to (`Any`, a class of the author's, a form's `UploadFile`) let values pass
as they are. NaN and the infinities are refused as numbers: an author who wants them takes a text.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect as spec
from starlette.datastructures import UploadFile


class Unusable(Exception):
    """A value does not fit its parameter; the text is for the client."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How values of one parameter are converted.

    Raises:
        Unusable: when called with a value that does not fit.
    """

    type: Any  # an annotation: only msgspec knows what it may be
    several: bool  # a field given once becomes a list of one
    switch: bool  # a check box says "on"
    empty: Any  # what an empty field means, _KEPT for the empty text itself
    words: str  # what it must be, "" to let msgspec say it
    finite: bool  # whether there may be numbers in it, which must be finite

    def __call__(self, value: Any) -> Any:
        """The converted value."""
        if value == "" and self.empty is not _KEPT:
            return self.empty
        if isinstance(value, UploadFile):
            raise Unusable(self.words or "must not be a file")
        if self.several and not isinstance(value, list):
            value = [value]
        if self.switch and isinstance(value, str):
            value = _SWITCHES.get(value.lower(), value)
        try:
            made = msgspec.convert(value, self.type, strict=False)
            if self.finite and not _is_finite(made):
                raise Unusable(self.words or "must be a finite number")
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as misfit:
            raise Unusable(self.words or _said(misfit)) from None
        return made


@dataclass(frozen=True, slots=True)
class Several:
    """Collects a field into a list, and leaves its values as they are."""

    def __call__(self, value: Any) -> Any:
        """The value, in a list."""
        return value if isinstance(value, list) else [value]


@dataclass(frozen=True, slots=True)
class Single:
    """Lets a single value pass: a text, a file, or what JSON has for numbers, truth and nothing.

    That is what a parameter without annotation expects: a list or an object could change what a query means.
    """

    def __call__(self, value: Any) -> Any:
        """The value."""
        if isinstance(value, (list, dict)):
            raise Unusable("must be a single value")
        return value


Converter = Conversion | Several | Single


def conversion(annotation: Any, default: Any = Ellipsis) -> Converter | None:
    """How to convert to an annotation; None when values pass as they are.

    Args:
        annotation: a resolved annotation.
        default: the parameter's, `...` when it has none.
    """
    several = _several(annotation)
    try:
        kind = _kind(spec.type_info(annotation))
    except TypeError:  # what msgspec has no idea of
        kind = None
    if kind is None:
        return Several() if several else None
    return Conversion(
        type=annotation,
        several=several,
        switch=isinstance(kind, spec.BoolType),
        empty=_empty(annotation, default),
        words=_words(kind),
        finite=not isinstance(kind, _NEVER_NUMBERS),
    )


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation alone; `Annotated` looked through."""
    if typing.get_origin(annotation) is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(a for member in typing.get_args(annotation) for a in _alternatives(member))
    return (annotation,)


def _several(annotation: Any) -> bool:
    return any(
        isinstance(origin := typing.get_origin(kind) or kind, type)
        and issubclass(origin, (list, set, frozenset, tuple, Sequence))
        and not issubclass(origin, (str, bytes, bytearray, memoryview))
        and not hasattr(origin, "_fields")  # a named tuple is one value
        for kind in _alternatives(annotation)
    )


def _empty(annotation: Any, default: Any) -> Any:
    """What `?since=` means: nothing was chosen, unless an empty text is a value of the type."""
    kinds = _alternatives(annotation)
    if any(kind in (str, Any) for kind in kinds):
        return _KEPT
    if types.NoneType in kinds:
        return None
    return _KEPT if default is Ellipsis else default


def _kind(info: spec.Type) -> spec.Type | None:
    """What an annotation asks for, without `None` and metadata; None when nothing can be converted to it."""
    if isinstance(info, spec.Metadata):
        return _kind(info.type)
    if isinstance(info, spec.UnionType):
        kinds = [_kind(member) for member in info.types if not isinstance(member, spec.NoneType)]
        return None if None in kinds else kinds[0] if len(kinds) == 1 else info
    if isinstance(info, (spec.AnyType, spec.CustomType)):
        return None
    if isinstance(info, spec.CollectionType):
        # An item of any kind is fine, one of an unknown class is not.
        item = info.item_type
        return info if isinstance(item, spec.AnyType) or _kind(item) else None
    return info


def _words(kind: spec.Type) -> str:
    if isinstance(kind, spec.EnumType):
        return _one_of([member.value for member in kind.cls])
    if isinstance(kind, spec.LiteralType):
        return _one_of(list(kind.values))
    if isinstance(kind, spec.CollectionType):
        item = _kind(kind.item_type)
        said = "" if item is None or isinstance(item, spec.CollectionType) else _words(item)
        return f"every value {said}" if said else ""
    constrained = any(
        getattr(kind, limit, None) is not None for limit in ("gt", "ge", "lt", "le", "multiple_of", "tz")
    )
    return "" if constrained else _WORDS.get(type(kind), "")


def _is_finite(value: Any) -> bool:
    """Whether no number in a value is NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite()
    return all(map(_is_finite, _members(value)))


def _members(value: Any) -> Iterable[Any]:
    match value:
        case list() | tuple() | set() | frozenset():
            return value
        case dict():
            return chain(value, value.values())
        case msgspec.Struct():
            return [getattr(value, name) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return ()


def _one_of(values: Sequence[object]) -> str:
    return "must be one of " + ", ".join(map(str, values))


def _said(misfit: Exception) -> str:
    """Msgspec's own sentence, with its `$` for "the value"; any other exception's text may say too much."""
    if not isinstance(misfit, msgspec.MsgspecError):
        return "is not valid"
    return str(misfit).replace(" - at `$", ", at `").removesuffix(", at ``")


_KEPT: Final = object()
_NEVER_NUMBERS: Final = (
    spec.BoolType,
    spec.DateTimeType,
    spec.DateType,
    spec.EnumType,
    spec.IntType,
    spec.LiteralType,
    spec.StrType,
    spec.TimeType,
    spec.UUIDType,
)
_SWITCHES: Final = {"on": True, "yes": True, "off": False, "no": False}
_WORDS: Final[dict[type, str]] = {
    spec.IntType: "must be a whole number",
    spec.FloatType: "must be a number",
    spec.DecimalType: "must be a number",
    spec.BoolType: "must be true or false",
    spec.DateType: "must be a date such as 2026-12-31",
    spec.TimeType: "must be a time such as 23:59:00",
    spec.DateTimeType: "must be a time such as 2026-12-31T23:59:00Z",
    spec.UUIDType: "must be a UUID",
}

SINGLE: Final = Single()
