"""`multipart/mixed` (RFC 2046 §5.1): parts of different types one after the other, each with its own headers.

The delimiter goes behind a part, so that a reader knows at once that it is complete; only a stream that ended
well closes the last one with `--`. The boundary is made anew for each stream and cannot be guessed, so
nobody can write one into data that others will read, unless the author chooses one in the content type.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import quote

from millstream.codecs.base import Codec, text_encoder, with_charset
from millstream.codecs.bodies import IN_WORDS, Body, buffer_of, producer_of, slices, whole
from millstream.codecs.objects import UNWRITABLE
from millstream.codecs.values import last_words
from millstream.errors import ConfigurationError
from millstream.web.mediatypes import media_type_of, parameter_of


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message, as an author yields it.

    Args:
        body: what it consists of; files and generators are closed when they are done with.
        content_type: its type; `text/*` says its charset.
        filename: what it is called where it is saved.
        headers: more of them; `Content-Type` and `Content-Disposition` have their own places.
    """

    body: Body
    content_type: str = "application/octet-stream"
    _: KW_ONLY
    filename: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Multipart(Codec):
    """Parts; plain text, bytes and objects become parts of the type they have, objects as JSON.

    Args:
        action: the action whose items these are.
        charset: the charset of text.
        boundary: what separates the parts; chosen once, it can be guessed.

    Raises:
        ConfigurationError: when the boundary is none.
    """

    name: ClassVar[str] = "multipart"
    media_type: ClassVar[str] = "multipart/mixed"
    takes: ClassVar[str] = f"Part(body, content_type) with {IN_WORDS}, or str, bytes and what JSON can say"

    def __init__(self, *, action: str, charset: str, boundary: str | None = None) -> None:
        super().__init__(action=action, charset=charset)
        self._boundary = secrets.token_hex(20) if boundary is None else boundary
        if not _BOUNDARY.fullmatch(self._boundary):
            raise ConfigurationError(
                f"the option 'boundary' of the codec 'multipart' is {boundary!r}: "
                "it must be 1 to 70 letters, digits and marks (RFC 2046 §5.1.1)"
            )
        self.delimiter = f"\r\n--{self._boundary}".encode()
        self._inside = False

    def typed(self, content_type: str) -> str:
        """The type with this stream's boundary."""
        content_type = super().typed(content_type)
        boundary = parameter_of(content_type, "boundary")
        if boundary is None and media_type_of(content_type).startswith("multipart/"):
            return f'{content_type}; boundary="{self._boundary}"'
        if boundary not in {None, self._boundary}:
            raise ConfigurationError(
                f"the content type {content_type!r} names another boundary than that of the codec "
                "'multipart': name it in @expose(content_type=...) alone"
            )
        return content_type

    @classmethod
    def options_in(cls, content_type: str) -> Mapping[str, Any]:
        """The boundary, where an author chooses it."""
        boundary = parameter_of(content_type, "boundary")
        return {} if boundary is None else {"boundary": boundary}

    def head(self) -> bytes:
        """The first delimiter, whose line the first part goes on with."""
        return self.delimiter[2:]

    def expand(self, item: Any, /) -> _Section:
        """One part."""
        part = item if isinstance(item, Part) else self._part_of(item)
        producer = producer_of(part.body)
        if producer is None:
            raise self.refusal(item, f"its body is {type(part.body).__qualname__}, not {IN_WORDS}")
        return _Section(part, producer, self)

    def item(self, item: Any, /) -> bytes:
        """One part at once; whoever knows `expand` does not ask for that."""
        data = whole(self.expand(item))
        if data is None:
            raise self.refusal(item, "its body is asynchronous")
        return data

    def tail(self) -> bytes:
        """The last delimiter is closed; said by nothing else."""
        return b"--\r\n"

    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        """The problem document (RFC 9457) as a part that is not delimited, unless another is open."""
        if self._inside:
            return b""
        return b"\r\nContent-Type: application/problem+json\r\n\r\n" + last_words(problem)

    def enter(self, *, inside: bool) -> None:
        """A part was opened, or is complete."""
        self._inside = inside

    def _part_of(self, item: Any) -> Part:
        if isinstance(item, str):
            return Part(item, "text/plain")
        if isinstance(item, bytes | bytearray | memoryview):
            return Part(item)
        try:
            return Part(self.values.json(item), "application/json")
        except UNWRITABLE as error:
            raise self.refusal(item, error) from error


class _Section:
    """One part on its way; the port `Nested`."""

    def __init__(self, part: Part, producer: Iterable[Any] | AsyncIterable[Any], message: Multipart) -> None:
        self.producer = producer
        self._part = part
        self._message = message
        self._encode = text_encoder(message.charset)

    def head(self) -> bytes:
        part = self._part
        try:
            lines = [f"{name}: {value}\r\n".encode() for name, value in self._headers(part)]
        except (ValueError, TypeError, AttributeError) as error:  # what is no text is no header, either
            raise self._message.refusal(part, error) from error
        self._message.enter(inside=True)
        return b"".join([b"\r\n", *lines, b"\r\n"])

    def pieces(self, chunk: Any, /) -> Iterator[bytes]:
        try:
            data = buffer_of(chunk, self._encode)
        except ValueError as error:
            raise self._message.refusal(chunk, error) from error
        if data is None:
            raise self._message.refusal(chunk, "the body of a part yields str and bytes only")
        return map(bytes, slices(data))

    def tail(self) -> bytes:
        self._message.enter(inside=False)
        return self._message.delimiter

    def _headers(self, part: Part) -> Iterator[tuple[str, str]]:
        yield "Content-Type", _checked("Content-Type", with_charset(part.content_type, self._message.charset))
        if part.filename is not None:
            # RFC 8187: the one spelling that carries any name, and needs no quoting.
            yield "Content-Disposition", f"attachment; filename*=UTF-8''{quote(part.filename, safe='')}"
        for name, value in part.headers.items():
            if not _TOKEN.fullmatch(name) or name.lower() in _ELSEWHERE:
                raise ValueError(f"its headers may not have one that is called {name!r}")
            yield name, _checked(name, value)


def _checked(name: str, value: str) -> str:
    """A header's value, which cannot begin another header or the body.

    Raises:
        ValueError: when it is none.
    """
    if not _VALUE.fullmatch(value):
        raise ValueError(f"its header {name} would be {value!r}: visible ASCII and spaces are allowed")
    return value


_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_ELSEWHERE: Final = frozenset({"content-type", "content-disposition"})
