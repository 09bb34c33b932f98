from __future__ import annotations

from typing import Any

import pytest

from millstream.durable.runs.declared import Durable, declared
from millstream.errors import ConfigurationError


def test_true_is_a_durable_with_nothing_said() -> None:
    assert declared(True) == Durable()
    assert declared(False) is None
    assert declared(Durable(ttl=60)) == Durable(ttl=60)


def test_anything_else_is_told_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match="must be True, or a Durable"):
        declared("yes")


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": 7},
        {"ttl": 0},
        {"ttl": True},
        {"max_bytes": 0.5},
        {"on_death": "retry"},
        {"access": "ann"},
        {"on_failure": "restart"},
        {"keep_headers": "x-tenant"},
        {"keep_headers": [7]},
    ],
    ids=str,
)
def test_what_cannot_be_used_is_found_at_once(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=f"the {name} of a Durable (is|are)"):
        Durable(**wrong)


@pytest.mark.parametrize("name", ["Authorization", "cookie", "Proxy-Authorization"])
def test_no_credential_is_kept_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="clear text"):
        Durable(on_death="restart", keep_headers=["x-tenant", name])


def test_a_run_restarts_only_where_its_author_says_so() -> None:
    assert Durable(on_death="restart").restarts
    assert not Durable().restarts
