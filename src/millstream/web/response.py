"""The response to come: status, headers and cookies an action may set until the head has left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Self

from starlette.datastructures import MutableHeaders
from starlette.responses import Response as StarletteResponse

from millstream.errors import HeadAlreadySent


class _Headers(MutableHeaders):
    """Headers that know whether they can still be changed, and refuse what would forge another header."""

    def __init__(self, response: Response, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._response = response

    def __setitem__(self, key: str, value: str) -> None:
        self._response.require_unsent(f"the header {key}")
        super().__setitem__(_clean(key), _clean(value))

    def __delitem__(self, key: str) -> None:
        self._response.require_unsent(f"the header {key}")
        super().__delitem__(key)

    def setdefault(self, key: str, value: str) -> str:
        self._response.require_unsent(f"the header {key}")
        return super().setdefault(_clean(key), _clean(value))

    def append(self, key: str, value: str) -> None:
        self._response.require_unsent(f"the header {key}")
        super().append(_clean(key), _clean(value))


class Response(StarletteResponse):
    """What an action says about its response before there is one; the `response` proxy leads here.

    Raises:
        HeadAlreadySent: on every change after the first item has taken the head with it.
    """

    def __init__(self) -> None:
        # Starlette's own constructor renders a body; this object never has one.
        self._status = 200
        self._sent = False
        self.background = None
        self.body = b""
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self._own_headers: _Headers | None = None

    def _current_obj(self) -> Self:
        return self

    @property
    def headers(self) -> MutableHeaders:
        """The headers set until now; the pipeline adds its defaults where the author is silent."""
        if self._own_headers is None:  # most actions say nothing
            self._own_headers = _Headers(self, self.raw_headers)
        return self._own_headers

    @property
    def status(self) -> int:
        """The status code; WebOb's `"201 Created"` is understood when set."""
        return self._status

    @status.setter
    def status(self, value: int | str) -> None:
        self.require_unsent("the status")
        code = _STATUS.match(str(value))
        if code is None:
            raise ValueError(f"{value!r} is no status of a response: it must be a number from 200 to 599")
        self._status = int(code[0])

    status_int = status_code = status  # WebOb's and Starlette's names

    @property
    def content_type(self) -> str | None:
        """The media type set by the author, None when the exposure decides."""
        return self.headers.get("content-type")

    @content_type.setter
    def content_type(self, value: str) -> None:
        self.headers["content-type"] = value

    def set_cookie(self, *args: Any, **kwargs: Any) -> None:
        """Set a cookie; the arguments are Starlette's."""
        self.require_unsent("a cookie")
        super().set_cookie(*args, **kwargs)
        _name, value = self.raw_headers.pop()  # of its attributes, a path may come from the client
        self.raw_headers.append((b"set-cookie", _clean(value.decode("latin-1")).encode("latin-1")))

    def require_unsent(self, what: str) -> None:
        """Refuse a change that could no longer reach the client.

        Raises:
            HeadAlreadySent: when the head has left.
        """
        if self._sent:
            raise HeadAlreadySent(what)

    def start_over(self) -> None:
        """Forget what was said: the action is called once more."""
        self._status = 200
        self._sent = False
        self.raw_headers.clear()

    def sent(self) -> None:
        """The head leaves now."""
        self._sent = True

    def cookies_and_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """What the author set, for a response that brings its own head."""
        return tuple(self.raw_headers)


def _clean(text: str) -> str:
    """RFC 9110 §5.5: a field value holds no CR, LF or NUL; one that does is an attempt to forge a field."""
    if any(character in text for character in "\r\n\0"):
        raise ValueError(f"a header may not contain a line break or NUL: {text!r}")
    return text


_STATUS: Final = re.compile(r"[2-5][0-9]{2}(?=$| )")  # WebOb's "201 Created" among them
