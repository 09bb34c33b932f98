from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from millstream.codecs.catalogue import DEFAULT
from millstream.codecs.csv import Csv
from millstream.config import Settings
from millstream.dispatch.action import compile_action
from millstream.dispatch.expose import declared, expose
from millstream.errors import ConfigurationError, WrongItem
from millstream.pipeline.offers import Offer, with_rows
from millstream.pipeline.plans import Planner
from millstream.web.templates import Templates


class Flight(msgspec.Struct):
    carrier: str
    delay: int


class Root:
    @expose("csv")
    @expose("json")
    @expose(content_type="text/plain")
    def typed(self) -> Iterator[Flight]:
        yield from ()

    @expose("csv")
    def untyped(self) -> Iterator[dict[str, Any]]:
        yield from ()

    @expose("csv", charset="utf-8", fields=["ü"])
    @expose(content_type="image/png")
    @expose()
    def various(self) -> Any: ...


def offers(name: str) -> tuple[Offer, ...]:
    planner = Planner(DEFAULT, Templates(None, reload=False), Settings())
    declaration = declared(vars(Root)[name])
    assert declaration is not None
    return planner.plan(
        compile_action("Root", name, vars(Root)[name], declaration, planner.extensions_of)
    ).offers


def test_an_annotation_declares_the_columns_to_every_codec() -> None:
    csv, json, raw = offers("typed")
    assert [column.name for column in csv.columns] == ["carrier", "delay"]
    assert (json.row_type, raw.row_type) == (Flight, None)
    assert csv.encoder("Root.typed", as_annotated=True).head() == b"carrier,delay\r\n"


def test_a_row_that_is_not_as_annotated_is_refused_by_its_number() -> None:
    codec = offers("typed")[1].encoder("Root.typed", as_annotated=True)
    assert codec.item(Flight("B6", 1)) == b'{"carrier":"B6","delay":1}'
    with pytest.raises(WrongItem, match=r"Root\.typed yielded dict, .* row 2 does not fit"):
        codec.item({"carrier": "B6", "delay": "late"})


def test_rows_of_a_query_are_what_they_are() -> None:
    codec = offers("typed")[0].encoder("Root.typed")
    assert codec.head() == b""
    assert codec.item({"other": 1}) == b"other\r\n1\r\n"


def test_each_stream_has_an_encoder_of_its_own() -> None:
    offer = offers("typed")[0]
    first, second = (offer.encoder("Root.typed", as_annotated=True) for _ in range(2))
    assert first.item != second.item
    assert Csv.item is vars(Csv)["item"]


def test_an_annotation_that_names_no_rows_declares_nothing() -> None:
    (offer,) = offers("untyped")
    assert (offer.row_type, offer.columns) == (None, ())


def test_a_format_has_its_customary_extension() -> None:
    assert [offer.extension for offer in offers("various")] == ["csv", "png", ""]


def test_only_a_type_nobody_chose_is_guessed_from_a_files_name() -> None:
    assert [offer.chosen_type for offer in offers("various")] == [True, True, False]


def test_a_format_that_cannot_carry_the_rows_is_told_at_start_up() -> None:
    class Picky(Csv):
        name = "picky"

        def declare(self, columns: Any, /) -> None:
            raise self.refusal(columns, "too many columns")

    (offer,) = offers("untyped")
    picky = replace(offer, codec=Picky)
    with pytest.raises(ConfigurationError, match=r"rows of Flight do not fit the codec .*too many columns"):
        with_rows([picky], Flight)
