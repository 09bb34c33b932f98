"""Outcomes: what an action returned, as one of the few things that can be delivered.

The table at the foot is the rule; the first row that fits decides.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import AsyncGeneratorType, GeneratorType
from typing import Any, BinaryIO, Final

from starlette.responses import Response as StarletteResponse

from millstream.codecs.json import Json
from millstream.codecs.natures import ATOMS, Adapter, Nature
from millstream.codecs.objects import ObjectCodec
from millstream.codecs.raw import Raw
from millstream.engine.source import Source, SyncSource, source_of
from millstream.errors import HTTPError, WrongResult
from millstream.pipeline.offers import Offer
from millstream.pipeline.raised import no_failure


@dataclass(frozen=True, slots=True)
class Whole:
    """A body that is known: sent with its length."""

    body: bytes
    content_type: str | None
    status: int | None = None  # None: the author's, or 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Values for a template."""

    template: str
    values: Mapping[str, Any]


@dataclass(slots=True)
class Streamed:
    """Items for the codec."""

    source: Source


@dataclass(frozen=True, slots=True)
class Filed:
    """A file, which may be asked for by pieces."""

    file: Path | BinaryIO


@dataclass(frozen=True, slots=True)
class Foreign:
    """A Starlette response, which sends itself."""

    response: StarletteResponse


Outcome = Whole | Page | Streamed | Filed | Foreign


def outcome_of(result: Any, offer: Offer, action: str) -> Outcome:
    """What will be delivered for a result.

    Raises:
        WrongItem: when the result is one item that the codec cannot carry.
        WrongResult: when it is nothing that can be sent.
    """
    for fits, make in _RULES:
        if fits(result):
            return make(result, offer, action)
    raise AssertionError("the last rule fits everything")


def _streamed(result: Any, _offer: Offer, action: str) -> Outcome:
    source = source_of(result)
    if source is None:
        raise WrongResult(action=action, result=result)
    return Streamed(source)


def _no_outcome(result: Any, _offer: Offer, action: str) -> Outcome:
    """A class, where an object of it was meant; some can be iterated.

    Raises:
        WrongResult: always.
    """
    raise WrongResult(action=action, result=result)


def _empty(_result: Any, _offer: Offer, _action: str) -> Outcome:
    return Whole(b"", None, 204)


def _outcome_raised(result: HTTPError, _offer: Offer, _action: str) -> Outcome:
    """A redirect, or another status that is no failure: its transaction commits.

    Raises:
        HTTPError: a failure that was returned, where it should have been raised.
    """
    return Whole(b"", None, no_failure(result).status, result.headers)


def _foreign(result: StarletteResponse, _offer: Offer, _action: str) -> Outcome:
    return Foreign(result)


def _text(result: Any, offer: Offer, action: str) -> Outcome:
    """Text and bytes are a body already, under any codec: the author has written it."""
    codec = Raw(action=action, charset=offer.charset)
    return Whole(codec.document(result), offer.type_for(codec))


def _adapted(result: Any, offer: Offer, action: str) -> Outcome:
    """What is known by its type; whatever else can be iterated is a stream.

    Raises:
        ControllerError: when it cannot be sent, or would only be iterated into something else.
    """
    adapter = offer.values.adapters[type(result)]
    match adapter.nature:
        case Nature.RECORD:
            return _document(result, offer, action)
        case Nature.ROWS:
            return _streamed(adapter.read(result), offer, action)
        case Nature.VALUE:
            return _value(result, adapter, offer, action)
        case Nature.REFUSED if adapter.instead:
            raise WrongResult(action=action, result=result, instead=adapter.instead)
    return _streamed(result, offer, action)


def _value(result: Any, adapter: Adapter, offer: Offer, action: str) -> Outcome:
    """What a result stands for; a text or a number by itself only where somebody has said that it is one."""
    value = (
        adapter.read(result)
        if offer.is_raw or not issubclass(offer.codec, ObjectCodec)
        else adapter.in_json(result)
    )
    if type(value) not in ATOMS or value is None:
        return outcome_of(value, offer, action)
    if not adapter.is_own:
        raise WrongResult(action=action, result=result)
    return (
        _text(value, offer, action)
        if offer.is_raw and isinstance(value, str)
        else _document(value, offer, action)
    )


def _document(result: Any, offer: Offer, action: str) -> Outcome:
    if offer.template is not None:
        return Page(offer.template, result if isinstance(result, Mapping) else _named(result, offer, action))
    if offer.is_raw:
        codec = Json(action=action, charset=offer.charset)
        codec.adapt(offer.values)
        is_json = offer.media_type.endswith("json")
        return Whole(codec.document(result), codec.typed(offer.content_type) if is_json else Json.media_type)
    if hasattr(offer.codec, "expand"):  # it may hold a stream of its own
        alone = iter((result,))
        return Streamed(SyncSource(alone, alone))
    encoder = offer.encoder(action)
    return Whole(encoder.document(result), offer.type_for(encoder))


def _named(result: Any, offer: Offer, action: str) -> Mapping[str, Any]:
    """The values of a page.

    Raises:
        WrongResult: when the result has no names for them.
    """
    adapter = offer.values.adapters[type(result)]
    if adapter.nature is not Nature.RECORD:
        raise WrongResult(action=action, result=result)
    values: Mapping[str, Any] = adapter.read(result)
    return values


def _filed(result: Any, _offer: Offer, _action: str) -> Outcome:
    return Filed(result)


def _is_file(result: Any) -> bool:
    """A path, or an open binary file; a temporary file is one by what it wraps, or may come to wrap."""
    if isinstance(result, Path):
        return True
    if isinstance(result, SpooledTemporaryFile):
        return not hasattr(result, "encoding")
    return hasattr(result, "seekable") and isinstance(getattr(result, "file", result), _BINARY_FILES)


def at_once(result: Any) -> bool:
    """Whether the outcome is known without a look at objects, which might have to read something for it."""
    if type(result) is dict:
        return ATOMS.issuperset(map(type, result.values()))
    return type(result) in _SIMPLE


_GENERATORS: Final = (GeneratorType, AsyncGeneratorType)
_SIMPLE: Final = frozenset({*_GENERATORS, *ATOMS, list, tuple})
_BINARY_FILES: Final = (io.RawIOBase, io.BufferedIOBase)
_Fits = Callable[[Any], bool]
_Make = Callable[[Any, Offer, str], Outcome]

_RULES: Final[tuple[tuple[_Fits, _Make], ...]] = (
    (lambda result: isinstance(result, _GENERATORS), _streamed),  # what is sent most; all else is asked more
    (lambda result: result is None, _empty),
    (lambda result: isinstance(result, HTTPError), _outcome_raised),
    (lambda result: isinstance(result, str | bytes | bytearray | memoryview), _text),
    (lambda result: isinstance(result, StarletteResponse), _foreign),
    (_is_file, _filed),
    (lambda result: isinstance(result, type), _no_outcome),
    (lambda _: True, _adapted),
)
