"""What a test is told, in the one exception tree of `millstream.errors`.

::

    MillstreamError
    ├── CheckFailed (AssertionError)    the application did not do what was waited for or required
    │   ├── BodyTruncated               … a body broke off before its end
    │   ├── Leaked                      … something is left over
    │   ├── LifespanFailed              … start-up or shutdown failed
    │   ├── ProtocolViolation           … a message or a byte that ASGI or HTTP does not allow
    │   ├── ServerFailed                … a server did not start or did not stop
    │   ├── StillRunning                … a call went on although its client left
    │   └── TimedOut                    … what was waited for did not come
    └── Misused (RuntimeError)          the test asked for what cannot be asked for now

Each text is one sentence that begins with the request it is about.
"""

from __future__ import annotations

from collections.abc import Sequence

from millstream.errors import MillstreamError


class CheckFailed(MillstreamError, AssertionError):
    """The application, not the test, is to blame; a test runner shows it as a failed assertion."""


class BodyTruncated(CheckFailed):
    """A body broke off: what a real client sees as a missing end.

    Whatever the application raised is the `__cause__`.

    Args:
        where: the request, as `GET /feed`.
        detail: how it broke off.
        received: what came before, where the reading call was one for the whole rest.
    """

    def __init__(self, where: str, detail: str, *, received: bytes = b"") -> None:
        super().__init__(where, detail)
        self.where = where
        self.detail = detail
        self.received = received

    def __str__(self) -> str:
        return f"{self.where}: the body broke off: {self.detail}"


class Leaked(CheckFailed):
    """Something that a block opened outlives it."""

    def __init__(self, left: Sequence[str]) -> None:
        super().__init__(tuple(left))
        self.left = tuple(left)

    def __str__(self) -> str:
        return f"left over: {'; '.join(self.left)}"


class LifespanFailed(CheckFailed):
    """The application could not start, or could not shut down; its own error is the `__cause__`."""

    def __init__(self, phase: str, detail: str) -> None:
        super().__init__(phase, detail)
        self.phase = phase
        self.detail = detail

    def __str__(self) -> str:
        return f"the application's {self.phase} failed: {self.detail}"


class ProtocolViolation(CheckFailed):
    """Something was sent that ASGI or HTTP does not allow."""

    def __init__(self, where: str, rule: str) -> None:
        super().__init__(where, rule)
        self.where = where
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}"


class ServerFailed(CheckFailed):
    """A real server did not start, or did not stop; the text ends with what it logged."""

    def __init__(self, detail: str, *, log: str = "") -> None:
        super().__init__(detail, log)
        self.detail = detail
        self.log = log

    def __str__(self) -> str:
        return f"{self.detail}; its log:\n{self.log}" if self.log else self.detail


class StillRunning(CheckFailed):
    """An application's call had no reason to go on, and did; it was cancelled."""

    def __init__(self, where: str, *, since: str, seconds: float, stands_at: str) -> None:
        super().__init__(where, since, seconds, stands_at)
        self.where = where
        self.since = since
        self.seconds = seconds
        self.stands_at = stands_at

    def __str__(self) -> str:
        return (
            f"{self.where}: the application's call still ran {self.seconds:g} s after {self.since}; "
            f"it stood at {self.stands_at} and was cancelled"
        )


class TimedOut(CheckFailed):
    """What was waited for did not come in time."""

    def __init__(self, where: str, *, what: str, seconds: float, meanwhile: str = "") -> None:
        super().__init__(where, what, seconds, meanwhile)
        self.where = where
        self.what = what
        self.seconds = seconds
        self.meanwhile = meanwhile

    def __str__(self) -> str:
        text = f"{self.where}: waited {self.seconds:g} s for {self.what}"
        return f"{text}; {self.meanwhile}" if self.meanwhile else text


class Misused(MillstreamError, RuntimeError):
    """The test asked for something that cannot be had now; its text says what to do instead."""


def raise_or_note(problem: BaseException | None, earlier: BaseException | None) -> None:
    """Raise what was found while closing, but never in the place of an error that came before it.

    Raises:
        BaseException: the problem, when nothing failed before.
    """
    if problem is None or problem is earlier:
        return
    if earlier is None:
        raise problem
    earlier.add_note(f"While closing: {type(problem).__name__}: {problem}")
