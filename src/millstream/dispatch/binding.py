"""The last step of dispatch: the arguments an action is called with."""

from __future__ import annotations

from typing import Any

from millstream.dispatch.match import Match


def bind(match: Match) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments of a match, converted as the action's annotations ask.

    Raises:
        HTTPError: 422, naming every argument that cannot be used.
    """
    return match.action.signature.bind(match.args, match.params)
