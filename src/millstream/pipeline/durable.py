"""What is decided at start-up about a durable action: whose its runs are, what names them, how they run.

A run is an ordinary stream whose outlet is the log, and who reads it gets an ordinary stream whose producer
reads the log: so each of the two has the action's settings, less those that are the other one's.
"""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from millstream.config import Settings
from millstream.dispatch.action import Action
from millstream.durable.runs.declared import Durable, declared
from millstream.durable.runs.names import tag_of
from millstream.errors import ConfigurationError, ControllerError
from millstream.pipeline.offers import Offer


@dataclass(frozen=True, slots=True)
class Key:
    """What makes two calls of an action ask for the same run."""

    signature: inspect.Signature
    template: str = ""
    pieces: tuple[tuple[str, str], ...] = ()  # a parameter, and how it is written
    function: Callable[..., str] | None = None

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
        """The key of one call, in parts: so no value can be chosen that looks like two others.

        Raises:
            ControllerError: when the author's function returns no text.
        """
        if self.function is not None:
            key: Any = self.function(*args, **kwargs)
            if not isinstance(key, str):
                raise ControllerError(
                    f"the key of a Durable returned a {type(key).__name__}: it must be a text"
                )
            return (key,)
        bound = self.signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        return (self.template, *(format(bound.arguments[name], how) for name, how in self.pieces))


@dataclass(frozen=True, slots=True)
class Durability:
    """How one action is durable."""

    declared: Durable
    tags: tuple[str, ...]  # of its runs, in the order of its offers
    key: Key | None
    producing: Settings
    reading: Settings


def durability_of(
    durable: object, action: Action, offers: Sequence[Offer], settings: Settings
) -> Durability | None:
    """What `expose(durable=…)` means for an action.

    Raises:
        ConfigurationError: when it cannot be so.
    """
    said = declared(durable)
    if said is None:
        return None
    if settings.durable_url is None:
        raise ConfigurationError(
            "it is durable, but there is no log: set durable_url, as in sqlite:///streams.db"
        )
    owner = action.function.__module__, action.label
    return Durability(
        declared=said,
        tags=tuple(tag_of(*owner, offer.content_type) for offer in offers),
        key=_key(said.key, action),
        producing=settings.for_action(
            keep_alive=None, stall_timeout=None, min_rate=None, compression=False, stream_id=False
        ),
        reading=settings.for_action(
            lifetime=None, idle_timeout=None, on_disconnect="cancel", stream_id=False
        ),
    )


def _key(key: str | Callable[..., str] | None, action: Action) -> Key | None:
    if key is None:
        return None
    signature = inspect.signature(action.function)
    if not isinstance(key, str):
        return Key(signature, function=key)
    try:
        pieces = [
            (field, how or "", how_read)
            for _, field, how, how_read in _PARSER.parse(key)
            if field is not None
        ]
    except ValueError as broken:
        raise ConfigurationError(f"the key {key!r} cannot be read: {broken}") from None
    known = {*action.signature.named, *(parameter.name for parameter in action.signature.positional)}
    for field, how, conversion in pieces:
        if field not in known or conversion or "{" in how:
            there = ", ".join(sorted(known)) or "none"
            raise ConfigurationError(
                f"the key {key!r} has the placeholder {field!r}, but the action's parameters are {there}"
            )
    return Key(signature, key, tuple((field, how) for field, how, _ in pieces))


_PARSER: Final = string.Formatter()
