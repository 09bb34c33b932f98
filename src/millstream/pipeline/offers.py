"""Offers: the formats an action can answer in, each with the codec, the name and the rows it has there."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from millstream.codecs.base import Codec, is_charset, with_charset
from millstream.codecs.raw import Raw
from millstream.codecs.typed import checked, columns_of
from millstream.codecs.values import VALUES, Values
from millstream.dispatch.action import Action
from millstream.dispatch.expose import Exposure
from millstream.errors import ConfigurationError, WrongItem
from millstream.pipeline.downloads import Download, download_of, require_uncompressed
from millstream.protocol.columns import Column
from millstream.web.fields import checked_field
from millstream.web.mediatypes import media_type_of, parameter_of


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
    is_said: bool = False  # whether the action has said the content type: then a codec has to agree
    chosen_type: bool = True  # whether somebody decided on the content type; else a file's name tells its own
    download: Download | None = None
    row_type: type | None = None  # of the rows, where the action is annotated with it
    columns: tuple[Column, ...] = ()  # of that type
    headers: tuple[tuple[bytes, bytes], ...] = ()  # of every response, as ASGI has them
    end_id: str | None = None  # the event id of a client that has seen all
    values: Values = VALUES  # and the adapters by which objects are read

    def type_for(self, codec: Codec) -> str:
        """The content type of one body; of several parts it names what separates them (RFC 2046 §5.1.1).

        Raises:
            ConfigurationError: when the action has said what is not true of this body.
        """
        return codec.typed(self.content_type) if self.is_said or self._is_multipart else self.content_type

    def said(self, content_type: str) -> Offer:
        """This offer in the content type that an action sets for its response."""
        charset = parameter_of(content_type, "charset")
        if charset is None or not is_charset(charset):
            charset = self.charset
        return replace(
            self,
            media_type=media_type_of(content_type),
            content_type=with_charset(content_type, charset),
            options={**self.options, **self.codec.options_in(content_type)},
            charset=charset,
            is_said=True,
            chosen_type=True,
        )

    def sealed(self) -> Offer:
        """This offer for a recorded stream: with what else is chosen for each, and no ids of its own."""
        offer = self.said(self.type_for(self.encoder(""))) if self._is_multipart else self
        return replace(offer, end_id=None)

    @property
    def _is_multipart(self) -> bool:
        return self.media_type.startswith("multipart/")

    @property
    def is_raw(self) -> bool:
        """Whether the author writes the body: text and bytes as they are."""
        return self.codec is Raw

    @property
    def extension(self) -> str:
        """What a file of this format ends in, without the dot; "" where nothing is customary."""
        if not self.is_raw:
            return next(iter(self.codec.extensions), "")
        return (
            (mimetypes.guess_extension(self.media_type) or "").removeprefix(".") if self.chosen_type else ""
        )

    def encoder(self, action: str, *, as_annotated: bool = False) -> Codec:
        """A codec for one stream.

        Args:
            action: whose it is.
            as_annotated: whether its items are the action's own, of the type that its annotation says.
        """
        codec = self.codec(action=action, charset=self.charset, **self.options)
        if codec.end_id != self.end_id:
            codec.end_id = self.end_id
        if self.values is not VALUES:
            codec.adapt(self.values)
        if as_annotated and self.row_type is not None:
            codec.declare(self.columns)
            adapters = self.values.adapters
            encode = checked(codec.item, self.row_type, action=action, codec=codec.name, adapters=adapters)
            codec.item = encode  # type: ignore[method-assign]  # of this stream alone
        return codec


def fixed_headers(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that every response in a format has, as ASGI has them; of two with one name, the later.

    Raises:
        ConfigurationError: when one cannot be sent, or is decided about elsewhere.
    """
    fixed: dict[bytes, bytes] = {}
    for given, value in headers.items():
        try:
            name, text = checked_field(given, value)
        except (TypeError, ValueError) as wrong:
            raise ConfigurationError(f"its headers are wrong: {wrong}") from wrong
        if (instead := _DECIDED_ELSEWHERE.get(name.lower())) is not None:
            raise ConfigurationError(f"the header {name!r} cannot be fixed: {instead}")
        fixed[name.lower().encode("latin-1")] = text.encode("latin-1")
    return tuple(fixed.items())


def with_downloads(
    offers: Sequence[Offer], exposures: Sequence[Exposure], action: Action
) -> tuple[Offer, ...]:
    """The same offers with the names they are saved under.

    An exposure's own name goes first; the first name of all holds for whatever else a codec writes, with that
    codec's extension. A page stays a page.

    Raises:
        ConfigurationError: when a name has a placeholder that cannot be filled, or promises what is not sent.
    """
    several = frozenset(name for offer in offers for name in offer.extensions) if len(offers) > 1 else ()
    common = next((exposure.download for exposure in exposures if exposure.download), None)
    named: list[Offer] = []
    for offer, exposure in zip(offers, exposures, strict=True):
        name = common if exposure.download is None and not offer.is_raw else exposure.download
        if name and not offer.is_raw:
            require_uncompressed(name, offer.extension)
        download = download_of(name, action, offer.extension, several) if name else None
        named.append(replace(offer, download=download))
    return tuple(named)


def with_rows(offers: Sequence[Offer], row_type: type | None) -> tuple[Offer, ...]:
    """The same offers for an action whose annotation says of what type its rows are.

    Raises:
        ConfigurationError: when a format cannot carry such rows.
    """
    columns = None if row_type is None else columns_of(row_type)
    if row_type is None or columns is None:
        return tuple(offers)
    typed = [
        offer if offer.is_raw else replace(offer, row_type=row_type, columns=columns) for offer in offers
    ]
    for offer in typed:
        try:
            offer.encoder("", as_annotated=True)
        except WrongItem as refused:
            raise ConfigurationError(
                f"rows of {row_type.__qualname__} do not fit the codec {offer.codec.name!r}, "
                f"which takes {refused.expected}"
            ) from refused
    return tuple(typed)


_DECIDED_ELSEWHERE: Final = {
    "connection": "the server decides about it",
    "content-disposition": "give expose the download",
    "content-length": "only the action knows how long its body is",
    "content-type": "give expose the content_type",
}
