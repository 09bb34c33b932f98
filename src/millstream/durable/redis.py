"""The engine in Redis or Valkey: for several machines, when speed matters more than the last second.

Durable means here what the server was told: with `appendfsync always` an acknowledged record was synced, with
`everysec` (the usual) a crash of the server loses up to a second, without append-only file everything since
the last snapshot; a failover loses what was not replicated.

A record is an entry of a Redis stream, its id the position of its end. Decisions are made here, on states
that are kept in memory; one script without semantics compares what they were based on with what is stored,
and stores the consequences, or nothing if another node was faster: then they are made again. What waits
shares one script call. Every node hears through one subscription what changed, and wakes its own waiters.

All keys share one hash tag, because a fork is changed together with its source.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError, WatchError

from millstream.durable.batch import Batch, Outcome, Place, Request, Stage, resolve, take
from millstream.durable.engine import CHANGED_BY_OTHERS, Awake, Decide
from millstream.durable.state import Change, Producer, Record, State, decode_state
from millstream.errors import ConfigurationError

Argument = bytes | str | int | float
Command = tuple[Argument, ...]


class RedisEngine:
    """Streams under keys that begin with `{millstream}`.

    Args:
        url: as redis-py takes it, `redis://user:password@host:6379/0`.
    """

    poll: float | None = CHANGED_BY_OTHERS
    failures: tuple[type[Exception], ...] = (RedisError,)

    def __init__(self, url: str) -> None:
        self._url = url
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
            await self._client.ping()
        except (RedisError, OSError, ValueError) as refused:
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
        listener.cancel()
        await asyncio.wait([writer, listener])
        await self._client.aclose()
        await self._reading.aclose()

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
        blob = await self._reading.get(_state_key(name))
        return None if blob is None else decode_state(blob)

    async def records(self, incarnation: str, after: int, upto: int, most: int, /) -> Sequence[Record]:
        """In portions, because entries can be counted but not weighed by the server."""
        found: list[Record] = []
        size = 0
        portion = FIRST_PORTION
        while not found or found[-1].end < upto:
            since = (found[-1].end if found else after) + 1
            entries = await self._reading.xrange(_records_key(incarnation), f"{since}-0", "+", portion)
            for entry, fields in entries:
                data = fields[DATA]
                size += len(data)
                if found and (size > most or found[-1].end >= upto):
                    return found
                found.append(Record(int(entry.partition(b"-")[0]), data))
            if len(entries) < portion:
                break
            portion = min(portion * 4, LARGEST_PORTION)
        return found

    async def leased(self) -> Sequence[State]:
        """See `Engine.leased`."""
        return await self._states_of(await self._reading.smembers(LEASED))

    async def due(self, now: float, /) -> Sequence[str]:
        """See `Engine.due`."""
        return [_text(name) for name in await self._reading.zrangebyscore(DUE, "-inf", now, 0, 1000)]

    async def _states_of(self, names: Collection[bytes]) -> list[State]:
        blobs = await self._reading.mget([_state_key(_text(name)) for name in names]) if names else []
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
                stored = await self._script(args=self._checks(batch) + _commands(batch))
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
            blobs = await self._client.mget([_state_key(name) for name in names])
            self._states.update(zip(names, blobs, strict=True))
        for request in requests:
            state = self._state(request.names[0])
            if state is not None and request.producer is not None:
                place = state.incarnation, request.producer
                if place not in self._producers:
                    self._producers[place] = await self._client.hget(_producers_key(place[0]), _key(place[1]))

    def _state(self, name: str) -> State | None:
        blob = self._states[name]
        return None if blob is None else decode_state(blob)

    def _producer(self, place: Place) -> Producer | None:
        blob = self._producers.get(place)  # none of an incarnation that began in this very call
        return None if blob is None else Producer(place[1], *_NUMBERS.decode(blob))

    def _checks(self, batch: Batch) -> list[Argument]:
        """What must still be so: everything that was looked at."""
        looked_at: list[tuple[Command, bytes | None]] = [
            ((b"GET", _state_key(name)), self._states[name]) for name in batch.states
        ]
        looked_at += [
            ((b"HGET", _producers_key(place[0]), _key(place[1])), self._producers.get(place))
            for place in batch.consulted
        ]
        flat: list[Argument] = [len(looked_at)]
        for command, expected in looked_at:
            flat += (len(command), *command, b"-" if expected is None else b"+" + expected)
        return flat

    def _remember(self, batch: Batch) -> None:
        for name, state in batch.states.items():
            self._states[name] = None if state is None else state.encode()
        for place, producer in batch.producers.items():
            self._producers[place] = None if producer is None else _numbers(producer)

    def _forget(self) -> None:
        self._states.clear()
        self._producers.clear()

    # Listening

    async def _listen(self) -> None:
        """Hear what was changed; after a lost connection anything may have been."""
        while True:
            with suppress(RedisError, OSError):
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(CHANNEL)
                    self._awake(None)
                    async for message in subscription.listen():
                        for name in _names(message["data"]):
                            self._awake(name)
            await asyncio.sleep(RECONNECT)


def _commands(batch: Batch) -> list[Argument]:
    """What is stored, in order, and the hint at the end."""
    flat: list[Argument] = []
    for stage in batch.stages:
        for command in _stored(stage):
            flat += (len(command), *command)
    if batch.changed:
        names = msgspec.msgpack.encode([_key(name) for name in batch.changed])
        flat += (3, b"PUBLISH", CHANNEL, names)
    return flat


def _stored(stage: Stage) -> Iterator[Command]:
    for gone in stage.removed:
        yield b"DEL", _state_key(gone.name), _records_key(gone.incarnation), _producers_key(gone.incarnation)
        yield b"ZREM", DUE, _key(gone.name)
        yield b"SREM", LEASED, _key(gone.name)
    for state in stage.states.values():
        name, due = _key(state.name), state.due
        yield b"SET", _state_key(state.name), state.encode()
        yield (b"ZREM", DUE, name) if due is None else (b"ZADD", DUE, due, name)
        yield b"SREM" if state.tenure is None else b"SADD", LEASED, name
    for incarnation, end, data in stage.records:
        yield b"XADD", _records_key(incarnation), f"{end}-0", DATA, data
    for (incarnation, _), producer in stage.producers.items():
        yield b"HSET", _producers_key(incarnation), _key(producer.id), _numbers(producer)
    for incarnation, start in stage.trims.items():
        yield b"XTRIM", _records_key(incarnation), b"MINID", f"{start + 1}-0"


def _names(message: bytes) -> Sequence[str | None]:
    """What a message says was changed: any name, when it is not one of ours."""
    try:
        return [_text(name) for name in msgspec.msgpack.decode(message, type=list[bytes])]
    except ValueError:
        return [None]


def _numbers(producer: Producer) -> bytes:
    return msgspec.msgpack.encode((producer.epoch, producer.seq))


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def _state_key(name: str) -> bytes:
    return PREFIX + b"state:" + _key(name)


def _records_key(incarnation: str) -> bytes:
    return PREFIX + b"records:" + incarnation.encode()


def _producers_key(incarnation: str) -> bytes:
    return PREFIX + b"producers:" + incarnation.encode()


PREFIX: Final = b"{millstream}:"
DUE: Final = PREFIX + b"due"
LEASED: Final = PREFIX + b"leased"
CHANNEL: Final = PREFIX + b"changed"
DATA: Final = b"d"
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

_NUMBERS: Final = msgspec.msgpack.Decoder(tuple[int, int])

SCRIPT: Final = """
local at = 2
local function command()
    local length = tonumber(ARGV[at])
    local words = {unpack(ARGV, at + 1, at + length)}
    at = at + length + 1
    return words
end
for _ = 1, tonumber(ARGV[1]) do
    local stored = redis.call(unpack(command()))
    local expected = ARGV[at]
    at = at + 1
    if (stored and '+' .. stored or '-') ~= expected then return 0 end
end
while ARGV[at] do redis.call(unpack(command())) end
return 1
"""
"""So many checks, each a command and the answer it must have; then commands. It knows nothing of streams."""
