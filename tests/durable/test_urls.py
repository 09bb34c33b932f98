from __future__ import annotations

import pytest

from millstream.durable.engines import open_log
from millstream.durable.urls import parted
from millstream.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "address", "namespace"),
    [
        ("redis://h:1/0", "redis://h:1/0", ""),
        ("redis://h:1/0?namespace=shop", "redis://h:1/0", "shop"),
        ("redis://h/0?protocol=3&namespace=shop_2", "redis://h/0?protocol=3", "shop_2"),
        ("postgresql://u@h/d?namespace=s&sslmode=require&x=1", "postgresql://u@h/d?sslmode=require&x=1", "s"),
        ("sqlite:////var/lib/a.db?namespace=a", "sqlite:////var/lib/a.db", "a"),
        ("memory:?namespace=a", "memory:", "a"),
    ],
)
def test_a_namespace_is_taken_out_of_the_url(url: str, address: str, namespace: str) -> None:
    assert parted(url) == (address, namespace)


@pytest.mark.parametrize("name", ["", "Shop", "1a", "a-b", "a" * 33, "a%20b", "a;drop", "%C3%A9", "a.b"])
@pytest.mark.parametrize("url", ["redis://h/0", "sqlite:///s.db", "postgresql://h/d", "memory:"])
def test_a_name_that_no_database_would_take_is_refused_by_all(url: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match="it must have 1 to 32 of a-z, 0-9 and _, a letter first"):
        open_log(f"{url}?namespace={name}")


def test_two_namespaces_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="more than one namespace"):
        parted("redis://h/0?namespace=a&namespace=b")


def test_an_option_that_sqlite_does_not_know_is_no_file() -> None:
    with pytest.raises(ConfigurationError, match="names no file"):
        open_log("sqlite:///s.db?mode=ro")
