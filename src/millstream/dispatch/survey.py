"""Questions about a tree that no request asks: which actions it has, and what is mounted where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from millstream.dispatch.action import Action
from millstream.dispatch.match import Mount
from millstream.dispatch.step import Down, Place
from millstream.dispatch.traversal import Tree
from millstream.dispatch.walk import Walk, past_empty
from millstream.errors import HTTPError


def actions(tree: Tree) -> Iterable[Action]:
    """Every action that stands in the tree, so that its plan can be made before the first request."""
    found: dict[Action, None] = {}  # instances of one class share their actions
    for node in tree.nodes:
        found |= dict.fromkeys(member for member in node.members.values() if type(member) is Action)
        if node.shape.default is not None:
            found[node.shape.default] = None
    return found.keys()


def applications(tree: Tree) -> Sequence[object]:
    """Every ASGI application that is mounted in the tree."""
    return [node.app for node in tree.nodes if node.shape.is_mount]


def mounted(tree: Tree, path: str) -> Mount | None:
    """The ASGI application that stands on a path, found by names alone: nothing of the author's runs.

    Asked by WebSockets, which nobody else here speaks. What stands behind a `_check_security` is not found:
    only `Tree.find` asks whether it may be called.
    """
    if not tree.has_mounts:
        return None
    try:
        return _mounted(tree, path)
    except HTTPError:  # no path of ours
        return None


def _mounted(tree: Tree, path: str) -> Mount | None:
    walk = Walk(path, "GET", {}, call=_nobody, node_of=tree.node)
    place = Place(tree.root, walk.segments)
    while place.node.security is None:
        if place.node.shape.is_mount:
            return walk.mount(place)
        step = walk.step(past_empty(place))
        if not isinstance(step, Down):
            return None
        place = walk.down(step)
    return None


async def _nobody(*_: object) -> None:
    """The `Call` of a walk on which nobody is asked."""
