"""From text to typed values."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.cli import values
from millstream.cli.values import Given, understood
from millstream.config import Settings
from millstream.errors import ConfigurationError


def setting(name: str, text: str) -> object:
    found = understood(Settings, {name: Given(text, f"{name} in [app:main] of app.ini")})
    return getattr(found, name)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("debug", "true", True),
        ("debug", "Yes", True),
        ("debug", "on", True),
        ("debug", "1", True),
        ("debug", "FALSE", False),
        ("debug", "no", False),
        ("debug", "off", False),
        ("debug", "0", False),
        ("max_streams", "50", 50),
        ("max_streams_per_client", "none", None),
        ("max_streams_per_client", "7", 7),
        ("high_water", "4096", 4096),
        ("high_water", "64KiB", 65_536),
        ("max_body", "2 MiB", 2_097_152),
        ("lifetime", "none", None),
        ("lifetime", "None", None),
        ("lifetime", "1.5h", 5400.0),
        ("lifetime", "5m", 300.0),
        ("lifetime", "90s", 90.0),
        ("keep_alive", "250ms", 0.25),
        ("keep_alive", "20", 20.0),
        ("min_rate", "1000", 1000.0),
        ("charset", "latin-1", "latin-1"),
        ("on_disconnect", "grace(30)", "grace(30)"),
    ],
)
def test_a_text_means_a_value(name: str, text: str, value: object) -> None:
    assert setting(name, text) == value
    assert type(setting(name, text)) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("debug", "maybe", "true or false"),
        ("debug", "none", "true or false"),
        ("max_streams", "1.5", "a whole number"),
        ("max_streams", "64KiB", "a whole number"),
        ("max_streams", "١٢", "a whole number"),
        ("max_streams", "9" * 5000, "a whole number"),
        ("high_water", "64kb", "a number of bytes, or a size such as 64KiB or 16MiB"),
        ("lifetime", "soon", "a number of seconds, or a time such as 500ms, 90s, 5m or 1h, or none"),
        ("lifetime", "nan", "a number of seconds, or a time such as 500ms, 90s, 5m or 1h, or none"),
        ("lifetime", "5 fortnights", "a number of seconds, or a time such as 500ms, 90s, 5m or 1h, or none"),
        ("drain_timeout", "inf", "a number of seconds, or a time such as 500ms, 90s, 5m or 1h"),
        ("min_rate", "5m", "a number, or none"),
        ("charset", "", "a text, on one line and not empty"),
        ("charset", "\0", "a text, on one line and not empty"),
        ("templates", "a\nb", "a text, on one line and not empty, or none"),
    ],
)
def test_a_text_that_means_nothing_is_named_with_its_place_and_what_is_wanted(
    name: str, text: str, wanted: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        setting(name, text)
    assert str(refused.value) == f"{name} in [app:main] of app.ini is {text!r}: it must be {wanted}"


def test_a_value_out_of_its_range_is_named_with_its_place() -> None:
    with pytest.raises(ConfigurationError) as refused:
        setting("max_streams", "-5")
    assert str(refused.value) == (
        "the setting max_streams is -5: the least allowed is 1 (see max_streams in [app:main] of app.ini)"
    )


@given(name=st.sampled_from([field.name for field in dataclasses.fields(Settings)]), text=st.text())
def test_no_text_at_all_raises_anything_else(name: str, text: str) -> None:
    with suppress(ConfigurationError):
        assert setting(name, text) is None or text


def test_only_settings_that_exist_are_measured_in_a_way_of_their_own() -> None:
    assert set(values._MEASURES) <= {field.name for field in dataclasses.fields(Settings)}


def test_every_type_a_setting_has_can_be_read() -> None:
    kinds = {str(field.type).removesuffix(" | None") for field in dataclasses.fields(Settings)}
    assert kinds <= values._READERS.keys() == values._IN_WORDS.keys()
