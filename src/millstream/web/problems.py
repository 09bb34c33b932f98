"""Problem documents (RFC 9457): what a client is told when there is no response, and what it is not told.

The text of an exception never leaves outside debug: it may hold anything.
"""

from __future__ import annotations

import html
import json
import logging
import traceback
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware

from millstream.errors import HTTPError
from millstream.web.fields import checked_field
from millstream.web.negotiation import best


@dataclass(frozen=True, slots=True)
class Problem:
    """One failure, ready to be told: as a document of its own or as the last record of a stream."""

    error: HTTPError
    cause: BaseException | None = None  # kept only in debug

    @property
    def members(self) -> dict[str, Any]:
        """The members of the problem document (RFC 9457 §3.1); `errors` and `traceback` are ours."""
        members: dict[str, Any] = {
            "type": "about:blank",
            "title": self.error.title,
            "status": self.error.status,
        }
        if self.error.detail:
            members["detail"] = self.error.detail
        if self.error.errors:
            members["errors"] = [dict(error) for error in self.error.errors]
        if self.cause is not None:
            members["traceback"] = traceback.format_exception(self.cause)
        return members

    def render(self, accept: str | None) -> tuple[str, bytes]:
        """The content type and body the client prefers: JSON, or a plain page."""
        chosen = best(accept, _OFFERS)
        if chosen == _HTML:
            return "text/html; charset=utf-8", self._page().encode("utf-8", "replace")
        # In ASCII: what a client sent may come back in a text, and with it what no charset can encode.
        return _OFFERS[chosen or 0], json.dumps(self.members, separators=(",", ":")).encode("ascii")

    def _page(self) -> str:
        if self.cause is not None:
            return _DEBUG_PAGES.generate_html(_as_exception(self.cause))
        told = "".join(f"<p>{html.escape(text)}</p>" for text in (self.error.detail,) if text)
        told += "".join(
            f"<p><code>{html.escape(e.get('field', ''))}</code> {html.escape(e.get('message', ''))}</p>"
            for e in self.error.errors
        )
        heading = f"{self.error.status} {html.escape(self.error.title)}"
        return _PAGE.format(heading=heading, told=told)


def problem_of(raised: BaseException, *, debug: bool) -> Problem:
    """What a client is told of an exception.

    Args:
        raised: an `HTTPError`, Starlette's `HTTPException`, or anything that went wrong.
        debug: whether the traceback of what went wrong is told, too.
    """
    told = error_of(raised) if isinstance(raised, HTTPError | HTTPException) else HTTPError(500)
    return Problem(told, raised if debug and told.status == _DEFECT and told is not raised else None)


def error_of(raised: HTTPError | HTTPException) -> HTTPError:
    """The error that was raised; one that cannot be sent is a defect, as it is where `abort` is called.

    Args:
        raised: ours, Starlette's, or FastAPI's, a subclass that takes any detail.
    """
    error = raised
    if isinstance(error, HTTPException):
        error = HTTPError(error.status_code, str(error.detail), headers=error.headers)
    try:
        if error.status not in _STATUSES:
            raise ValueError(f"it has the status {error.status!r}, which must be one from 300 to 599")  # noqa: TRY301
        for name, value in error.headers.items():
            checked_field(name, value)
    except (TypeError, ValueError) as unsendable:
        _LOG.error("an error was raised that cannot be sent: %s", unsendable)
        return HTTPError(500)
    return error


def _as_exception(cause: BaseException) -> Exception:
    return (
        cause
        if isinstance(cause, Exception)
        else RuntimeError(repr(cause)).with_traceback(cause.__traceback__)
    )


async def _nowhere(*_: Any) -> None:
    """The application Starlette's error page generator wants around it."""


_LOG: Final = logging.getLogger("millstream")
_STATUSES: Final = range(300, 600)  # what says that there is no success here
_DEFECT: Final = 500
_OFFERS: Final = ("application/problem+json", "application/json", "text/html")
_HTML: Final = _OFFERS.index("text/html")
_DEBUG_PAGES: Final = ServerErrorMiddleware(_nowhere, debug=True)
_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{heading}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1.5rem}}</style>
<h1>{heading}</h1>{told}
</html>
"""
