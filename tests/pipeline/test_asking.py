"""Participants are asked in their order, and the first answer counts."""

from __future__ import annotations

from collections.abc import Iterable

from millstream.pipeline.asking import adopted, judged
from millstream.protocol.ports import Join, Judgement


class Silent:
    def begin(self, join: Join) -> None:
        del join


class Knowing(Silent):
    def __init__(self, mine: object, answer: list[int], judgement: Judgement) -> None:
        self.mine, self.answer, self.judgement = mine, answer, judgement

    def adopt(self, result: object) -> Iterable[int] | None:
        return self.answer if result is self.mine else None

    def judge(self, raised: BaseException) -> Judgement | None:
        return self.judgement if raised is self.mine else None


MINE, THEIRS = ValueError(), ValueError()
FIRST = Knowing(MINE, [1], Judgement(repeat=True))
SECOND = Knowing(THEIRS, [2], Judgement(repeat=False))
AGAIN = Knowing(MINE, [3], Judgement(repeat=False))
ALL = (Silent(), FIRST, SECOND, AGAIN)


def test_the_first_who_knows_a_result_has_it() -> None:
    assert (adopted(MINE, ALL), adopted(THEIRS, ALL)) == ([1], [2])


def test_a_result_that_nobody_knows_stays_as_it_is() -> None:
    assert adopted(other := object(), ALL) is other


def test_the_first_who_knows_an_error_judges_it() -> None:
    assert judged(MINE, ALL) is FIRST.judgement
    assert judged(THEIRS, ALL) is SECOND.judgement
    assert judged(ValueError(), ALL) is None
