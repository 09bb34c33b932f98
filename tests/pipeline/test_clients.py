from __future__ import annotations

from typing import Any

import pytest

from millstream.app import Millstream
from millstream.dispatch.controllers import TGController
from millstream.dispatch.expose import expose
from millstream.errors import ConfigurationError, ControllerError, HTTPError
from millstream.pipeline.clients import checked, client_of, place_of
from millstream.web.request import Request


async def later(_: Request) -> str:
    return "later"


def asked() -> Request:
    return Request({"type": "http", "headers": [(b"x-user", b"ann")], "client": ("192.0.2.1", 5000)})


@pytest.mark.parametrize(
    ("key", "found"),
    [(later, "a coroutine function"), ("x-user", "'x-user'"), (7, "7")],
    ids=["async", "text", "number"],
)
def test_a_key_that_is_no_plain_function_is_refused_at_start_up(key: Any, found: str) -> None:
    sentence = f"client_key is {found}: it must be a plain function of the request"
    with pytest.raises(ConfigurationError) as refused:
        Millstream(TGController(), client_key=key)
    assert str(refused.value) == sentence
    with pytest.raises(ConfigurationError, match=r"Root\.feed: client_key is"):
        Millstream(root_with(key))


def root_with(key: Any) -> TGController:
    class Root(TGController):
        @expose("ndjson", client_key=key)
        def feed(self) -> list[int]:
            return []

    return Root()


def test_without_a_key_a_client_is_its_address() -> None:
    assert checked(None) is None
    assert client_of(asked(), None) == "192.0.2.1"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::7", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("/run/sock", "/run/other", False),
        ("", "", True),
    ],
)
def test_who_has_a_network_of_addresses_is_one_client(one: str, other: str, *, same: bool) -> None:
    assert (place_of(one) == place_of(other)) is same


def test_a_key_names_the_client() -> None:
    assert client_of(asked(), lambda request: request.headers["x-user"]) == "ann"


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (lambda request: request.headers["x-tenant"], "raised KeyError\\('x-tenant'\\)"),
        (lambda _: None, "returned NoneType: it must return text"),
        (lambda _: b"ann", "returned bytes: it must return text"),
    ],
)
def test_a_key_that_fails_names_itself(key: Any, sentence: str) -> None:
    with pytest.raises(ControllerError, match=f"the client_key .*<lambda> {sentence}"):
        client_of(asked(), key)


def test_a_key_may_refuse_the_client() -> None:
    def nobody(_: Request) -> str:
        raise HTTPError(401)

    with pytest.raises(HTTPError) as refused:
        client_of(asked(), nobody)
    assert refused.value.status == 401
