"""Object dispatch: the path's segments are names of attributes, what is left over are arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millstream.dispatch.action import Action
from millstream.dispatch.step import Down, Place, Step, fit, fit_tail


def step(place: Place, params: Mapping[str, Any]) -> Step:
    """What a controller does with the rest of a path; None when it knows nothing by that name."""
    node, rest, extension = place
    if not rest:
        return fit(node.action("index"), (), extension, params)
    after = rest[1:]
    member, named_with = node.named(rest[0], last=not after)
    if member is None:
        return None
    if type(member) is Action:
        return fit_tail(member, after, named_with, params)
    return Down(member, after, named_with, {})
