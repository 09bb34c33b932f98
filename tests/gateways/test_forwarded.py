from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.config import Settings
from millstream.gateways.forwarded import Proxies, address_of

LIST, FORWARDED, PROTO = b"x-forwarded-for", b"forwarded", b"x-forwarded-proto"
BY_LIST = Proxies(Settings(trusted_proxies="10.0.0.0/8, ::1, unix"))
BY_FORWARDED = Proxies(Settings(trusted_proxies="10.0.0.0/8, ::1", proxy_header="forwarded"))
PROXY = "10.0.0.1"


def resolved(
    proxies: Proxies, peer: str | None, *headers: tuple[bytes, bytes | str]
) -> tuple[str | None, str]:
    raw = [(name, value.encode() if isinstance(value, str) else value) for name, value in headers]
    client = None if peer is None else (peer, 5000)
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "client": client, "headers": raw}
    told = proxies.resolved(scope)
    return (told["client"][0] if told["client"] else None), told["scheme"]


def test_nobody_is_believed_who_is_not_named() -> None:
    assert not Proxies(Settings())
    headers = [(LIST, "1.1.1.1"), (PROTO, "https")]
    assert resolved(BY_LIST, "9.9.9.9", *headers) == ("9.9.9.9", "http")
    assert resolved(BY_FORWARDED, "9.9.9.9", (FORWARDED, "for=1.1.1.1;proto=https")) == ("9.9.9.9", "http")
    assert resolved(BY_FORWARDED, None, (FORWARDED, "for=1.1.1.1")) == (None, "http")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("1.1.1.1", "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1", "1.1.1.1"),  # the left is what the client made up
        ("6.6.6.6, 1.1.1.1, 10.2.3.4, ::1", "1.1.1.1"),
        ("10.9.9.9, 10.2.3.4", "10.9.9.9"),  # a client inside
        (" 1.1.1.1:5123 ,", "1.1.1.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:1.1.1.1", "1.1.1.1"),
        ("::ffff:10.0.0.7, ::ffff:1.1.1.1", "1.1.1.1"),
        ("garbage", PROXY),
        ("1.1.1.1, unknown", PROXY),
        ("1.1.1.1, garbage, 10.0.0.2", "10.0.0.2"),
        ("1.1.1.1, 10.0.0.256", PROXY),
        ("", PROXY),
        (",,,", PROXY),
    ],
)
def test_a_list_is_read_from_the_right_as_far_as_it_can_be_trusted(value: str, client: str) -> None:
    assert resolved(BY_LIST, PROXY, (LIST, value)) == (client, "http")


@pytest.mark.parametrize(
    ("value", "client", "scheme"),
    [
        ("for=1.1.1.1", "1.1.1.1", "http"),
        ('For="[2001:db8::1]:4711";by=10.0.0.1;proto=https', "2001:db8::1", "https"),
        ("for=6.6.6.6;proto=https, for=1.1.1.1", "1.1.1.1", "http"),
        ("for=1.1.1.1;proto=https, for=10.2.3.4;proto=http", "1.1.1.1", "https"),
        ('for="6.6.6.6, for=1.1.1.1', "1.1.1.1", "http"),  # a quote the client left open
        ('for="a,b", for="1.1.1.1:80"', "1.1.1.1", "http"),
        ("for=unknown", PROXY, "http"),
        ("for=_hidden, for=10.2.3.4", "10.2.3.4", "http"),
        ("by=1.1.1.1", PROXY, "http"),
        ("proto=javascript;for=1.1.1.1", "1.1.1.1", "http"),
        ('"', PROXY, "http"),
    ],
)
def test_forwarded_is_read_the_same_way(value: str, client: str, scheme: str) -> None:
    assert resolved(BY_FORWARDED, PROXY, (FORWARDED, value)) == (client, scheme)


def test_several_lines_are_one_list() -> None:
    assert resolved(BY_LIST, PROXY, (LIST, "6.6.6.6"), (LIST, "1.1.1.1, 10.0.0.9")) == ("1.1.1.1", "http")


def test_the_header_that_the_proxies_do_not_write_is_the_clients_own() -> None:
    spoofed = [(FORWARDED, "for=6.6.6.6;proto=https"), (LIST, "1.1.1.1")]
    assert resolved(BY_LIST, PROXY, *spoofed) == ("1.1.1.1", "http")
    spoofed = [(LIST, "6.6.6.6"), (FORWARDED, "for=1.1.1.1")]
    assert resolved(BY_FORWARDED, PROXY, *spoofed) == ("1.1.1.1", "http")


def test_the_scheme_is_read_from_the_header_that_the_proxies_write_and_from_no_other() -> None:
    spoofed = [(FORWARDED, "for=1.1.1.1"), (PROTO, "https")]
    assert resolved(BY_FORWARDED, PROXY, *spoofed) == ("1.1.1.1", "http")


def test_who_comes_by_a_unix_socket_is_believed_when_it_is_named() -> None:
    assert resolved(BY_LIST, None, (LIST, "1.1.1.1")) == ("1.1.1.1", "http")
    assert resolved(BY_LIST, "", (LIST, "1.1.1.1"))[0] == "1.1.1.1"


@pytest.mark.parametrize(
    ("value", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http, https", "https"), ("ftp", "http"), ("", "http")],
)
def test_a_proxy_tells_the_scheme(value: str, scheme: str) -> None:
    assert resolved(BY_LIST, PROXY, (LIST, "1.1.1.1"), (PROTO, value)) == ("1.1.1.1", scheme)


@given(st.binary(max_size=60), st.sampled_from([(BY_LIST, LIST), (BY_FORWARDED, FORWARDED)]))
def test_whatever_the_header_says_the_client_has_an_address(
    value: bytes, written: tuple[Proxies, bytes]
) -> None:
    proxies, header = written
    client, _ = resolved(proxies, PROXY, (header, value))
    assert ip_address(client or "").version in {4, 6}


@given(
    st.text(max_size=40),
    st.sampled_from([(BY_LIST, LIST, ", 1.1.1.1"), (BY_FORWARDED, FORWARDED, ", for=1.1.1.1")]),
)
def test_nothing_a_client_says_of_itself_changes_what_its_proxy_says(
    spoofed: str, written: tuple[Proxies, bytes, str]
) -> None:
    proxies, header, truth = written
    assert resolved(proxies, PROXY, (header, spoofed + truth))[0] == "1.1.1.1"


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_is_understood_with_a_port_or_without(address: Any, port: int) -> None:
    expected = getattr(address, "ipv4_mapped", None) or address
    host = f"[{address}]" if address.version == 6 else str(address)
    assert address_of(str(address)) == address_of(f"{host}:{port}") == address_of(f'"{host}"') == expected
