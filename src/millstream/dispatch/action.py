"""An action: one exposed method of one controller class, with everything decided about it at start-up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import MethodType
from typing import Any, Final

from millstream.dispatch.expose import Declaration, Exposure
from millstream.dispatch.signature import Signature, signature_of

ExtensionsOf = Callable[[Exposure], Collection[str]]
"""Which URL extensions, without the dot, ask for an exposure: the pipeline knows the codecs."""

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})
"""What reaches an action that restricts nothing. TurboGears lets any token through, TRACE among them."""


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """One exposed method, compiled once."""

    label: str  # as `RootController.orders`
    name: str
    declaration: Declaration
    function: Callable[..., Any]
    is_async: bool  # a coroutine function or an async generator: belongs into the request's task
    only_makes: bool  # its call runs nothing of its body, and needs no thread: it makes a generator
    signature: Signature
    extensions: frozenset[str]  # of all its exposures
    formats: tuple[str, ...]  # what can be asked for: extensions, or a content type that has none
    methods: frozenset[str] | None  # None: whatever the controller's kind of dispatch lets through

    def bound(self, controller: object) -> Callable[..., Any]:
        """The method of one controller instance."""
        return MethodType(self.function, controller)

    def allows(self, method: str) -> bool:
        """Whether an HTTP method may reach the action, where dispatch itself did not choose by method."""
        return method in (METHODS if self.methods is None else self.methods)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The HTTP methods that may reach the action, for an `Allow` header."""
        return tuple(sorted((METHODS if self.methods is None else self.methods) | {"OPTIONS"}))


def compile_action(
    owner: str, name: str, function: Callable[..., Any], declaration: Declaration, extensions_of: ExtensionsOf
) -> Action:
    """Decide everything about an exposed method that no request can change.

    Raises:
        ConfigurationError: when it cannot be called as a method.
    """
    label = f"{owner}.{name}"
    offered = [
        (e, sorted(extension.lower() for extension in extensions_of(e))) for e in declaration.exposures
    ]
    named = [extensions or [e.content_type or e.engine] for e, extensions in offered]
    return Action(
        label=label,
        name=name,
        declaration=declaration,
        function=function,
        is_async=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        only_makes=inspect.isgeneratorfunction(function),
        signature=signature_of(function, label),
        extensions=frozenset(extension for _, extensions in offered for extension in extensions),
        formats=tuple(dict.fromkeys(name for names in named for name in names if name)),
        methods=_with_head(declaration.allowed_methods),
    )


def _with_head(methods: frozenset[str] | None) -> frozenset[str] | None:
    """HEAD is allowed where GET is (RFC 9110 §9.3.2)."""
    return methods | {"HEAD"} if methods and "GET" in methods else methods
