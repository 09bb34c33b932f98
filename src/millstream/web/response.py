"""The response to come: status, headers and cookies an action may set until the head has left."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

from starlette.datastructures import MutableHeaders
from starlette.responses import Response as StarletteResponse

from millstream.errors import HeadAlreadySent
from millstream.web.fields import checked_field


class _Headers(MutableHeaders):
    """Headers that know whether they can still be changed, and refuse what cannot be sent."""

    def __init__(self, response: Response, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._response = response

    def __setitem__(self, key: str, value: str) -> None:
        self._response.require_unsent(f"the header {key}")
        super().__setitem__(*checked_field(key, value))

    def __delitem__(self, key: str) -> None:
        self._response.require_unsent(f"the header {key}")
        super().__delitem__(key)

    def setdefault(self, key: str, value: str) -> str:
        self._response.require_unsent(f"the header {key}")
        return super().setdefault(*checked_field(key, value))

    def append(self, key: str, value: str) -> None:
        self._response.require_unsent(f"the header {key}")
        name, text = checked_field(key, value)
        if name.lower() in _ONCE and name in self:
            raise ValueError(f"the header {key!r} was set already: it can be said once")
        super().append(name, text)

    if not TYPE_CHECKING:  # where a checker would take any name

        def __getattr__(self, name: str) -> Any:
            instead = _WEBOB_HEADERS.get(name, "its methods are those of starlette's MutableHeaders")
            raise AttributeError(f"response.headers has no attribute {name!r}: {instead}")


class _SentHeaders(tuple[tuple[bytes, bytes], ...]):
    """The headers as ASGI has them, once they have left: whoever would add one learns that it is too late."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise HeadAlreadySent("a header")


class Response(StarletteResponse):
    """What an action says about its response before there is one; the `response` proxy leads here.

    Raises:
        HeadAlreadySent: on every change after the first item has taken the head with it.
        AttributeError: when an attribute is set or read that means nothing here.
    """

    # Starlette's own constructor renders a body; this object never has one. What most actions never
    # touch is the class's: a response is made for every request.
    _status = 200
    _sent = False
    _own_headers: _Headers | None = None
    background = None

    def __init__(self) -> None:
        self.raw_headers: list[tuple[bytes, bytes]] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _SETTABLE:
            raise AttributeError(_not_there(name))
        if name == "raw_headers":
            self.require_unsent("a header")
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # where a checker would take any name

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(_not_there(name))

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

    def set_cookie(  # noqa: PLR0917  the signature is Starlette's
        self,
        key: str,
        value: str = "",
        max_age: int | None = None,
        expires: datetime | str | int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: Literal["lax", "strict", "none"] | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Set a cookie (RFC 6265); the arguments are Starlette's.

        Raises:
            ValueError: when an attribute holds what would be read as another attribute.
        """
        self.require_unsent("a cookie")
        for name, said in (
            ("path", path),
            ("domain", domain),
            ("expires", expires),
            ("max_age", max_age),
            ("samesite", samesite),
        ):
            if isinstance(said, str) and not _COOKIE_ATTRIBUTE(said):
                raise ValueError(
                    f"the cookie {key!r} was given the {name} {said!r}: it may hold no semicolon, no line "
                    "break or NUL, and nothing beyond ASCII (RFC 6265 §4.1.1)"
                )
        if samesite is not None and samesite.lower() not in _SAME_SITE:
            raise ValueError(
                f"the cookie {key!r} was given the samesite {samesite!r}: it is lax, strict or none"
            )
        before = len(self.raw_headers)
        super().set_cookie(
            key, value, max_age, expires, path, domain, secure, httponly, samesite, partitioned
        )
        try:
            checked_field("Set-Cookie", self.raw_headers[-1][1].decode("latin-1"))
        except ValueError:
            del self.raw_headers[before:]
            raise

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
        self._own_headers = None
        self.raw_headers = []

    def sent(self) -> None:
        """The head leaves now."""
        if not self._sent:
            self.raw_headers = cast("list[tuple[bytes, bytes]]", _SentHeaders(self.raw_headers))
            self._sent = True

    def cookies_and_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """What the author set, for a response that brings its own head."""
        return tuple(self.raw_headers)


def _not_there(name: str) -> str:
    """Why an attribute means nothing, and what to use instead."""
    instead = _INSTEAD.get(name)
    if instead is None and name in _HEADERS:
        instead = f"use response.headers[{_HEADERS[name]!r}]"
    if instead is None:
        near = difflib.get_close_matches(name, (*_NAMES, *_INSTEAD, *_HEADERS), 1)
        instead = f"did you mean {near[0]!r}?" if near else "set a header with response.headers[…]"
    return f"response has no attribute {name!r}: {instead}"


def _header_of(attribute: str) -> str:
    return _SPELLED.get(attribute, "-".join(word.capitalize() for word in attribute.split("_")))


_STATUS: Final = re.compile(r"[2-5][0-9]{2}(?=$| )")  # WebOb's "201 Created" among them
_COOKIE_ATTRIBUTE: Final = re.compile(r"[\x20-\x3a\x3c-\x7e]*").fullmatch
_SAME_SITE: Final = frozenset({"lax", "strict", "none"})
_ONCE: Final = frozenset({"content-length", "content-type"})

_NAMES: Final = (
    "status",
    "status_int",
    "status_code",
    "content_type",
    "headers",
    "set_cookie",
    "delete_cookie",
)
_SETTABLE: Final = frozenset(
    {"status", "status_int", "status_code", "content_type", "raw_headers", "_status", "_sent", "_own_headers"}
)

_SPELLED: Final = {"etag": "ETag", "content_md5": "Content-MD5", "www_authenticate": "WWW-Authenticate"}
_HEADERS: Final = {
    name: _header_of(name)
    for name in [
        "accept_ranges",
        "age",
        "allow",
        "cache_control",
        "content_disposition",
        "content_encoding",
        "content_language",
        "content_length",
        "content_location",
        "content_md5",
        "content_range",
        "etag",
        "expires",
        "last_modified",
        "location",
        "pragma",
        "retry_after",
        "vary",
        "www_authenticate",
    ]
}
"""WebOb's attributes that stand for one header."""

_BODY: Final = "return the body from the action, or yield it"
_INSTEAD: Final = {
    **dict.fromkeys(("body", "text", "json", "json_body", "body_file", "app_iter", "unicode_body"), _BODY),
    "charset": "write the charset into response.content_type, or into @expose(charset=…)",
    "media_type": "use response.content_type",
    "content_type_params": "write the parameters into response.content_type",
    "date": "the server sends it",
    "headerlist": "use response.headers",
    "background": "use stream.on_end",
    "cache_expires": "use response.headers['Cache-Control']",
    "signed_cookie": "sign the value yourself, or use Starlette's SessionMiddleware",
    "unset_cookie": "use response.delete_cookie",
    "merge_cookies": "use response.set_cookie",
    "conditional_response": "return a pathlib.Path: files answer If-None-Match and Range",
    "encode_content": "use @expose(compression=True)",
}
_WEBOB_HEADERS: Final = {
    "add": "use response.headers.append(name, value)",
    "getall": "use response.headers.getlist(name)",
    "extend": "use response.headers.append(name, value) for each",
    "pop": "use del response.headers[name]",
}
