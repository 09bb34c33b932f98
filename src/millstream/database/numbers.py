"""Numbers: those of stored JSON that a float cannot hold keep their digits.

JSON has numbers of any length (RFC 8259 §6), and PostgreSQL stores them so. Python reads a fraction as a
float, and an author computes with that; what is written is the number that was stored.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from typing import Any, Final, Self


class JsonNumber(float):
    """The float that is nearest to a number of JSON, with the digits of that number."""

    digits: str

    def __new__(cls, digits: str) -> Self:
        """Read the digits."""
        found = super().__new__(cls, digits)
        found.digits = digits
        return found

    def __json__(self) -> Decimal:
        """The number itself, in every format."""
        return Decimal(self.digits)


def _number(digits: str) -> float:
    value = float(digits)
    if len(digits) <= _SAFE and "e" not in digits and "E" not in digits:
        return value
    return value if Decimal(repr(value)) == Decimal(digits) else JsonNumber(digits)


_SAFE: Final = 16
"""Characters of a fraction, point included, that a float gives back as they are."""

loads: Final[Any] = partial(json.loads, parse_float=_number)
"""As `json.loads`, with the numbers above."""
