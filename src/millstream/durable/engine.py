"""The port behind a log: what stores it. An engine decides nothing; it loads, asks, and stores.

`millstream.testing.check_log` requires of an engine what is promised here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from millstream.durable.state import Change, Producer, State, Stored

Decide = Callable[[Mapping[str, State | None], Producer | None], Change]
"""What is stored, given what is there. Pure and quick; called on any thread, and again if need be. It
raises what the one who asked is to be told (`LogRefused` and others): nothing is stored then."""

Awake = Callable[[str | None], None]
"""Says that a stream may have changed; None: that any may have. Called on the event loop's thread."""

CHANGED_BY_OTHERS: Final = 1.0
"""Seconds: a good `poll` for an engine whose hints may be lost."""


class Engine(Protocol):
    """Stores states by name, records by incarnation and end, producers by incarnation and id.

    A record is stored with its token: of the first of the `states` of the change that brings it.

    Every method may raise what its database raises: then the outcome of a `change` is unknown, and whoever
    wants to know repeats it with the same producer claim.
    """

    poll: float | None
    """How often, in seconds, who waits looks although no hint came; None when no hint is ever lost."""

    failures: tuple[type[Exception], ...]
    """What its database raises when it cannot be had at the moment, or has no room: nobody's mistake."""

    async def open(self, awake: Awake, /) -> None:
        """Make ready, once, before anything else; create what is missing.

        From here on `awake` is called for every stream that was changed, once `look` shows the change: at
        once for changes through this engine (also when the caller was cancelled meanwhile), soon for those
        of other processes, any number of times for one change, and with None when hints may have been lost.

        Raises:
            ConfigurationError: when the database cannot be used, in one sentence.
        """
        ...

    async def close(self) -> None:
        """Let go of everything; changes under way are finished first. Never fails, may be called twice."""
        ...

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        """Load, decide and store as one: nobody sees half of it, nobody else changes these names meanwhile.

        Calls `decide` with the states of all `names` (None for a name that has none) and with the
        producer of that id in the incarnation of the **first** name's state (None: no id, no such
        producer, or no state). Then stores what it returned, in the order of the fields of `Change`,
        and returns it once it is as durable as the engine promises. A change that is `empty` stores
        nothing. Many changes may share one commit; a refusal of one (an exception of `decide`) never
        touches the others. A name repeated in `names` counts once. When the caller is cancelled, the change
        is stored wholly or not at all.
        """
        ...

    async def look(self, name: str, /) -> State | None:
        """The state stored under a name: no older than any change that has returned in this process."""
        ...

    async def records(self, incarnation: str, after: int, upto: int, most: int, /) -> Stored:
        """The records of an incarnation that end after `after`, in order, up to one that reaches `upto`.

        Stops early at a record that ends beyond `after + most`, unless that is the first.
        Records that are gone are left out: the log notices.

        Each has its token; with them comes that of the record that ends at `after`, if it is stored.
        """
        ...

    async def leased(self) -> Sequence[State]:
        """Every state that has a `tenure`."""
        ...

    async def due(self, now: float, /) -> Sequence[str]:
        """Names of states whose `due` is at or before `now`: all of them, or a good many."""
        ...
