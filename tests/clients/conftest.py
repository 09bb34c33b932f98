"""What the clients of others are tried at: one application, and the packages they come in."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.durable.conformance.run import installed, missing

from millstream import Event, Millstream, Settings, Sse, TGController, abort, expose, request, stream
from millstream.testing import Server, serve

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "sdk.mjs")
WORDS = ["Streams ", "are ", "easy."]
CALLS: Counter[str] = Counter()
"""How often each action ran; asked for a difference, since other tests count here, too."""

PACKAGES: dict[str, Path] = {}
"""Where the packages of npm are, once they are installed."""


def failed(problem: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {"message": problem["title"], "type": "server_error", "code": problem["status"]}}


def told(problem: Mapping[str, Any]) -> dict[str, str]:
    return {"type": "error", "errorText": problem["title"]}


class UiMessages(Sse):
    """The UI message stream of the AI SDK."""

    name = "ui-messages"
    headers = {"x-vercel-ai-ui-message-stream": "v1"}  # noqa: RUF012  as an author writes it

    def __init__(self, *, action: str, charset: str, **options: Any) -> None:
        super().__init__(action=action, charset=charset, end="[DONE]", error=told, error_ends=True, **options)


def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "ours", "choices": [choice]}


class Chat(TGController):
    @expose("sse", allowed_methods=["POST"], end="[DONE]", error=failed, error_ends=True)
    async def completions(self, messages: list[dict[str, Any]], **_: Any) -> AsyncIterator[Any]:
        CALLS["completions"] += 1
        yield chunk({"role": "assistant", "content": ""})
        for word in WORDS:
            yield chunk({"content": word})
            if "fail" in str(messages):
                raise ValueError("a secret")
        yield chunk({}, "stop")


class V1(TGController):
    chat = Chat()


def picture(width: int) -> bytes:
    """A black PNG."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = part(b"IHDR", struct.pack(">IIBBBBB", width, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + part(b"IDAT", zlib.compress(bytes(width + 1))) + part(b"IEND", b"")


class Root(TGController):
    v1 = V1()

    @expose(content_type="text/html; charset=utf-8")
    def index(self) -> str:
        return "<!doctype html><title>clients</title><div id=o></div>"

    @expose(content_type="text/javascript")
    def npm(self, *_: str) -> Path:
        file = PACKAGES["node_modules"] / request.path_info.removeprefix("/npm/")
        return file if file.exists() else file.with_name(f"{file.name}.js")  # which is left to a bundler

    @expose("sse")
    async def items(self) -> AsyncIterator[Event]:
        CALLS["items"] += 1
        yield Event("retry soon", event="first", retry=50)
        for number in range(3):
            yield Event(f"<li>{number}</li>", id=number + 1)

    @expose("sse")
    async def turbo(self) -> AsyncIterator[Event]:
        CALLS["turbo"] += 1
        for number in range(3):
            item = f"<template><li>{number}</li></template>"
            yield Event(f'<turbo-stream action="append" target="o">{item}</turbo-stream>', retry=50)

    @expose("sse", allowed_methods=["POST"], keep_alive=0.05)
    async def posted(self) -> AsyncIterator[Any]:
        CALLS["posted"] += 1
        for number in range(3):
            await asyncio.sleep(0.12)
            yield {"number": number}

    @expose("sse")
    def forbidden(self) -> Iterator[int]:
        CALLS["forbidden"] += 1
        abort(401)
        yield 1

    @expose(UiMessages, allowed_methods=["POST"])
    async def chat(self, messages: list[dict[str, Any]], **_: Any) -> AsyncIterator[dict[str, str]]:
        yield {"type": "start"}
        yield {"type": "text-start", "id": "t"}
        for word in WORDS:
            yield {"type": "text-delta", "id": "t", "delta": word}
            if "fail" in str(messages):
                raise ValueError("a secret")
        yield {"type": "text-end", "id": "t"}
        yield {"type": "finish"}

    @expose(content_type="multipart/x-mixed-replace; boundary=frame")
    def camera(self) -> Iterator[bytes]:
        for width in (2, 3):
            yield b"--frame\r\nContent-Type: image/png\r\n\r\n" + picture(width) + b"\r\n"
        yield b"--frame\r\n"
        stream.sleep(600)

    @expose("sse", durable=True)
    async def durable(self) -> AsyncIterator[int]:
        CALLS["durable"] += 1
        for number in range(3):
            yield number

    @expose("json")
    async def calls(self) -> dict[str, int]:
        return {"calls": CALLS[request.params["of"]]}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serve(Millstream(Root(), Settings(durable_url="memory:"))) as running:
        yield running


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder with the packages of npm."""
    why = missing()
    if why:
        pytest.skip(f"the clients from npm were not tried: {why}")
    folder = installed(HERE, FILES)
    PACKAGES["node_modules"] = folder / "node_modules"
    return folder
