from __future__ import annotations

from typing import Any, ClassVar

import pytest

from millstream.codecs.arrow import Arrow
from millstream.codecs.base import Codec
from millstream.codecs.catalogue import DEFAULT, Catalogue
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.multipart import Multipart
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.parquet import Parquet
from millstream.codecs.raw import Raw
from millstream.codecs.sse import Sse
from millstream.codecs.xlsx import Xlsx
from millstream.codecs.xml import Xml
from millstream.codecs.zip import Zip
from millstream.errors import ConfigurationError


class Lines(Codec):
    name: ClassVar[str] = "lines"
    media_type: ClassVar[str] = "text/x-lines"
    extensions: ClassVar[tuple[str, ...]] = ("lines",)

    def item(self, item: Any, /) -> bytes:
        return f"{item}\n".encode()


def claiming(**claims: Any) -> type[Codec]:
    return type("Claiming", (Lines,), claims)


def test_the_default_holds_the_five_formats() -> None:
    assert [DEFAULT[name] for name in ("raw", "json", "ndjson", "csv", "sse")] == [
        Raw,
        Json,
        Ndjson,
        Csv,
        Sse,
    ]


def test_the_default_holds_the_formats_of_tables() -> None:
    assert [DEFAULT.by_extension(name) for name in ("arrow", "arrows", "parquet", "xlsx")] == [
        Arrow,
        Arrow,
        Parquet,
        Xlsx,
    ]


def test_the_default_holds_the_formats_of_documents_and_archives() -> None:
    assert [DEFAULT.by_extension("xml"), DEFAULT.by_extension("zip")] == [Xml, Zip]
    assert DEFAULT.by_media_type("multipart/mixed; boundary=x") is DEFAULT["multipart"] is Multipart


def test_a_codec_is_found_by_extension_and_media_type() -> None:
    assert DEFAULT.by_extension("CSV") is Csv
    assert DEFAULT.by_extension("jsonl") is DEFAULT.by_extension("ndjson") is Ndjson
    assert DEFAULT.by_media_type("Application/JSON; charset=x") is Json
    assert DEFAULT.by_extension("exe") is DEFAULT.by_media_type("text/x-none") is None


def test_a_name_that_is_no_codec_may_be_a_template() -> None:
    assert DEFAULT.get("page.html") is None


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no codec 'exe'.* are arrow, .*csv, .*ndjson, .*xlsx"):
        DEFAULT["exe"]


def test_a_codec_is_added_in_one_line_and_the_default_stays() -> None:
    catalogue = DEFAULT.with_codec(Lines)
    assert (
        catalogue["lines"]
        is catalogue.by_extension("lines")
        is catalogue.by_media_type("text/x-lines")
        is Lines
    )
    assert DEFAULT.get("lines") is None


@pytest.mark.parametrize(
    "claims", [{"name": "csv"}, {"media_type": "text/csv"}, {"extensions": ("x", "csv")}]
)
def test_nothing_is_claimed_twice(claims: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"two codecs claim the .*csv'"):
        DEFAULT.with_codec(claiming(**claims))


class Dialect(Csv):
    name: ClassVar[str] = "excel"


class Another(Csv):
    name: ClassVar[str] = "semicolons"


def test_dialects_share_the_media_type_and_the_extensions_of_their_codec() -> None:
    catalogue = DEFAULT.with_codec(Dialect).with_codec(Another)
    assert (catalogue["excel"], catalogue["semicolons"]) == (Dialect, Another)
    assert catalogue.by_media_type("text/csv") is catalogue.by_extension("csv") is Csv


@pytest.mark.parametrize("codec", [Csv, type("Same", (Csv,), {})])
def test_a_name_is_not_shared(codec: type[Codec]) -> None:
    with pytest.raises(ConfigurationError, match="two codecs claim the name 'csv': Csv and"):
        DEFAULT.with_codec(codec)


class Hurried(Lines):
    def __init__(self, *, action: str, charset: str, lifetime: float = 1.0) -> None:
        super().__init__(action=action, charset=charset)


class Silent(Lines):
    def __init__(self, *, action: str, charset: str, compression: bool = True) -> None:
        super().__init__(action=action, charset=charset)


@pytest.mark.parametrize("codec", [Hurried, Silent])
def test_an_option_that_no_author_could_reach_is_refused(codec: type[Codec]) -> None:
    with pytest.raises(ConfigurationError, match="which is the name of a setting: rename it"):
        DEFAULT.with_codec(codec)


@pytest.mark.parametrize(
    "claims",
    [
        {"name": "My Codec"},
        {"name": None},
        {"media_type": "text"},
        {"media_type": "text/x; charset=utf-8"},
        {"media_type": "text/x\r\nSet-Cookie: a"},
        {"extensions": (".x",)},
        {"extensions": "csv2."},
        {"extensions": ("tar.gz",)},
    ],
)
def test_a_codec_describes_itself_or_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="the codec Claiming has"):
        Catalogue((claiming(**claims),))


def test_a_codec_without_a_name_is_refused() -> None:
    class Nameless(Codec):
        def item(self, item: Any, /) -> bytes:
            return bytes(item)

    with pytest.raises(ConfigurationError, match="Nameless has '' for name"):
        Catalogue((Nameless,))
