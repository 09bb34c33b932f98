"""The request: a Starlette `Request` that also answers to the names TurboGears and WebOb use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Self

from python_multipart.exceptions import FormParserError
from starlette._utils import get_route_path
from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request as StarletteRequest

from millstream.errors import HTTPError


class Params(ImmutableMultiDict[str, Any]):
    """Query and form fields together, query first, with WebOb's way of asking for several values."""

    def getall(self, key: str) -> list[Any]:
        """Every value of a field, in the order the client gave them; empty when there is none."""
        return self.getlist(key)

    def mixed(self) -> dict[str, Any]:
        """One entry a field: the value when there is one, a list when there are several."""
        fields: dict[str, list[Any]] = {}
        for key, value in self.multi_items():
            fields.setdefault(key, []).append(value)
        return {key: values[0] if len(values) == 1 else values for key, values in fields.items()}


class Request(StarletteRequest):
    """What the client asked. Lives exactly as long as the stream that answers it."""

    _params: Params | None = None

    def _current_obj(self) -> Self:
        """The request itself, as TurboGears' proxies spell it; with Millstream nobody needs to ask."""
        return self

    @property
    def path_info(self) -> str:
        """The path below the point where the application is mounted."""
        return get_route_path(self.scope) or "/"

    @property
    def script_name(self) -> str:
        """The path the application is mounted at, empty for none."""
        return str(self.scope.get("root_path", ""))

    @property
    def path(self) -> str:
        """The whole path."""
        return self.script_name + self.path_info

    @property
    def params(self) -> Params:
        """Query and form fields; the form's are there once the pipeline has read the body."""
        return self._params if self._params is not None else Params(self.query_params.multi_items())

    @property
    def GET(self) -> Params:  # noqa: N802  WebOb's spelling
        """The query fields."""
        return Params(self.query_params.multi_items())

    @property
    def remote_addr(self) -> str:
        """The client's address, empty when the server does not tell."""
        return self.client.host if self.client else ""

    @property
    def host_url(self) -> str:
        """Scheme and host, without a trailing slash."""
        return f"{self.url.scheme}://{self.url.netloc}"

    @property
    def content_type(self) -> str:
        """The body's media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def read_params(self, limit: int) -> Params:
        """Read a form or a JSON object from the body and join it with the query.

        Bodies of any other type are left unread, for the action to stream.

        Args:
            limit: the longest body in bytes.

        Raises:
            HTTPError: 400 when the body is not what its type says, 413 when it is too long.
        """
        fields = list(self.query_params.multi_items())
        read = _READERS.get(self.content_type)
        if read is not None and self.method not in _BODILESS:
            fields += await read(self, limit)
        self._params = Params(fields)
        return self._params


async def _read_form(request: Request, limit: int) -> list[tuple[str, Any]]:
    _refuse_declared(request, limit)
    request._receive = _limited(request, limit)  # noqa: SLF001  our own base class: its reader takes no limit
    try:
        form = await request.form()
    except HTTPException as refused:  # what Starlette makes of the next one inside an application of its own
        raise HTTPError(refused.status_code, f"the form cannot be read: {refused.detail}") from refused
    except MultiPartException as garbled:
        raise HTTPError(400, f"the form cannot be read: {garbled.message}") from garbled
    except (FormParserError, UnicodeError) as garbled:
        raise HTTPError(400, "the form cannot be read: it is not what its type says") from garbled
    return list(form.multi_items())


async def _read_json(request: Request, limit: int) -> list[tuple[str, Any]]:
    _refuse_declared(request, limit)
    request._receive = _limited(request, limit)  # noqa: SLF001  as above
    body = await request.body()
    if not body:
        return []
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as broken:
        raise HTTPError(400, "the body is not valid JSON") from broken
    return list(document.items()) if isinstance(document, Mapping) else []


def _refuse_constant(name: str) -> float:
    """NaN and the infinities: Python's `json` takes them, JSON does not know them (RFC 8259 §6)."""
    raise ValueError(f"{name} is no JSON")


def _refuse_declared(request: Request, limit: int) -> None:
    declared = request.headers.get("content-length", "")
    if _LENGTH.fullmatch(declared) and int(declared) > limit:
        raise _too_long(limit)


def _limited(request: Request, limit: int) -> Any:
    """Count what arrives: a chunked body does not declare its length."""
    receive = request.receive
    arrived = 0

    async def counted() -> Any:
        nonlocal arrived
        message = await receive()
        arrived += len(message.get("body", b""))
        if arrived > limit:
            raise _too_long(limit)
        return message

    return counted


def _too_long(limit: int) -> HTTPError:
    return HTTPError(413, f"the body is longer than the {limit} bytes this application takes")


_LENGTH: Final = re.compile(r"[0-9]{1,18}")  # whatever else it says, what arrives is counted
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_READERS: Final = {
    "application/x-www-form-urlencoded": _read_form,
    "multipart/form-data": _read_form,
    "application/json": _read_json,
}
