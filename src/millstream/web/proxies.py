"""`request`, `response`, `tmpl_context` and `stream`: names that mean this request's object anywhere.

They are bound by context variable, and a stream's context lives until the stream ends, so they work in
`_before`, in the action, in every step of its generator and in its `finally`.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self, cast

from millstream.errors import OutsideRequest
from millstream.protocol.ports import StreamHandle
from millstream.web.request import Request
from millstream.web.response import Response


class TemplateContext(SimpleNamespace):
    """What an action leaves for its template; a name nobody set is empty, as in TurboGears."""

    def _current_obj(self) -> Self:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return ""


class _Proxy:
    """Stands for the object its context variable holds."""

    __slots__ = ("_name", "_variable")

    def __init__(self, name: str, variable: ContextVar[Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_variable", variable)

    def _current_obj(self) -> Any:
        try:
            return self._variable.get()
        except LookupError:
            raise OutsideRequest(self._name) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # debuggers and collectors probe any object; that is no use of it
            raise AttributeError(name)
        return getattr(self._current_obj(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._current_obj(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._current_obj(), name)

    def __repr__(self) -> str:
        current = self._variable.get(None)
        return f"<{self._name} of no request>" if current is None else repr(current)


request_var: ContextVar[Request] = ContextVar("millstream.request")
response_var: ContextVar[Response] = ContextVar("millstream.response")
context_var: ContextVar[TemplateContext] = ContextVar("millstream.tmpl_context")
stream_var: ContextVar[StreamHandle] = ContextVar("millstream.stream")

request = cast("Request", _Proxy("request", request_var))
response = cast("Response", _Proxy("response", response_var))
tmpl_context = cast("TemplateContext", _Proxy("tmpl_context", context_var))
stream = cast("StreamHandle", _Proxy("stream", stream_var))


@dataclass(frozen=True, slots=True)
class Binding:
    """The four objects of one request, bound for as long as its scope is open."""

    tokens: tuple[tuple[ContextVar[Any], Token[Any]], ...]

    @classmethod
    def bind(cls, request: Request, response: Response, stream: StreamHandle) -> Binding:
        """Make the proxies mean these objects in the current context."""
        values: tuple[tuple[ContextVar[Any], Any], ...] = (
            (request_var, request),
            (response_var, response),
            (context_var, TemplateContext()),
            (stream_var, stream),
        )
        return cls(tuple((variable, variable.set(value)) for variable, value in values))

    def release(self) -> None:
        """Make them mean again what they meant before: an outer application's request, or nothing."""
        for variable, token in reversed(self.tokens):
            variable.reset(token)
