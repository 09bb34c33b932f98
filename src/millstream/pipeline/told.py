"""What a request for a run comes to, and where runs are recorded: facts that recorders and readers share."""

from __future__ import annotations

from dataclasses import dataclass

from millstream.durable.log import Log
from millstream.protocol.ports import Head


@dataclass(frozen=True, slots=True)
class Begun:
    """The run goes on; its author said this of the response."""

    run: str
    head: Head


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Somebody else's run is what was asked for."""

    run: str


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no run: this is the answer."""

    head: Head
    body: bytes


Told = Begun | Elsewhere | Refused


@dataclass(frozen=True, slots=True)
class Logbook:
    """Where runs are recorded, and on what terms."""

    log: Log
    secret: bytes  # for the names of keys
    lease: float  # seconds
    ttl: float  # seconds, unless an action says otherwise
