"""The Vercel AI SDK, in node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.clients.conftest import WORDS

from millstream.testing import Server

pytestmark = pytest.mark.wire

PATIENCE = 60.0


def came_of(node: Path, server: Server, use: str, prompt: str) -> list[dict[str, Any]]:
    done = subprocess.run(  # noqa: S603  our own words
        ["node", "sdk.mjs", server.url, use, prompt],  # noqa: S607  as above
        cwd=node,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_stream_text_sees_an_answer_without_an_error(node: Path, server: Server) -> None:
    parts = came_of(node, server, "text", "hello")
    assert [part["text"] for part in parts if part["type"] == "text-delta"] == WORDS
    assert [part for part in parts if part["type"] == "error"] == []
    assert parts[-1]["type"] == "finish"


def test_stream_text_sees_the_error_that_was_told(node: Path, server: Server) -> None:
    parts = came_of(node, server, "text", "fail")
    assert "Internal Server Error" in next(part["error"] for part in parts if part["type"] == "error")


def test_a_chat_sees_its_chunks_and_nothing_else(node: Path, server: Server) -> None:
    chunks = came_of(node, server, "chat", "hello")
    assert [chunk["type"] for chunk in chunks] == [
        *("start", "text-start", "text-delta", "text-delta", "text-delta", "text-end", "finish")
    ]


def test_a_chat_sees_the_error_that_was_told(node: Path, server: Server) -> None:
    chunks = came_of(node, server, "chat", "fail")
    assert {"type": "error", "errorText": "Internal Server Error"} in chunks
