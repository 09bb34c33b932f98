"""The house: what all requests of one application share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from millstream.config import Settings
from millstream.dispatch.traversal import Tree
from millstream.engine.ledger import Ledger
from millstream.engine.threads import Lanes
from millstream.pipeline.plans import Planner
from millstream.pipeline.runs import Runs
from millstream.protocol.ports import Closes, Hosted, ItemHook, Participant, Transform
from millstream.web.templates import Templates


@dataclass(frozen=True, slots=True)
class House:
    """What all requests of one application share."""

    settings: Settings
    tree: Tree
    planner: Planner
    templates: Templates
    ledger: Ledger
    lanes: Lanes
    participants: Sequence[Participant]
    transforms: Sequence[Transform]
    item_hooks: Sequence[ItemHook]
    runs: Runs | None = None  # of durable actions; None: there is no log
    hosted: Sequence[Hosted] = ()  # mounted applications that have to be told of the end

    async def close(self) -> None:
        """The application ends, after its last stream."""
        if self.runs is not None:
            await self.runs.close()
        for application in self.hosted:
            await application.close()
        for participant in self.participants:
            if isinstance(participant, Closes):
                await participant.close()
