"""The tree: every controller that can be reached from a root, compiled at start-up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from millstream.dispatch.action import Action
from millstream.dispatch.expose import Exposure
from millstream.dispatch.match import Match, Mount
from millstream.dispatch.node import Node
from millstream.dispatch.shape import Shape, is_controller, shape_of
from millstream.dispatch.step import Found, Place
from millstream.dispatch.walk import Body, Walk
from millstream.protocol.ports import Call

__all__ = ["Match", "Mount", "Tree"]

Key = tuple[str | bool | None, ...]
"""A request as the tree sees it: path, method, whether an unread body is a form, names of the fields."""


class Tree:
    """All controllers that can be reached from a root, compiled.

    Controllers that only a `_lookup` can reach are compiled, once per class, when they are first returned.

    Args:
        root: a controller, or a class of one that takes no arguments.
        extensions_of: the URL extensions that ask for an exposure.

    Raises:
        ConfigurationError: when something is exposed that cannot be an action.
    """

    def __init__(self, root: object, extensions_of: Callable[[Exposure], Collection[str]]) -> None:
        self._extensions_of = extensions_of
        self._shape_of: Callable[[type], Shape] = lru_cache(_MOST_CLASSES)(self._compiled)
        self._is_controller: Callable[[type], bool] = lru_cache(_MOST_CLASSES)(is_controller)
        # By id: the nodes keep their controllers alive, so no other object gets one of these ids.
        self._standing: dict[int, Node] = {}
        self._known: dict[Key, Match] = {}
        self.root = self._stand(root() if isinstance(root, type) else root)
        self.has_mounts = any(node.shape.is_mount for node in self.nodes)

    @property
    def nodes(self) -> Iterable[Node]:
        """The nodes of all standing controllers."""
        return self._standing.values()

    def node(self, controller: object) -> Node:
        """The node of a controller: a standing one's own, a passing one's made for this request."""
        standing = self._standing.get(id(controller))
        return standing or Node(controller, self._shape_of(type(controller)), self._is_controller)

    def known(
        self, path: str, method: str, params: Mapping[str, Any], body: Body | None = None
    ) -> Match | None:
        """What `find` found when the same was asked before, if it asked nobody then but the body."""
        known = self._known.get((path, method, None if body is None else body.is_form, *params))
        return known.with_params(params) if known is not None and params else known

    async def find(
        self, path: str, method: str, params: Mapping[str, Any], call: Call, body: Body | None = None
    ) -> Match | Mount:
        """Find what answers a request.

        Args:
            path: below the application's own mount, percent-decoded.
            method: the HTTP method. For OPTIONS whatever would answer another method is found, unchecked.
            params: the request's fields.
            call: how to run the author's hooks, `_check_security` and `_lookup`.
            body: more fields, if there are any; they are read only where the way depends on them.

        Raises:
            HTTPError: 403, 404, 405, 422, or 400 and 414 for a path that cannot be one of ours; or whatever
                reading the body raised.
            ControllerError: when a `_lookup` returned what cannot be gone on with.
        """
        walk = Walk(path, method.upper(), params, call=call, node_of=self.node, body=body)
        place = Place(self.root, walk.segments)
        while not place.node.shape.is_mount:
            if place.node.security is not None:
                await walk.secure(place.node)
            place = walk.enter(place)
            step = await walk.take(place)
            if isinstance(step, Found):
                match = walk.arrive(step)
                if (same := match if walk.asked_nobody else walk.tentative) is not None:
                    self._remember((path, method, None if body is None else body.is_form, *params), same)
                return match
            place = walk.down(step)
        await walk.secure(place.node)
        return walk.mount(place)

    def _remember(self, key: Key, match: Match) -> None:
        """A walk that asked nobody ends in the same place whenever the same is asked; most requests do."""
        if sum(len(text) for text in key if isinstance(text, str)) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = match.with_params({})

    def _compiled(self, cls: type) -> Shape:
        return shape_of(cls, self._extensions_of)

    def _stand(self, root: object) -> Node:
        """Make the nodes of everything reachable, so that whatever is wrong is said at start-up."""
        first = self._standing[id(root)] = self.node(root)
        waiting = [first]
        while waiting:
            for member in waiting.pop().members.values():
                if type(member) is not Action and id(member) not in self._standing:
                    node = self._standing[id(member)] = self.node(member)
                    waiting.append(node)
        return first


_MOST_CLASSES: Final = 1024
"""Controller classes kept compiled: a `_lookup` may make a class for each request."""

_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 256
"""Requests whose ends are kept, and the characters of one: clients write what they like."""
