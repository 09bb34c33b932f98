from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any
from zipfile import BadZipFile, ZipFile

import pytest
from openpyxl import load_workbook  # type: ignore[import-untyped]  # its types are another package

from millstream.codecs import workbook
from millstream.codecs.workbook import Workbook


def written(
    rows: Iterable[Sequence[object]], title: str = "Sheet", header: Sequence[str] = ("a", "b")
) -> Any:
    made = Workbook(title, header, 2)
    body = b"".join([*map(made.add, rows), made.close()])
    return load_workbook(BytesIO(body))


def cells(sheet: Any) -> list[tuple[Any, ...]]:
    return list(sheet.iter_rows(values_only=True))


def test_a_sheet_has_its_header_and_its_rows() -> None:
    assert cells(written([(1, "x"), (None, "y")]).active) == [("a", "b"), (1, "x"), (None, "y")]


def test_a_header_stays_in_sight() -> None:
    assert written([]).active.freeze_panes == "A2"
    assert written([], header=()).active.freeze_panes is None


@pytest.mark.parametrize("limit", ["MOST_ROWS", "MOST_BYTES"])
def test_rows_beyond_a_limit_go_to_further_sheets(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, limit, 3 if limit == "MOST_ROWS" else 400)
    monkeypatch.setattr(workbook, "PIECE", 1)
    found = written([(number, "x") for number in range(5)])
    assert found.sheetnames[:2] == ["Sheet", "Sheet 2"]
    assert [row for sheet in found for row in cells(sheet)[1:]] == [(n, "x") for n in range(5)]
    assert {cells(sheet)[0] for sheet in found} == {("a", "b")}


def test_a_title_may_hold_what_xml_escapes() -> None:
    assert written([], title='R&D <"1">').sheetnames == ['R&D <"1">']


def test_columns_beyond_z_have_names_of_two_and_three_letters() -> None:
    made = Workbook("Sheet", (), 703)
    sheet = load_workbook(BytesIO(made.add(range(703)) + made.close())).active
    assert [sheet[name].value for name in ("A1", "Z1", "AA1", "ZZ1", "AAA1")] == [0, 25, 26, 701, 702]


def test_rows_leave_before_the_last_is_known() -> None:
    made = Workbook("Sheet", (), 2)
    sent = [made.add((number, f"text {number * 7919 % 10007}")) for number in range(20_000)]
    assert sum(map(len, sent)) > 0.9 * sum(map(len, [*sent, made.close()]))
    assert max(map(len, sent)) < 64 * 1024


def test_every_part_can_be_unpacked() -> None:
    made = Workbook("Sheet", (), 1)
    with ZipFile(BytesIO(made.add((1,)) + made.close())) as archive:
        assert archive.testzip() is None
        assert "[Content_Types].xml" in archive.namelist()


def test_a_workbook_that_was_cut_off_is_none() -> None:
    made = Workbook("Sheet", (), 1)
    body = made.add((1,)) + made.close()
    with pytest.raises(BadZipFile):
        load_workbook(BytesIO(body[:-1]))


def test_a_workbook_may_be_abandoned() -> None:
    made = Workbook("Sheet", (), 1)
    assert made.add((1,)) == b""
    del made
    assert gc.collect() >= 0  # and nobody complains, which pytest would report


def test_a_workbook_may_be_empty() -> None:
    assert cells(written([], header=()).active) == []
