"""Checks of the contracts that ports make, for whoever writes the other side of one.

A check runs in any test; what is broken is an `AssertionError` that says so in one sentence::

    def test_my_codec_keeps_the_contract():
        check_codec(MyCodec, [{"a": 1}, {"a": 2}], read=my_reader)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from millstream.codecs.base import Codec
from millstream.codecs.catalogue import Catalogue
from millstream.errors import WrongItem
from millstream.protocol.events import Reason
from millstream.protocol.ports import Encoder

Read = Callable[[bytes], list[Any]]
"""A foreign reader: a whole body in, its items out; it raises on a body that is broken."""


def check_codec(
    codec: type[Codec],
    items: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    read: Read | None = None,
    expected: Sequence[Any] | None = None,
    charset: str = "utf-8",
) -> None:
    """Check that a codec keeps the contract of `protocol.ports.Encoder`.

    Args:
        codec: the class, as given to a catalogue.
        items: at least two items the codec can carry.
        options: its options.
        read: reads a body back; without it only the framing is checked.
        expected: what `read` makes of the items; the items themselves unless given.
        charset: the charset of text.

    Raises:
        AssertionError: when the contract is broken.
    """
    options = dict(options or {})
    _require(len(items) >= 2, "the check needs two items at least")  # noqa: PLR2004  an item and one after it
    Catalogue((codec,))
    codec.check_options(options)
    check = _CodecCheck(codec, options, charset, items)
    check.order()
    check.pauses()
    check.last_words()
    check.refusal()
    if read is not None:
        check.reading(read, list(items if expected is None else expected))


class _CodecCheck:
    def __init__(
        self, codec: type[Codec], options: Mapping[str, Any], charset: str, items: Sequence[Any]
    ) -> None:
        self._codec = codec
        self._arguments = {**options, "charset": charset}
        self._items = items

    def order(self) -> None:
        """Every call returns bytes, with any number of items, and the same bytes each time."""
        encoder = self._fresh()
        _require(isinstance(encoder.head_first, bool), "head_first must be true or false")
        _require(type(encoder.keep_alive) is bytes, "keep_alive must be bytes")
        for count in range(len(self._items) + 1):
            body, again = self._body(count), self._body(count)
            _require(body == again, f"two streams of the same {count} items differ: state is shared")

    def pauses(self) -> None:
        """A producer may pause at any time, also before its first item: nothing is held then, or lost."""
        for count in range(len(self._items) + 1):
            encoder = self._fresh()
            flush = getattr(encoder, "flush", None)
            if flush is None:
                return
            encoder.head()
            _require(flush() == b"", "flush said something before there was an item")
            for item in self._items[:count]:
                encoder.item(item)
                _require(type(flush()) is bytes, "flush must return bytes")
                _require(flush() == b"", "flush said something when nothing was held")
            encoder.tail()

    def last_words(self) -> None:
        """At any point `failed` and `goodbye` return bytes, for whatever they are given, and end nothing."""
        for count in range(len(self._items) + 1):
            tail = self._after(count).tail()
            for name, words in self._every_last_word(count):
                _require(type(words) is bytes, f"{name} returned {words!r} instead of bytes")
                _require(not (tail and words.endswith(tail)), f"{name} ends the body as if it were complete")

    def refusal(self) -> None:
        """An object nobody knows is refused, before the first item and after it."""
        for count in (0, 1):
            encoder = self._after(count)
            try:
                encoder.item(object())
            except WrongItem as error:
                _require("the.action" in str(error), "a WrongItem must name the action")
            else:
                _require(False, "an object() was taken: it must be refused with a WrongItem")
            _require(type(encoder.failed({})) is bytes, "failed must work after a refusal")

    def reading(self, read: Read, expected: list[Any]) -> None:
        """A reader finds the items, with and without keep-alives, and notices a broken body."""
        for count in range(len(self._items) + 1):
            found = _read(read, self._body(count))
            _require(found == expected[:count], f"{count} items were read as {found!r}")
            found = _read(read, self._body(count, alive=True))
            _require(found == expected[:count], f"with keep-alives, {count} items were read as {found!r}")
            if self._after(count).tail():
                broken = self._body(count, end=False)
                for name, words in self._every_last_word(count):
                    _require(
                        _read(read, broken + words) != expected[:count],
                        f"after {name}, a reader takes a broken body for a complete one",
                    )

    def _fresh(self) -> Encoder:
        return self._codec(action="the.action", **self._arguments)

    def _after(self, count: int) -> Encoder:
        """An encoder that has opened a body and encoded so many items."""
        encoder = self._fresh()
        encoder.head()
        for item in self._items[:count]:
            encoder.item(item)
        return encoder

    def _body(self, count: int, *, alive: bool = False, end: bool = True) -> bytes:
        encoder = self._fresh()
        pieces = [encoder.head(), *map(encoder.item, self._items[:count])]
        if end:
            pieces.append(encoder.tail())
        _require(all(type(piece) is bytes for piece in pieces), "head, item and tail must return bytes")
        return (encoder.keep_alive if alive else b"").join(pieces)

    def _every_last_word(self, count: int) -> list[tuple[str, bytes]]:
        said = []
        for what, problem in _PROBLEMS.items():
            try:
                said.append((f"failed for {what}", self._after(count).failed(problem)))
            except Exception as error:
                raise AssertionError(f"failed raised {error!r} for {what}: it must not raise") from error
        for reason in Reason:
            try:
                said.append((f"goodbye({reason})", self._after(count).goodbye(reason)))
            except Exception as error:
                raise AssertionError(f"goodbye raised {error!r} for {reason}: it must not raise") from error
        return said


def _read(read: Read, body: bytes) -> list[Any] | Exception:
    try:
        return read(body)
    except Exception as complaint:  # noqa: BLE001  each reader complains in its own way
        return complaint


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


class _Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("even its repr fails")


_ENDLESS: Final[dict[str, Any]] = {}
_ENDLESS["itself"] = _ENDLESS
_PROBLEMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "an empty problem": {},
    "a problem": {"type": "about:blank", "title": "Internal Server Error", "status": 500},
    "a traceback": {"title": "two\nlines", "traceback": ["line 1\r\n", "line 2"]},
    "a lone surrogate": {"detail": "\ud800"},
    "no JSON": {"status": float("nan"), "detail": object()},
    "an object without repr": {"detail": _Unspeakable()},
    "a problem that contains itself": _ENDLESS,
}
"""What a framework or an author may come to put into a problem document, and worse."""
