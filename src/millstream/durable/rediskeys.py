"""What a log in Redis consists of: its keys, the commands that store it, and the script that runs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from millstream.durable.batch import Batch, Place, Stage
from millstream.durable.state import Producer

Argument = bytes | str | int | float
Command = tuple[Argument, ...]


class Keys:
    """The keys of one namespace: all with one hash tag, because a fork is changed together with its source.

    Args:
        namespace: part of the hash tag; none, if empty.
    """

    def __init__(self, namespace: str) -> None:
        self._prefix = f"{{millstream:{namespace}}}:".encode() if namespace else EARLIER
        self.due = self._prefix + b"due"
        self.leased = self._prefix + b"leased"
        self.format = self._prefix + b"format"
        self.channel = self._prefix + b"hints"

    def state(self, name: str) -> bytes:
        """Of the state that is stored under a name."""
        return self._prefix + b"state:" + key(name)

    def records(self, incarnation: str) -> bytes:
        """Of the stream of an incarnation's records; an id is the record's end and its token."""
        return self._prefix + b"records:" + incarnation.encode()

    def producers(self, incarnation: str) -> bytes:
        """Of the hash of an incarnation's producers."""
        return self._prefix + b"producers:" + incarnation.encode()

    def arguments(self, batch: Batch, looked_at: Sequence[tuple[Command, bytes | None]]) -> list[Argument]:
        """What the script is called with.

        Args:
            batch: what is stored, if all is as it was.
            looked_at: commands, and what they answered: what the batch was decided on.
        """
        flat: list[Argument] = [len(looked_at)]
        for command, expected in looked_at:
            flat += (len(command), *command, b"-" if expected is None else b"+" + expected)
        for stage in batch.stages:
            for command in self._stored(stage):
                flat += (len(command), *command)
        if batch.changed:
            names = msgspec.msgpack.encode([key(name) for name in batch.changed])
            flat += (3, b"PUBLISH", self.channel, names)
        return flat

    def state_check(self, name: str) -> Command:
        """Asks for a state."""
        return b"GET", self.state(name)

    def producer_check(self, place: Place) -> Command:
        """Asks for a producer."""
        return b"HGET", self.producers(place[0]), key(place[1])

    def _stored(self, stage: Stage) -> Iterator[Command]:
        for gone in stage.removed:
            incarnation = gone.incarnation
            yield b"DEL", self.state(gone.name), self.producers(incarnation)
            yield b"UNLINK", self.records(incarnation)  # freed aside, however long it was
            yield b"ZREM", self.due, key(gone.name)
            yield b"SREM", self.leased, key(gone.name)
        for state in stage.states.values():
            name, due = key(state.name), state.due
            yield b"SET", self.state(state.name), state.encode()
            yield (b"ZREM", self.due, name) if due is None else (b"ZADD", self.due, due, name)
            yield b"SREM" if state.tenure is None else b"SADD", self.leased, name
        for incarnation, end, token, data in stage.records:
            yield b"XADD", self.records(incarnation), f"{end}-{token}", DATA, data
        for (incarnation, _), producer in stage.producers.items():
            yield b"HSET", self.producers(incarnation), key(producer.id), numbers(producer)
        for incarnation, start in stage.trims.items():
            yield b"XTRIM", self.records(incarnation), b"MINID", f"{start}-0"


def key(name: str) -> bytes:
    """A name as it is stored: any text, half a surrogate pair included."""
    return name.encode("utf-8", "surrogatepass")


def text(stored: bytes) -> str:
    """The name that was stored.

    Raises:
        UnicodeDecodeError: when it is none.
    """
    return stored.decode("utf-8", "surrogatepass")


def numbers(producer: Producer) -> bytes:
    """A producer as it is stored under its id."""
    return msgspec.msgpack.encode((producer.epoch, producer.seq))


def producer_of(place: Place, stored: bytes | None) -> Producer | None:
    """The producer that is stored at a place."""
    return None if stored is None else Producer(place[1], *_NUMBERS.decode(stored))


def names_in(message: bytes) -> Sequence[str | None]:
    """The names that a message says were changed: any, when it is not one of ours."""
    try:
        return [text(name) for name in msgspec.msgpack.decode(message, type=list[bytes])]
    except ValueError:
        return [None]


EARLIER: Final = b"{millstream}:"
"""Before all keys without a namespace."""

EARLIER_CHANNEL: Final = EARLIER + b"changed"
"""On which processes of Millstream 0.1 listen."""

DATA: Final = b"d"
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
