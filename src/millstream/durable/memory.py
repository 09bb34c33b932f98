"""The engine that keeps everything in this process: for tests, and the measure for the others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from millstream.durable.engine import Awake, Decide
from millstream.durable.state import Change, Producer, Record, State


class MemoryEngine:
    """Dictionaries. Nothing survives the process; every change is atomic, because none is awaited."""

    poll: float | None = None
    failures: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._records: defaultdict[str, list[Record]] = defaultdict(list)
        self._producers: defaultdict[str, dict[str, Producer]] = defaultdict(dict)
        self._awake: Awake | None = None

    async def open(self, awake: Awake, /) -> None:
        """Nobody else can change anything."""
        self._awake = awake

    async def close(self) -> None:
        """What was stored stays for who opens this engine again."""

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

    async def records(self, incarnation: str, after: int, upto: int, most: int, /) -> Sequence[Record]:
        """Found by bisection."""
        kept = self._records.get(incarnation, [])
        first = bisect_right(kept, after, key=_end)
        reaching = bisect_left(kept, upto, lo=first, key=_end) + 1
        fitting = bisect_right(kept, after + most, lo=first, key=_end)
        return kept[first : min(reaching, max(fitting, first + 1))]

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
        if self._awake is not None:
            for state in (*change.removed, *change.states):
                self._awake(state.name)

    def _store_records(self, state: State, change: Change) -> None:
        if change.records:
            self._records[state.incarnation].extend(change.records)
        if change.producer is not None:
            self._producers[state.incarnation][change.producer.id] = change.producer
        if change.trim:
            kept = self._records[state.incarnation]
            del kept[: bisect_right(kept, state.start, key=_end)]


def _end(record: Record) -> int:
    return record.end
