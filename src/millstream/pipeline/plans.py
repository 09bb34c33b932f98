"""Plans: an action's exposures resolved into what can be offered to a client, once."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from millstream.codecs.base import Codec, with_charset
from millstream.codecs.catalogue import Catalogue
from millstream.codecs.raw import Raw
from millstream.codecs.typed import row_type_of
from millstream.codecs.values import VALUES, Values
from millstream.compression.compression import Compression
from millstream.config import CLIENT_KEY, DURABLE, Settings
from millstream.dispatch.action import Action
from millstream.dispatch.expose import Exposure
from millstream.engine.ledger import Admission, admission
from millstream.engine.terms import Terms, terms_of
from millstream.errors import ConfigurationError, HTTPError
from millstream.pipeline.clients import ClientKey, checked, client_of
from millstream.pipeline.durable import Durability, durability_of
from millstream.pipeline.offers import Offer, fixed_headers, with_downloads, with_rows
from millstream.web.mediatypes import media_type_of, parameter_of
from millstream.web.negotiation import best
from millstream.web.request import Request
from millstream.web.templates import Templates


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about an action that is decided before any request."""

    offers: tuple[Offer, ...]
    settings: Settings
    compression: Compression
    by_format: Mapping[str, Offer] = field(default_factory=dict)
    """What `?format=` may say; empty where there is nothing to choose, or the field is the action's own."""
    admission: Admission = field(default_factory=Admission)
    client_key: ClientKey | None = None
    durable: Durability | None = None
    terms: Terms = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", terms_of(self.settings))

    def producing(self, durable: Durability) -> Plan:
        """The same for a run of the action: what goes into a log is neither hurried nor compressed."""
        return replace(self, settings=durable.producing, compression=Compression(durable.producing))

    def reading(self, durable: Durability) -> Plan:
        """The same for a reader of a run, who counts for no cap but that of all: its run does."""
        return replace(self, settings=durable.reading, admission=Admission())

    def client(self, request: Request) -> str:
        """Whom a stream counts for, where it counts for anybody; see `client_of`."""
        return client_of(request, self.client_key) if self.admission.asks_who else ""

    @property
    def negotiates(self) -> bool:
        """Whether the answer depends on what the client accepts."""
        return len(self.offers) > 1

    def choose(self, extension: str, wanted: str, accept: str | None) -> Offer:
        """The format for a client: by the URL's extension, its `?format=`, or `Accept` (RFC 9110 §12.5.1).

        A single format is sent whatever the client accepts: there is nothing to choose from.

        Raises:
            HTTPError: 406 when there is none of that name, or none of several formats is acceptable.
        """
        if extension:
            return next(offer for offer in self.offers if extension.lower() in offer.extensions)
        if wanted:
            return self._named(wanted.lower())
        if not self.negotiates:
            return self.offers[0]
        chosen = best(accept, [offer.media_type for offer in self.offers])
        if chosen is None:
            there = ", ".join(offer.media_type for offer in self.offers)
            raise HTTPError(406, f"this can be had as {there}")
        return self.offers[chosen]

    def _named(self, wanted: str) -> Offer:
        try:
            return self.by_format[wanted]
        except KeyError:
            raise HTTPError(406, f"this can be had in the formats {', '.join(self.by_format)}") from None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a run is: of which action, in which of its formats."""

    action: Action
    plan: Plan
    durable: Durability
    offer: Offer


class Planner:
    """Makes the plans of one application's actions, and keeps them."""

    def __init__(
        self,
        catalogue: Catalogue,
        templates: Templates,
        settings: Settings,
        client_key: ClientKey | None = None,
        values: Values = VALUES,
    ) -> None:
        self.values = values
        self._client_key = checked(client_key)
        self._catalogue = catalogue
        self._templates = templates
        self._settings = settings
        self._made = lru_cache(_MOST_PLANS)(self._make)
        self.owners: dict[str, Owner] = {}  # of durable runs, by the tags of those

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
        codec = self._codec(exposure) if exposure.engine else Raw
        if exposure.content_type is None:
            return frozenset(codec.extensions if codec not in (None, Raw) else ("html", "htm"))
        guessed = mimetypes.guess_all_extensions(media_type_of(exposure.content_type))
        own = codec.extensions if codec not in (None, Raw) else ()
        return frozenset({extension.removeprefix(".") for extension in guessed} | set(own))

    def _make(self, action: Action) -> Plan:
        own = dict(action.declaration.settings)
        client_key = checked(own.pop(CLIENT_KEY, self._client_key))
        said = own.pop(DURABLE, False)
        settings = self._settings.for_action(**own)
        terms = admission(settings, action.label, tuple(own))
        exposures = action.declaration.exposures
        offers = with_downloads(
            [self._offer(exposure, settings) for exposure in exposures], exposures, action
        )
        offers = with_rows(offers, row_type_of(action.signature.returns, self.values.adapters))
        has_own = FORMAT in action.signature.named
        by_format = {} if len(offers) == 1 or has_own else _by_format(offers)
        durable = durability_of(said, action, offers, settings)
        plan = Plan(offers, settings, Compression(settings), by_format, terms, client_key, durable)
        if durable is not None:
            owned = zip(durable.tags, offers, strict=True)
            self.owners |= {tag: Owner(action, plan, durable, offer) for tag, offer in owned}
        return plan

    def _offer(self, exposure: Exposure, settings: Settings) -> Offer:
        codec, template = self._engine(exposure)
        content_type = exposure.content_type or (_HTML if codec is Raw else codec.media_type)
        options = {**codec.options_in(content_type), **exposure.options}
        codec.check_options(options)
        charset = parameter_of(content_type, "charset") or settings.charset
        example = codec(action="", charset=charset, **options)
        example.typed(content_type)
        return Offer(
            media_type=media_type_of(content_type),
            content_type=with_charset(content_type, example.charset),
            extensions=self.extensions_of(exposure),
            codec=codec,
            options=options,
            template=template,
            charset=charset,
            chosen_type=bool(exposure.content_type or exposure.engine),
            headers=fixed_headers({**codec.headers, **exposure.headers}),
            end_id=example.end_id,
            values=self.values,
        )

    def _engine(self, exposure: Exposure) -> tuple[type[Codec], str | None]:
        """A codec's name, or a template's, which TurboGears writes with its engine: `jinja:index.html`."""
        if not exposure.engine:
            return Raw, None
        codec = self._codec(exposure)
        if codec is not None:
            return codec, None
        name = exposure.engine.removeprefix("jinja:")
        self._templates.get(name)
        return Raw, name

    def _codec(self, exposure: Exposure) -> type[Codec] | None:
        """The codec of an exposure, which need not be in the catalogue where it was given itself."""
        codec = exposure.codec
        if codec is None:
            return self._catalogue.get(exposure.engine)
        if not issubclass(codec, Codec):
            raise ConfigurationError(f"@expose was given {codec.__qualname__}, which is no Codec")
        if codec not in self._catalogue.codecs:
            self._catalogue.with_codec(codec)
        return codec


def _by_format(offers: Sequence[Offer]) -> dict[str, Offer]:
    """What each format may be called: its codec's name, or else an extension; of two with one, the upper."""
    codecs = {offer.codec.name: offer for offer in reversed(offers) if not offer.is_raw}
    named: dict[str, Offer] = {}
    for offer in offers:
        own = () if offer.is_raw else (offer.codec.name,)
        for name in (*own, *sorted(offer.extensions)):
            named.setdefault(name, codecs.get(name, offer))
    return named


FORMAT: Final = "format"
"""The query field that names a format."""
_HTML: Final = "text/html"
_MOST_PLANS: Final = 4096
"""Plans kept: a `_lookup` may make a class, and so actions, for each request."""
