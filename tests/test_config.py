"""Settings: what they refuse, and in which words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.config import PER_ACTION, Settings, linger, networks
from millstream.errors import ConfigurationError


def test_the_defaults_are_allowed_values() -> None:
    assert Settings().high_water == 256 * 1024


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().debug = True  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("debug", "yes", "the setting debug is 'yes': it must be true or false"),
        ("debug", 1, "the setting debug is 1: it must be true or false"),
        ("max_streams", 1.5, "the setting max_streams is 1.5: it must be a whole number"),
        ("max_streams", True, "the setting max_streams is True: it must be a whole number"),
        ("max_streams", None, "the setting max_streams is None: it must be a whole number"),
        ("max_streams", 0, "the setting max_streams is 0: the least allowed is 1"),
        ("keep_alive", "15", "the setting keep_alive is '15': it must be a number"),
        ("keep_alive", 0, "the setting keep_alive is 0: the least allowed is 0.001"),
        ("keep_alive", -math.inf, "the setting keep_alive is -inf: the least allowed is 0.001"),
        ("first_item_timeout", math.nan, "the setting first_item_timeout is nan: the least allowed is 0"),
        (
            "charset",
            "klingon",
            "the setting charset is 'klingon', which is no charset Python can encode text in",
        ),
        (
            "trusted_proxies",
            "10.0.0.1, proxy",
            "names 'proxy': it must be an address such as 10.0.0.1, a network such as 10.0.0.0/8, or unix",
        ),
        (
            "proxy_header",
            "x-real-ip",
            "the setting proxy_header is 'x-real-ip': it must be x-forwarded-for or forwarded",
        ),
        ("on_disconnect", "grace", "is 'grace': it must be cancel, detach or grace(seconds)"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings(**{name: value})  # type: ignore[arg-type]  # a wrong type is what is tested
    assert str(refused.value).endswith(sentence)


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Settings) if "None" in str(f.type)])
def test_an_optional_setting_may_be_none(name: str) -> None:
    settings: Any = Settings
    assert getattr(settings(**{name: None}), name) is None


def test_every_setting_explains_itself() -> None:
    assert all(field.metadata["explanation"].endswith(".") for field in dataclasses.fields(Settings))


def test_an_action_lays_its_own_values_over_the_deployments() -> None:
    settings = Settings(lifetime=60.0, debug=True).for_action(lifetime=5.0)
    assert (settings.lifetime, settings.debug) == (5.0, True)


def test_an_action_without_values_of_its_own_shares_the_deployments() -> None:
    settings = Settings()
    assert settings.for_action() is settings


def test_a_wrong_value_of_an_action_is_refused_like_the_deployments() -> None:
    with pytest.raises(ConfigurationError, match="lifetime"):
        Settings().for_action(lifetime=0)


def test_what_concerns_the_whole_process_is_no_actions_to_decide() -> None:
    assert PER_ACTION.isdisjoint({"debug", "templates", "drain_timeout", "max_sync_streams", "max_detached"})


@pytest.mark.parametrize(
    ("policy", "seconds"), [("cancel", 0.0), ("detach", math.inf), ("grace(5)", 5.0), ("grace(0.25)", 0.25)]
)
def test_a_disconnect_policy_is_a_number_of_seconds(policy: str, seconds: float) -> None:
    assert linger(policy) == seconds


@given(st.text().filter(lambda text: not text.startswith(("cancel", "detach", "grace"))))
def test_any_other_policy_is_refused(policy: str) -> None:
    with pytest.raises(ConfigurationError, match="it must be cancel, detach or grace"):
        linger(policy)


@pytest.mark.parametrize(
    ("trusted", "found"),
    [
        ("", []),
        ("unix", []),
        ("10.0.0.1", ["10.0.0.1/32"]),
        ("10.0.0.1/8 ::1,unix, fd00::/8", ["10.0.0.0/8", "::1/128", "fd00::/8"]),
    ],
)
def test_proxies_are_named_by_addresses_and_networks(trusted: str, found: list[str]) -> None:
    assert [str(network) for network in networks(trusted)] == found
