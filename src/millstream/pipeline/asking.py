"""Asking: what participants know better than the pipeline, the first answer counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millstream.protocol.ports import Adopts, Judgement, Judges, Participant


def adopted(result: Any, participants: Sequence[Participant]) -> Any:
    """What to stream for a result that some participant knows; otherwise the result itself."""
    for participant in participants:
        if isinstance(participant, Adopts) and (own := participant.adopt(result)) is not None:
            return own
    return result


def judged(raised: BaseException, participants: Sequence[Participant]) -> Judgement | None:
    """What an error means that may have come out of a participant."""
    for participant in participants:
        if isinstance(participant, Judges) and (judgement := participant.judge(raised)) is not None:
            return judgement
    return None
