"""Refusals: parts of a TurboGears controller that would mean nothing here.

A controller that is ported keeps what its author wrote. A guard that is not asked any more would leave its
pages open to everybody, and a hook that is not called is missed late. Both are refused when the controller is
compiled: at start-up, and when a `_lookup` returns it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import FunctionType
from typing import Any, Final

from millstream.dispatch.expose import declared
from millstream.errors import ConfigurationError


def refuse_parts(owner: str, parts: Mapping[str, object]) -> None:
    """Refuse what a controller has, by the class or by itself, and Millstream would not heed.

    Args:
        owner: the name of its class.
        parts: its attributes.

    Raises:
        ConfigurationError: when there is any.
    """
    for name in _NAMES & parts.keys():
        if parts[name] is not None and not declared(parts[name]):
            raise ConfigurationError(f"{owner}.{name} would have no effect: {_NAMES_INSTEAD[name]}")


def refuse_decorators(label: str, function: object) -> None:
    """Refuse a method with decorators of TurboGears, which keep what they say on the function.

    Raises:
        ConfigurationError: when it has any.
    """
    decoration: Any = vars(function).get("decoration") if type(function) is FunctionType else None
    if decoration is None or type(decoration).__module__.partition(".")[0] != "tg":
        return
    names = ", ".join(dict.fromkeys(_decorators(decoration))) or "a decorator"
    raise ConfigurationError(
        f"{label} has {names} of TurboGears, which Millstream does not heed: remove it from the method; "
        "`_check_security` of the controller takes the place of @require and @https, annotations of the "
        "arguments that of @validate, and `expose` has to be imported from millstream"
    )


def _decorators(decoration: Any) -> Iterator[str]:
    """The names of those that have left something; Any, because TurboGears has no types."""
    for name, left in _LEAVES.items():
        if getattr(decoration, left, None):
            yield name
    asked = {getattr(each, "_check_authorization", None) for each in _listed(decoration, "requirements")}
    for hooks in getattr(decoration, "hooks", {}).values():
        yield from (f"@{getattr(hook, '__name__', 'hook')}" for hook in hooks if hook not in asked)


def _listed(decoration: Any, name: str) -> Collection[Any]:
    return getattr(decoration, name, None) or ()


_LEAVES: Final = {
    "@require": "requirements",
    "@validate": "validations",
    "@expose": "_expositions",
}
_NAMES_INSTEAD: Final = {
    "allow_only": (
        "Millstream knows no predicates; write a method `_check_security` that returns False or raises, and "
        "give an attribute of your own another name"
    ),
    "__call__": "Millstream does not call controllers; move its code to `_before` and `_after`",
    "_perform_call": "move its code to `_before` and `_after`",
    "_visit": "move its code to `_before`, which is called for every controller on the way",
    "_dispatch": "write `_lookup` or `_default` instead",
    "__before__": "rename it to `_before`",
    "__after__": "rename it to `_after`",
}
_NAMES: Final = _NAMES_INSTEAD.keys()
