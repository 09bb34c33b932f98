"""REST dispatch: the HTTP method chooses among the methods of a controller.

A sub-controller's name always leads into it, whatever the method, so that a path names the same thing for all
methods; the reference lets `delete(id)` and `edit(*args)` take it first. GET never reaches `post`, `put`,
`patch` or `post_…`, neither by path nor by `_method` (RFC 9110 §9.2.1: safe methods change nothing);
the reference refuses only `_method=put` and `_method=delete`. `GET /1/delete` reaches a `delete` that stands
for both, as TurboGears documents it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from millstream.dispatch.action import Action
from millstream.dispatch.node import spellings
from millstream.dispatch.step import (
    ANYTHING,
    Denied,
    Down,
    Fit,
    Found,
    Place,
    Step,
    Unfit,
    best,
    fit,
    fit_tail,
)


class Verb(NamedTuple):
    """What a request wants of a REST controller."""

    name: str  # in lower case: an HTTP method, or a custom one from `_method`
    method: str  # the HTTP method the request came with
    denied: bool = False  # `_method` asks a safe method for an unsafe one


def verb_of(method: str, override: object) -> Verb:
    """The verb of a request: `_method` lets forms, which only GET and POST, say the others."""
    asked = override[-1] if isinstance(override, list) and override else override
    name = asked.lower() if isinstance(asked, str) and asked else method.lower()
    safe = method in _SAFE
    return Verb(
        name="get" if name == "head" else name,
        method=method,
        denied=safe and (name == "delete" or _is_unsafe(name)),
    )


def step(place: Place, verb: Verb, params: Mapping[str, Any]) -> Step:
    """What a REST controller does with a rest that leads to no other controller; None when it has nothing."""
    if verb.denied:
        return Denied()
    return _STEPS.get(verb.name, _custom)(place, verb, params)


def answers(action: Action, verb: Verb) -> bool:
    """Whether the action a verb chose allows it to."""
    allowed = action.methods
    return allowed is None or (verb.name.upper() if verb.name in _STEPS else verb.method) in allowed


def allowed(place: Place) -> tuple[str, ...]:
    """The HTTP methods that could be answered here, for an `Allow` header."""
    methods = {
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if isinstance(found := step(place, verb := Verb(method.lower(), method), ANYTHING), Found)
        and answers(found.action, verb)
    }
    if "GET" in methods:
        methods.add("HEAD")
    return tuple(sorted(methods | {"OPTIONS"})) if methods else ()


def probe(place: Place) -> Found | None:
    """The step of whatever HTTP method would make one, GET first: OPTIONS asks on behalf of all."""
    for name in ("get", "post", "put", "patch", "delete"):
        made = step(place, Verb(name, name.upper()), ANYTHING)
        if isinstance(made, Found):
            return made
    return None


def overridden(place: Place) -> Found | None:
    """What a POST could reach that names another method in a form; not GET, which nobody has to name so."""
    custom = (name.removeprefix("post_") for name in place.node.members if not _is_standard(name))
    for name in ("post", "put", "patch", "delete", *custom):
        made = step(place, Verb(name, "POST"), ANYTHING)
        if isinstance(made, Found):
            return made
    return None


def nested(place: Place) -> Down | None:
    """The sub-controller behind the segments `get_one` takes, or behind none."""
    node, rest, _ = place
    if not rest:
        return None
    one = node.action("get_one", "get")
    for position in _nesting_positions(one, len(rest)):
        member, extension = node.named(rest[position], last=position == len(rest) - 1)
        if member is not None and type(member) is not Action:
            return Down(member, rest[position + 1 :], extension, _passed(one, rest[:position]))
    return None


def _nesting_positions(one: Action | None, count: int) -> Iterator[int]:
    if one is not None and one.signature.surplus is not None:
        yield from range(count)
        return
    taken = 0 if one is None else len(one.signature.positional)
    if taken < count:
        yield taken
    if taken:
        yield 0


def _passed(one: Action | None, segments: tuple[str, ...]) -> dict[str, str | tuple[str, ...]]:
    if one is None or not segments:
        return {}
    names = [parameter.name for parameter in one.signature.positional]
    passed: dict[str, str | tuple[str, ...]] = dict(zip(names, segments, strict=False))
    if one.signature.surplus is not None:
        passed[one.signature.surplus.name] = segments[len(names) :]
    return passed


def _get(place: Place, _: Verb, params: Mapping[str, Any]) -> Step:
    node, rest, extension = place
    if not rest:
        everything = fit(node.action("get_all", "get"), (), extension, params)
        return everything or _found(fit(node.action("get_one"), (), extension, params))
    return best(_gets(place, params))


def _gets(place: Place, params: Mapping[str, Any]) -> Iterator[Fit]:
    node, rest, extension = place
    yield from _last_segment_names(place, params)
    yield _first_segment_names(place, params, safe=True)
    yield _found(fit_tail(node.action("get_one", "get"), rest, extension, params))


def _last_segment_names(place: Place, params: Mapping[str, Any]) -> Iterator[Fit]:
    """`/1/edit`: the last segment says what to do with what stands before it."""
    *before, last = place.rest
    for name, extension in spellings(last, last=True):
        for method in (f"get_{name}", name):
            if not _is_unsafe(method):
                yield fit(place.node.action(method), tuple(before), extension, params)


def _first_segment_names(place: Place, params: Mapping[str, Any], *, safe: bool) -> Fit:
    """`/archive/2026`: the first segment is the name of a method."""
    after = place.rest[1:]
    member, extension = place.node.named(place.rest[0], last=not after)
    if type(member) is not Action or (safe and _is_unsafe(member.name)):
        return None
    return fit_tail(member, after, extension, params)


def _body(place: Place, verb: Verb, params: Mapping[str, Any]) -> Step:
    """POST, PUT and PATCH: the method is there or it is not; one that does not fit ends the search."""
    node, rest, extension = place
    named = _first_segment_names(place, params, safe=False) if rest else None
    if isinstance(named, Found):
        return named
    method = node.action(verb.name)
    if method is None:
        return named
    found = fit_tail(method, rest, extension, params)
    if isinstance(found, Found):
        return found
    return Unfit(named.missing if named else found.missing if found else (), final=True)


def _delete(place: Place, _: Verb, params: Mapping[str, Any]) -> Step:
    node, rest, extension = place
    found = _found(fit_tail(node.action("post_delete", "delete"), rest, extension, params))
    if found is not None:
        return found
    if rest and type(node.named(rest[0], last=len(rest) == 1)[0]) is Action:
        return Denied()
    return None


def _custom(place: Place, verb: Verb, params: Mapping[str, Any]) -> Step:
    node, rest, extension = place
    if verb.method in _SAFE:
        names = tuple(n for n in (f"get_{verb.name}", verb.name) if not _is_unsafe(n))
    else:
        names = (f"{verb.method.lower()}_{verb.name}", verb.name, f"post_{verb.name}")
    return fit_tail(node.action(*names), rest, extension, params)


def _found(candidate: Fit) -> Found | None:
    """Only a fit: who asks for one item by its path is not told of missing fields, there is no such item."""
    return candidate if isinstance(candidate, Found) else None


def _is_standard(name: str) -> bool:
    """Whether a method is reached without being named in `_method`."""
    return name in _STEPS or name in {"new", "edit", "post_delete"} or name.startswith("get_")


def _is_unsafe(name: str) -> bool:
    return name in {"post", "put", "patch"} or name.startswith("post_")


_SAFE: Final = frozenset({"GET", "HEAD"})
_STEPS: Final[dict[str, Callable[[Place, Verb, Mapping[str, Any]], Step]]] = {
    "get": _get,
    "post": _body,
    "put": _body,
    "patch": _body,
    "delete": _delete,
}
