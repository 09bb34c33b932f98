from __future__ import annotations

import pickle

import pytest

from millstream.durable import refusals
from millstream.durable.refusals import LogRefused
from millstream.durable.state import State
from millstream.errors import MillstreamError

EVERY = [
    refusals.NoSuchStream("s"),
    refusals.StreamGone("s"),
    refusals.OffsetGone("s", "o"),
    refusals.BadOffset("o", "why"),
    refusals.BadKey("the name of the stream", "it has 2000 bytes"),
    refusals.NameTaken("s", "of another kind"),
    refusals.StreamClosed(State("s", "i", "t")),
    refusals.ContentTypeDiffers("a/b", "c/d"),
    refusals.SequenceRegressed("2", "1"),
    refusals.StaleEpoch(3),
    refusals.EpochBeginsAtZero(4),
    refusals.SequenceGap(1, 5),
    refusals.LeaseLost("s"),
]


def test_every_refusal_is_known_here() -> None:
    assert {type(refusal) for refusal in EVERY} == set(LogRefused.__subclasses__())
    assert issubclass(LogRefused, MillstreamError)


@pytest.mark.parametrize("refusal", EVERY, ids=lambda refusal: type(refusal).__name__)
def test_a_refusal_says_one_sentence(refusal: LogRefused) -> None:
    assert len(str(refusal)) > 15
    assert "\n" not in str(refusal)


@pytest.mark.parametrize("name", [type(refusal).__name__ for refusal in EVERY])
def test_the_tree_is_drawn_whole(name: str) -> None:
    assert name in str(refusals.__doc__)


def test_a_refusal_keeps_its_data() -> None:
    gap = refusals.SequenceGap(1, 5)
    assert (gap.expected, gap.received) == (1, 5)
    assert str(pickle.loads(pickle.dumps(gap))) == str(gap)  # noqa: S301  ours
