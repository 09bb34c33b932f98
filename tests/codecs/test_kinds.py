from __future__ import annotations

from typing import Annotated, Any, NewType, NotRequired, Optional

import pytest

from millstream.codecs.kinds import kind_of

Mile = NewType("Mile", int)


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (int, int),
        (int | None, int),
        (Optional[list[int]], list[int]),  # noqa: UP045  the older spelling
        (Annotated[int | None, "miles"], int),
        (NotRequired[Annotated[int, "miles"]], int),
        (Mile, int),
        (int | str, Any),
        (object, Any),
        (None, None),
    ],
)
def test_what_does_not_change_a_cell_is_taken_off(annotation: Any, found: Any) -> None:
    assert kind_of(annotation).type == found


def test_metadata_is_gathered_from_every_layer() -> None:
    assert kind_of(Annotated[Annotated[int, "a"] | None, "b"]).metadata == ("b", "a")


@pytest.mark.parametrize(("annotation", "nullable"), [(int, False), (int | None, True), (int | str, False)])
def test_none_among_the_choices_makes_it_nullable(annotation: Any, nullable: bool) -> None:
    assert kind_of(annotation).nullable is nullable
