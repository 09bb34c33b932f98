"""Every error the house raises, in one tree.

A class names who erred, so that whoever catches it knows whom to tell::

    MillstreamError
    ├── ConfigurationError          whoever deploys: a setting, a file or an extra cannot be used
    ├── ControllerError             the author: the code of an action does what no response can be made of
    │   ├── WrongItem               … an item its codec cannot carry (also a TypeError)
    │   ├── WrongResult             … a return value that is no response (also a TypeError)
    │   ├── WrongLength             … a body that is longer or shorter than its head declares
    │   └── HeadAlreadySent         … status, headers or cookies changed after they left
    ├── UnreadableValue             whoever filled a database: a stored value is none of its column's type
    ├── HTTPError                   the client, or the author's `abort`: a status that is not a success
    │   ├── Overloaded              … a cap is reached; comes with Retry-After
    │   │   └── ThreadGivenUp       … the process ends, and nobody waits any longer for a thread that blocks
    │   └── HTTPRedirect            … no error to anybody, but it leaves an action the same way
    ├── OutsideRequest              the author: a proxy was used where no request is (also a RuntimeError)
    ├── LifecycleError              us: an event that the stream's state does not know
    └── Truncated                   told to the server, so that it breaks the body off visibly

    StreamInterrupted (GeneratorExit)   raised in a producer by a waiting verb whose stream was ended early

Data is stored on the exception; the text is built when somebody reads it.
"""

from __future__ import annotations

import reprlib
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MillstreamError(Exception):
    """The root: whatever Millstream itself raises can be caught as this."""


class ConfigurationError(MillstreamError):
    """Whoever deploys the application gave a setting, a file or a name that cannot be used.

    The text is one sentence: what is wrong, where it stands, what to do. The command line prints it
    without a traceback and exits with a status that is not 0.
    """


class ControllerError(MillstreamError):
    """The author's code did what no response can be made of; a 500 that names the action."""


class WrongItem(ControllerError, TypeError):
    """A stream yielded an item that its codec cannot carry; `row` is its number if the codec counts them."""

    def __init__(
        self, *, action: str, codec: str, item: object, expected: str, row: int | None = None
    ) -> None:
        super().__init__(action, codec, type(item), expected)
        self.action = action
        self.codec = codec
        self.item_type = type(item)
        self.expected = expected
        self.row = row
        self.before = b""
        """What became of the rows before this one, where a codec was given several at once, …"""
        self.rows_before = 0
        """… and how many they are."""

    def __str__(self) -> str:
        found = f"{self.item_type.__module__}.{self.item_type.__qualname__}".removeprefix("builtins.")
        return f"{self.action} yielded {found}, but its codec {self.codec!r} takes {self.expected}"


class UnreadableValue(MillstreamError, ValueError, LookupError):
    """A value of a database cannot be converted to what the type of its column says.

    It is a `ValueError` and a `LookupError`, as those are that the types of SQLAlchemy raise. `row` is the
    number of the row in its query, counted from 1, where it is known.
    """

    def __init__(self, *, column: str, value: object, why: object, row: int | None = None) -> None:
        super().__init__(column, value)
        self.column = column
        self.value = value
        self.why = why
        self.row = row

    def __str__(self) -> str:
        where = f"the column {self.column!r}" + ("" if self.row is None else f" of row {self.row:,}")
        return f"{where} holds {reprlib.repr(self.value)}, which is no value of its type: {self.why}"


class WrongResult(ControllerError, TypeError):
    """An action returned something that is no response."""

    def __init__(self, *, action: str, result: object, instead: str = "") -> None:
        super().__init__(action, type(result))
        self.action = action
        self.result_type = type(result)
        self.instead = instead or (
            "return None, str, bytes, a dict, a generator, any iterable, or a Starlette Response, "
            "or say what it is with Millstream(adapters=...)"
        )

    def __str__(self) -> str:
        found = f"{self.result_type.__module__}.{self.result_type.__qualname__}".removeprefix("builtins.")
        return f"{self.action} returned {found}, which is no response: {self.instead}"


class WrongLength(ControllerError):
    """A body is longer or shorter than its head declares; nothing of it is committed.

    Args:
        action: whose body it is.
        declared: the bytes that the head declares.
        by: what declares them: `Content-Length`, or a status that has no body.
        size: the bytes that came; more than declared may have been to come.
    """

    def __init__(self, *, action: str, declared: int, by: str, size: int) -> None:
        super().__init__(action, declared, by, size)
        self.action = action
        self.declared = declared
        self.by = by
        self.size = size

    def __str__(self) -> str:
        found = f"at least {self.size}" if self.size > self.declared else f"only {self.size}"
        return (
            f"{self.action} declares a body of {self.declared} bytes by {self.by}, but {found} bytes came: "
            "declare the exact length, or none"
        )


class HeadAlreadySent(ControllerError):
    """Status, headers or cookies were changed after the first item had left with the old ones."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} cannot be changed: the head of this response was sent with its first item"


class HTTPError(MillstreamError):
    """A status that is not a success, raised by the house or by `abort`; becomes a problem document.

    Args:
        status: an HTTP status code, 300 to 599.
        detail: one sentence for the client; the status' own phrase when empty.
        headers: added to the response.
        errors: per-field messages of a failed validation (RFC 9457 extension member `errors`).
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

    @property
    def title(self) -> str:
        """The status' phrase (RFC 9110 §15), or `Error` for a status nobody registered."""
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return "Error"

    def __str__(self) -> str:
        return f"{self.status} {self.title}" + (f": {self.detail}" if self.detail else "")


class Overloaded(HTTPError):
    """A cap of `Settings` is reached; the client may come back (RFC 9110 §10.2.3 Retry-After)."""

    def __init__(self, detail: str, *, status: int = 503, retry_after: int = 1) -> None:
        super().__init__(status, detail, headers={"Retry-After": str(retry_after)})


class ThreadGivenUp(Overloaded):
    """The process is about to end, and the thread that would answer blocks: nobody waits for it any more."""

    def __init__(self) -> None:
        super().__init__("this process is about to end, and a thread of it blocks")


class HTTPRedirect(HTTPError):
    """Leads the client elsewhere; raised by `redirect`."""

    def __init__(self, location: str, *, status: int = 302) -> None:
        super().__init__(status, headers={"Location": location})
        self.location = location


class OutsideRequest(MillstreamError, RuntimeError):
    """A proxy (`request`, `stream`, …) was used where no request is being answered."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"{self.name} was used outside a request: it has a value only while an action or its stream runs"
        )


class LifecycleError(MillstreamError):
    """An event reached a stream in a state that does not know it: a defect of ours."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(state, event)
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"a stream that is {self.state} cannot be told {self.event}"


class Truncated(MillstreamError):
    """Leaves the application towards the server after a head was sent and the body could not end well.

    An ASGI application has no other way to say "break this off": servers and middlewares alike
    answer an exception by closing the connection without the terminating chunk (RFC 9112 §8).
    What went wrong was logged before, once, where it was known.
    """

    def __init__(self, route: str, reason: str) -> None:
        super().__init__(route, reason)
        self.route = route
        self.reason = reason

    def __str__(self) -> str:
        return f"the body of {self.route} was broken off on purpose: {self.reason}"


class StreamInterrupted(GeneratorExit):
    """Raised by a waiting verb of `stream` in a synchronous producer whose stream was ended early.

    It is a `GeneratorExit`, the very signal that a `yield` gives, so that a producer sees one kind
    of interruption wherever it happens to stand. The reason is in `stream.reason`.
    """
