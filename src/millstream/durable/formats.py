"""The format of a stored log: a number that is stored with it, so that no version misreads another one's.

Format 1 is that of Millstream 0.1.0, which stored no number. It is raised to format 2 where a log is opened,
once no process of that version uses it any more: such a process would neither store tokens nor give out
offsets that name them. A log of any other format is refused.
"""

from __future__ import annotations

from typing import Final

from millstream.errors import ConfigurationError

FORMAT: Final = 2
"""What this version reads and writes."""


def require_format(found: int, where: str) -> None:
    """Require that a log has the format of this version.

    Raises:
        ConfigurationError: when it has another one.
    """
    if found != FORMAT:
        raise ConfigurationError(
            f"{where} has format {found}, but this version of Millstream reads and writes format {FORMAT}: "
            "run the version that wrote it, or name another log"
        )


def require_no_earlier(processes: int, where: str) -> None:
    """Require that no process of an earlier version uses a log.

    Raises:
        ConfigurationError: when some do.
    """
    if processes:
        raise ConfigurationError(
            f"{where} is used by Millstream 0.1 in {processes} other process{'es' * (processes > 1)}: "
            "end them before you start this version"
        )
