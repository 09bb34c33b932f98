"""The request: a Starlette `Request` that also answers to the names TurboGears and WebOb use."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import Any, Final, Self
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from starlette._utils import get_route_path
from starlette.datastructures import FormData, ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request as StarletteRequest
from starlette.types import Receive

from millstream.errors import ControllerError, HTTPError
from millstream.web.uploads import Lines, Upload, Wait, cannot_wait, too_long


class Params(ImmutableMultiDict[str, Any]):
    """Query and form fields together, query first, with WebOb's way of asking for several values."""

    def getall(self, key: str) -> list[Any]:
        """Every value of a field, in the order the client gave them; empty when there is none."""
        return self.getlist(key)

    def mixed(self) -> dict[str, Any]:
        """One entry a field: the value when there is one, a list when there are several."""
        return _mixed(self.multi_items())


class Request(StarletteRequest):
    """What the client asked. Lives exactly as long as the stream that answers it."""

    max_body: int | None = None
    """The longest body the action takes; see `limit_body`."""
    body_stall: float | None = None
    """Seconds that the next piece of the body may keep the action waiting."""
    wait: Wait = staticmethod(cannot_wait)
    """How synchronous code waits for more of the body; the pipeline sets it."""
    _arrived: int = 0
    _params: Params | None = None
    _upload: Upload | None = None

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
        return self._params if self._params is not None else self.GET

    @property
    def GET(self) -> Params:  # noqa: N802  WebOb's spelling
        """The query fields."""
        return Params(self._query())

    @property
    def remote_addr(self) -> str:
        """The client's address, empty when the server does not tell."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def host_url(self) -> str:
        """Scheme and host, without a trailing slash."""
        return f"{self.url.scheme}://{self.url.netloc}"

    @property
    def content_type(self) -> str:
        """The body's media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The charset of the body's text, as declared; UTF-8 when nothing is."""
        fields = Message()
        fields["content-type"] = self.headers.get("content-type", "")
        return str(fields.get_param("charset", "utf-8"))

    def field(self, name: bytes) -> str | None:
        """One header by its name in lower case; the `headers` would be kept for as long as the stream."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None

    def stream(self) -> Upload:  # type: ignore[override]  # less than Starlette's generator, and for `for`, too
        """The body while it arrives: `async for` in asynchronous code, `for` in synchronous code.

        Raises:
            ControllerError: when the body was read before, by whoever.
            HTTPError: 413 when it is declared to be longer than allowed; from a read, 408 when no more of it
                comes for `stall_timeout` seconds.
        """
        if hasattr(self, "_body"):
            return Upload(_once(self._body), self.wait, most=None)
        if self._form is not None and self.content_type in _FORMS:
            raise ControllerError("the body was read as a form: its fields and files are in request.params")
        if self._upload is None:
            refuse_declared(self, self.max_body)
            receive = _hurried(self, self._receive, self.body_stall, None)
            self._upload = Upload(receive, self.wait, most=self.max_body)
        elif self._upload.ended:
            raise ControllerError(
                "the body was streamed already: it comes only once, and nothing of it is kept"
            )
        return self._upload

    def lines(self) -> Lines:
        """The body's text, line by line as it arrives; `for` and `async for`, as `stream`.

        Raises:
            ControllerError: as `stream`.
            HTTPError: as `stream`; and 415 when its charset is not known.
        """
        return Lines(self.stream(), self.charset)

    def query_fields(self) -> dict[str, Any]:
        """The query fields alone, as `Params.mixed` gives them."""
        query = self._query()
        return _mixed(query) if query else {}

    async def read_params(
        self, limit: int | None, *, stall: float | None = None, rate: float | None = None
    ) -> Params:
        """Read a form or a JSON object from the body and join it with the query.

        Bodies of any other type are left unread, for the action to stream.

        Args:
            limit: the longest body in bytes.
            stall: how many seconds the next piece may keep us waiting.
            rate: how many bytes a second must have come, beyond that time.

        Raises:
            HTTPError: 400 when the body is not what its type says, 408 when it does not come, 413 when it is
                too long.
        """
        read = None if self.method in BODILESS else _READERS.get(self.content_type)
        if read is None:
            return self.params  # the query's, which are not kept beside it
        refuse_declared(self, limit)
        self._receive = _limited(self, _hurried(self, self._receive, stall, rate), limit)
        self._params = Params([*self._query(), *await read(self)])
        return self._params

    def limit_body(self, longest: int | None, stall: float | None) -> None:
        """Say what body the action takes, now that it is known; what is to be parsed was read before.

        Args:
            longest: its bytes.
            stall: how many seconds its next piece may take to come.

        Raises:
            HTTPError: 413 when what was read is longer.
        """
        self.max_body, self.body_stall = longest, stall
        if longest is not None and self._arrived > longest:
            raise too_long(longest)

    def _query(self) -> list[tuple[str, str]]:
        """The query as it came; Starlette's `query_params` would be kept for as long as the stream."""
        query = self.scope["query_string"]
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else []

    async def _get_form(self, **limits: Any) -> FormData:
        """Starlette's parser reads to an empty piece, which only Starlette's own stream gives."""
        if self._form is None:
            self._form = await StarletteRequest(self.scope, self._receive).form(**limits)
        return self._form


def _mixed(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, list[Any]] = {}
    for key, value in items:
        fields.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in fields.items()}


async def _read_form(request: Request) -> list[tuple[str, Any]]:
    try:
        form = await request.form()
    except HTTPException as refused:  # what Starlette makes of the next one inside an application of its own
        raise HTTPError(refused.status_code, f"the form cannot be read: {refused.detail}") from refused
    except MultiPartException as garbled:
        raise HTTPError(400, f"the form cannot be read: {garbled.message}") from garbled
    except (FormParserError, UnicodeError) as garbled:
        raise HTTPError(400, "the form cannot be read: it is not what its type says") from garbled
    return list(form.multi_items())


async def _read_json(request: Request) -> list[tuple[str, Any]]:
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


def refuse_declared(request: Request, limit: int | None) -> None:
    """Refuse a body by the length it is declared to have.

    Raises:
        HTTPError: 413 when that is too long.
    """
    declared = request.headers.get("content-length", "")
    if limit is not None and _LENGTH.fullmatch(declared) and int(declared) > limit:
        raise too_long(limit)


def _limited(request: Request, receive: Receive, limit: int | None) -> Receive:
    """Count what arrives: a chunked body does not declare its length."""

    async def counted() -> Any:
        message = await receive()
        request._arrived += len(message.get("body", b""))  # noqa: SLF001  a function of the same class' making
        if limit is not None and request._arrived > limit:  # noqa: SLF001  as above
            raise too_long(limit)
        return message

    return counted


def _hurried(request: Request, receive: Receive, stall: float | None, rate: float | None) -> Receive:
    """Give up on a client that sends nothing, or a byte now and then to keep us busy."""
    if stall is None:
        return receive
    begun = math.nan  # until the first read: this may be made on a thread, which has no loop

    async def hurried() -> Any:
        nonlocal begun
        come_by = asyncio.get_running_loop().time()
        if math.isnan(begun):
            begun = come_by
        if rate is not None:
            come_by = begun + request._arrived / rate  # noqa: SLF001  as above
        try:
            async with asyncio.timeout_at(come_by + stall):
                return await receive()
        except TimeoutError:
            raise HTTPError(408, "the rest of the request's body did not come in time") from None

    return hurried


def _once(body: bytes) -> Receive:
    """A body that was read before, as if it arrived."""

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    return receive


_LENGTH: Final = re.compile(r"[0-9]{1,18}")  # whatever else it says, what arrives is counted
BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_READERS: Final = {**dict.fromkeys(_FORMS, _read_form), "application/json": _read_json}
