"""What an author says of a durable action: `@expose("sse", durable=Durable(key="answer-{question}"))`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from millstream.errors import ConfigurationError

Access = Callable[[Any, str], Awaitable[bool] | bool]
"""`access(request, stream_id)`: whether this client may read, and stop, that run. Any: the house's own
`Request`, which stands above this room. Sync or async, as an action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """How the runs of one action are kept.

    Args:
        key: what makes two requests ask for the same run: a template over the action's arguments,
            `"answer-{question}"`, or a function that is called with them and returns a text. Without it each
            request that names no run starts one of its own.
        ttl: seconds a run is kept after it ended and was last read; the setting `durable_ttl`, unless given.
        max_bytes: how much of a run is kept; older bytes are forgotten, and whoever still wants them is
            answered 410.
        on_death: what becomes of a run whose process died: `"fail"` ends it with an error record; `"restart"`
            calls the action again, in another process, which must yield the very same once more.
        keep_headers: names of headers that a restarted action needs beside those that say how to answer. They
            lie in the log in clear text while the run goes on; every other header is not kept, and to read it
            then is an error.
        on_failure: what becomes of a key whose run failed, was stopped or lost its process: `"retry"` begins
            a new run for the next request that asks by the key; `"keep"` answers with the failure until `ttl`
            seconds have passed since. A client that comes back to a run by its id reads that run.
        access: who may read or stop a run; asked at each request, and of those that follow every few seconds.
            Without it, whoever knows the run's id may: nobody guesses one.

    Raises:
        ConfigurationError: when one of them cannot be used.
    """

    key: str | Callable[..., str] | None = None
    ttl: float | None = None
    max_bytes: int | None = None
    on_death: str = "fail"
    keep_headers: Collection[str] = ()
    on_failure: str = "retry"
    access: Access | None = None

    def __post_init__(self) -> None:
        if self.key is not None and not (isinstance(self.key, str) or callable(self.key)):
            raise ConfigurationError(
                f"the key of a Durable is {self.key!r}: it must be a template or a function"
            )
        for name, value, choices in (
            ("on_death", self.on_death, ON_DEATH),
            ("on_failure", self.on_failure, ON_FAILURE),
        ):
            if value not in choices:
                raise ConfigurationError(
                    f"the {name} of a Durable is {value!r}: it must be {' or '.join(choices)}"
                )
        if isinstance(self.keep_headers, str) or not all(isinstance(name, str) for name in self.keep_headers):
            raise ConfigurationError(
                f"the keep_headers of a Durable are {self.keep_headers!r}: they must be names in a list"
            )
        for name in self.keep_headers:
            if name.lower() in CREDENTIALS:
                raise ConfigurationError(
                    f"the keep_headers of a Durable name {name!r}, a credential, which would lie in the log "
                    "in clear text: leave it out"
                )
        if self.access is not None and not callable(self.access):
            raise ConfigurationError(f"the access of a Durable is {self.access!r}: it must be a function")
        for name, number in (("ttl", self.ttl), ("max_bytes", self.max_bytes)):
            if number is not None and (isinstance(number, bool) or not number >= 1):
                raise ConfigurationError(f"the {name} of a Durable is {number!r}: it must be 1 or more")

    @property
    def restarts(self) -> bool:
        """Whether another process takes the place of one that died."""
        return self.on_death == RESTART

    @property
    def retries(self) -> bool:
        """Whether a key whose run failed may have another run."""
        return self.on_failure == RETRY


def declared(durable: object) -> Durable | None:
    """What `expose(durable=…)` was given, where True is a `Durable` with nothing said.

    Raises:
        ConfigurationError: when it is something else.
    """
    if isinstance(durable, Durable):
        return durable
    if not isinstance(durable, bool):
        raise ConfigurationError(f"durable is {durable!r}: it must be True, or a Durable(…)")
    return Durable() if durable else None


RESTART: Final = "restart"
CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
RETRY: Final = "retry"
ON_DEATH: Final = ("fail", RESTART)
ON_FAILURE: Final = (RETRY, "keep")
