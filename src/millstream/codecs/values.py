"""What one value may be, inside an item: JSON for objects, text for the cells of a table.

msgspec knows most by itself: dates, times and durations become ISO 8601, UUIDs text, enums their value,
bytes base64, NaN and infinity null, sets arrays. What it does not know, the adapters read; what it reads in
another way than they do is found afterwards and mended. Everything else is refused, not guessed from its
`repr`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite, isnan
from types import NoneType
from typing import Any, Final
from uuid import UUID

import msgspec

from millstream.codecs.adapters import DEFAULT, MOST_TYPES, Adapters
from millstream.codecs.natures import ATOMS, Adapter, Nature, as_it_is, described, encoder_reads

NAN: Final = "NaN"
"""How text formats spell what is no number, as PostgreSQL does."""

Cell = str | int | float | Decimal | None
"""What the `csv` module writes as we want it written."""


class Values:
    """The values of one application, and how they are written.

    What is written raises:
        TypeError: when it holds something that nobody knows.
        ValueError: when it holds text with lone surrogates, or a number beyond Python's own limits.
        RecursionError: when it contains itself.

    Args:
        adapters: say what objects are.
    """

    def __init__(self, adapters: Adapters) -> None:
        self.adapters = adapters
        self._encoder = encoder = msgspec.json.Encoder(enc_hook=self._unknown, decimal_format="number")
        self._encode = encoder.encode
        self._encode_lines = encoder.encode_lines
        # Writes null for what msgspec 0.23 refuses and its forerunners wrote, and the rest as it was.
        self._null_for_decimals = msgspec.json.Encoder(enc_hook=self._unknown, decimal_format=_digits_or_null)
        self._looks: dict[type, _Look] = {}
        self._always = adapters.has_own

    def json(self, value: Any) -> bytes:
        """Encode a value as JSON."""
        try:
            data = self._encode(value)
        except Exception as error:  # noqa: BLE001  attributes may raise anything, of objects it should not have read
            encode = self._encode_again(value, error).encode
            return _mended(encode(self.settled(value)))
        # Only what nests can be misread, and a flat object is the most frequent item.
        if (_ARRAY in data or data.rfind(b"{") > 0 or self._always) and self._misreads(value):
            data = self._encode(self.settled(value))
        # 15 ns each for the single bytes: only a line with an N or an I is looked at closely.
        return _mended(data) if _N in data or _I in data else data

    def lines(self, values: list[Any]) -> bytes:
        """Encode values as JSON, each followed by a line feed."""
        try:
            data = self._encode_lines(values)
        except Exception as error:  # noqa: BLE001  as above
            encode = self._encode_again(values, error).encode_lines
            return _mended(encode(self.settled(values)))
        if (_ARRAY in data or data.count(b"{") > len(values) or self._always) and self._misreads(values):
            data = self._encode_lines(self.settled(values))
        return _mended(data) if _N in data or _I in data else data

    def json_cells(self, column: Sequence[Any]) -> Sequence[str]:
        """Encode the cells of one column, each as JSON of its own; one call for all of them."""
        cells = self.json(column)[1:-1].decode().split(",")
        if len(cells) == len(column):  # so none has a comma inside
            return cells
        return [self.json(value).decode() for value in column]

    def builtins(self, value: Any) -> Any:
        """Turn a value into text, numbers, truths, None, dicts with text for keys, and lists."""
        try:
            return msgspec.to_builtins(
                self.known(value), enc_hook=self._unknown, builtin_types=(Decimal,), str_keys=True
            )
        except TypeError:
            self.settled(value)  # which may say in a better way why it cannot be
            raise

    def known(self, value: Any) -> Any:
        """The same value, or another in its place that encoders read as the adapters do."""
        return self.settled(value) if self._misreads(value) else value

    def cell(self, value: Any) -> Cell:
        """Turn a value into the cell of a table: as in JSON without quotes, nested objects as JSON text."""
        kind = type(value)
        if kind in AS_IT_IS:
            return value  # type: ignore[no-any-return]  # its type says so
        if kind is bool:
            return _TRUTH_CELLS[value]
        adapter = self.adapters[kind]
        if adapter.nature is Nature.VALUE:
            return self.cell(adapter.in_json(value))
        if kind is msgspec.Raw:
            return self.cell(msgspec.json.decode(value))
        if kind in ATOMS:
            text: str = msgspec.to_builtins(value)
            return text
        return self.json(self.known(value)).decode()

    def cells(self, column: Sequence[Any]) -> Sequence[Cell]:
        """The cells of one column of a table, as `cell` makes each; most columns are of one simple type."""
        kinds = set(map(type, column))
        if kinds <= AS_IT_IS:
            return column
        if kinds <= _TRUTHS:
            return [_TRUTH_CELLS[value] for value in column]
        if kinds <= _TEXTS:  # one call for all of them
            texts: list[Cell] = msgspec.to_builtins(list(column))
            return texts
        return [self.cell(value) for value in column]

    def settled(self, value: Any) -> Any:
        """Turn a value, and whatever is inside it, into what every format knows by itself."""
        kind = type(value)
        if kind in ATOMS:
            return value
        if kind is dict:
            return {self._key(key): self.settled(each) for key, each in value.items()}
        adapter = self.adapters[kind]
        match adapter.nature:
            case Nature.PLAIN:
                return [self.settled(each) for each in value]
            case Nature.ROWS if adapter.in_memory:
                return [self.settled(row) for row in adapter.read(value)]
            case Nature.ROWS:
                raise TypeError(
                    f"it holds {described(kind)}, whose rows are read while they are sent: {adapter.instead}"
                )
            case Nature.RECORD:
                return self.settled(dict(adapter.in_json(value)))
            case _:
                return self.settled(adapter.in_json(value))

    def _key(self, key: Any) -> Any:
        settled = self.settled(key)
        if type(settled) in _NO_KEYS:
            raise TypeError(f"it holds a dict with a {type(key).__name__} for a key: make a text of the key")
        return settled

    def _encode_again(self, value: Any, error: Exception) -> msgspec.json.Encoder:
        """Find out whether there is another way to encode a value.

        Raises:
            Exception: the same, when there is none.
        """
        if isinstance(error, ValueError) and "non-finite" in str(error):
            return self._null_for_decimals
        if isinstance(error, RecursionError) or not self._misreads(value):
            raise error
        return self._encoder

    def _unknown(self, value: Any) -> Any:
        """What a value is that msgspec does not know; about plain values and lists it asks as keys only."""
        if value is None or isinstance(value, bool):
            return {True: "true", False: "false", None: "null"}[value]
        if type(value) is msgspec.Raw:  # JSON encoders copy it, and do not ask
            return msgspec.json.decode(value)
        if type(value) in _NO_KEYS:
            raise TypeError(
                f"it holds a dict with a {type(value).__name__} for a key: make a text of the key"
            )
        return self.settled(value)

    def _misreads(self, value: Any) -> bool:
        """Whether an encoder alone reads something in a value in another way than the adapters do."""
        kind = type(value)
        inside: Collection[Any]
        if kind is dict:
            inside = [*value, *value.values()] if self._always else value.values()
        elif kind is list:
            inside = value
        elif kind in ATOMS:
            return False
        else:
            look = self._looks.get(kind) or self._look(kind)
            if look is _misread:
                return True
            inside = look(value)
        if ATOMS.issuperset(map(type, inside)):
            return False
        misreads = self._misreads
        for each in inside:  # noqa: SIM110  a generator would cost as much again
            if type(each) not in ATOMS and misreads(each):
                return True
        return False

    def _look(self, kind: type) -> _Look:
        """How to look into the objects of a type."""
        look = self._look_by(self.adapters[kind], kind)
        if len(self._looks) < MOST_TYPES:
            self._looks[kind] = look
        return look

    @staticmethod
    def _look_by(adapter: Adapter, kind: type) -> _Look:
        if not encoder_reads(kind):
            return _nothing
        if not adapter.native:
            return _misread
        if adapter.nature is Nature.RECORD:
            return lambda record: adapter.read(record).values()
        return as_it_is if adapter.nature is Nature.PLAIN else _nothing  # members of enums


_Look = Callable[[Any], Any]
"""Gives what is inside an object."""


def _nothing(_: Any) -> tuple[()]:
    """See that nothing is inside, or that whatever is inside was read by the adapters."""
    return ()


def _misread(_: Any) -> tuple[()]:
    """See that an encoder reads the object in another way."""
    return ()


def is_finite(number: float | Decimal) -> bool:
    """Whether it is a number, and not infinite; a Decimal may be too large to be asked as a float."""
    return number.is_finite() if isinstance(number, Decimal) else isfinite(number)


def is_nan(number: float | Decimal) -> bool:
    """Whether it is no number."""
    return number.is_nan() if isinstance(number, Decimal) else isnan(number)


def number_text(number: float | Decimal) -> str:
    """A number as text; what is none, or is infinite, as PostgreSQL and Decimal spell it."""
    if is_finite(number):
        return str(number)
    if is_nan(number):
        return NAN
    return "Infinity" if number > 0 else "-Infinity"


def last_words(words: Mapping[str, Any]) -> bytes:
    """Encode what must be said somehow: as JSON, whatever it holds, on one line."""
    for encode in (VALUES.json, _encode_roughly):
        try:
            return encode(words).replace(b"\n", b" ")
        except Exception:  # noqa: BLE001, S112  a body's last words must not raise: the next way is plainer
            continue
    return b'{"title":"Internal Server Error","status":500}'


def _encode_roughly(words: Mapping[str, Any]) -> bytes:
    """Encode in ASCII, where lone surrogates are escapes, with `repr` for what is no JSON."""
    return json.dumps(words, default=repr, skipkeys=True, allow_nan=False).encode()


def _mended(data: bytes) -> bytes:
    if b"NaN" in data or b"Infinity" in data:
        return _TOKENS.sub(_null_for_what_is_no_number, data)
    return data


def _digits_or_null(number: Decimal) -> msgspec.Raw | None:
    return msgspec.Raw(str(number).encode()) if number.is_finite() else None


def _null_for_what_is_no_number(token: re.Match[bytes]) -> bytes:
    return token[0] if token[0].startswith(b'"') else b"null"


_NO_KEYS: Final = frozenset({list, tuple, set, frozenset, dict})
_N, _I, _ARRAY = b"NI["
# msgspec writes a Decimal that is NaN or infinite as such, which is no JSON (RFC 8259 §6). Strings are
# matched whole, so that the words inside them stay.
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?(?:s?NaN[0-9]*+|Infinity)')

AS_IT_IS: Final = frozenset({str, int, float, Decimal, NoneType})
"""Types of cells that need no look: the `csv` module writes them as JSON would."""
_TRUTHS: Final = frozenset({bool, NoneType})
_TRUTH_CELLS: Final[dict[bool | None, Cell]] = {True: "true", False: "false", None: None}
_TEXTS: Final = frozenset({datetime, date, time, timedelta, UUID, NoneType})  # msgspec makes text of them

VALUES: Final = Values(DEFAULT)
"""Those of an application whose author adds no adapters."""
