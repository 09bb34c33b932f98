"""Choosing: in which of its formats an action answers a request."""

from __future__ import annotations

from dataclasses import dataclass, replace

from millstream.dispatch.match import Match
from millstream.pipeline.offers import Offer
from millstream.pipeline.plans import FORMAT, Plan
from millstream.web.request import Request


@dataclass(slots=True)
class Chosen:
    """What is decided about a response before its action is called."""

    match: Match
    plan: Plan
    offer: Offer
    negotiated: bool  # by `Accept`: another client could have got another format at this URL

    def has_all(self, request: Request) -> bool:
        """Whether an `EventSource` came back after the last event: only a 204 keeps it from coming again."""
        end_id = self.offer.end_id
        return end_id is not None and request.field(b"last-event-id") == end_id


def chosen(match: Match, plan: Plan, request: Request) -> Chosen:
    """The format the client asks for; the query field that named it is not the action's.

    Raises:
        HTTPError: 406 when it cannot be had.
    """
    if not plan.negotiates and not match.extension:
        return Chosen(match, plan, plan.offers[0], negotiated=False)
    wanted = ""
    if plan.by_format and FORMAT in match.params and FORMAT in request.query_params:
        wanted = request.query_params[FORMAT]
        match = replace(match, params={k: v for k, v in match.params.items() if k != FORMAT})
    accept = request.headers.get("accept") if plan.negotiates else None
    offer = plan.choose(match.extension, wanted, accept)
    return Chosen(match, plan, offer, plan.negotiates and not match.extension and not wanted)
