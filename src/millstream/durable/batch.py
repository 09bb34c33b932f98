"""Many changes in one commit: each is decided in turn, seeing those before it; then all are stored together.

For engines whose commit is what costs. A batch knows no database: it asks for what is stored through two
functions, and collects what is to be stored in stages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec import Struct

from millstream.durable.engine import Decide
from millstream.durable.state import Change, Producer, State


class Request(Struct, frozen=True):
    """A change somebody waits for."""

    names: Sequence[str]
    producer: str | None
    decide: Decide
    outcome: asyncio.Future[Change]


Place = tuple[str, str]
"""Where a producer stands: an incarnation, and its id there."""

Outcome = tuple[Request, Change | BaseException]


@dataclass(slots=True)
class Stage:
    """What is stored in the order of these fields; a state once, however often it changed."""

    removed: list[State] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    records: list[tuple[str, int, int, bytes]] = field(default_factory=list)  # incarnation, end, token, data
    producers: dict[Place, Producer] = field(default_factory=dict)
    trims: dict[str, int] = field(default_factory=dict)  # an incarnation needs nothing that ends before


class Batch:
    """The changes of one commit.

    Args:
        state: what is stored under a name.
        producer: what is stored at a place.

    Attributes:
        states: by name, as they are after these changes; of every name that was asked for.
        producers: by place, as they are after these changes.
        consulted: the places whose stored producer a decision rests on. A change that raises an epoch puts a
            producer without asking for the one before.
        stages: what is to be stored, in order.
        changed: the names whose states differ now.
        count: how many records are to be stored.
        size: how many bytes these have.
    """

    def __init__(
        self, state: Callable[[str], State | None], producer: Callable[[Place], Producer | None]
    ) -> None:
        self._state = state
        self._producer = producer
        self.states: dict[str, State | None] = {}
        self.producers: dict[Place, Producer | None] = {}
        self.consulted: set[Place] = set()
        self.stages: list[Stage] = []
        self.changed: set[str] = set()
        self.count = 0
        self.size = 0

    def decide(self, request: Request) -> Change | BaseException:
        """One change, or the refusal its caller is told."""
        states = {name: self._state_now(name) for name in request.names}
        first = states[request.names[0]]
        known = None
        if first is not None and request.producer is not None:
            known = self._producer_now((first.incarnation, request.producer))
        try:
            change = request.decide(states, known)
        except Exception as refusal:  # noqa: BLE001  whatever it is, it is the caller's
            return refusal
        if not change.empty:
            self._take_in(change)
        return change

    def _take_in(self, change: Change) -> None:
        if change.removed or not self.stages:  # what is to be stored already comes before a removal
            self.stages.append(Stage())
        stage = self.stages[-1]
        for gone in change.removed:
            self._remove(gone, stage)
        for state in change.states:
            self.states[state.name] = stage.states[state.name] = state
            self.changed.add(state.name)
        if change.states:
            self._add(change, change.states[0], stage)

    def _remove(self, gone: State, stage: Stage) -> None:
        stage.removed.append(gone)
        self.states[gone.name] = None
        self.changed.add(gone.name)
        for place in self.producers:
            if place[0] == gone.incarnation:
                self.producers[place] = None

    def _add(self, change: Change, state: State, stage: Stage) -> None:
        incarnation = state.incarnation
        if change.records:
            stage.records += [(incarnation, end, state.token, data) for end, data, _ in change.records]
            self.count += len(change.records)
            self.size += change.records[-1].end - change.records[0].start
        if change.producer is not None:
            place = incarnation, change.producer.id
            self.producers[place] = stage.producers[place] = change.producer
        if change.trim:
            stage.trims[incarnation] = state.start

    def _state_now(self, name: str) -> State | None:
        if name not in self.states:
            self.states[name] = self._state(name)
        return self.states[name]

    def _producer_now(self, place: Place) -> Producer | None:
        if place not in self.producers:
            self.producers[place] = self._producer(place)
            self.consulted.add(place)
        return self.producers[place]


def resolve(outcomes: Sequence[Outcome]) -> None:
    """Tell everybody who still waits, on the event loop."""
    for request, outcome in outcomes:
        if request.outcome.done():  # its caller was cancelled
            continue
        if isinstance(outcome, Change):
            request.outcome.set_result(outcome)
        else:
            request.outcome.set_exception(outcome)


async def take(waiting: asyncio.Queue[Request | None], most: int) -> tuple[list[Request], bool]:
    """All requests that wait, at least one; and whether more may come, which a None in the queue denies."""
    requests: list[Request] = []
    request = await waiting.get()
    with suppress(asyncio.QueueEmpty):
        while request is not None:
            requests.append(request)
            if len(requests) == most:
                break
            request = waiting.get_nowait()
    return requests, request is not None
