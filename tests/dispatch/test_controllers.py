from typing import Any

import pytest

from millstream.dispatch.controllers import ASGIAppController, Controller, RestController, TGController
from millstream.errors import ConfigurationError


def test_both_names_mean_the_same_class() -> None:
    assert Controller is TGController


def test_base_classes_bring_no_hooks_of_their_own() -> None:
    for base in (TGController, RestController):
        assert not {name for name in vars(base) if not name.startswith("__")}


@pytest.mark.parametrize("nothing", [None, "app:app", 7])
def test_only_what_can_be_called_can_be_mounted(nothing: Any) -> None:
    with pytest.raises(ConfigurationError, match="no ASGI application"):
        ASGIAppController(nothing)
