"""Which coding a client gets (RFC 9110 §12.5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.compression.codings import Coding
from millstream.web.negotiation import weighted


@dataclass(frozen=True, slots=True)
class Choice:
    """What a client's header comes to."""

    coding: Coding | None  # None: the body goes as it is
    refuses_identity: bool = False  # so a coding is used even where it gains nothing


def chosen(accept_encoding: str | None, offered: Sequence[Coding]) -> Choice:
    """Choose by weight, the first offer of equals.

    A client that refuses everything we have, and the plain body too, gets the plain body: the RFC leaves it
    to the server whether that is a 406, and a body it may not be able to read is of more use than none.
    Without a header every coding would be acceptable; whoever sends none can seldom decode one.
    """
    if accept_encoding is None:
        return Choice(None)
    weights: dict[str, float] = {}
    for name, weight in weighted(accept_encoding):
        coding = _ALIASES.get(name, name)
        weights[coding] = max(weight, weights.get(coding, 0.0))
    others = weights.get("*", 0.0)
    best = max(offered, key=lambda coding: weights.get(coding.name, others), default=None)
    weight = weights.get(best.name, others) if best is not None else 0.0
    if weight <= 0 or weight < weights.get("identity", 0.0):
        return Choice(None)
    return Choice(best, refuses_identity=weights.get("identity", weights.get("*", 1.0)) == 0)


_ALIASES: Final = {"x-gzip": "gzip"}  # RFC 9110 §8.4.1.3
