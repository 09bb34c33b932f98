"""The ports at which rooms meet that do not know each other.

Contracts live here: who calls, in which order, what must never fail. Implementations do not repeat them.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    MutableMapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from starlette.datastructures import MutableHeaders

from millstream.errors import HTTPError, Truncated
from millstream.protocol.columns import Column
from millstream.protocol.dialects import Dialect, Written
from millstream.protocol.events import Progress, Reason, Statistics
from millstream.protocol.lifecycle import State

Call = Callable[..., Awaitable[Any]]
"""`await call(function, *args, **kwargs)`: runs a coroutine function in the request's task, any other
function on the request's own thread, both in the request's context."""


Flush = Callable[[], Coroutine[Any, Any, None]]
"""Sends everything that waits; returns when the server has taken it."""


class UnitOfWork(Protocol):
    """What one participant does for one request. Every method may be sync or async.

    Sync methods run on the request's own thread, async ones in its task. Order: any number of `rest`s
    and checkpoints (`prepare` of all, then `commit` of all), then either `prepare` of all and `commit` of
    all, or `abort` of all; then `close` of all, in reverse, always, once. When one `prepare` raises,
    nothing is committed and all are aborted. When one `commit` raises after another committed, the rest
    are aborted and the body does not end well.
    """

    def prepare(self) -> Awaitable[None] | None:
        """Do everything that can fail (flush, vote), so that `commit` should not."""
        ...

    def commit(self) -> Awaitable[None] | None:
        """Make it lasting; the unit may be used again afterwards."""
        ...

    def abort(self) -> Awaitable[None] | None:
        """Undo whatever was not committed. Called after a failed `prepare` or `commit`, too."""
        ...

    def rest(self) -> Awaitable[None] | None:
        """The stream pauses: between two of its items, or in `stream.sleep`. Give back what is not in use.

        Called after every item, so it must cost nothing when there is nothing to give back.
        """
        ...

    def close(self) -> Awaitable[None] | None:
        """Undo what is left, and give everything back; the last call."""
        ...


Join = Callable[[UnitOfWork], None]
"""Makes a unit of work settle with its stream; from the request's thread or task, until the stream ends."""


class Participant(Protocol):
    """Something that opens with every request and settles with its stream: a database, an index, a queue."""

    def begin(self, join: Join) -> None:
        """A request begins; called in its context, before any of the author's code runs.

        It runs on the event loop: bind what the author will ask for to the context and return. A unit of
        work is made when it is first used, and joins then, so that a request which does not use the
        participant costs nothing.
        """
        ...


class Settled:
    """A base of what does nothing lasting without its participant: a session, of a database."""

    participant: Participant


@runtime_checkable
class Adopts(Protocol):
    """A participant that knows results of its own kind; a query, of a database."""

    def adopt(self, result: object, /) -> Iterable[Any] | None:
        """What to stream for what an action returned; None: it is not ours. The first to answer has it."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an error means that came out of a participant."""

    repeat: bool  # whether the request may succeed when it is answered once more from the start
    told: HTTPError | None = None  # what the client is told; None: an internal error, like any other


@runtime_checkable
class Judges(Protocol):
    """A participant that knows its own errors."""

    def judge(self, raised: BaseException, /) -> Judgement | None:
        """What an error means that nobody caught; None when it is not ours. The first to answer decides."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A participant that holds something until the application ends."""

    async def close(self) -> None:
        """The application has ended; called on its event loop, after the last stream."""
        ...


@runtime_checkable
class Hosted(Protocol):
    """A mounted application whose responses go on until they are ended: the host tells it when.

    It has no lifespan of its own below a controller, and a server tells of its shutdown only after the last
    response.
    """

    def stop_followers(self) -> None:
        """The process is about to end; called on the event loop, possibly more than once. Never fails."""
        ...

    def stop_bodies(self) -> None:
        """The time that requests had to come whole is over; called as `stop_followers`. Never fails."""
        ...

    async def close(self) -> None:
        """The application has ended; called on its event loop, after the last stream."""
        ...


@runtime_checkable
class RowBatches(Protocol):
    """A source whose rows can be had many at a time, for a codec that encodes many at once.

    Everything is called on the request's thread. Iterating the source instead gives the rows one by one.
    """

    columns: tuple[Column, ...]
    """What the cells are; known once the first batch is."""

    def batches(self) -> Generator[Sequence[Sequence[Any]], None, None]:
        """One batch at least, which may be empty."""
        ...

    def took(self, rows: int, size: int, /) -> None:
        """So many bytes became of all the rows since there were any; 0: they are held back yet."""
        ...

    def close(self) -> None:
        """Give back what reading needed, wherever it stands."""
        ...


class ManyRows(Exception):
    """Raised by an encoder for an item that has rows of its own: those are pulled and encoded instead.

    Attributes:
        rows: an iterable of rows, or `RowBatches`; closed by whoever pulls them.
    """

    def __init__(self, rows: Iterable[Any]) -> None:
        super().__init__(rows)
        self.rows = rows


@runtime_checkable
class EncodesRows(Protocol):
    """An encoder that takes batches."""

    def rows(self, columns: tuple[Column, ...], /) -> Callable[[Sequence[Sequence[Any]]], bytes]:
        """Make the function that encodes one source's batches; the bytes are those of `item` for each row."""
        ...


@runtime_checkable
class WritesRows(RowBatches, Protocol):
    """A source that may write its rows by itself."""

    def written(
        self, dialect_of: Callable[[tuple[Column, ...]], Dialect | None], /
    ) -> Generator[Sequence[Sequence[Any]] | Written, None, None]:
        """As `batches`, but all batches are written ones if the source can write what is wanted, to the byte.

        Args:
            dialect_of: asked once, when the columns are known; None: in no dialect but the encoder's own.
        """
        ...


@runtime_checkable
class HoldsArrow(RowBatches, Protocol):
    """A source whose rows are Arrow record batches already."""

    def record_batches(self) -> Generator[Written, None, None]:
        """One at least, which may be empty."""
        ...


@runtime_checkable
class TakesWritten(Protocol):
    """An encoder that takes rows which their source has written."""

    def dialect(self, columns: tuple[Column, ...], /) -> Dialect | None:
        """What these rows become; None when no dialect says it.

        Raises:
            WrongItem: when the format cannot carry such rows.
        """
        ...

    def framed(self, written: bytes, /) -> bytes:
        """Rows in that dialect, often none, with what the format has before, between or around them."""
        ...


@runtime_checkable
class EncodesArrow(Protocol):
    """An encoder that takes Arrow record batches.

    Any stands for the types of pyarrow, which only who uses it needs.
    """

    def record_batches(self, schema: Any, /) -> Callable[[Any], bytes]:
        """Make the function that encodes the record batches of one source, a `pyarrow.Schema` being given."""
        ...


@runtime_checkable
class Batches(Protocol):
    """An encoder that holds items back, to encode many at once.

    It lets them go by itself when they are many, and when another item comes after they have waited; only
    the driver knows that none comes for now.
    """

    def flush(self) -> bytes:
        """The producer pauses: what is held, to be sent before whatever `item` returns next; often empty.

        Called between two calls of `item`, never at the same time as one.

        Raises:
            WrongItem: when something that is held cannot be carried after all.
        """
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """What the wire is told before the body. `headers` may be changed by a transform's factory."""

    status: int
    headers: MutableHeaders
    method: str

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def describes_body(self) -> bool:
        """Whether there is a body to describe, if only one that HEAD does not ask for (RFC 9110 §6.4.1)."""
        return self.status not in _BODILESS

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.describes_body and self.method != "HEAD"


class Encoder(Protocol):
    """One stream's codec: objects in, bytes out, no I/O.

    Order: `head`, then `item` for each item, then `tail`; or, at any point after `head`, `failed` or
    `goodbye` as the last call. `head`, `failed`, `goodbye` and `keep_alive` must not raise.
    Everything is called from one thread at a time, `item` from the producer's.
    """

    @property
    def head_first(self) -> bool:
        """Whether the head waits for the first item only a moment (that of server-sent events does)."""
        ...

    @property
    def failure_ends(self) -> bool:
        """Whether last words are the visible end of a body: then it is ended, and not broken off."""
        ...

    @property
    def keep_alive(self) -> bytes:
        """What may be sent between two items in a long silence, and means nothing; empty if there is none."""
        ...

    def head(self) -> bytes:
        """What opens the body."""
        ...

    def item(self, item: Any, /) -> bytes:
        """One item.

        Raises:
            WrongItem: when the codec cannot carry it.
            ManyRows: when it has to be taken apart.
        """
        ...

    def tail(self) -> bytes:
        """What ends the body well."""
        ...

    def failed(self, problem: Mapping[str, Any], /) -> bytes:
        """The last words of a body that will be broken off: an error record, where the format has one."""
        ...

    def goodbye(self, reason: Reason, /) -> bytes:
        """The last words of a body that we end early: it is broken off, but nothing failed."""
        ...


class Nested(Protocol):
    """One item that is a stream of its own: a member of an archive, a part of a message.

    Order: `head`, then `pieces` for every chunk of the producer, then `tail`; `head` is called when the
    producer is already in the hands of whoever will close it, and leaves with the first chunk.
    """

    @property
    def producer(self) -> Iterable[Any] | AsyncIterable[Any]:
        """What yields the chunks; closed by whoever pulls it, in the thread or task that pulled."""
        ...

    def head(self) -> bytes:
        """What opens it.

        Raises:
            WrongItem: when the codec cannot carry it.
        """
        ...

    def pieces(self, chunk: Any, /) -> Iterable[bytes]:
        """One chunk, in pieces none of which is large or long in the making.

        Raises:
            WrongItem: when the codec cannot carry it.
        """
        ...

    def tail(self) -> bytes:
        """What ends it well."""
        ...


@runtime_checkable
class Expands(Protocol):
    """An encoder whose items may be too long to be had as one `bytes`: each is taken apart instead."""

    def expand(self, item: Any, /) -> Nested:
        """Instead of `item`, for one item at a time.

        Raises:
            WrongItem: when the codec cannot carry it.
        """
        ...


class ChunkTransform(Protocol):
    """One body passing by: bytes in, bytes out. It may hold back only what it cannot decide about yet."""

    def chunk(self, data: bytes, /) -> bytes:
        """Called for each write, with everything that is about to leave."""
        ...

    def end(self) -> bytes:
        """What is left when the body ends well."""
        ...


Transform = Callable[[Head], ChunkTransform | None]
"""A hook on bodies: asked once a response, before its head leaves; None lets the body pass untouched."""

ItemHook = Callable[[Any], Any]
"""A hook on items: sees every item before the codec and returns what the codec shall see."""


class Outlet(Protocol):
    """The wire, as the engine sees it. Writes wait while the client's side is full."""

    @property
    def is_plain(self) -> bool:
        """Whether a write waits for plain futures only, so that it may be begun outside of any task."""
        ...

    async def send_head(self, head: Head, /) -> None:
        """Send status and headers; once, first."""
        ...

    async def send_body(self, data: bytes, /) -> None:
        """Send a piece of the body."""
        ...

    async def end(self, data: bytes, /) -> None:
        """Send the last piece, and the end of the body."""
        ...

    def watch(self, on_gone: Callable[[], None], /) -> None:
        """Call `on_gone` once, on the event loop, when the client leaves; at once if it has left."""
        ...

    def look(self) -> None:
        """See whether the client has left without anybody's telling; asked now and then."""
        ...

    def unwatch(self) -> None:
        """Stop watching; `on_gone` is not called any more."""
        ...


OnEnd = Callable[[Reason, Statistics], Any]
"""Called once when a stream has ended; may be a coroutine function."""


OnInterrupt = Callable[[], object]
"""Called once when a stream is ended early, from another thread than its producer's, to end a wait of it."""


class StreamHandle(Protocol):
    """What the author's code sees of the stream it runs in: the `stream` proxy.

    The waiting verbs (`sleep`, `commit`) block in synchronous code and are awaited in asynchronous code.
    """

    @property
    def id(self) -> str:
        """Names this stream; unguessable."""
        ...

    @property
    def state(self) -> State:
        """Where it stands."""
        ...

    @property
    def reason(self) -> Reason | None:
        """Why it ended or is ending; None while it runs."""
        ...

    @property
    def client_gone(self) -> bool:
        """Whether the client has left."""
        ...

    @property
    def is_unwanted(self) -> bool:
        """Whether the stream was ended early, and its synchronous code has not been told yet."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether nothing of this request may be committed: HEAD, OPTIONS, an action that is `read_only`."""
        ...

    @property
    def draining(self) -> bool:
        """Whether the process is about to end, so that a long producer may find a good place to stop."""
        ...

    @property
    def statistics(self) -> Statistics:
        """What it has done until now."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait, and wake early when the stream is interrupted.

        Raises:
            StreamInterrupted: in synchronous code, when the stream was ended early; once, so that a cleanup
                may sleep. (Asynchronous code sees its task cancelled, as in every wait.)
        """
        ...

    def commit(self) -> Awaitable[None]:
        """A checkpoint: make lasting what was done until now, whatever becomes of the rest."""
        ...

    def progress(self, done: float, total: float | None = None, note: str = "") -> Progress:
        """Note how far the job is, and return that note, ready to be yielded."""
        ...

    def on_end(self, callback: OnEnd) -> OnEnd:
        """Call `callback(reason, statistics)` once, after the last byte and the cleanup; a decorator."""
        ...

    def on_interrupt(self, callback: OnInterrupt) -> OnInterrupt:
        """Call `callback()` once, at the moment at which the stream is ended early; a decorator.

        For a producer that waits where nobody can wake it: it is called on a thread of its own, which may
        block, in a copy of the context. If the stream was ended early already, it is called at once.
        """
        ...

    def stop(self, stream_id: str = "", *, reason: Reason = Reason.STOPPED) -> bool:
        """End a stream of this process early, on purpose: this one, or the one of that name.

        May be called from any thread.

        Returns:
            False when there is none of that name, or it is settling or has ended.
        """
        ...

    def find(self, stream_id: str) -> Statistics | None:
        """What an open stream of this process has done until now; None when there is none of that name."""
        ...


class Exchange(Outlet, Protocol):
    """One HTTP exchange, as a gateway gives it to the pipeline."""

    scope: MutableMapping[str, Any]  # ASGI's, which is the common ground of every Python server
    head_sent: bool
    body_ended: bool
    gone: bool

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message of the request's body, or `http.disconnect`."""
        ...

    async def forward(self, message: MutableMapping[str, Any], /) -> None:
        """Send a message another ASGI application made."""
        ...

    async def break_off(self, why: Truncated, /) -> None:
        """Make sure that raising `why`, which comes next, looks like a truncation to the client."""
        ...


def is_end(message: Mapping[str, Any]) -> bool:
    """Whether a message of ASGI ends a body, also one of those by which a server sends a file itself."""
    kind = message["type"]
    return kind == "http.response.pathsend" or (kind in _BODIES and not message.get("more_body", False))


_BODIES: Final = frozenset({"http.response.body", "http.response.zerocopysend"})
_BODILESS: Final = frozenset({204, 205, 304})
"""RFC 9110 §15.3.5, §15.3.6, §15.4.5; browsers ignore the body that a 205 could have by its framing."""
