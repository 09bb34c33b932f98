"""What the server's log says: uvicorn's own configuration, our loggers beside it, and one filter."""

from __future__ import annotations

import copy
import logging
from typing import Any

from uvicorn.config import LOGGING_CONFIG

from millstream.errors import Truncated


class WithoutTruncated(logging.Filter):
    """Leaves out the server's traceback of a body that was broken off on purpose.

    `Truncated` is how an application tells the server to do so. Why it had to was logged before, where
    it was known.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        return not (record.exc_info and record.exc_info[1] and _is_truncated(record.exc_info[1]))


def _is_truncated(error: BaseException) -> bool:
    # A middleware that runs the application in a task group wraps what it raised.
    if isinstance(error, BaseExceptionGroup):
        return all(_is_truncated(inner) for inner in error.exceptions)
    return isinstance(error, Truncated)


def configuration(level: str) -> dict[str, Any]:
    """A `logging.config.dictConfig`; plain data, because worker processes receive it pickled.

    The root logger stays the author's.
    """
    logs = copy.deepcopy(LOGGING_CONFIG)
    name = f"{WithoutTruncated.__module__}.{WithoutTruncated.__qualname__}"
    logs["filters"] = {"without_truncated": {"()": name}}
    logs["loggers"]["uvicorn.error"]["filters"] = ["without_truncated"]
    logs["loggers"]["millstream"] = {
        "handlers": ["default"],
        "level": _python_level(level),
        "propagate": False,
    }
    return logs


def _python_level(level: str) -> str:
    return "DEBUG" if level == "trace" else level.upper()
