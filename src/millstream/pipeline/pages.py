"""Pages whose rows come while they are sent: a template that iterates a stream is a stream of text itself.

A page streams when a value its action returned is a generator, an iterator, an asynchronous iterable, a query
that a participant knows, or the rows of one. Whatever the template has written leaves before it waits for the
next row. Where the rows come asynchronously the template runs in the request's task, otherwise on its thread.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from dataclasses import dataclass
from typing import Any

from millstream.engine.source import AsyncSource, Source, SyncSource, aclose
from millstream.pipeline.asking import adopted
from millstream.protocol.ports import Participant, RowBatches
from millstream.web.templates import Templates


@dataclass(frozen=True, slots=True)
class Flow:
    """The values of a page, some of which are streams."""

    values: Mapping[str, Any]
    producers: tuple[Any, ...]

    @property
    def is_async(self) -> bool:
        """Whether one of them can only be iterated in the request's task."""
        return any(isinstance(producer, AsyncIterable) for producer in self.producers)

    def close(self) -> None:
        """Close the streams, whether or not the template came to them."""
        with ExitStack() as stack:
            for producer in self.producers:
                if (close := getattr(producer, "close", None)) is not None:
                    stack.callback(close)

    async def aclose(self) -> None:
        """The same in the request's task."""
        async with AsyncExitStack() as stack:
            for producer in self.producers:
                stack.push_async_callback(aclose, producer)


def flow_of(values: Mapping[str, Any], participants: Sequence[Participant] = ()) -> Flow | None:
    """The values with their queries made iterable; None when nothing among them is a stream."""
    known = {name: adopted(value, participants) for name, value in values.items()}
    producers = [value for name, value in known.items() if _is_stream(value) or value is not values[name]]
    return Flow(known, tuple(producers)) if producers else None


def _is_stream(value: object) -> bool:
    return isinstance(value, Iterator | AsyncIterable) or (
        hasattr(value, "batches") and isinstance(value, RowBatches)
    )


def page_source(templates: Templates, name: str, flow: Flow, charset: str) -> Source:
    """A template and its values as a source of encoded text."""
    encode = codecs.getincrementalencoder(charset)("xmlcharrefreplace").encode
    if flow.is_async:
        return AsyncSource(_awaited(templates, name, flow, encode), flow)
    return SyncSource(_written(templates, name, flow, encode), flow)


Encode = Callable[[str], bytes]


def _written(templates: Templates, name: str, flow: Flow, encode: Encode) -> Generator[bytes, None, None]:
    with closing(templates.pieces(name, flow.values)) as pieces:
        for piece in pieces:
            yield encode(piece)


async def _awaited(
    templates: Templates, name: str, flow: Flow, encode: Encode
) -> AsyncGenerator[bytes, None]:
    async with aclosing(templates.apieces(name, flow.values)) as pieces:
        async for piece in pieces:
            yield encode(piece)
