from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.durable.http.cursors import EPOCH, cursor_after, interval_at


def test_an_interval_has_twenty_seconds() -> None:
    assert [interval_at(EPOCH + second) for second in (0, 19.9, 20, 40)] == [0, 0, 1, 2]


@given(st.integers(0, 10**14), st.floats(EPOCH, EPOCH + 10**9))
def test_a_cursor_never_stands_still_or_goes_back(brought: int, now: float) -> None:
    answer = cursor_after(str(brought), now)
    assert answer >= interval_at(now)
    assert answer > brought or brought < interval_at(now)


@pytest.mark.parametrize("brought", [None, "", "-1", "abc", "1.5", "\u0661", "9" * 16])
def test_what_is_no_cursor_counts_as_none(brought: str | None) -> None:
    assert cursor_after(brought, EPOCH + 100) == 5
