from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from millstream.config import Settings
from millstream.errors import ConfigurationError
from millstream.gateways.hosts import Hosts

ANY = Hosts(Settings())
SHOP = Hosts(Settings(allowed_hosts="shop.example, *.shop.example [::1] 10.0.0.1"))


def asked(*hosts: str, version: str = "1.1") -> Scope:
    return {"http_version": version, "headers": [(b"host", host.encode("latin-1")) for host in hosts]}


def status(hosts: Hosts, scope: Scope) -> int | None:
    refusal = hosts.refusal(scope)
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    ("version", "hosts", "expected"),
    [
        ("1.1", ["a.example"], None),
        ("1.1", ["a.example:8080"], None),
        ("1.1", ["[::1]:8080"], None),
        ("1.1", [""], None),  # RFC 9112 §3.2: of a target without an authority
        ("1.1", [], 400),
        ("1.1", ["a.example", "a.example"], 400),
        ("1.0", [], None),
        ("1", [], None),
        ("1", ["a.example"], None),
        ("1.0", ["a.example", "b.example"], 400),
        ("2", [], None),
        ("2", ["a.example"], None),
        ("3", ["a.example"], None),
        ("0.9", [], 505),
        ("2.0", ["a.example"], 505),
        ("1.2", ["a.example"], 505),
        ("1.1", ["a.example, b.example"], 400),
        ("1.1", ["a.example/path"], 400),
        ("1.1", ["user@a.example"], 400),
        ("1.1", ["a.example\\"], 400),
        ("1.1", ["a.example:80:80"], 400),
        ("1.1", ["a b"], 400),
    ],
)
def test_a_request_names_one_host_by_the_rules_of_its_version(
    version: str, hosts: list[str], expected: int | None
) -> None:
    assert status(ANY, asked(*hosts, version=version)) == expected


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("shop.example", True),
        ("SHOP.example:443", True),
        ("shop.example.", True),
        ("a.shop.example", True),
        ("a.b.shop.example:1", True),
        ("[::1]:80", True),
        ("10.0.0.1", True),
        ("", False),
        ("evilshop.example", False),
        ("shop.example.evil.example", False),
        (".shop.example.evil", False),
        ("10.0.0.10", False),
        ("*.shop.example.", True),  # a name below it, however strange: nothing else resolves to it
    ],
)
def test_only_the_hosts_that_are_allowed_are_answered_for(host: str, is_allowed: bool) -> None:
    assert status(SHOP, asked(host)) == (None if is_allowed else 400)


def test_an_old_request_that_names_no_host_is_no_way_around_the_list() -> None:
    assert status(SHOP, asked(version="1.0")) == 400
    assert status(SHOP, asked(version="2")) == 400


@pytest.mark.parametrize(
    "allowed", ["*", "http://a.example", "a.example:80", "a b*", "*a.example", ".a.example"]
)
def test_a_setting_that_names_no_host_is_refused_at_start_up(allowed: str) -> None:
    with pytest.raises(ConfigurationError, match="the setting allowed_hosts names"):
        Settings(allowed_hosts=allowed)


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_whatever_a_client_writes_is_answered_or_refused(host: str) -> None:
    assert status(SHOP, asked(host)) in {None, 400}
    if status(ANY, asked(host)) is None:
        assert not set(host) & set(" /\\@?#\r\n\0,")
