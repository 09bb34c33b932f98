"""One controller instance in the tree, and the ways a segment of a path can name something on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from millstream.dispatch.action import Action
from millstream.dispatch.controllers import ASGIAppController
from millstream.dispatch.refusals import refuse_parts
from millstream.dispatch.shape import Shape, is_public


class Node:
    """A controller with its own table of names and its hooks, bound.

    The instance's attributes are laid over its class's, as Python lays them: a sub-controller replaces
    what the class has under its name, anything else hides it.

    Raises:
        ConfigurationError: when the instance has what would mean nothing here.
    """

    __slots__ = ("after", "app", "before", "controller", "lookup", "members", "security", "shape")

    def __init__(self, controller: object, shape: Shape, is_controller: Callable[[type], bool]) -> None:
        own: Mapping[str, object] = getattr(controller, "__dict__", {})
        refuse_parts(shape.name, own)
        self.controller = controller
        self.shape = shape
        self.members = _members(own, shape.members, is_controller)
        self.before = _bound(shape.before, controller)
        self.after = _bound(shape.after, controller)
        self.security = _bound(shape.security, controller)
        self.app: Any = controller.app if isinstance(controller, ASGIAppController) else None
        self.lookup = shape.lookup and _bound(shape.lookup.function, controller)

    def action(self, *names: str) -> Action | None:
        """The first of some actions that there is."""
        for name in names:
            if type(member := self.members.get(name)) is Action:
                return member
        return None

    def named(self, segment: str, *, last: bool) -> tuple[Any, str]:
        """The action or sub-controller a segment names (None for neither), and the extension it ends with."""
        if (member := self.members.get(segment)) is not None:
            return member, ""
        for name, extension in spellings(segment, last=last):
            member = self.members.get(name)
            if member is not None and (not extension or _may_offer(member, extension)):
                return member, extension
        return None, ""


def spellings(segment: str, *, last: bool) -> Iterator[tuple[str, str]]:
    """The names a segment may stand for, and the extension left over.

    A hyphen or a dot stands for an underscore, so that `/my-page` and `/robots.txt` can be methods.
    TurboGears lets every punctuation character do so; these two are what URLs are written with.
    """
    yield segment.translate(_UNDERSCORED), ""
    if last:
        stem, extension = split_extension(segment)
        if extension:
            yield stem.translate(_UNDERSCORED), extension


def split_extension(segment: str) -> tuple[str, str]:
    """`stem.ext` in two, the extension in lower case; without one, or without a stem, the segment and ""."""
    stem, _, extension = segment.rpartition(".")
    return (stem, extension.lower()) if stem and extension else (segment, "")


def _may_offer(member: object, extension: str) -> bool:
    """A sub-controller may have an action that offers it; to a mounted application it is part of the name."""
    if isinstance(member, Action):
        return extension in member.extensions
    return not issubclass(type(member), ASGIAppController)


def _members(
    own: Mapping[str, object], of_class: Mapping[str, object], is_controller: Callable[[type], bool]
) -> Mapping[str, object]:
    children = {name: v for name, v in own.items() if is_public(name) and is_controller(type(v))}
    if not children and own.keys().isdisjoint(of_class):
        return of_class
    return {name: member for name, member in of_class.items() if name not in own} | children


def _bound(hook: Any, controller: object) -> Any:
    return None if hook is None else hook.__get__(controller, type(controller))


_UNDERSCORED: Final = str.maketrans("-.", "__")
