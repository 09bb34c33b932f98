"""Settings in the environment."""

from __future__ import annotations

import pytest

from millstream.cli import environment
from millstream.cli.values import Given
from millstream.errors import ConfigurationError

KNOWN = frozenset({"debug", "max_streams"})


def test_a_variable_is_a_setting_in_capitals_behind_our_prefix() -> None:
    found = environment.read({"MILLSTREAM_MAX_STREAMS": " 5 ", "HOME": "/"}, known=KNOWN)
    assert found == {"max_streams": Given("5", "the environment variable MILLSTREAM_MAX_STREAMS")}


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        (
            "MILLSTREAM_DEBUGG",
            "the environment variable MILLSTREAM_DEBUGG is not known: did you mean MILLSTREAM_DEBUG?",
        ),
        (
            "MILLSTREAM_",
            "the environment variable MILLSTREAM_ is not known: did you mean MILLSTREAM_DEBUG?",
        ),
    ],
)
def test_an_unknown_variable_with_our_prefix_is_refused(variable: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        environment.read({variable: "1"}, known=KNOWN)
    assert str(refused.value) == sentence
