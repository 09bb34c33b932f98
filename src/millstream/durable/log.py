"""The log: streams that are appended to once and read from anywhere.

One class for every engine. What may happen is decided in `appending`, `naming`, `leasing` and `pages`,
which do no I/O; an `Engine` stores it. Time and chance come from outside.

Times are Unix seconds of the given clock; offsets are those of `offsets`; names are any text. Every verb
raises a `LogRefused` when it may not be, and whatever the engine's database raises when that fails.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

from millstream.durable import appending, leasing, naming
from millstream.durable.appending import Append, Appended
from millstream.durable.engine import Engine
from millstream.durable.hints import Hints
from millstream.durable.leasing import Lease
from millstream.durable.naming import Config, Create, Created, IncompleteFamily, States, require_key
from millstream.durable.offsets import NOW, START, Offset, Place, place_of, position_of
from millstream.durable.outage import Outage
from millstream.durable.pages import Page
from millstream.durable.reads import PAGE, fork_place, located, page_of
from millstream.durable.refusals import LogRefused, NoSuchStream, OffsetGone
from millstream.durable.state import Change, Producer, State, Tenure

_PROCESS: Final = secrets.randbits(63)

RENEWAL: Final = 16
"""A read renews a sliding time to live once this part of it has passed, so that few reads become writes."""


def _token() -> str:
    return secrets.token_hex(8)


def _number() -> int:
    """Of chance and of time: a generator's come again in a fork, and after a snapshot of the machine."""
    return _PROCESS ^ time.time_ns() or 1


class Log:
    """Streams in an engine. Opened and closed by `async with`, or by `open` and `close`.

    Args:
        engine: what stores them; opened and closed with the log.
        clock: the time.
        token: sixteen hexadecimal digits nobody guesses or has had before; never all zero.
        number: a number of 63 bits that nobody has had before; never 0.

    Attributes:
        failures: what the engine's database raises when it cannot be had at the moment, or has no room.
        outage: is told of each of those.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], float] = time.time,
        token: Callable[[], str] = _token,
        number: Callable[[], int] = _number,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._token = token
        self._number = number
        self._hints = Hints()
        self.failures = engine.failures
        self.outage = Outage()

    async def open(self) -> None:
        """Make ready, before anything else.

        Raises:
            ConfigurationError: when the database cannot be used.
        """
        await self._engine.open(self._hints.awake)

    async def close(self) -> None:
        """Let go of everything. Never fails."""
        await self._engine.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def create(
        self, name: str, config: Config, records: Sequence[bytes] = (), *, closed: bool = False
    ) -> Created:
        """Have a stream of this name and configuration; the records are its first ones if it is new.

        Raises:
            BadKey: when the name cannot be stored.
            NameTaken: when there is another one.
        """
        request = Create(name=name, config=config, records=_whole(records), closed=closed)
        return await self._found(request)

    async def fork(
        self,
        name: str,
        source: str,
        config: Config,
        records: Sequence[bytes] = (),
        *,
        offset: str = NOW,
        sub_offset: int = 0,
        closed: bool = False,
    ) -> Created:
        """Have a stream that begins with what another has before an offset.

        Args:
            name: the new stream's.
            source: the name of the other one.
            config: what is None in it is taken over.
            records: its first own records.
            offset: of the source.
            sub_offset: so many bytes of the record after the offset belong to it too; of a JSON stream, so
                many messages.
            closed: whether it is complete.

        Raises:
            BadKey: when the name cannot be stored.
            NoSuchStream: when there is no source.
            NameTaken: when there is another stream, or the source is deleted.
            ContentTypeDiffers: when it is not the source's.
            BadOffset: when the source has no such place.
        """
        require_key("the name of the stream", name)
        held = await self._look(name)
        if held is not None and held.parent == source and offset == NOW and not sub_offset:
            place = Place(held.own_start)  # asked again: the source may have grown since
        else:
            place = await self._fork_place(source, offset, sub_offset)
        request = Create(
            name=name,
            config=config,
            records=_whole(records),
            closed=closed,
            source=source,
            position=place.position,
            token=place.token or "",
        )
        created: Created = (
            await self._with_family(
                [name, source],
                lambda states, _: naming.fork(states, request, self._token(), self._clock()),
            )
        ).answer
        return created

    async def append(self, name: str, request: Append) -> Appended:
        """Append in one commit: all records, the producer's claim, the sequence and the closing.

        Raises:
            BadKey: when the producer's id cannot be stored.
            LogRefused: as `appending` has it.
        """
        producer = None if request.producer is None else request.producer.id
        if producer is not None:
            require_key("the id of the producer", producer)

        def decide(states: States, known: Producer | None) -> Change:
            now = self._clock()
            return appending.append(naming.living(states, name, now), known, request, now, self._number())

        change = await self._engine.change([name], producer, decide)
        appended: Appended = change.answer
        return appended

    def now(self) -> float:
        """The time, by the clock of this log."""
        return self._clock()

    async def describe(self, name: str) -> State:
        """What there is to know of a stream now; does not renew its time to live.

        Raises:
            NoSuchStream: when there is none.
            StreamGone: when it is deleted.
        """
        return naming.living({name: await self._engine.look(name)}, name, self._clock())

    async def read(self, name: str, offset: Offset = START, *, most: int = PAGE) -> Page:
        """What follows an offset, as much as a page holds. Renews the time to live, unless the stream failed.

        Raises:
            NoSuchStream: when there is none.
            StreamGone: when it is deleted.
            BadOffset: when it is no offset.
            OffsetGone: when what it names is not to be had.
        """
        state = await self.describe(name)
        await self._renew_life(state)
        place = place_of(offset, state)
        try:
            return await page_of(self._engine, state, place, most)
        except OffsetGone:
            await self.describe(name)  # raises, if it was deleted while it was read
            raise

    async def locate(self, state: State, offset: Offset) -> int:
        """The position that an offset names in a stream of this state; does not renew the time to live.

        Raises:
            BadOffset: when it is no offset.
            OffsetGone: when what it names is not to be had.
        """
        place = place_of(offset, state)
        if place.token is not None:
            place = await located(self._engine, state, offset)
        return place.position

    async def wait_more(self, name: str, offset: Offset, timeout: float) -> State:  # noqa: ASYNC109  part of the protocol
        """Wait until there is more after an offset, or never will be, or the time is over.

        Raises:
            NoSuchStream: when there is none, at last.
            StreamGone: when it is deleted.
            BadOffset: when it is no offset.
            OffsetGone: when what it names is not to be had.
        """
        state = await self.describe(name)
        await self._renew_life(state)
        place = state.next_offset if offset == NOW else offset
        return await self.wait_until(
            name, lambda now: position_of(place, now) < now.tail or now.closed, timeout
        )

    async def wait_until(
        self,
        name: str,
        wanted: Callable[[State], bool],
        timeout: float,  # noqa: ASYNC109  as above
    ) -> State:
        """Wait until a stream is as wanted, or the time is over; no change in between goes unseen.

        Raises:
            NoSuchStream: when there is none, at last.
            StreamGone: when it is deleted.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        with self._hints.watching(name) as watch:
            while True:
                state = await self.describe(name)
                left = deadline - loop.time()
                if wanted(state) or left <= 0:
                    return state
                poll = self._engine.poll
                await watch.wait_hinted(left if poll is None else min(left, poll))

    async def delete(self, name: str) -> None:
        """End a stream; its records are kept while forks need them.

        Raises:
            NoSuchStream: when there is none.
            StreamGone: when it is deleted already.
        """
        await self._with_family([name], lambda states, _: naming.delete(states, name, self._clock()))

    async def trim(self, name: str, offset: Offset) -> State:
        """Forget what is before an offset: who reads there is told so.

        Raises:
            NoSuchStream: when there is none.
            StreamGone: when it is deleted.
            BadOffset: when it is no offset.
            OffsetGone: when what it names is not to be had.
        """

        def decide(states: States, _: Producer | None) -> Change:
            state = naming.living(states, name, self._clock())
            return naming.trim(state, position_of(offset, state))

        state: State = (await self._engine.change([name], None, decide)).answer
        return state

    async def claim(
        self,
        name: str,
        config: Config,
        *,
        seconds: float = 30.0,
        will: bytes = b"",
        failed_before: float | None = None,
    ) -> Lease | None:
        """Be the one producer of a new stream; None when there is such a stream already.

        Args:
            name: the stream's.
            config: what it is to be.
            seconds: the lease lapses when it is not renewed for so long.
            will: the last record, should it lapse.
            failed_before: a stream that failed before this time makes room for the new one, in one commit.

        Raises:
            BadKey: when the name cannot be stored.
            NameTaken: when there is another one.
        """
        tenure = Tenure(self._token(), 0, seconds, will=will)
        request = Create(name=name, config=config, tenure=tenure, failed_before=failed_before)
        created = await self._found(request)
        return Lease(created.state, tenure) if created.fresh else None

    async def renew(self, lease: Lease) -> State:
        """Give a sign of life; the answer says whether the producer was asked to stop.

        Raises:
            LeaseLost: when the lease is somebody else's, or the stream is closed or gone.
        """
        state: State = (await self._lead(lease.name, leasing.renew, lease)).answer
        return state

    async def take_over(self, seen: State) -> Lease:
        """Be the producer instead of one that was seen dead.

        Args:
            seen: the stream's state, unchanged for `tenure.seconds` on one's own clock.

        Raises:
            LeaseLost: when it was not dead, or somebody was faster.
        """
        decision = partial(leasing.take_over, token=self._number())
        lease: Lease = (await self._lead(seen.name, decision, seen)).answer
        return lease

    async def reap(self, seen: State) -> State:
        """Close, as failed, the stream of a producer that was seen dead.

        Raises:
            LeaseLost: when it was not dead, or somebody was faster.
        """
        decision = partial(leasing.reap, now=self._clock(), token=self._number())
        state: State = (await self._lead(seen.name, decision, seen)).answer
        return state

    async def stop(self, name: str) -> State:
        """Ask a stream's producer, wherever it runs, to stop.

        Raises:
            NoSuchStream: when there is none.
            StreamGone: when it is deleted.
        """
        change = await self._engine.change(
            [name], None, lambda states, _: leasing.stop(naming.living(states, name, self._clock()))
        )
        state: State = change.answer
        return state

    async def leased(self) -> Sequence[State]:
        """Every stream that has a producer with a lease."""
        return await self._engine.leased()

    async def sweep(self) -> int:
        """Remove what has expired; how many streams that were."""
        swept = 0
        for name in await self._engine.due(self._clock()):
            change = await self._with_family(
                [name], lambda states, _, name=name: naming.expire(states, name, self._clock())
            )
            swept += bool(change.answer)
        return swept

    async def _with_family(self, names: Sequence[str], decide: Callable[..., Change]) -> Change:
        """A change that may reach up to ancestors: tried again with each that turns out to matter."""
        wanted = list(names)
        while True:
            try:
                return await self._engine.change(wanted, None, decide)
            except IncompleteFamily as missing:
                wanted.append(missing.name)

    async def _found(self, request: Create) -> Created:
        require_key("the name of the stream", request.name)
        change = await self._with_family(
            [request.name],
            lambda states, _: naming.create(states, request, self._token(), self._clock()),
        )
        created: Created = change.answer
        return created

    async def _lead(self, name: str, decision: Callable[..., Change], about: Lease | State) -> Change:
        """A decision about the lease of a stream."""
        return await self._engine.change([name], None, lambda states, _: decision(states[name], about))

    async def _look(self, name: str) -> State | None:
        try:
            return await self.describe(name)
        except LogRefused:
            return None

    async def _fork_place(self, source: str, offset: str, sub_offset: int) -> Place:
        state = await self._look(source)
        if state is None:
            return Place(0)  # the decision says why it cannot be forked
        return await fork_place(self._engine, state, offset, sub_offset)

    async def _renew_life(self, state: State) -> None:
        """Put off the end of a stream that is read; a failure is not kept for as long as somebody looks."""
        if state.ttl is None or state.expires is None or state.failed:
            return
        now = self._clock()
        if now + state.ttl - state.expires >= state.ttl / RENEWAL:
            await self._engine.change([state.name], None, lambda states, _: _renewed(states, state.name, now))


def _whole(records: Sequence[bytes]) -> Sequence[bytes]:
    """Records that have bytes; an empty one would be nowhere."""
    return [record for record in records if record]


def _renewed(states: States, name: str, now: float) -> Change:
    try:
        state = naming.living(states, name, now)
    except NoSuchStream:
        return Change()
    return Change(states=(state.but(expires=state.expiry(now)),))
