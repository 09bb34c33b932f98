"""What the server's log says: uvicorn's own configuration, our loggers beside it, and two filters."""

from __future__ import annotations

import copy
import logging
import re
from typing import Any, Final

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


class WithoutSecrets(logging.Filter):
    """Leaves out of the access log what may be a permission: the query, and the most of a run's id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the target of a request; every record is written."""
        match record.args:
            case (client, method, str(target), *rest):
                path = _RUN_ID.sub(r"\1…", target.partition("?")[0])
                record.args = (client, method, path, *rest)
        return True


def configuration(level: str) -> dict[str, Any]:
    """A `logging.config.dictConfig`; plain data, because worker processes receive it pickled.

    The root logger stays the author's.
    """
    logs = copy.deepcopy(LOGGING_CONFIG)
    logs["filters"] = {
        "without_truncated": {"()": f"{__name__}.{WithoutTruncated.__qualname__}"},
        "without_secrets": {"()": f"{__name__}.{WithoutSecrets.__qualname__}"},
    }
    logs["loggers"]["uvicorn.error"]["filters"] = ["without_truncated"]
    logs["loggers"]["uvicorn.access"]["filters"] = ["without_secrets"]
    logs["loggers"]["millstream"] = {
        "handlers": ["default"],
        "level": _python_level(level),
        "propagate": False,
    }
    return logs


_RUN_ID: Final = re.compile(r"(/_streams/[^/]{6})[^/]+")


def _python_level(level: str) -> str:
    return "DEBUG" if level == "trace" else level.upper()
