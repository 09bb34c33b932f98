"""Which codecs there are, by name, by extension, by media type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millstream.codecs.arrow import Arrow
from millstream.codecs.base import Codec
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.multipart import Multipart
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.parquet import Parquet
from millstream.codecs.raw import Raw
from millstream.codecs.sse import Sse
from millstream.codecs.text import Text
from millstream.codecs.xlsx import Xlsx
from millstream.codecs.xml import Xml
from millstream.codecs.zip import Zip
from millstream.config import PER_ACTION, SWITCHES
from millstream.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The codecs an application knows; one more is `catalogue.with_codec(Mine)`.

    The dialects of a codec, which are its subclasses, may share its extensions and media type: an action
    says which of them is meant.

    Raises:
        ConfigurationError: when a codec does not describe itself, or two claim the same name, or two that
            are not of one family the same extension or media type.
    """

    codecs: tuple[type[Codec], ...]

    def __post_init__(self) -> None:
        for codec in self.codecs:
            _check_description(codec)
            _check_options(codec)
        _check_unique("name", [(codec.name, codec) for codec in self.codecs], shared=False)
        _check_unique("media type", [(codec.media_type, codec) for codec in self.codecs], shared=True)
        extensions = [(each, codec) for codec in self.codecs for each in codec.extensions]
        _check_unique("extension", extensions, shared=True)

    def get(self, name: str) -> type[Codec] | None:
        """The codec of this name, None if there is none: then an engine may be meant, or a template."""
        return next((codec for codec in self.codecs if codec.name == name), None)

    def __getitem__(self, name: str) -> type[Codec]:
        """The codec of this name.

        Raises:
            ConfigurationError: when there is none; the text lists those there are.
        """
        codec = self.get(name)
        if codec is None:
            known = ", ".join(sorted(codec.name for codec in self.codecs))
            raise ConfigurationError(f"there is no codec {name!r}: the codecs are {known}")
        return codec

    def by_extension(self, extension: str) -> type[Codec] | None:
        """The codec of what a URL ends in, without the dot and in any case."""
        wanted = extension.lower()
        return next((codec for codec in self.codecs if wanted in codec.extensions), None)

    def by_media_type(self, media_type: str) -> type[Codec] | None:
        """The codec of a media type, whose parameters are not looked at."""
        wanted = media_type.partition(";")[0].strip().lower()
        return next((codec for codec in self.codecs if codec.media_type == wanted), None)

    def with_codec(self, codec: type[Codec]) -> Catalogue:
        """A catalogue that knows one more.

        Raises:
            ConfigurationError: as the catalogue itself.
        """
        return Catalogue((*self.codecs, codec))


def _check_description(codec: type[Codec]) -> None:
    described = {
        "name": [getattr(codec, "name", "")],
        "media_type": [getattr(codec, "media_type", "")],
        "extensions": codec.extensions,
    }
    for attribute, values in described.items():
        for value in values:
            if not isinstance(value, str) or not _SHAPES[attribute].fullmatch(value):
                raise ConfigurationError(
                    f"the codec {codec.__qualname__} has {value!r} for {attribute}: "
                    f"it must be {_IN_WORDS[attribute]}"
                )


def _check_options(codec: type[Codec]) -> None:
    """No option may have the name of a setting: `expose` takes both, and the setting would win.

    A text is no value of a switch, so an option that is text may share the name of one.
    """
    for name, option in codec.options().items():
        if name in PER_ACTION and not (name in SWITCHES and option.annotation is str):
            raise ConfigurationError(
                f"the codec {codec.name!r} has an option {name!r}, which is the name of a setting: rename it"
            )


def _check_unique(what: str, claims: Sequence[tuple[str, type[Codec]]], *, shared: bool) -> None:
    """Each value is claimed once; where it may be shared, by one codec and its dialects."""
    claiming: dict[str, list[type[Codec]]] = {}
    for value, codec in claims:
        claiming.setdefault(value, []).append(codec)
    for value, codecs in claiming.items():
        is_family = len(set(codecs)) == len(codecs) and any(
            all(issubclass(each, codec) for each in codecs) for codec in codecs
        )
        if len(codecs) > 1 and not (shared and is_family):
            raise ConfigurationError(
                f"two codecs claim the {what} {value!r}: {codecs[0].__qualname__} and "
                f"{codecs[1].__qualname__}; each must be claimed once{_SHARED if shared else ''}"
            )


_SHARED: Final = ", unless the one is a dialect of the other: its subclass"
_SHAPES: Final = {
    "name": re.compile(r"[a-z][a-z0-9_-]*"),
    "media_type": re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+"),  # RFC 6838 §4.2, in lower case
    "extensions": re.compile(r"[a-z0-9][a-z0-9_-]*"),
}
_IN_WORDS: Final = {
    "name": "a word in lower case",
    "media_type": "type/subtype in lower case and without parameters",
    "extensions": "a tuple of words in lower case without the dot",
}

DEFAULT: Final = Catalogue((Raw, Json, Ndjson, Csv, Text, Xml, Arrow, Parquet, Xlsx, Zip, Multipart, Sse))
"""The codecs every application knows unless it says otherwise."""
