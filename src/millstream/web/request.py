"""The request: a Starlette `Request` that also answers to the names TurboGears and WebOb use."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from email.message import Message as Fields
from functools import partial
from typing import Any, Final, Protocol, Self
from urllib.parse import parse_qsl

from starlette._utils import get_route_path
from starlette.datastructures import FormData, ImmutableMultiDict, UploadFile
from starlette.requests import Request as StarletteRequest
from starlette.types import Message, Receive

from millstream.config import Settings
from millstream.errors import ControllerError, HTTPError
from millstream.web.forms import FORMS, MULTIPART, PARSERS, Limits
from millstream.web.receiving import Kept, in_time, too_long
from millstream.web.uploads import Lines, Upload, cannot_wait


class Waiting(Protocol):
    """How a request waits for its body."""

    def wait(self, reading: Coroutine[Any, Any, bytes], /) -> bytes:
        """Wait for a coroutine of the request's event loop, in code that runs on the request's thread."""
        ...

    async def offload(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Run a function that may take a while: it parses a long body, or the disk keeps it waiting."""
        ...

    def begins(self, request: Request, /) -> None:
        """The request will wait for its body; called again by each reader.

        Raises:
            HTTPError: 503 or 429, when too many do.
        """
        ...

    def ends(self) -> None:
        """All of the body is there."""
        ...


class _Alone:
    """A request that no pipeline answers."""

    wait = staticmethod(cannot_wait)

    async def offload(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """See `Waiting`."""
        return await asyncio.to_thread(function, *args)

    def begins(self, request: Request, /) -> None:
        """Nobody counts."""

    def ends(self) -> None:
        """As above."""


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

    settings: Settings = Settings()
    """What body is taken: the application's, until the action is known; see `limit_body`."""
    waiting: Waiting = _Alone()
    """How this request waits for its body; the pipeline sets it."""
    _media_type: str | None = None
    _kept: Kept | None = None
    _fields: Sequence[tuple[str, Any]] = ()  # of the body that is kept
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
        if self._media_type is None:
            self._media_type = (self.field(b"content-type") or "").partition(";")[0].strip().lower()
        return self._media_type

    @property
    def charset(self) -> str:
        """The charset of the body's text, as declared; UTF-8 when nothing is."""
        fields = Fields()
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
        if self._kept is not None:
            return Upload(self._kept.again(), self.waiting.wait, most=None)
        if hasattr(self, "_body"):
            return Upload(_once(self._body), self.waiting.wait, most=None)
        if self._upload is None:
            refuse_declared(self, self.settings.max_body)
            self._upload = Upload(self._receiving(), self.waiting.wait, most=self.settings.max_body)
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

    @property
    def brings_fields(self) -> bool:
        """Whether the body is a form or JSON whose fields were not asked for yet."""
        return self.method not in BODILESS and self._params is None and self.content_type in PARSERS

    async def read_params(self, settings: Settings) -> Params:
        """Receive a form or a JSON object, and join its fields with the query's.

        The body is kept, so that it can still be read as it came. Bodies of any other type are left for the
        action to stream.

        Args:
            settings: what body is taken.

        Raises:
            HTTPError: 400 when the body is not what its type says, 408 when it does not come, 413 when it is
                too long, 415 when it is compressed.
        """
        self.settings = settings
        if self.brings_fields:
            if self._kept is None:  # a hook of the author's may have asked for the form
                await self._parse()
            self._params = Params([*self._query(), *self._fields])
        return self.params

    def limit_body(self, settings: Settings) -> None:
        """Say what body the action takes, now that it is known.

        Raises:
            HTTPError: 413 when what was read is longer.
        """
        self.settings = settings
        longest = _longest(settings, self.content_type) if self._kept is not None else None
        if self._kept is not None and longest is not None and self._kept.size > longest:
            raise too_long(longest)

    def replayed(self, receive: Receive) -> Receive:
        """What another application receives of this request: all of its body, whoever has read it before."""
        return receive if self._kept is None else self._kept.again(receive)

    async def close(self) -> None:
        """Give back the files of a form, and what is received by: servers wait until nobody holds that."""
        self._upload = None
        for _, value in self._fields:
            if isinstance(value, UploadFile):
                value.file.close()
        if self._kept is not None:
            self._kept.close()

    async def _parse(self) -> None:
        """Receive a form or JSON, and keep both its bytes and its fields."""
        settings, media_type = self.settings, self.content_type
        if (self.field(b"content-encoding") or "").lower() not in _PLAIN:
            raise HTTPError(
                415, "a compressed form or JSON is not taken", headers={"Accept-Encoding": "identity"}
            )
        longest = _longest(settings, media_type)
        refuse_declared(self, longest)
        kept = Kept(self.waiting.offload)
        try:
            await kept.take_all(self._unread(settings.min_rate), longest)
            limits = Limits(settings.max_fields, settings.max_parsed_body)
            work = partial(PARSERS[media_type], kept, self.headers["content-type"], limits)
            parsed = work() if kept.size <= SHORT else await self.waiting.offload(work)
        except BaseException:
            kept.close()
            raise
        self._kept, self._fields = kept, parsed.fields
        if parsed.document is not None:
            self._json = parsed.document

    def _unread(self, rate: float | None) -> Receive:
        """The body, of which a hook of the author's may have read all before its fields are wanted."""
        if hasattr(self, "_body"):
            return _once(self._body)
        if self._upload is not None:
            raise ControllerError(
                "the body was streamed before its fields were wanted: read it with request.body() instead, "
                "or give the action parse_body=False"
            )
        return self._receiving(rate)

    def _receiving(self, rate: float | None = None) -> Receive:
        """What comes of the body; told to whoever counts the requests that wait for one."""
        receive = in_time(self._receive, self.settings.stall_timeout, rate)
        awaited = False

        async def received() -> Message:
            nonlocal awaited
            if not awaited:
                awaited = True
                self.waiting.begins(self)
            message = await receive()
            if not message.get("more_body", False):
                self.waiting.ends()
            return message

        return received

    def _query(self) -> list[tuple[str, str]]:
        """The query as it came; Starlette's `query_params` would be kept for as long as the stream."""
        query = self.scope["query_string"]
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else []

    async def _get_form(self, **_limits: Any) -> FormData:
        """As Starlette's, for a form that was read for its fields, and for one that was not."""
        if self._form is None:
            is_form = self.content_type in FORMS
            if is_form and self._kept is None:
                await self._parse()
            self._form = FormData(list(self._fields) if is_form else [])
        return self._form


def _mixed(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, list[Any]] = {}
    for key, value in items:
        fields.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in fields.items()}


def refuse_declared(request: Request, limit: int | None) -> None:
    """Refuse a body by the length it is declared to have.

    Raises:
        HTTPError: 413 when that is too long.
    """
    declared = request.field(b"content-length") or ""
    if limit is not None and _LENGTH.fullmatch(declared) and int(declared) > limit:
        raise too_long(limit)


def _longest(settings: Settings, media_type: str) -> int | None:
    """The longest body of a type: files lie on the disk, anything else is parsed in memory."""
    limits = (settings.max_body, None if media_type == MULTIPART else settings.max_parsed_body)
    return min((limit for limit in limits if limit is not None), default=None)


def _once(body: bytes) -> Receive:
    """A body that was read before, as if it arrived."""

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    return receive


_LENGTH: Final = re.compile(r"[0-9]{1,18}")  # whatever else it says, what arrives is counted
BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PLAIN: Final = frozenset({"", "identity"})

SHORT: Final = 4 * 1024
"""Bytes of a body that are parsed on the event loop: that is faster than to ask a thread for it."""
