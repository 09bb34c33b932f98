"""XML 1.0: a record is an element, its columns are elements in it, in UTF-8.

Values are text as JSON would say it, without quotes. None is `xsi:nil`, which is not the same as an empty
text; a dict holds elements of its own, a list an `item` for each of its values. A name that is none in XML is
written as SQL/XML does (ISO 9075-14 §9.1): `unit price` becomes `unit_x0020_price`, which no other column
can be called, and which readers turn back.

XML 1.0 §2.2 has no way to say most control characters, not even as a reference. Text with one is refused,
because an export must not change data silently; `replace_illegal` writes U+FFFD instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar, Final

from millstream.codecs.base import Codec
from millstream.codecs.objects import UNWRITABLE
from millstream.codecs.rows import Readers, checked_fields
from millstream.codecs.values import NAN, is_nan, last_words
from millstream.errors import ConfigurationError
from millstream.protocol.events import Reason


class Xml(Codec):
    """An element a record, in a root that is closed when the stream is complete.

    Args:
        action: the action whose items these are.
        charset: ignored, XML is written in UTF-8.
        fields: what the cells of plain tuples and lists are called.
        root: the name of the element around everything.
        row: the name of a record's element.
        nan: what is written for a number that is none; `nan=""` makes it `xsi:nil`.
        replace_illegal: whether characters that XML cannot say become U+FFFD, instead of refusing the item.

    Raises:
        ConfigurationError: when a name is no XML name.
    """

    name: ClassVar[str] = "xml"
    media_type: ClassVar[str] = "application/xml"
    extensions: ClassVar[tuple[str, ...]] = ("xml",)
    takes: ClassVar[str] = "what JSON can say (rows, dicts, lists, text, numbers, dates, UUIDs, enums, …)"
    keep_alive: bytes = b"\n"  # white space between two elements

    def __init__(
        self,
        *,
        action: str,
        charset: str,  # noqa: ARG002  see above
        fields: Sequence[str] | None = None,
        root: str = "rows",
        row: str = "row",
        nan: str = NAN,
        replace_illegal: bool = False,
    ) -> None:
        super().__init__(action=action, charset="utf-8")
        for option, name in (("root", root), ("row", row)):
            if not _NAME.fullmatch(name):
                raise ConfigurationError(f"the option {option!r} of the codec 'xml' is {name!r}: no XML name")
        self._readers = self.readers = Readers(checked_fields(self.name, fields), in_json=True)
        self._root = root
        self._row = row
        self._nan = nan
        self._replaces = replace_illegal

    def head(self) -> bytes:
        """The declaration, and the root opens."""
        return f'<?xml version="1.0" encoding="utf-8"?>\n<{self._root} xmlns:xsi="{_XSI}">\n'.encode()

    def item(self, item: Any, /) -> bytes:
        """One element on a line of its own."""
        read = self._readers[type(item)]
        try:
            built = self.values.builtins(item if read is None else read(item))
            element = _element(self._row, built if self._nan == NAN else _with_nan(built, self._nan or None))
            if illegal := _ILLEGAL.search(element):
                element = self._mended(element, illegal[0])
            return (element + "\n").encode()
        except UNWRITABLE as error:
            raise self.refusal(item, error) from error

    def tail(self) -> bytes:
        """The root closes; said by nothing else."""
        return f"</{self._root}>\n".encode()

    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        """The problem document (RFC 9457) in a comment, in which the root stays open."""
        return _comment("error", last_words(problem))

    def goodbye(self, reason: Reason, /) -> bytes:
        """The reason, in a comment."""
        return _comment("goodbye", last_words({"reason": str(reason)}))

    def _mended(self, element: str, illegal: str) -> str:
        if self._replaces:
            return _ILLEGAL.sub("\ufffd", element)
        raise ValueError(
            f"XML has no way to say U+{ord(illegal):04X}, the option replace_illegal would replace it"
        )


def _with_nan(built: Any, nan: str | None) -> Any:
    """The same with something else for each number that is none."""
    if isinstance(built, dict):
        return {name: _with_nan(each, nan) for name, each in built.items()}
    if isinstance(built, list | tuple):
        return [_with_nan(each, nan) for each in built]
    return nan if isinstance(built, float | Decimal) and is_nan(built) else built


def _element(name: str, value: Any) -> str:
    if value is None:
        return f'<{name} xsi:nil="true"/>'
    return f"<{name}>{_CONTENT[type(value)](value)}</{name}>"


def _elements(columns: dict[str, Any]) -> str:
    return "".join([_element(element_name(name), value) for name, value in columns.items()])


def _items(values: Sequence[Any]) -> str:
    return "".join([_element("item", value) for value in values])


def _number(value: float | Decimal) -> str:
    text = str(value)
    return _NOT_FINITE.get(text, text)


def _escaped(text: str) -> str:
    if not _MARKUP.search(text):
        return text
    # `>` ends a CDATA section that nobody opened (§2.4); a CR would be read as LF (§2.11).
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;")


@lru_cache(maxsize=1024)
def element_name(column: str) -> str:
    """The name of a column as that of an element; columns with different names never share one.

    Raises:
        ValueError: when it is empty.
    """
    if not column:
        raise ValueError("it has a column without a name")
    if _NAME.fullmatch(column) and "_x" not in column and not column.lower().startswith("xml"):
        return column
    kept = "".join(
        each if _NAME.fullmatch("a" + each) and column[at : at + 2] != "_x" else _escape(each)
        for at, each in enumerate(column)
    )
    is_reserved = column.lower().startswith("xml")  # §2.3
    return kept if _NAME.fullmatch(kept) and not is_reserved else _escape(column[0]) + kept[1:]


def _escape(character: str) -> str:
    code = ord(character)
    return f"_x{code:04X}_" if code <= _LAST_OF_FOUR_DIGITS else f"_x{code:08X}_"


def _comment(what: str, words: bytes) -> bytes:
    # A comment must not hold two hyphens (§2.5); in JSON they stand in strings only.
    text = words.decode(errors="replace").replace("--", "-\\u002d")
    return f"<!-- {what}: {_ILLEGAL.sub('?', text)} -->\n".encode()


_LAST_OF_FOUR_DIGITS: Final = 0xFFFF
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_MARKUP: Final = re.compile("[&<>\r]")
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Letters that were name characters in every edition of XML 1.0 (§2.3, and appendix B up to the fourth, which
# expat and what is built on it still keep), without the colon, which belongs to namespaces: Latin, Greek,
# Cyrillic, Hebrew, Arabic, kana, CJK, Hangul. Others are escaped.
_LETTERS: Final = (
    "A-Z_a-z\xc0-\xd6\xd8-\xf6\xf8-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e\u038e-\u03a1\u03a3-\u03ce"
    "\u0401-\u040c\u040e-\u044f\u0451-\u045c\u05d0-\u05ea\u0621-\u063a\u0641-\u064a"
    "\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
)
_NAME: Final = re.compile(f"[{_LETTERS}][{_LETTERS}\\-.0-9]*")
_NOT_FINITE: Final = {  # as XML Schema part 2, §3.2.5 says it; Python's float and Decimal differ
    "nan": "NaN",
    "sNaN": "NaN",
    "inf": "INF",
    "-inf": "-INF",
    "Infinity": "INF",
    "-Infinity": "-INF",
}
_CONTENT: Final[Mapping[type, Callable[[Any], str]]] = {  # every type that msgspec builds
    str: _escaped,
    bool: {True: "true", False: "false"}.__getitem__,
    int: str,
    float: _number,
    Decimal: _number,
    dict: _elements,
    list: _items,
    tuple: _items,
}
