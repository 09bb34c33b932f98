"""What went wrong in one exchange, each thing told to the test once."""

from __future__ import annotations

from collections.abc import Iterator

from millstream.errors import Truncated
from millstream.testing.failures import BodyTruncated


class ClientGone(OSError):
    """What `send` raises after the client left, on servers that raise there (ASGI HTTP 2.4)."""


class Problems:
    """The untold.

    Args:
        where: the request, as `GET /feed`.
        raise_app_errors: whether the test wants to hear of the application's own exceptions.
    """

    def __init__(self, where: str, *, raise_app_errors: bool) -> None:
        self._where = where
        self._raise_app_errors = raise_app_errors
        self._found: list[BaseException] = []
        self._told: list[BaseException] = []
        self.app_error: BaseException | None = None

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, problem: BaseException | None) -> None:
        """Note what the kit, or the test's own upload, found."""
        if problem is not None and problem not in self._found + self._told:
            self._found.append(problem)

    def tell(self) -> None:
        """Raise what was found first, if anything was.

        Raises:
            BaseException: what was found.
        """
        if self._found:
            raise self._next()

    def tell_app_error(self) -> None:
        """Raise what the application raised, if the test wants to hear it.

        Raises:
            BaseException: the application's own.
        """
        if self.app_error is not None and self._wanted(self.app_error):
            self._told.append(self.app_error)
            raise self.app_error

    def truncated(self, how: str) -> BodyTruncated:
        """The end of a body that has no end; tells of the application's error as its cause."""
        error = self.app_error
        truncated = BodyTruncated(
            self._where, how if error is None else f"{how}: {type(error).__name__}: {error}"
        )
        truncated.__cause__ = error
        if error is not None:
            self._told.append(error)
        return truncated

    def last(self) -> BaseException | None:
        """What is still untold when the exchange is over."""
        if self._found:
            return self._next()
        return self.app_error if self.app_error is not None and self._wanted(self.app_error) else None

    def _next(self) -> BaseException:
        problem = self._found.pop(0)
        self._told.append(problem)
        return problem

    def _wanted(self, error: BaseException) -> bool:
        return self._raise_app_errors and any(self._is_news(each) for each in _members(error))

    def _is_news(self, error: BaseException) -> bool:
        # Truncated is how an application breaks off on purpose, ClientGone our own answer coming back.
        return not isinstance(error, Truncated) and not any(
            isinstance(each, ClientGone) or each in self._told for each in _history(error)
        )


def _members(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _members(member)
    else:
        yield error


def _history(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()  # a hand-made chain may bite its tail
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
