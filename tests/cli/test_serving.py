"""The listening socket, and what the server is told."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from millstream.cli import serving
from millstream.cli.deployment import ServerOptions
from millstream.config import Settings
from millstream.errors import ConfigurationError


def test_who_connects_before_the_application_is_ready_waits() -> None:
    with (
        serving.listen(ServerOptions(port=0)) as taken,
        socket.create_connection(taken.getsockname()) as client,
    ):
        assert client.getpeername() == taken.getsockname()


def test_a_port_in_use_is_named() -> None:
    with serving.listen(ServerOptions(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as refused:
            serving.listen(ServerOptions(port=port))
    assert str(refused.value) == f"port {port} of 127.0.0.1 cannot be used: address already in use"


def test_a_port_may_be_taken_again_at_once() -> None:
    with serving.listen(ServerOptions(port=0)) as taken:
        port = taken.getsockname()[1]
        client = socket.create_connection(taken.getsockname())
        accepted, _ = taken.accept()
    accepted.close()  # the server's side closes first, so that its address goes on in TIME_WAIT
    client.close()
    with serving.listen(ServerOptions(port=port)) as again:
        assert again.getsockname()[1] == port


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("192.0.2.1", "port 0 of 192.0.2.1 cannot be used: cannot assign requested address"),
        ("no host", "the host 'no host' is no address of this machine"),
        ("a" * 300, f"the host '{'a' * 300}' is no address of this machine"),
    ],
)
def test_an_address_that_is_not_ours_is_named(host: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        serving.listen(ServerOptions(host=host, port=0))
    assert str(refused.value) == sentence


def test_the_port_is_listened_to_several_times() -> None:
    with ExitStack() as opened, serving.listen(ServerOptions(port=0)) as taken:
        listeners = [opened.enter_context(each) for each in serving._listeners(taken)]
        assert len({each.fileno() for each in listeners}) == serving.LISTENERS
        assert {each.getsockname() for each in listeners} == {taken.getsockname()}


@pytest.mark.parametrize(("host", "start"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_the_address_is_one_that_can_be_clicked(host: str, start: str) -> None:
    with serving.listen(ServerOptions(host=host, port=0)) as taken:
        assert serving.address(taken) == f"{start}{taken.getsockname()[1]}"


def test_the_server_waits_as_long_as_streams_may_take_to_end() -> None:
    patient = Settings(drain_timeout=30, close_timeout=5)
    config = serving._config(None, ServerOptions(), patient)
    assert config.timeout_graceful_shutdown == 37


def test_whom_to_believe_about_clients_is_left_to_the_application() -> None:
    assert serving._config(None, ServerOptions(), Settings()).proxy_headers is False


def test_the_server_does_not_tell_its_name() -> None:
    assert serving._config(None, ServerOptions(), Settings()).server_header is False


def test_an_application_that_is_not_ours_has_the_default_settings() -> None:
    assert serving.settings_of(object()) == Settings()
