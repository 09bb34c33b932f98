"""Where a path led: to an action, or into a mounted application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from millstream.dispatch import rest
from millstream.dispatch.action import Action
from millstream.dispatch.step import Place


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The action that answers a request, and all that the pipeline needs to call it."""

    action: Action
    controllers: tuple[object, ...]  # outermost first; the action's own is the last
    args: tuple[str, ...]
    extension: str  # without the dot, in lower case; "" for none
    params: Mapping[str, Any]  # without the `_method` that a REST controller has understood
    before: tuple[Callable[..., Any], ...]  # in the order of calling: outermost first
    after: tuple[Callable[..., Any], ...]  # in the order of calling: innermost first
    routing_args: Mapping[str, str | tuple[str, ...]]  # segments between names: `/movies/{id}/actors`
    rest_place: Place | None  # where a REST controller chose by method; None under object dispatch
    passed_rest: bool = False  # whether a REST controller was on the way, which understands `_method`
    needs: frozenset[str] = frozenset()  # fields that the unread body must have, or else it is no match

    def with_params(self, params: Mapping[str, Any]) -> Match:
        """The same for other fields."""
        if self.passed_rest and "_method" in params:
            params = {name: value for name, value in params.items() if name != "_method"}
        return Match(
            self.action,
            self.controllers,
            self.args,
            self.extension,
            params,
            self.before,
            self.after,
            self.routing_args,
            self.rest_place,
            self.passed_rest,
            self.needs,
        )

    @property
    def controller(self) -> object:
        """The controller whose method answers."""
        return self.controllers[-1]

    @property
    def target(self) -> Callable[..., Any]:
        """The method, bound to its controller."""
        return self.action.bound(self.controller)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The HTTP methods this path answers, for the `Allow` header of an OPTIONS response."""
        return self.action.allowed if self.rest_place is None else rest.allowed(self.rest_place)


@dataclass(frozen=True, slots=True)
class Mount:
    """The request belongs to another ASGI application."""

    app: ASGIApp
    mount_path: str  # what was consumed: belongs to the application's `root_path`
    path: str  # what is left, beginning with a slash; "" when nothing is
