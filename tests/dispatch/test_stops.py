from __future__ import annotations

from typing import Any

import pytest

from millstream.dispatch.stops import Stops
from millstream.errors import ConfigurationError


@pytest.mark.parametrize("allowed", [None, True, "everybody"])
def test_who_may_stop_a_stream_has_to_be_said(allowed: Any) -> None:
    with pytest.raises(ConfigurationError, match="it must be a function of request and statistics"):
        Stops(allowed=allowed)
