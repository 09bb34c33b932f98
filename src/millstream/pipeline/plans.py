"""Plans: an action's exposures resolved into what can be offered to a client, once."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from typing import Any, Final

from millstream.codecs.base import Codec, with_charset
from millstream.codecs.catalogue import Catalogue
from millstream.codecs.raw import Raw
from millstream.config import Settings
from millstream.dispatch.action import Action
from millstream.dispatch.expose import Exposure
from millstream.errors import ConfigurationError, HTTPError
from millstream.web.negotiation import best
from millstream.web.templates import Templates


@dataclass(frozen=True, slots=True)
class Offer:
    """One format an action can answer in."""

    media_type: str  # without parameters, for the negotiation
    content_type: str  # for the head
    extensions: frozenset[str]
    codec: type[Codec]
    options: Mapping[str, Any]
    template: str | None
    charset: str  # of its text: the content type's, else the settings'

    @property
    def is_raw(self) -> bool:
        """Whether the author writes the body: text and bytes as they are."""
        return self.codec is Raw

    def encoder(self, action: str) -> Codec:
        """A codec for one stream."""
        return self.codec(action=action, charset=self.charset, **self.options)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about an action that is decided before any request."""

    offers: tuple[Offer, ...]
    settings: Settings

    @property
    def negotiates(self) -> bool:
        """Whether the answer depends on what the client accepts."""
        return len(self.offers) > 1

    def choose(self, extension: str, accept: str | None) -> Offer:
        """The format for a client: by the URL's extension, else by `Accept` (RFC 9110 §12.5.1).

        A single format is sent whatever the client accepts: there is nothing to choose from.

        Raises:
            HTTPError: 406 when none of several formats is acceptable.
        """
        if extension:
            wanted = extension.lower()
            return next(offer for offer in self.offers if wanted in offer.extensions)
        if not self.negotiates:
            return self.offers[0]
        chosen = best(accept, [offer.media_type for offer in self.offers])
        if chosen is None:
            there = ", ".join(offer.media_type for offer in self.offers)
            raise HTTPError(406, f"this can be had as {there}")
        return self.offers[chosen]


class Planner:
    """Makes the plans of one application's actions, and keeps them."""

    def __init__(self, catalogue: Catalogue, templates: Templates, settings: Settings) -> None:
        self._catalogue = catalogue
        self._templates = templates
        self._settings = settings
        self._made = lru_cache(_MOST_PLANS)(self._make)

    def plan(self, action: Action) -> Plan:
        """The plan of an action; made when first asked for, which is at start-up for all that are known then.

        Raises:
            ConfigurationError: when a codec, a template, an option or a setting cannot be used.
        """
        try:
            return self._made(action)
        except ConfigurationError as wrong:
            raise ConfigurationError(f"{action.label}: {wrong}") from wrong

    def extensions_of(self, exposure: Exposure) -> frozenset[str]:
        """The URL extensions that ask for an exposure."""
        codec = self._catalogue.get(exposure.engine) if exposure.engine else Raw
        if exposure.content_type is None:
            return frozenset(codec.extensions if codec not in (None, Raw) else ("html", "htm"))
        guessed = mimetypes.guess_all_extensions(exposure.content_type.partition(";")[0].strip())
        own = codec.extensions if codec not in (None, Raw) else ()
        return frozenset({extension.removeprefix(".") for extension in guessed} | set(own))

    def _make(self, action: Action) -> Plan:
        settings = self._settings.for_action(**action.declaration.settings)
        offers = tuple(self._offer(exposure, settings) for exposure in action.declaration.exposures)
        return Plan(offers, settings)

    def _offer(self, exposure: Exposure, settings: Settings) -> Offer:
        codec, template = self._engine(exposure)
        codec.check_options(exposure.options)
        charset = _declared_charset(exposure.content_type) or settings.charset
        example = codec(action="", charset=charset, **exposure.options)
        content_type = exposure.content_type or (_HTML if codec is Raw else example.content_type)
        return Offer(
            media_type=content_type.partition(";")[0].strip().lower(),
            content_type=with_charset(content_type, example.charset),
            extensions=self.extensions_of(exposure),
            codec=codec,
            options=exposure.options,
            template=template,
            charset=charset,
        )

    def _engine(self, exposure: Exposure) -> tuple[type[Codec], str | None]:
        """A codec's name, or a template's, which TurboGears writes with its engine: `jinja:index.html`."""
        if not exposure.engine:
            return Raw, None
        codec = self._catalogue.get(exposure.engine)
        if codec is not None:
            return codec, None
        name = exposure.engine.removeprefix("jinja:")
        self._templates.get(name)
        return Raw, name


def _declared_charset(content_type: str | None) -> str | None:
    """The charset an author wrote into a content type: then that is what the text is encoded in."""
    message = Message()
    message["content-type"] = content_type or "text/plain"
    charset = message.get_param("charset")
    return charset if isinstance(charset, str) else None


_HTML: Final = "text/html"
_MOST_PLANS: Final = 4096
"""Plans kept: a `_lookup` may make a class, and so actions, for each request."""
