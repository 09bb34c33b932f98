"""What a tree answers to, as a list for `millstream routes`.

Only what stands at start-up is known: behind a `_lookup` and in a mounted application there is more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from millstream.dispatch.action import Action
from millstream.dispatch.node import Node
from millstream.dispatch.signature import Signature
from millstream.dispatch.traversal import Tree


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One line of the list."""

    path: str  # with {names} where segments are arguments, and * where anything follows
    methods: tuple[str, ...]  # empty: any
    action: str  # as `RootController.orders`
    formats: tuple[str, ...]  # extensions, or a content type where there is no extension
    signature: str


def routes(tree: Tree) -> list[Route]:
    """Every route of a tree's standing controllers, sorted by path."""
    return sorted(set(_of_node(tree, tree.root, "", frozenset())))


def _of_node(tree: Tree, node: Node, prefix: str, above: frozenset[int]) -> Iterator[Route]:
    if node.shape.is_mount:
        yield Route(f"{prefix}/*", (), f"{node.shape.name} → {_name(node.app)}", (), "")
        return
    above |= {id(node.controller)}  # a controller that holds one it hangs on is not listed again
    for name, member in node.members.items():
        if type(member) is Action:
            yield _of_rest(member, prefix) if node.shape.is_rest else _of_objects(member, prefix)
        elif id(member) not in above:
            down = prefix + (_nesting(node) if node.shape.is_rest else "")
            yield from _of_node(tree, tree.node(member), f"{down}/{name}", above)
    if node.shape.default is not None:
        yield _route(node.shape.default, f"{prefix}/*")
    if node.shape.lookup is not None:
        yield Route(f"{prefix}/*", (), node.shape.lookup.label, (), node.shape.lookup.signature.text)


def _of_objects(action: Action, prefix: str) -> Route:
    return _route(action, (prefix or "/") if action.name == "index" else f"{prefix}/{action.name}")


def _of_rest(action: Action, prefix: str) -> Route:
    name, arguments = action.name, _placeholders(action.signature)
    if name in _VERBS:
        methods, with_arguments = _VERBS[name]
        return _route(action, (prefix + (arguments if with_arguments else "")) or "/", methods)
    if name in {"new", "edit"} or name.startswith("get_"):
        return _route(action, f"{prefix}{arguments}/{name.removeprefix('get_')}", ("GET", "HEAD"))
    if name.startswith("post_"):
        return _route(action, f"{prefix or '/'}?_method={name.removeprefix('post_')}", ("POST",))
    return _route(action, f"{prefix}/{name}")


def _route(action: Action, path: str, methods: tuple[str, ...] = ()) -> Route:
    allowed = [m for m in methods if action.methods is None or m in action.methods] or action.allowed
    return Route(
        path=path,
        methods=tuple(method for method in allowed if method != "OPTIONS"),
        action=action.label,
        formats=action.formats,
        signature=action.signature.text,
    )


def _nesting(node: Node) -> str:
    one = node.action("get_one", "get")
    return "" if one is None else _placeholders(one.signature)


def _placeholders(signature: Signature) -> str:
    named = "".join(f"/{{{parameter.name}}}" for parameter in signature.positional)
    return f"{named}/{{*{signature.surplus.name}}}" if signature.surplus else named


def _name(app: object) -> str:
    return str(getattr(app, "__name__", type(app).__name__))


_VERBS = {
    "get_all": (("GET", "HEAD"), False),
    "get_one": (("GET", "HEAD"), True),
    "get": (("GET", "HEAD"), True),
    "post": (("POST",), True),
    "put": (("PUT",), True),
    "patch": (("PATCH",), True),
    "post_delete": (("DELETE",), True),
    "delete": (("DELETE",), True),
}
