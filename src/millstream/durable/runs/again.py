"""Again: a run that is produced once more, after its first producer died, against what is recorded of it.

What is in the log already is compared instead of appended. A splice of two halves that do not fit would be
nobody's output: it is refused.
"""

from __future__ import annotations

from millstream.durable.log import Log
from millstream.durable.offsets import At
from millstream.durable.runs.names import run_in
from millstream.durable.state import State
from millstream.errors import ControllerError


class Again:
    """How far a second production has caught up with the first one.

    Args:
        log: an open log.
        state: of the stream when the second one began; of a new one there is nothing to catch up with.
    """

    def __init__(self, log: Log, state: State) -> None:
        self._log = log
        self._state = state
        self._place = 0

    @property
    def is_behind(self) -> bool:
        """Whether the next byte is recorded already."""
        return self._place < self._state.tail

    def require_over(self) -> None:
        """Require that everything recorded came again.

        Raises:
            ControllerError: when it ended too early.
        """
        if self.is_behind:
            raise ControllerError(f"{self._differs()}, but ended earlier")

    async def beyond(self, data: bytes) -> bytes:
        """What of some bytes is new.

        Raises:
            ControllerError: when others were recorded in their place.
            LogRefused: when the stream is gone.
        """
        begin, state = self._place, self._state
        self._place += len(data)
        upto = min(self._place, state.tail)
        place = max(begin, state.start)
        while place < upto:
            page = await self._log.read(state.name, At(place, state.incarnation), most=upto - place)
            if data[place - begin : page.end - begin] != b"".join(page.messages):
                raise ControllerError(self._differs())
            place = page.end
        return data[max(0, state.tail - begin) :]

    def _differs(self) -> str:
        return (
            f"the run {run_in(self._state.name)} does not yield again what it did before its process died, "
            'as an action with on_death="restart" must'
        )
