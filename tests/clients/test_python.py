"""Clients in Python."""

from __future__ import annotations

import httpx
import pytest
from httpx_sse import connect_sse
from tests.clients.conftest import WORDS

from millstream.testing import Server

openai = pytest.importorskip("openai", reason="the client of OpenAI is not installed")

pytestmark = pytest.mark.wire


def completion(server: Server, content: str) -> list[str]:
    """What a user prints of a completion, as in OpenAI's own documentation."""
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    with client:
        chunks = client.chat.completions.create(
            model="ours", messages=[{"role": "user", "content": content}], stream=True
        )
        return [chunk.choices[0].delta.content or "" for chunk in chunks]


def test_openai_reads_each_chunk_and_nothing_else(server: Server) -> None:
    assert completion(server, "hello") == ["", *WORDS, ""]


def test_openai_raises_the_error_that_was_told(server: Server) -> None:
    with pytest.raises(openai.APIError, match="Internal Server Error"):
        completion(server, "fail")


@pytest.mark.parametrize("path", ["items", "durable"])
def test_httpx_sse_sees_no_event_without_data(server: Server, path: str) -> None:
    with httpx.Client() as client, connect_sse(client, "GET", f"{server.url}/{path}") as source:
        events = list(source.iter_sse())
    assert all(event.data for event in events)
    assert [event.event for event in events if event.event != "first"] == ["message"] * 3 + ["end"]
    assert httpx.get(f"{server.url}/{path}", headers={"last-event-id": events[-1].id}).status_code == 204
