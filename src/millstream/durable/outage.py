"""The outage of a log's database, told once: by its first failure, and when there has been none for a while.

Runs, readers and the upkeep all ask the database again and again while it is away, and each of them fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

QUIET: Final = 10.0
"""Seconds without a failure after which an outage is over."""

AWAY: Final = "the log cannot be had at the moment, or is full"
"""The detail of a 503: the rest is nobody's business but the log file's."""

_logger: Final = logging.getLogger("millstream.durable")


class Outage:
    """What is known of the failures of one log.

    Args:
        monotonic: a clock that never jumps.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: float | None = None
        self._last = 0.0

    def note(self, failure: BaseException) -> None:
        """The database failed; logged if it did not before."""
        self._last = self._monotonic()
        if self._since is None:
            self._since = self._last
            why = str(failure).strip().partition("\n")[0] or repr(failure)
            _logger.error("the durable log cannot be had: %s", why)

    def look(self) -> None:
        """The database has answered; logged if it had not for a while, and does reliably by now."""
        if self._since is not None and self._monotonic() - self._last >= QUIET:
            _logger.warning("the durable log can be had again, after %.0f s", self._last - self._since)
            self._since = None
