"""Settings: one frozen dataclass, passed down, never global.

Each setting carries its own explanation and its lowest allowed value, so that the reference page, the
error texts and the check at start-up cannot disagree. Ini files and the environment are read by
`millstream.cli`; this room only knows what a setting means.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from millstream.errors import ConfigurationError

KIB: Final = 1024
MIB: Final = 1024 * KIB


def _setting(default: Any, explanation: str, *, least: float | None = None, per_action: bool = False) -> Any:
    """A dataclass field; Any, because `dataclasses.field` itself lies to the type checker about its type."""
    return field(
        default=default, metadata={"explanation": explanation, "least": least, "per_action": per_action}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What whoever deploys an application may decide. Times are seconds, sizes bytes; None means no limit.

    Settings of one action are given to `expose` by the same names, for those marked per action.

    Raises:
        ConfigurationError: when a value has the wrong type or is out of its range.
    """

    debug: bool = _setting(False, "Traceback pages and records, warnings about steps that block the loop.")
    charset: str = _setting("utf-8", "The charset of text.", per_action=True)
    templates: str | None = _setting(None, "The folder of the Jinja2 templates.")
    compression: bool = _setting(
        True, "Whether a body is compressed for a client that asks for it.", per_action=True
    )

    first_item_timeout: float = _setting(
        5.0, "How long the head waits for the first item.", least=0, per_action=True
    )
    keep_alive: float | None = _setting(
        15.0, "Silence after which a stream gives a sign of life.", least=0.001, per_action=True
    )
    lifetime: float | None = _setting(
        None, "How long a stream may live altogether.", least=0.001, per_action=True
    )
    idle_timeout: float | None = _setting(
        None, "How long a producer may take for one item.", least=0.001, per_action=True
    )
    stall_timeout: float | None = _setting(
        60.0,
        "How long a client may keep one write, or the next piece of its request's body, waiting.",
        least=0.001,
        per_action=True,
    )
    min_rate: float | None = _setting(
        240.0,
        "Bytes a second a client must take, or send of a form or JSON, after some seconds.",
        least=0.001,
        per_action=True,
    )
    close_timeout: float = _setting(
        10.0,
        "How long interrupted producers may take to clean up: async ones, and all when the process ends.",
        least=0.001,
        per_action=True,
    )
    drain_timeout: float = _setting(
        10.0, "How long streams may go on after the process was told to end.", least=0
    )
    slow_step: float = _setting(
        0.1, "In debug, a step that blocks the event loop longer is reported with its line.", least=0.001
    )

    attempts: int = _setting(
        1,
        "How often an action is tried altogether, when a database asks to repeat it before the first item.",
        least=1,
        per_action=True,
    )
    read_only: bool = _setting(
        False, "Whether an action may not write: nothing is committed.", per_action=True
    )
    stream_id: bool = _setting(
        False,
        "Whether the head of a stream names it (`Stream-Id`), so that it can be stopped.",
        per_action=True,
    )
    on_disconnect: str = _setting(
        "cancel", "What a client's leaving does: cancel, detach or grace(seconds).", per_action=True
    )
    detached_lifetime: float | None = _setting(
        3600.0, "How long a stream may run on after its client left.", least=0.001, per_action=True
    )
    max_detached: int = _setting(
        1_000, "Streams that run on without their clients; beyond, leaving cancels.", least=0
    )

    high_water: int = _setting(
        256 * KIB, "Bytes a stream may be ahead of its socket.", least=1, per_action=True
    )
    max_body: int | None = _setting(
        16 * MIB,
        "The longest body of a request; beyond, 413.",
        least=0,
        per_action=True,
    )
    max_parsed_body: int | None = _setting(
        MIB,
        "The longest JSON or form, without its files, that is parsed for an action's arguments; beyond, 413.",
        least=0,
        per_action=True,
    )
    max_fields: int = _setting(
        1_000, "Fields of a form, or members of a JSON object; beyond, 400.", least=1, per_action=True
    )
    parse_body: bool = _setting(
        True,
        "Whether a form or JSON is read for an action's arguments; False leaves it to `request.stream()`.",
        per_action=True,
    )
    max_bodies: int = _setting(
        1_000,
        "Requests whose body has not come yet, counted as `max_streams` counts streams; beyond, 503.",
        least=1,
    )
    max_streams: int = _setting(
        20_000,
        "Open streams in this process; beyond, 503. If an action sets it, the open streams of that action.",
        least=1,
        per_action=True,
    )
    max_streams_per_client: int | None = _setting(
        None,
        "Open streams of one client; beyond, 429. If an action sets it, the client's streams of that action.",
        least=1,
        per_action=True,
    )
    max_sync_streams: int = _setting(
        10_000, "Threads for synchronous actions and streams; beyond, 503.", least=1
    )
    retry_after: int = _setting(
        1, "Seconds after which a client that was refused may come back.", least=0, per_action=True
    )

    durable_url: str | None = _setting(
        None, "Where the output of durable actions is kept: sqlite:///…, redis://… or postgresql://…."
    )
    durable_ttl: float = _setting(
        3600.0, "How long a durable stream is kept after it ended and was last read.", least=1
    )
    durable_lease: float = _setting(
        30.0, "Silence after which the process that produces a durable stream counts as dead.", least=0.1
    )

    allowed_hosts: str = _setting(
        "", "Hosts that a request may name, such as shop.example or *.shop.example; empty allows any host."
    )
    trusted_proxies: str = _setting(
        "", "Addresses and networks of proxies that are believed about their clients; unix for a unix socket."
    )
    proxy_header: str = _setting(
        "x-forwarded-for", "Which header those proxies write: x-forwarded-for or forwarded."
    )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            _check(setting, getattr(self, setting.name))
        try:
            "".encode(self.charset)
        except (LookupError, ValueError):
            raise ConfigurationError(
                f"the setting charset is {self.charset!r}, which is no charset Python can encode text in"
            ) from None
        for host in self.allowed_hosts.replace(",", " ").split():
            if not _HOST_PATTERN(host):
                raise ConfigurationError(
                    f"the setting allowed_hosts names {host!r}: it must be a host such as shop.example, "
                    "an address such as 10.0.0.1 or [::1], or all hosts below one such as *.shop.example"
                )
        linger(self.on_disconnect)
        networks(self.trusted_proxies)
        if self.proxy_header not in PROXY_HEADERS:
            raise ConfigurationError(
                f"the setting proxy_header is {self.proxy_header!r}: it must be {' or '.join(PROXY_HEADERS)}"
            )

    def for_action(self, **overrides: Any) -> Settings:
        """These settings with those of one action laid over them.

        Raises:
            ConfigurationError: when a value is wrong.
        """
        return dataclasses.replace(self, **overrides) if overrides else self


def linger(policy: str) -> float:
    """How many seconds a producer runs on after its client left: 0 for cancel, infinity for detach.

    Raises:
        ConfigurationError: when the policy is none of cancel, detach, grace(seconds).
    """
    if policy in LINGER:
        return LINGER[policy]
    grace = re.fullmatch(r"grace\((\d+(?:\.\d+)?)\)", policy)
    if grace is None:
        raise ConfigurationError(
            f"the setting on_disconnect is {policy!r}: it must be cancel, detach or grace(seconds)"
        )
    return float(grace[1])


Network = IPv4Network | IPv6Network


def networks(trusted: str) -> tuple[Network, ...]:
    """The networks among what is trusted, separated by commas or spaces; `unix` is none.

    Raises:
        ConfigurationError: when something is neither an address, nor a network, nor `unix`.
    """
    return tuple(_network(text) for text in trusted.replace(",", " ").split() if text != UNIX)


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError(
            f"the setting trusted_proxies names {text!r}: it must be an address such as 10.0.0.1, "
            f"a network such as 10.0.0.0/8, or {UNIX}"
        ) from None


def _check(setting: dataclasses.Field[Any], value: Any) -> None:
    wanted = str(setting.type)
    if value is None and "None" in wanted:
        return
    kinds = _KINDS[wanted.removesuffix(" | None")]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ConfigurationError(
            f"the setting {setting.name} is {value!r}: it must be {_IN_WORDS[wanted.removesuffix(' | None')]}"
        )
    least = setting.metadata["least"]
    if least is not None and not value >= least:
        raise ConfigurationError(f"the setting {setting.name} is {value!r}: the least allowed is {least:g}")


UNIX: Final = "unix"
"""How `trusted_proxies` names whoever comes by a unix socket, and so has no address."""

_HOST_PATTERN: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]").fullmatch
PROXY_HEADERS: Final = ("x-forwarded-for", "forwarded")
LINGER: Final = {"cancel": 0.0, "detach": math.inf}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
}
_IN_WORDS: Final = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
}
CLIENT_KEY: Final = "client_key"
"""Whom a stream counts for: given to `expose` as the settings are, but a function is nothing one deploys."""

DURABLE: Final = "durable"
"""Whether, and how, an action's output is kept in a log: given to `expose` in the same way."""

PER_ACTION: Final = frozenset(
    {CLIENT_KEY, DURABLE, *(s.name for s in dataclasses.fields(Settings) if s.metadata["per_action"])}
)
"""What an action may override through `expose`."""

SWITCHES: Final = frozenset(
    s.name for s in dataclasses.fields(Settings) if s.metadata["per_action"] and s.type == "bool"
)
"""Those of them that are true or false: a text of the same name is an option of the codec."""


def is_setting(name: str, value: object) -> bool:
    """Whether `expose` takes a keyword for a setting of the action, and not for an option of the codec."""
    return name in PER_ACTION and not (name in SWITCHES and isinstance(value, str))
