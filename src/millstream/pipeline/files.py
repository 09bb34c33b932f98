"""Files: a path or an open binary file, with what HTTP wants to know of it, read in pieces.

Everything here blocks and runs on the request's thread. What is sent of an open file begins where it
stands; a file that is shorter than it was when it was opened breaks the body off.
"""

from __future__ import annotations

import errno
import io
import mimetypes
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from hashlib import blake2b
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final

from millstream.errors import ControllerError, HTTPError

PIECE: Final = 128 * 1024
"""Bytes read at once: two such pieces are what a stream may be ahead of its socket."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file and what is known of it."""

    file: BinaryIO
    name: str
    start: int
    size: int | None  # from `start` to its end; None: nobody knows, it is read until there is no more
    etag: str = ""
    modified: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """The headers that describe it."""
        known = {"etag": self.etag, "last-modified": self.modified}
        if self.size is not None:
            known |= {"content-length": str(self.size), "accept-ranges": "bytes"}
        return {name: value for name, value in known.items() if value}

    def pieces(self, part: slice | None) -> Iterator[bytes]:
        """Its bytes, or a part of them.

        Raises:
            ControllerError: when it ends too early.
        """
        read: Callable[[int], bytes] = getattr(self.file, "read1", self.file.read)
        if self.size is None:
            yield from iter(lambda: read(PIECE), b"")
            return
        if part is not None:
            self.file.seek(self.start + part.start)
        left = self.size if part is None else part.stop - part.start
        while left:
            piece = read(min(PIECE, left))
            if not piece:
                raise ControllerError(
                    f"the file {self.name!r} became shorter while it was sent: {left} bytes are missing"
                )
            left -= len(piece)
            yield piece

    def close(self) -> None:
        """Close it."""
        self.file.close()


def opened(given: Path | BinaryIO, action: str) -> OpenFile:
    """Open a file, or take in one that its author has opened.

    Raises:
        HTTPError: 404 when there is none.
        ControllerError: when it is no file that can be sent.
    """
    if isinstance(given, Path):
        return _by_path(given, action)
    try:
        return _by_file(given)
    except BaseException:
        given.close()
        raise


def type_of(name: str) -> str:
    """The content type a name tells of."""
    guessed, coding = mimetypes.guess_type(name)
    if coding is not None:  # of the file itself: a client that asked for it packed wants to have it so
        return _PACKED.get(coding, _UNKNOWN)
    return guessed or _UNKNOWN


def _by_path(path: Path, action: str) -> OpenFile:
    try:
        # Without O_NONBLOCK the opening of a pipe would wait for its writer, for ever.
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except (OSError, ValueError) as refused:  # ValueError: a NUL in the name
        if getattr(refused, "errno", errno.ENOENT) in _NOT_THERE:
            raise HTTPError(404, "there is no such file") from refused
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ControllerError(
            f"{action} returned the path {str(path)!r}, which is {_kind(mode)}: return a file's"
        )
    return _by_file(os.fdopen(descriptor, "rb", buffering=0), path.name)


def _by_file(file: BinaryIO, name: str = "") -> OpenFile:
    if isinstance(file, io.BytesIO):
        start = file.tell()
        content = file.getbuffer()[start:]
        tag = blake2b(content, digest_size=16).hexdigest()
        return OpenFile(file, name, start, len(content), f'"{tag}"')
    if isinstance(file, SpooledTemporaryFile):
        start = file.tell()
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        return OpenFile(file, name, start, max(0, size))
    # What is unpacked, or comes over a connection, could only be measured by reading it.
    if not isinstance(getattr(file, "raw", file), io.FileIO):
        return OpenFile(file, name, 0, None)
    name = name or _name_of(file)
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return OpenFile(file, name, 0, None)
    start = file.tell()
    size = max(0, status.st_size - start)
    tag = f'"{status.st_mtime_ns:x}-{size:x}"'
    return OpenFile(file, name, start, size, tag, formatdate(status.st_mtime, usegmt=True))


def _name_of(file: Any) -> str:
    """The name an open file has; a file of no name has a number for one."""
    name = getattr(file, "name", "")
    return Path(name).name if isinstance(name, str) else ""


def _kind(mode: int) -> str:
    return next((words for test, words in _KINDS if test(mode)), "no regular file")


_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_UNKNOWN: Final = "application/octet-stream"
_PACKED: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
}
