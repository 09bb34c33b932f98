"""What a test may give as a request, and the bytes and headers it becomes."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, TypedDict
from urllib.parse import urlencode

from millstream.testing.failures import Misused

Pairs = Mapping[str, Any] | Sequence[tuple[str, Any]]
"""Names and values; a name may come again, as another pair or with a list of values."""

FilePart = bytes | tuple[str, bytes] | tuple[str, bytes, str]
"""The content of an uploaded file; its name and content; or name, content and content type."""

Content = bytes | str | AsyncIterable[bytes] | Iterable[bytes]
"""A whole request body, or its chunks, sent one by one; a plain iterable must not block."""


class RequestOptions(TypedDict, total=False):
    """What every verb takes besides method and path."""

    params: Pairs  # the query
    headers: Pairs
    content: Content  # at most one of content, json and data/files
    json: Any  # whatever `json.dumps` takes
    data: Pairs  # a form: urlencoded, or multipart together with files
    files: Mapping[str, FilePart] | Sequence[tuple[str, FilePart]]
    timeout: float  # for this request, instead of the client's


async def unfinished(*chunks: bytes) -> AsyncIterator[bytes]:
    """A request body that stops in the middle: after these chunks nothing comes, and no end either.

    Use it with `stream(..., await_head=False)`, then let the client `disconnect()`.
    """
    for chunk in chunks:
        yield chunk
    await asyncio.Event().wait()  # nobody sets it: the upload is cancelled with its request


def encode(options: RequestOptions) -> tuple[bytes | AsyncIterable[bytes], dict[str, str]]:
    """The body that the options ask for, and the headers that describe it.

    Raises:
        Misused: when two of them ask for different bodies.
    """
    asked = [kinds for kinds in _KINDS if any(kind in options for kind in kinds)]
    if len(asked) > 1:
        raise Misused(f"a request has one body: give only one of {', '.join('/'.join(k) for k in asked)}")
    body, content_type = _body(options)
    headers = {"content-type": content_type} if content_type else {}
    if not isinstance(body, bytes):
        headers["transfer-encoding"] = "chunked"
    elif asked:
        headers["content-length"] = str(len(body))
    return body, headers


def _body(options: RequestOptions) -> tuple[bytes | AsyncIterable[bytes], str]:
    if "json" in options:
        return json.dumps(options["json"]).encode(), "application/json"
    if "files" in options:
        return _multipart(pairs(options.get("data", ())), pairs(options["files"]))
    if "data" in options:
        return urlencode(pairs(options["data"])).encode(), "application/x-www-form-urlencoded"
    content = options.get("content", b"")
    if isinstance(content, str):
        return content.encode(), "text/plain; charset=utf-8"
    if isinstance(content, bytes | AsyncIterable):
        return content, ""
    return _one_by_one(content), ""


def pairs(given: Pairs) -> list[tuple[str, Any]]:
    """Names and single values, in order."""
    found: list[tuple[str, Any]] = []
    for name, value in given.items() if isinstance(given, Mapping) else given:
        found += [(name, each) for each in value] if isinstance(value, list) else [(name, value)]
    return found


def _multipart(fields: list[tuple[str, Any]], files: list[tuple[str, Any]]) -> tuple[bytes, str]:
    boundary = secrets.token_hex(16)
    parts = [_part(name, str(value).encode()) for name, value in fields]
    for name, part in files:
        filename, data, *kind = (name, part) if isinstance(part, bytes) else part
        parts.append(_part(name, data, filename, *kind))
    separator = f"--{boundary}\r\n".encode()
    body = b"".join(separator + part for part in parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _part(name: str, data: bytes, filename: str = "", kind: str = "application/octet-stream") -> bytes:
    head = f'Content-Disposition: form-data; name="{name.translate(_IN_QUOTES)}"'
    if filename:
        head += f'; filename="{filename.translate(_IN_QUOTES)}"\r\nContent-Type: {kind}'
    return f"{head}\r\n\r\n".encode() + data + b"\r\n"


async def _one_by_one(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


# HTML "multipart/form-data encoding algorithm": these three, and only these, are escaped in names.
_IN_QUOTES: Final = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})
_KINDS: Final = (("content",), ("json",), ("data", "files"))
