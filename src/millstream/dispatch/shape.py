"""What a controller class answers to, compiled: the only tables a name from a URL is ever looked up in.

Classes are read through the dictionaries of their bases, instances through their own. Nothing is fetched as
an attribute, so no property, descriptor or `__getattr__` runs, neither at start-up nor for a request. The
reference implementation asks the living object instead: there `/__class__` is a walk into Python's own types.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final

from millstream.dispatch.action import Action, ExtensionsOf, compile_action
from millstream.dispatch.controllers import ASGIAppController, RestController, TGController
from millstream.dispatch.expose import Declaration, declared
from millstream.dispatch.refusals import refuse_decorators, refuse_parts
from millstream.dispatch.signature import Signature, signature_of
from millstream.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Lookup:
    """A controller's `_lookup`."""

    label: str
    function: Any  # bound by its own __get__, as all hooks
    signature: Signature


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A controller class, compiled."""

    name: str
    members: Mapping[str, object]  # by public name: an `Action`, or a sub-controller of the class
    default: Action | None
    lookup: Lookup | None
    security: Any
    before: Any
    after: Any
    is_rest: bool
    is_mount: bool


def shape_of(cls: type, extensions_of: ExtensionsOf) -> Shape:
    """Compile a controller class.

    Raises:
        ConfigurationError: when something is exposed that cannot be an action, or would mean nothing here.
    """
    members = _members(cls)
    refuse_parts(cls.__name__, members)
    for name, member in members.items():
        refuse_decorators(f"{cls.__name__}.{name}", member)
    lookup = _hook(members, "_lookup")
    actions = dict(_actions(cls, members, extensions_of))
    default = actions.pop("_default", None)
    children = {name: value for name, value in members.items() if is_controller(type(value))}
    return Shape(
        name=cls.__name__,
        members={name: m for name, m in (*actions.items(), *children.items()) if is_public(name)},
        default=default,
        lookup=lookup
        and Lookup(label := f"{cls.__name__}._lookup", lookup, _lookup_signature(lookup, label)),
        security=_hook(members, "_check_security"),
        before=_hook(members, "_before"),
        after=_hook(members, "_after"),
        is_rest=issubclass(cls, RestController),
        is_mount=issubclass(cls, ASGIAppController),
    )


def is_controller(cls: type) -> bool:
    """Whether instances of a class are controllers: by descent, or because they expose or hold something."""
    return _is_controller(cls, frozenset())


def _is_controller(cls: type, asked: frozenset[type]) -> bool:
    if cls is TGController or TGController in cls.__mro__:
        return True
    if cls in asked or cls.__module__ == "builtins":
        return False
    members = _members(cls)
    return any(declared(value) for value in members.values()) or any(
        _is_controller(type(value), asked | {cls})
        for name, value in members.items()
        if is_public(name) and type(value) not in _NEVER_CONTROLLERS
    )


def _members(cls: type) -> dict[str, object]:
    """What attribute access would find on the class, without the access."""
    return {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}


def is_public(name: str) -> bool:
    """Whether a URL may say a name at all."""
    return not name.startswith("_")


def _actions(
    cls: type, members: Mapping[str, object], extensions_of: ExtensionsOf
) -> Iterator[tuple[str, Action]]:
    for name, value in members.items():
        if type(value) in (staticmethod, classmethod) and declared(getattr(value, "__func__", None)):
            raise ConfigurationError(
                f"{cls.__name__}.{name} is exposed but is a {type(value).__name__}: only methods can be"
            )
        if type(value) is FunctionType and (declaration := declared(value)):
            inherited = _inherited(cls, name, declaration)
            yield name, compile_action(cls.__name__, name, value, inherited, extensions_of)


def _inherited(cls: type, name: str, declaration: Declaration) -> Declaration:
    """A declaration with what it takes over from the methods it overrides, nearest base first.

    Raises:
        ConfigurationError: when there is nothing to take over, or what there is has a guard.
    """
    overridden = (vars(base)[name] for base in cls.__mro__ if name in vars(base))
    for above in itertools.islice(overridden, 1, None):
        if not declaration.inherit:
            break
        if found := declared(above):
            refuse_decorators(f"{cls.__name__}.{name}", above)
            declaration = declaration.over(
                Declaration(found.exposures, found.settings, found.allowed_methods)
            )
            if not found.inherit:
                break
    if not declaration.exposures:
        raise ConfigurationError(
            f"{cls.__name__}.{name} inherits its exposures, but no base class exposes a method of that name"
        )
    return declaration


def _hook(members: Mapping[str, object], name: str) -> Any:
    hook = members.get(name)
    return hook if type(hook) in _BINDABLE else None


def _lookup_signature(hook: Any, label: str) -> Signature:
    function: Callable[..., Any] = getattr(hook, "__func__", hook)
    if isinstance(hook, staticmethod):
        raise ConfigurationError(f"{label} is a staticmethod: write it as a method")
    return signature_of(function, label)


_BINDABLE: Final = (FunctionType, staticmethod, classmethod)
_NEVER_CONTROLLERS: Final = (*_BINDABLE, property, type, str, int, float, bytes, list, tuple, dict, set)
