"""`request`, `response`, `tmpl_context` and `stream`: names that mean this request's object anywhere.

They are bound by context variable, and a stream's context lives until the stream ends, so they work in
`_before`, in the action, in every step of its generator and in its `finally`.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import SimpleNamespace
from typing import Any, Final, Generic, Self, TypeVar, cast, overload

from millstream.errors import OutsideRequest
from millstream.protocol.ports import StreamHandle
from millstream.web.request import Request
from millstream.web.response import Response

T = TypeVar("T")
D = TypeVar("D")
_REQUIRED: Final = object()


class TemplateContext(SimpleNamespace):
    """What an action leaves for its template; a name nobody set is empty, as in TurboGears."""

    def _current_obj(self) -> Self:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return ""


class Binding:
    """The four objects of one request, bound in one context variable for as long as its scope is open."""

    __slots__ = ("_tmpl_context", "_token", "request", "response", "stream")

    def __init__(self, request: Request, response: Response, stream: StreamHandle) -> None:
        self.request = request
        self.response = response
        self.stream = stream
        self._tmpl_context: TemplateContext | None = None
        self._token: Token[Binding] | None = None

    @property
    def tmpl_context(self) -> TemplateContext:
        """Made when first asked for: most streams have no template."""
        if self._tmpl_context is None:
            self._tmpl_context = TemplateContext()
        return self._tmpl_context

    @classmethod
    def bind(cls, request: Request, response: Response, stream: StreamHandle) -> Binding:
        """Make the proxies mean these objects in the current context."""
        binding = cls(request, response, stream)
        binding._token = _bound.set(binding)
        return binding

    def release(self) -> None:
        """Make them mean again what they meant before: an outer application's request, or nothing."""
        token, self._token = self._token, None
        if token is not None:
            _bound.reset(token)


class Bound(Generic[T]):
    """One of the four, for code that may run outside of any request."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def get(self) -> T: ...

    @overload
    def get(self, default: D) -> T | D: ...

    def get(self, default: Any = _REQUIRED) -> Any:
        """The object of the current request.

        Args:
            default: for where there is none.

        Raises:
            LookupError: where there is none, and no default.
        """
        bound = _bound.get() if default is _REQUIRED else _bound.get(None)
        return default if bound is None else getattr(bound, self._name)


class _Proxy:
    """Stands for one of the four of whatever request is bound."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def _current_obj(self) -> Any:
        try:
            return getattr(_bound.get(), self._name)
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
        bound = _bound.get(None)
        return f"<{self._name} of no request>" if bound is None else repr(getattr(bound, self._name))


_bound: Final[ContextVar[Binding]] = ContextVar("millstream.request")

request_var: Final[Bound[Request]] = Bound("request")
stream_var: Final[Bound[StreamHandle]] = Bound("stream")

request = cast("Request", _Proxy("request"))
response = cast("Response", _Proxy("response"))
tmpl_context = cast("TemplateContext", _Proxy("tmpl_context"))
stream = cast("StreamHandle", _Proxy("stream"))
