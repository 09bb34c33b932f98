"""Which of several representations a client wants (RFC 9110 §12.5).

Clients write anything into these headers, so nothing here raises: what cannot be understood is passed over,
and a header of which nothing is left counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

MOST_ELEMENTS: Final = 100
"""How many elements of a header are looked at; browsers send fewer than ten."""


def best(accept: str | None, offers: Sequence[str]) -> int | None:
    """Choose among media types by an `Accept` header.

    Parameters other than the weight are not compared, neither the client's nor an offer's.

    Returns:
        The index of the offer with the highest weight, the first of equals; None when the client takes none
        of them (406). Without a header, the first.
    """
    if not offers:
        return None
    ranges = _media_ranges(accept or "")
    if not ranges:
        return 0
    weights = [_weight(offer, ranges) for offer in offers]
    highest = max(weights)
    return weights.index(highest) if highest > 0 else None


def weighted(header: str) -> Iterator[tuple[str, float]]:
    """Yield the elements of a list such as `Accept` or `Accept-Encoding`, in lower case, with their weights.

    Parameters other than the weight are dropped. A weight that is none counts as not given, which is 1.
    """
    bare = _QUOTED.sub("", header)  # only in parameters that nobody asks for, and may hold commas
    for element in bare.split(",", MOST_ELEMENTS)[:MOST_ELEMENTS]:
        value, *parameters = element.split(";")
        if value := value.strip().lower():
            yield value, _weight_in(parameters)


def _media_ranges(accept: str) -> dict[str, float]:
    """The weights by media range; of one that is named twice, the higher."""
    ranges: dict[str, float] = {}
    for value, weight in weighted(accept):
        media_range = "*/*" if value == "*" else value  # old Java clients mean it so
        if _MEDIA_RANGE.fullmatch(media_range):
            ranges[media_range] = max(weight, ranges.get(media_range, 0.0))
    return ranges


def _weight(offer: str, ranges: dict[str, float]) -> float:
    """The weight of an offer: that of the most specific range it is in (RFC 9110 §12.5.1)."""
    media_type = offer.partition(";")[0].strip().lower()
    whole_type = media_type.partition("/")[0] + "/*"
    return next((ranges[each] for each in (media_type, whole_type, "*/*") if each in ranges), 0.0)


def _weight_in(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            number = value.strip()
            return min(float(number), 1.0) if _NUMBER.fullmatch(number) else 1.0
    return 1.0


# Every part may be missing at the end of the header, so that a match never fails and is tried again
# from the next quote: unterminated quotes cost no more than others.
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*+\\?+"?+', re.DOTALL)
_NUMBER: Final = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_MEDIA_RANGE: Final = re.compile(r"\*/\*|(?!\*/)[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
