"""What all codecs share: their description, their options, the charset of their text.

A codec is a subclass of `Codec` that names itself and overrides what its format needs; a minimal one
is three attributes and `item`. It is constructed once a stream, so whatever can be decided before the
first item is decided in `__init__`. The order of calls is the contract of `protocol.ports.Encoder`.
"""

from __future__ import annotations

import codecs
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, ClassVar, Final, get_type_hints

import msgspec

from millstream.codecs.rows import Readers
from millstream.codecs.values import VALUES, Values
from millstream.config import SWITCHES
from millstream.errors import ConfigurationError, WrongItem
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Dialect
from millstream.protocol.events import Reason
from millstream.web.mediatypes import parameter_of


class Codec(ABC):
    """One stream's way of turning objects into bytes.

    Options are the keyword-only parameters of a codec's `__init__`; their annotations are checked when
    an action names the codec, so that a wrong one is found at start-up and not by the first client.

    Args:
        action: the action whose items these are, for error texts.
        charset: the charset of text; formats that are always UTF-8 do not ask.

    Raises:
        ConfigurationError: when the charset cannot encode text.
    """

    name: ClassVar[str]
    media_type: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]] = ()
    """What a URL ends in to ask for this format, without the dot."""
    takes: ClassVar[str] = "what this format can say"
    """The items it can carry, in words, for error texts."""
    headers: ClassVar[Mapping[str, str]] = {}
    """What every response in this format says of itself, unless its author says otherwise."""
    end_id: str | None = None
    """The event id of a client that has seen all; one that comes back with it is answered 204."""
    failure_ends: bool = False
    """Whether what `failed` or `goodbye` says is the visible end of a body, which then is not broken off."""
    head_first: bool = False
    keep_alive: bytes = b""
    columns: tuple[Column, ...] = ()
    """What is known of the rows before the first is there; empty: nothing."""
    values: Values = VALUES
    """How values are written, and by what adapters objects are read."""
    readers: Readers | None = None
    """Where items are read as rows: how."""

    def __init__(self, *, action: str, charset: str) -> None:
        self.action = action
        self.charset = charset_label(charset)

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header, where the author says none."""
        return with_charset(self.typed(self.media_type), self.charset)

    def typed(self, content_type: str) -> str:
        """Check a content type that the author says; add the parameters without which nobody can read it.

        Raises:
            ConfigurationError: when a parameter says what is not true of this stream.
        """
        charset = parameter_of(content_type, "charset")
        if charset is not None and not _is_same(charset, self.charset):
            raise ConfigurationError(
                f"the content type {content_type!r} names another charset than {self.charset}, in which "
                f"the codec {self.name!r} writes: name it in @expose(content_type=...), or drop it"
            )
        return content_type

    @classmethod
    def options_in(cls, content_type: str) -> Mapping[str, Any]:  # noqa: ARG003  most codecs read none
        """The options of this codec that are parameters of a content type."""
        return {}

    def adapt(self, values: Values) -> None:
        """Take in what the objects of an application are; before anything else."""
        self.values = values
        if self.readers is not None:
            self.readers.adapters = values.adapters

    def declare(self, columns: tuple[Column, ...], /) -> None:
        """Take in what is known of the rows; before `head`, or not at all.

        Raises:
            WrongItem: when the format cannot carry such rows.
        """
        self.columns = columns

    def head(self) -> bytes:
        """Open the body; most formats have nothing to say yet."""
        return b""

    @abstractmethod
    def item(self, item: Any, /) -> bytes:
        """Encode one item.

        Raises:
            WrongItem: when this codec cannot carry it.
        """

    def rows(self, columns: tuple[Column, ...], /) -> Callable[[Sequence[Sequence[Any]]], bytes]:
        """Make the function that encodes batches of rows; a format that can do better than row by row does.

        Raises:
            WrongItem: when two columns have one name; from what is returned, for a row that cannot be
                carried, and it holds what became of the rows before.
        """
        names = self.distinct_names(columns)

        def encode(batch: Sequence[Sequence[Any]]) -> bytes:
            pieces: list[bytes] = []
            try:
                for row in batch:
                    pieces.append(self.item(dict(zip(names, row, strict=True))))  # noqa: PERF401  those before an error count
            except WrongItem as wrong:
                wrong.before, wrong.rows_before = b"".join(pieces), len(pieces)
                raise
            return b"".join(pieces)

        return encode

    def dialect(self, columns: tuple[Column, ...], /) -> Dialect | None:  # noqa: ARG002  most formats have none
        """In which dialect a source may write rows by itself; then `framed` takes them instead of `rows`.

        Raises:
            WrongItem: as `rows`.
        """
        return None

    def framed(self, written: Any, /) -> bytes:
        """Rows in that dialect, with what the format has before or between them."""
        found: bytes = written
        return found

    def distinct_names(self, columns: tuple[Column, ...]) -> tuple[str, ...]:
        """The names of the columns, of which an object or a header has each once.

        Raises:
            WrongItem: when two columns have one name.
        """
        names = tuple(column.name for column in columns)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise self.refusal(names, f"it has two columns named {twice!r}: give one a label of its own")
        return names

    def tail(self) -> bytes:
        """End the body well."""
        return b""

    def failed(self, problem: Mapping[str, Any], /) -> bytes:  # noqa: ARG002  most formats have no error record
        """Say what failed, where the format can carry it; never what would make the body look complete."""
        return b""

    def goodbye(self, reason: Reason, /) -> bytes:  # noqa: ARG002  as above
        """Say why we end early, where the format can carry it."""
        return b""

    def document(self, item: Any, /) -> bytes:
        """Encode a whole body of one item, for an action that returned it instead of a stream.

        Raises:
            WrongItem: when this codec cannot carry it.
        """
        return self.head() + self.item(self.values.known(item)) + self.tail()

    def refusal(self, item: object, why: object = None, *, row: int | None = None) -> WrongItem:
        """Build the error about an item this codec cannot carry."""
        expected = self.takes if why is None else f"{self.takes}; this one cannot be written: {why}"
        return WrongItem(action=self.action, codec=self.name, item=item, expected=expected, row=row)

    @classmethod
    def options(cls) -> dict[str, inspect.Parameter]:
        """The options an author may give, by their names."""
        return dict(_options_of(cls))

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Find out at start-up whether a codec can be constructed with these options.

        Raises:
            ConfigurationError: when an option is unknown, missing, of the wrong type or out of its range.
        """
        known = cls.options()
        for name in options.keys() - known.keys():
            takes = ", ".join(sorted(known)) or "none"
            setting = f"; the setting {name} is true or false" if name in SWITCHES else ""
            raise ConfigurationError(
                f"the codec {cls.name!r} does not know the option {name!r}: its options are {takes}{setting}"
            )
        for name, parameter in known.items():
            if name in options:
                _check_type(cls.name, parameter, options[name])
            elif parameter.default is parameter.empty:
                raise ConfigurationError(f"the codec {cls.name!r} needs the option {name!r}")
        cls(action="", charset="utf-8", **options)


def with_charset(media_type: str, charset: str) -> str:
    """Complete a content type: `text/*` says its charset unless it did so already, others have none.

    JSON in particular has no such parameter (RFC 8259 §11).

    Raises:
        ConfigurationError: when Python cannot encode text in the charset.
    """
    if not media_type.lower().startswith("text/") or parameter_of(media_type, "charset") is not None:
        return media_type
    return f"{media_type}; charset={charset_label(charset)}"


def text_encoder(charset: str) -> Callable[[str], bytes]:
    """Make the function that encodes one stream's text, piece by piece.

    A charset that begins with a byte order mark (UTF-16, UTF-32, utf-8-sig) writes it once, before the
    first piece, and not before every one.
    """
    return _stateless(charset) or codecs.getincrementalencoder(charset)().encode


@lru_cache(maxsize=32)
def _stateless(charset: str) -> Callable[[str], bytes] | None:
    """What encodes any piece by itself; None for a charset that begins with a mark."""
    if "".encode(charset):
        return None
    if codecs.lookup(charset).name == "utf-8":
        return str.encode  # a third faster than naming the charset: this is the hot path of plain text
    return partial(str.encode, encoding=charset)


@lru_cache(maxsize=32)
def charset_label(charset: str) -> str:
    """The name a client is told of a charset.

    Raises:
        ConfigurationError: when Python cannot encode text in it (`rot13`, `base64`, an unknown name).
    """
    try:
        "".encode(charset)
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        raise ConfigurationError(f"{charset!r} is no charset that text can be encoded in") from None
    if name == "utf-8-sig":  # Python's name for "with a byte order mark", unknown to everybody else
        return "utf-8"
    return charset if _TOKEN.fullmatch(charset) else name


def is_charset(name: str) -> bool:
    """Whether Python can encode text in it."""
    try:
        charset_label(name)
    except ConfigurationError:
        return False
    return True


def _is_same(charset: str, other: str) -> bool:
    return is_charset(charset) and codecs.lookup(charset_label(charset)).name == codecs.lookup(other).name


def _options_of(codec: type[Codec]) -> Iterator[tuple[str, inspect.Parameter]]:
    """Yield the keyword-only parameters of `__init__`, up the bases as far as `**options` reaches."""
    for base in codec.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        hints = _hints_of(vars(base)["__init__"])
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _GIVEN:
                yield parameter.name, parameter.replace(annotation=hints.get(parameter.name, Any))
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            return


def _hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError:  # a type that was imported for type checkers only: the constructor decides
        return {}


def _check_type(codec: str, parameter: inspect.Parameter, value: Any) -> None:
    try:
        msgspec.convert(value, parameter.annotation)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"the option {parameter.name!r} of the codec {codec!r} is {value!r}: {error}"
        ) from None
    except TypeError:
        return  # an annotation msgspec has no check for, such as a callable's: the constructor decides


_GIVEN: Final = frozenset({"action", "charset"})
"""What the house gives to every codec, and no author does."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
