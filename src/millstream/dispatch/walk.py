"""The walk from a path to an action.

A walk goes down from controller to controller and notes each one's `_default` and `_lookup` on the way. Where
it gets stuck it turns back to the note made last: at one controller `_default` is asked before
`_lookup`, and an inner controller's before an outer one's. Only when nobody takes the path is it an error:

* 422, when a method was named whose missing arguments fields could have filled,
* 405, when a REST controller would answer another HTTP method here,
* 404 otherwise.

Differences to the reference, on purpose: only compiled tables are consulted, so that no name from a URL is
ever an attribute access; `_before` and `_after` of all controllers on the way are called, not only
the innermost's; `_default` and `_lookup` that need more segments than there are do not match,
where the reference fails with a TypeError.

The body is read as late as possible. A walk goes by path and query, and reads the body's fields only where
they decide: when an action that the path names lacks arguments which they may fill, and when a form may name
another method of a REST controller. Before that, whatever refuses the request without them does so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from millstream.dispatch import objects, rest
from millstream.dispatch.action import Action
from millstream.dispatch.match import Match, Mount
from millstream.dispatch.node import Node
from millstream.dispatch.step import (
    ANYTHING,
    Denied,
    Down,
    Found,
    Place,
    Step,
    Unfit,
    Unread,
    fit,
    fit_tail,
)
from millstream.errors import ControllerError, HTTPError
from millstream.protocol.ports import Call


class Body(Protocol):
    """The body of a request, with fields that were not read."""

    @property
    def is_form(self) -> bool:
        """Whether one of them may name another method, as forms do for lack of better."""
        ...

    async def fields(self, match: Match, /) -> Mapping[str, Any]:
        """Read them, and join them with the query's.

        Args:
            match: where the request leads if its action gets the fields it needs; says what body is taken.

        Raises:
            HTTPError: when it is not taken.
        """
        ...


class Note(NamedTuple):
    """A place the walk may turn back to, because its controller has a `_default` or a `_lookup`."""

    depth: int
    place: Place
    passed: Mapping[str, str | tuple[str, ...]]


class Walk:
    """One request on its way through the tree."""

    __slots__ = (
        "asked_nobody",
        "body",
        "by_method",
        "call",
        "leaf",
        "lookups",
        "method",
        "node_of",
        "nodes",
        "notes",
        "params",
        "passed",
        "passed_rest",
        "path",
        "segments",
        "tentative",
        "unfit",
        "verb",
    )

    def __init__(
        self,
        path: str,
        method: str,
        params: Mapping[str, Any],
        *,
        call: Call,
        node_of: Callable[[object], Node],
        body: Body | None = None,
    ) -> None:
        if path.count("/") > _MOST_SEGMENTS:
            raise HTTPError(414, "the path has too many segments")
        stripped = path.rstrip("/")
        self.node_of = node_of
        self.path = path
        self.segments = tuple(stripped.removeprefix("/").split("/")) if stripped else ()
        self.method = method
        self.body = body  # None: there is none, or it was read
        self.params = params if body is None else Unread(params)
        self.call = call
        self.verb: rest.Verb | None = None  # known from the first REST controller on that is not passed
        self.passed_rest = False  # whether a REST controller was come to, which understands `_method`
        self.nodes: list[Node] = []
        self.notes: list[Note] = []
        self.passed: Mapping[str, str | tuple[str, ...]] = {}
        self.by_method = False  # whether the last step was a REST controller's
        self.leaf: Place | None = None  # the last place where a REST controller chose by method
        self.unfit: Unfit | None = None  # the first action that was named but lacks arguments
        self.lookups = 0
        self.tentative: Match | None = None  # what the body was read for, if the tree alone has led there
        # Whether the tree alone has decided, and neither the author's code nor the value of a field.
        self.asked_nobody = "_method" not in params

    def enter(self, place: Place) -> Place:
        """Note that a controller may be asked again, and go past empty segments."""
        node = place.node
        if place.rest and not place.rest[0]:
            place = past_empty(place)
        self.nodes.append(node)
        if node.shape.default is not None or node.lookup is not None:
            self.notes.append(Note(len(self.nodes), place, self.passed))
        return place

    async def secure(self, node: Node) -> None:
        """Ask a controller's `_check_security`.

        Raises:
            HTTPError: 403 when it says False, or whatever it raises itself.
        """
        if node.security is None:
            return
        self.asked_nobody = False
        if await self.call(node.security) is False:
            raise HTTPError(403)

    async def take(self, place: Place) -> Found | Down:
        """The next step from here, or from where the walk turns back to.

        Raises:
            HTTPError: when there is none.
        """
        made = self._made(place)
        if (found := self._decided_by_fields(made, place)) is not None:
            await self._read_fields(found)
            made = self._made(place)
        step = self._checked(made, place)
        while step is None:
            step = await self._turn_back()
        return step

    def step(self, place: Place) -> Found | Down | None:
        """What the controller here does with the rest of the path; None when the walk must turn back.

        Raises:
            HTTPError: when it must not, because this place is for nobody else.
        """
        return self._checked(self._made(place), place)

    def down(self, step: Down) -> Place:
        """Go into a sub-controller."""
        if step.passed:
            self.passed = {**self.passed, **step.passed}
        return Place(self.node_of(step.child), step.rest, step.extension)

    def arrive(self, found: Found) -> Match:
        """Make the match.

        Raises:
            HTTPError: 405 when the action does not allow the method.
        """
        place = self.leaf if self.by_method else None
        if self.method != "OPTIONS" and not self._allows(found.action):
            raise _not_allowed(found.action.allowed if place is None else rest.allowed(place))
        return self._match(found)

    def mount(self, place: Place) -> Mount:
        """Split the path at a mounted application."""
        left = "".join(f"/{segment}" for segment in place.rest) + self.path[len(self.path.rstrip("/")) :]
        # A _lookup may have gone on with segments of its own; then all that was asked for is consumed.
        consumed = self.path.removesuffix(left) if self.path.endswith(left) else self.path
        return Mount(app=place.node.app, mount_path=consumed, path=left)

    def lost(self) -> NoReturn:
        """Say why nothing answers.

        Raises:
            HTTPError: 404, 405 or 422.
        """
        if self.unfit is not None:
            raise _unfit(self.unfit)
        if self.leaf is not None and self.verb is not None:
            allowed = rest.allowed(self.leaf)
            if allowed and self.verb.name.upper() not in allowed:
                raise _not_allowed(allowed)
        raise HTTPError(404)

    def _made(self, place: Place) -> Step:
        self.by_method = place.node.shape.is_rest
        return self._rest_step(place) if self.by_method else objects.step(place, self._asked())

    def _rest_step(self, place: Place) -> Step:
        self.passed_rest = True
        if (down := rest.nested(place)) is not None:
            return down
        if self.verb is None:
            self.verb = rest.verb_of(self.method, self.params.get("_method"))
        self.leaf = place
        return rest.probe(place) if self.method == "OPTIONS" else rest.step(place, self.verb, self.params)

    def _checked(self, made: Step, place: Place) -> Found | Down | None:
        if isinstance(made, Denied):
            raise _not_allowed(rest.allowed(place))
        if not isinstance(made, Unfit):
            return made
        if made.final:
            raise _unfit(made)
        self.unfit = self.unfit or made
        return None

    async def _turn_back(self) -> Found | Down | None:
        """Ask the controller noted last for its `_default`, then its `_lookup`.

        Raises:
            HTTPError: when there is nobody left to ask.
        """
        if not self.notes:
            self.lost()
        depth, place, self.passed = self.notes.pop()
        del self.nodes[depth:]
        self.by_method = False
        found = self._default(place)
        if found is not None and self._lacks(found):
            await self._read_fields(found)
            found = self._default(place)
        return found or await self._look_up(place)

    # The body

    def _decided_by_fields(self, made: Step, place: Place) -> Found | None:
        """What is found if the unread fields are as it needs them; None when they do not matter."""
        if self.body is None or isinstance(made, Down):
            return None
        if self.by_method and self.method == "POST" and self.body.is_form:
            return made if isinstance(made, Found) else rest.overridden(place)
        return made if isinstance(made, Found) and self._lacks(made) else None

    def _lacks(self, found: Found) -> tuple[str, ...]:
        """The fields that it needs and that were not read."""
        params = self.params
        if not isinstance(params, Unread):
            return ()
        return found.action.signature.missing(len(found.args), params.query)

    async def _read_fields(self, found: Found) -> None:
        """Read the body for an action.

        Raises:
            HTTPError: when the request will be refused whatever its fields are, or because of its body.
        """
        assert self.body is not None  # noqa: S101  or else nothing depends on it
        if self.by_method and self.body.is_form and self.method == "POST":
            match = self._match(found)
        else:
            match = self.arrive(found)
            if self.asked_nobody:
                self.tentative = replace(match, needs=frozenset(self._lacks(found)))
        self.params = await self.body.fields(match)
        self.body = self.verb = None
        self.asked_nobody = False

    def _match(self, found: Found) -> Match:
        nodes = self.nodes
        params = self.params.query if isinstance(self.params, Unread) else self.params
        match = Match(
            action=found.action,
            controllers=tuple([node.controller for node in nodes]),
            args=found.args,
            extension=found.extension,
            params={},
            before=tuple([node.before for node in nodes if node.before is not None]),
            after=tuple([node.after for node in reversed(nodes) if node.after is not None]),
            routing_args=self.passed,
            rest_place=self.leaf if self.by_method else None,
            passed_rest=self.passed_rest,
        )
        return match.with_params(params) if params else match

    # Turning back

    def _default(self, place: Place) -> Found | None:
        """A `_default` takes as many segments as its signature has room for, as in TurboGears."""
        default = place.node.shape.default
        if default is None:
            return None
        room = len(place.rest) if default.signature.surplus else len(default.signature.positional)
        fits = fit_tail if room >= len(place.rest) else fit
        made = fits(default, place.rest[:room], place.extension, self._asked())
        return made if isinstance(made, Found) else None

    async def _look_up(self, place: Place) -> Down | None:
        node, segments, extension = place
        lookup = node.shape.lookup
        if lookup is None or extension:
            return None
        if not lookup.signature.takes(len(segments)) or lookup.signature.missing(len(segments), {}):
            return None
        self.lookups += 1
        self.asked_nobody = False
        if self.lookups > _MOST_SEGMENTS:
            raise ControllerError(f"{lookup.label} goes on for ever: its controllers look each other up")
        answer = await self.call(node.lookup, *segments)
        return None if answer is None else _gone_on_with(lookup.label, answer)

    def _asked(self) -> Mapping[str, Any]:
        return ANYTHING if self.method == "OPTIONS" else self.params

    def _allows(self, action: Action) -> bool:
        if self.by_method and self.verb is not None:
            return rest.answers(action, self.verb)
        return action.allows(self.method)


def past_empty(place: Place) -> Place:
    """A controller is named by whatever stands behind it, however many slashes stand between."""
    rest = place.rest
    first = next((position for position, segment in enumerate(rest) if segment), len(rest))
    return place._replace(rest=rest[first:])


def _not_allowed(allowed: Iterable[str]) -> HTTPError:
    return HTTPError(405, headers={"Allow": ", ".join(allowed)})


def _unfit(unfit: Unfit) -> HTTPError:
    if not unfit.missing:
        return HTTPError(400, "the path has more segments than are understood here")
    missing = [{"field": name, "message": "is missing"} for name in unfit.missing]
    return HTTPError(422, "some arguments are missing", errors=missing)


def _gone_on_with(label: str, answer: object) -> Down:
    """What a `_lookup` returned, checked.

    Raises:
        ControllerError: when it is no controller and segments.
    """
    if not isinstance(answer, tuple) or len(answer) != _PAIR:
        raise ControllerError(f"{label} must return (controller, remaining segments) or None")
    controller, remainder = answer
    if isinstance(controller, type):
        raise ControllerError(f"{label} returned the class {controller.__name__}: return an instance of it")
    if isinstance(remainder, str) or not isinstance(remainder, Iterable):
        raise ControllerError(f"{label} must return the remaining segments as a tuple or list")
    segments = tuple(remainder)
    if not all(isinstance(segment, str) for segment in segments):
        raise ControllerError(f"{label} returned remaining segments that are no strings")
    return Down(controller, segments, "", {})


_PAIR: Final = 2
_MOST_SEGMENTS: Final = 1000
"""More segments than any address has; also how often a request may be looked up."""
