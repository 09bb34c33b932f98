"""From text to typed values: what an ini file, the environment or an option says becomes a setting.

Every text carries the place it stands at, so that the sentence about a wrong one can name it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from millstream.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Facts = TypeVar("Facts", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it."""

    text: str
    name: str  # what it is and where it stands, as `port in [server:main] of app.ini`


def understood(kind: type[Facts], given: Mapping[str, Given]) -> Facts:
    """The frozen facts that the texts mean; fields nobody wrote keep their defaults.

    Raises:
        ConfigurationError: when a text is no value of its field, or a value its field does not allow.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {name: _value(text, fields[name]) for name, text in given.items()}
    for name, value in values.items():
        try:
            kind(**{name: value})
        except ConfigurationError as wrong:
            # The dataclass knows the range, only we know the place.
            raise ConfigurationError(f"{wrong} (see {given[name].name})") from None
    return kind(**values)


def _value(given: Given, field: dataclasses.Field[Any]) -> bool | int | float | str | None:
    kind, optional, _ = str(field.type).partition(" | None")
    if optional and given.text.lower() == "none":
        return None
    measure = _MEASURES.get(field.name, kind)
    value = _READERS[measure](given.text)
    if value is None:
        wanted = _IN_WORDS[measure] + (", or none" if optional else "")
        raise ConfigurationError(f"{given.name} is {given.text!r}: it must be {wanted}")
    return value


def _truth(text: str) -> bool | None:
    return _TRUTHS.get(text.lower())


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else None


def _size(text: str) -> int | None:
    found = re.fullmatch(r"(-?[0-9]{1,15}) ?(|KiB|MiB|GiB)", text)
    return int(found[1]) * _SIZES[found[2]] if found else None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text) else None


def _seconds(text: str) -> float | None:
    found = re.fullmatch(rf"({_NUMBER}) ?(|ms|s|m|h)", text)
    return float(found[1]) * _SECONDS[found[2]] if found else None


def _text(text: str) -> str | None:
    return text if text and text.isprintable() else None


_NUMBER: Final = r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?"
_TRUTHS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_SIZES: Final = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SECONDS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600}

# A number of the settings is seconds, unless it is listed here; a whole number is a count.
_MEASURES: Final = {"min_rate": "rate", "high_water": "size", "max_body": "size"}
_READERS: Final[dict[str, Callable[[str], bool | int | float | str | None]]] = {
    "bool": _truth,
    "int": _whole,
    "float": _seconds,
    "str": _text,
    "rate": _number,
    "size": _size,
}
_IN_WORDS: Final = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number of seconds, or a time such as 500ms, 90s, 5m or 1h",
    "str": "a text, on one line and not empty",
    "rate": "a number",
    "size": "a number of bytes, or a size such as 64KiB or 16MiB",
}
