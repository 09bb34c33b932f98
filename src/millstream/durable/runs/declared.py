"""What an author says of a durable action: `@expose("sse", durable=Durable(key="answer-{question}"))`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
        access: who may read or stop a run; asked at each request, and of those that follow every few seconds.
            Without it, whoever knows the run's id may: nobody guesses one.

    Raises:
        ConfigurationError: when one of them cannot be used.
    """

    key: str | Callable[..., str] | None = None
    ttl: float | None = None
    max_bytes: int | None = None
    on_death: str = "fail"
    access: Access | None = None

    def __post_init__(self) -> None:
        if self.key is not None and not (isinstance(self.key, str) or callable(self.key)):
            raise ConfigurationError(
                f"the key of a Durable is {self.key!r}: it must be a template or a function"
            )
        if self.on_death not in ON_DEATH:
            raise ConfigurationError(
                f"the on_death of a Durable is {self.on_death!r}: it must be {' or '.join(ON_DEATH)}"
            )
        if self.access is not None and not callable(self.access):
            raise ConfigurationError(f"the access of a Durable is {self.access!r}: it must be a function")
        for name, value in (("ttl", self.ttl), ("max_bytes", self.max_bytes)):
            if value is not None and (isinstance(value, bool) or not value >= 1):
                raise ConfigurationError(f"the {name} of a Durable is {value!r}: it must be 1 or more")

    @property
    def restarts(self) -> bool:
        """Whether another process takes the place of one that died."""
        return self.on_death == RESTART


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
ON_DEATH: Final = ("fail", RESTART)
