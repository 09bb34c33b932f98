"""`url`, `redirect` and `abort`: where to, and not here; spelled as in TurboGears."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlencode, urljoin, urlsplit

from millstream.errors import HTTPError, HTTPRedirect, OutsideRequest
from millstream.web.fields import checked_field
from millstream.web.proxies import request_var

Base = str | Iterable[object]
"""A URL as text; or a path as text and further segments, which are quoted: `["/users", name]`."""


def url(base_url: Base = "/", params: Mapping[str, Any] | None = None, *, qualified: bool = False) -> str:
    """A URL of this application, fit for a header and for HTML.

    An absolute path gets the path the application is mounted at in front of it. What cannot stand in a
    URL is percent-encoded (RFC 3986 §2.1), line breaks among it.

    Args:
        base_url: a path, a URL, or a list of a path and segments.
        params: query fields; a list gives a field several times, None leaves it out.
        qualified: with scheme and host.

    Raises:
        ValueError: when a segment is one that browsers would resolve: `.` or `..`.
        OutsideRequest: when a qualified URL is asked for where there is no request.
    """
    whole = quote(
        base_url if isinstance(base_url, str) else _joined(base_url), safe=_IN_URLS, errors="replace"
    )
    request = request_var.get(None)
    if request is not None and whole.startswith("/") and not whole.startswith("//"):
        whole = quote(request.script_name, errors="replace") + whole
    if qualified and not urlsplit(whole).scheme:
        if request is None:
            raise OutsideRequest("url(qualified=True)")
        whole = urljoin(f"{request.host_url}{request.path}", whole)
    return _with_query(whole, urlencode(list(_fields(params or {})), errors="replace"))


def redirect(
    base_url: Base = "/",
    params: Mapping[str, Any] | None = None,
    *,
    status: int = 302,
    other_origin: bool = False,
) -> NoReturn:
    """Lead the client elsewhere.

    Args:
        base_url: as `url` takes it.
        params: query fields, as `url` takes them.
        status: 301, 302, 303, 307 or 308.
        other_origin: whether the URL may lead to another origin (scheme, host and port) than the request's.
            Off, because a URL that a client gave, such as `came_from`, would lead its victim anywhere.

    Raises:
        HTTPRedirect: always.
        ValueError: when the status does not redirect, or the URL leads to another origin.
    """
    if status not in _REDIRECTIONS:
        raise ValueError(f"redirect was given the status {status}: it must be 301, 302, 303, 307 or 308")
    whole = url(base_url, params)
    if not other_origin and not _is_here(whole):
        raise ValueError(
            f"redirect was given {whole!r}, which leads to another origin: "
            "if that is meant, write redirect(…, other_origin=True)"
        )
    raise HTTPRedirect(whole, status=status)


def abort(status: int, detail: str = "", *, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End the action here, with a status that is not a success.

    Raises:
        HTTPError: always.
        ValueError: when the status is none from 300 to 599, or a header cannot be sent.
    """
    if not _FIRST <= status <= _LAST:
        raise ValueError(f"abort was given the status {status}: it must be one from 300 to 599")
    checked = dict(checked_field(name, value) for name, value in (headers or {}).items())
    raise HTTPError(int(status), detail, headers=checked)


def _is_here(whole: str) -> bool:
    """Whether a URL stays at the origin of the request, as browsers resolve it (WHATWG URL §4.4)."""
    if not whole.startswith("//") and not _SCHEME(whole):
        return True
    request = request_var.get(None)
    if request is None:
        return False
    origin = request.host_url
    return whole == origin or whole.startswith((f"{origin}/", f"{origin}?", f"{origin}#"))


def _joined(parts: Iterable[object]) -> str:
    """The first part is a path as it stands, the others are single segments."""
    path, *segments = (str(part) for part in parts)
    for segment in segments:
        if segment in {".", ".."}:
            raise ValueError(f"url was given the segment {segment!r}, which a browser would resolve")
    return "/".join(
        [path.rstrip("/") if segments else path, *(quote(s, safe="", errors="replace") for s in segments)]
    )


def _fields(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is not None:
                yield name, one


def _with_query(whole: str, query: str) -> str:
    if not query:
        return whole
    whole, hash_mark, fragment = whole.partition("#")
    return f"{whole}{'&' if '?' in whole else '?'}{query}{hash_mark}{fragment}"


_IN_URLS: Final = "%/:?#[]@!$&'()*+,;=~"  # RFC 3986 §2.2, and what is encoded already
_REDIRECTIONS: Final = frozenset({301, 302, 303, 307, 308})
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:").match  # RFC 3986 §3.1
_FIRST: Final = 300
_LAST: Final = 599
