"""The engine that keeps everything in this process: for tests, and the measure for the others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from millstream.durable.engine import Awake, Decide
from millstream.durable.state import Change, Producer, Record, State, Stored


class Memory:
    """What engines of this process keep: its dictionaries, and who is told of a change."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.records: defaultdict[str, list[Record]] = defaultdict(list)
        self.producers: defaultdict[str, dict[str, Producer]] = defaultdict(dict)
        self.awake: list[Awake] = []


class MemoryEngine:
    """Dictionaries. Nothing survives the process; every change is atomic, because none is awaited.

    Args:
        memory: shared with other engines of this process, as a database is; its own, unless given.
    """

    poll: float | None = None
    failures: tuple[type[Exception], ...] = ()

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()
        self._states = self._memory.states
        self._records = self._memory.records
        self._producers = self._memory.producers
        self._awake: Awake | None = None

    async def open(self, awake: Awake, /) -> None:
        """Hear of every change, from whichever engine it comes."""
        self._awake = awake
        self._memory.awake.append(awake)

    async def close(self) -> None:
        """What was stored stays for who opens an engine on this memory again."""
        if self._awake is not None:
            self._memory.awake.remove(self._awake)
            self._awake = None

    async def change(self, names: Sequence[str], producer: str | None, decide: Decide, /) -> Change:
        """In one step of the loop."""
        before = {name: self._states.get(name) for name in names}
        change = decide(before, self._producer(before[names[0]], producer))
        if not change.empty:
            self._store(change)
        return change

    async def look(self, name: str, /) -> State | None:
        """One look-up."""
        return self._states.get(name)

    async def records(self, incarnation: str, after: int, upto: int, most: int, /) -> Stored:
        """Found by bisection."""
        kept = self._records.get(incarnation, [])
        first = bisect_right(kept, after, key=_end)
        reaching = bisect_left(kept, upto, lo=first, key=_end) + 1
        fitting = bisect_right(kept, after + most, lo=first, key=_end)
        before = kept[first - 1].token if first and kept[first - 1].end == after else None
        return Stored(before, kept[first : min(reaching, max(fitting, first + 1))])

    async def leased(self) -> Sequence[State]:
        """By looking at each."""
        return [state for state in self._states.values() if state.tenure is not None]

    async def due(self, now: float, /) -> Sequence[str]:
        """By looking at each."""
        return [name for name, state in self._states.items() if state.due is not None and state.due <= now]

    def _producer(self, state: State | None, producer: str | None) -> Producer | None:
        if state is None or producer is None:
            return None
        return self._producers.get(state.incarnation, {}).get(producer)

    def _store(self, change: Change) -> None:
        for gone in change.removed:
            self._states.pop(gone.name, None)
            self._records.pop(gone.incarnation, None)
            self._producers.pop(gone.incarnation, None)
        for state in change.states:
            self._states[state.name] = state
        if change.states:
            self._store_records(change.states[0], change)
        for state in (*change.removed, *change.states):
            for awake in self._memory.awake:
                awake(state.name)

    def _store_records(self, state: State, change: Change) -> None:
        if change.records:
            kept = self._records[state.incarnation]
            kept += [Record(end, data, state.token) for end, data, _ in change.records]
        if change.producer is not None:
            self._producers[state.incarnation][change.producer.id] = change.producer
        if change.trim:
            kept = self._records[state.incarnation]
            del kept[: bisect_left(kept, state.start, key=_end)]


def _end(record: Record) -> int:
    return record.end
