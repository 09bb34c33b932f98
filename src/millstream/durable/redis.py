"""The engine in Redis or Valkey: for several machines, when speed matters more than the last second.

Durable means here what the server was told: with `appendfsync always` an acknowledged record was synced, with
`everysec` (the usual) a crash of the server loses up to a second, without append-only file everything since
the last snapshot; a failover loses what was not replicated.

A record is an entry of a Redis stream, its id the position of its end. Decisions are made here, on states
that are kept in memory; one script without semantics compares what they were based on with what is stored,
and stores the consequences, or nothing if another node was faster: then they are made again. What waits
shares one script call. Every node hears through one subscription what changed, and wakes its own waiters.

The keys, and what is stored under them, are those of `rediskeys`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError, WatchError

from millstream.durable.batch import Batch, Outcome, Place, Request, resolve, take
from millstream.durable.engine import CHANGED_BY_OTHERS, Awake, Decide
from millstream.durable.formats import FORMAT, require_format, require_no_earlier
from millstream.durable.rediskeys import (
    DATA,
    EARLIER_CHANNEL,
    SCRIPT,
    Command,
    Keys,
    key,
    names_in,
    numbers,
    producer_of,
    text,
)
from millstream.durable.state import Change, Producer, Record, State, Stored, decode_state
from millstream.errors import ConfigurationError


class RedisEngine:
    """Streams under keys that begin with `{millstream}`, or with `{millstream:namespace}`.

    Args:
        url: as redis-py takes it, `redis://user:password@host:6379/0`.
        namespace: of its keys.
    """

    poll: float | None = CHANGED_BY_OTHERS
    failures: tuple[type[Exception], ...] = (RedisError,)

    def __init__(self, url: str, namespace: str = "") -> None:
        self._url = url
        self._keys = Keys(namespace)
        self._client: Any = None  # redis-py's annotations leave open which of its two worlds a call is in
        self._reading: Any = None
        self._script: Any = None
        self._awake: Awake = lambda _: None
        self._waiting: asyncio.Queue[Request | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._states: dict[
            str, bytes | None
        ] = {}  # as they were last seen; the script finds out what is stale
        self._producers: dict[Place, bytes | None] = {}

    async def open(self, awake: Awake, /) -> None:
        """See `Engine.open`.

        Raises:
            ConfigurationError: when the server cannot be used.
        """
        self._awake = awake
        try:
            self._client = self._connected(attempts=1)  # a change whose answer was lost may have been made
            self._reading = self._connected(attempts=2)  # a connection may have died since it was used last
            await self._require_format()
        except ConfigurationError:
            await self._disconnect()
            raise
        except (RedisError, OSError, ValueError) as refused:
            await self._disconnect()
            raise ConfigurationError(f"the durable server cannot be used: {refused}") from refused
        self._script = self._client.register_script(SCRIPT)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._listen())]

    async def close(self) -> None:
        """See `Engine.close`."""
        if not self._tasks:
            return
        writer, listener = self._tasks
        self._tasks = []
        self._waiting.put_nowait(None)
        while not listener.done():  # it ends by itself soon: the library loses a cancellation now and then
            listener.cancel()
            await asyncio.wait([listener], timeout=RECONNECT / 50)
        await asyncio.wait([writer])
        await self._disconnect()

    async def _disconnect(self) -> None:
        for client in (self._client, self._reading):
            if client is not None:
                await client.aclose()

    async def _require_format(self) -> None:
        """Require that the log has the format of this version, or none yet.

        Raises:
            ConfigurationError: when it has another one, or processes of an earlier version use it.
        """
        where = "the durable log in Redis"
        if self._keys.channel == Keys("").channel:
            ((_, earlier),) = await self._client.pubsub_numsub(EARLIER_CHANNEL)
            require_no_earlier(earlier, where)
        await self._client.set(self._keys.format, FORMAT, nx=True)
        require_format(int(await self._client.get(self._keys.format)), where)

    def _connected(self, *, attempts: int) -> Any:
        return Redis.from_url(
            self._url,
            health_check_interval=30,
            socket_connect_timeout=10,
            socket_timeout=ANSWER,
            retry=Retry(NoBackoff(), attempts - 1),
        )

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        """See `Engine.change`."""
        request = Request(names, producer, decide, asyncio.get_running_loop().create_future())
        self._waiting.put_nowait(request)
        return await request.outcome

    async def look(self, name: str, /) -> State | None:
        """See `Engine.look`."""
        blob = await self._reading.get(self._keys.state(name))
        return None if blob is None else decode_state(blob)

    async def records(self, incarnation: str, after: int, upto: int, most: int, /) -> Stored:
        """In portions, because entries can be counted but not weighed by the server."""
        found: list[Record] = []
        before: int | None = None
        size = 0
        begin, portion = f"{after}-0", FIRST_PORTION
        while not found or found[-1].end < upto:
            entries = await self._reading.xrange(self._keys.records(incarnation), begin, "+", portion)
            for entry, fields in entries:
                place, _, token = entry.partition(b"-")
                end, data = int(place), fields[DATA]
                if end <= after:
                    before = int(token)
                    continue
                size += len(data)
                if found and (size > most or found[-1].end >= upto):
                    return Stored(before, found)
                found.append(Record(end, data, int(token)))
            if len(entries) < portion:
                break
            begin = f"{found[-1].end + 1}-0"
            portion = min(portion * 4, LARGEST_PORTION)
        return Stored(before, found)

    async def leased(self) -> Sequence[State]:
        """See `Engine.leased`."""
        return await self._states_of(await self._reading.smembers(self._keys.leased))

    async def due(self, now: float, /) -> Sequence[str]:
        """See `Engine.due`."""
        return [
            text(name) for name in await self._reading.zrangebyscore(self._keys.due, "-inf", now, 0, 1000)
        ]

    async def _states_of(self, names: Collection[bytes]) -> list[State]:
        blobs = await self._reading.mget([self._keys.state(text(name)) for name in names]) if names else []
        return [decode_state(blob) for blob in blobs if blob is not None]

    # Writing

    async def _write(self) -> None:
        """The writer: everything that waits, in one call after the other."""
        more = True
        while more:
            requests, more = await take(self._waiting, MOST_A_CALL)
            while requests:
                requests = requests[await self._commit(requests) :]

    async def _commit(self, requests: Sequence[Request]) -> int:
        """Make these changes in one call, or the first one alone; how many were made or failed.

        A call stores nothing when another node was faster. Then even a refusal may rest on what is no longer
        so, and all is decided again, so many times: a change that never succeeds fails by itself.
        """
        together = TOGETHER
        for attempt in range(ATTEMPTS):
            some = requests if attempt < together else requests[:1]
            try:
                batch, outcomes = await self._decided(some)
                stored = await self._script(args=self._keys.arguments(batch, self._looked_at(batch)))
            except Exception as failed:  # noqa: BLE001  whatever became of it, those who wait have to know
                self._forget()
                if len(some) > 1 and (isinstance(failed, DataError) or not isinstance(failed, self.failures)):
                    together = 0  # it was not sent: the one that cannot be made fails alone
                    continue
                return self._tell([(request, failed) for request in some], ())
            if stored:
                self._remember(batch)
                return self._tell(outcomes, batch.changed)
            self._forget()
            await asyncio.sleep(random.random() * attempt * PAUSE)  # noqa: S311  no secret
        names = ", ".join(map(repr, requests[0].names))
        lost = WatchError(f"a change of {names} failed: other nodes changed it first, {ATTEMPTS} times")
        return self._tell([(requests[0], lost)], ())

    def _tell(self, outcomes: Sequence[Outcome], changed: Collection[str]) -> int:
        resolve(outcomes)
        for name in changed:
            self._awake(name)
        return len(outcomes)

    async def _decided(self, requests: Sequence[Request]) -> tuple[Batch, list[Outcome]]:
        """As many of these changes as one call holds."""
        await self._load(requests)
        batch = Batch(self._state, self._producer)
        outcomes: list[Outcome] = []
        for request in requests:
            outcomes.append((request, batch.decide(request)))
            if batch.size >= MOST_BYTES or batch.count >= MOST_RECORDS:
                break
        return batch, outcomes

    async def _load(self, requests: Sequence[Request]) -> None:
        """Have everything in memory that the decisions may ask for."""
        if len(self._states) + len(self._producers) > MOST_KNOWN:
            self._forget()
        names = [name for name in {name for r in requests for name in r.names} if name not in self._states]
        if names:
            blobs = await self._client.mget([self._keys.state(name) for name in names])
            self._states.update(zip(names, blobs, strict=True))
        for request in requests:
            state = self._state(request.names[0])
            if state is not None and request.producer is not None:
                place = state.incarnation, request.producer
                if place not in self._producers:
                    self._producers[place] = await self._client.hget(
                        self._keys.producers(place[0]), key(place[1])
                    )

    def _state(self, name: str) -> State | None:
        blob = self._states[name]
        return None if blob is None else decode_state(blob)

    def _producer(self, place: Place) -> Producer | None:
        return producer_of(place, self._producers.get(place))  # none, if its incarnation began in this call

    def _looked_at(self, batch: Batch) -> list[tuple[Command, bytes | None]]:
        """What must still be so for the decisions to hold."""
        states = [(self._keys.state_check(name), self._states[name]) for name in batch.states]
        return states + [
            (self._keys.producer_check(place), self._producers.get(place)) for place in batch.consulted
        ]

    def _remember(self, batch: Batch) -> None:
        for name, state in batch.states.items():
            self._states[name] = None if state is None else state.encode()
        for place, producer in batch.producers.items():
            self._producers[place] = None if producer is None else numbers(producer)

    def _forget(self) -> None:
        self._states.clear()
        self._producers.clear()

    # Listening

    async def _listen(self) -> None:
        """Hear what was changed; after a lost connection anything may have been."""
        while self._tasks:
            with suppress(RedisError, OSError):
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(self._keys.channel)
                    self._awake(None)
                    while self._tasks:
                        message = await subscription.get_message(timeout=RECONNECT)
                        for name in () if message is None else names_in(message["data"]):
                            self._awake(name)
            await asyncio.sleep(RECONNECT)


ANSWER: Final = 30.0
"""Seconds that the server may take to answer; whoever waits for longer is told that it cannot be had."""

RECONNECT: Final = 1.0
"""Seconds between two attempts to listen again."""

MOST_A_CALL: Final = 256
"""Changes in one script call, for which the server does nothing else."""

MOST_BYTES: Final = 16 * 1024 * 1024
MOST_RECORDS: Final = 50_000
"""What one call stores, unless a single change is more; a call has a million words before version 7."""

ATTEMPTS: Final = 32
TOGETHER: Final = 4
"""How often a change is tried while other nodes are faster; and how often with others in the same call."""

PAUSE: Final = 0.0005
"""Seconds, times the number of attempts, before the next one: at most, and by chance less."""

MOST_KNOWN: Final = 100_000
FIRST_PORTION: Final = 64
LARGEST_PORTION: Final = 4096
