from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millstream.codecs.catalogue import DEFAULT
from millstream.codecs.csv import Csv
from millstream.codecs.raw import Raw
from millstream.config import Settings
from millstream.dispatch.action import Action, compile_action
from millstream.dispatch.expose import declared, expose
from millstream.errors import ConfigurationError, HTTPError
from millstream.pipeline import plans
from millstream.pipeline.plans import Plan, Planner
from millstream.web.templates import Templates

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def planner(folder: Path | None = None, **settings: Any) -> Planner:
    templates = Templates(str(folder) if folder else None, reload=False)
    return Planner(DEFAULT, templates, Settings(**settings))


def action(planner: Planner, *exposes: Decorator) -> Action:
    def feed(self: object) -> None:
        """Stand in for an author's method."""

    for expose_it in reversed(exposes):
        expose_it(feed)
    declaration = declared(feed)
    assert declaration is not None
    return compile_action("Root", "feed", feed, declaration, planner.extensions_of)


def planned(*exposes: Decorator, folder: Path | None = None, **settings: Any) -> Plan:
    made = planner(folder, **settings)
    return made.plan(action(made, *exposes))


def refused(*exposes: Decorator, **settings: Any) -> str:
    with pytest.raises(ConfigurationError) as told:
        planned(*exposes, **settings)
    return str(told.value)


THREE = (expose("json"), expose("ndjson"), expose("csv"))


@pytest.mark.parametrize(
    ("exposed", "content_type", "charset"),
    [
        (expose(), "text/html; charset=utf-8", "utf-8"),
        (expose(content_type="application/json"), "application/json", "utf-8"),
        (expose(content_type="text/plain"), "text/plain; charset=utf-8", "utf-8"),
        (expose(content_type="text/plain; charset=latin-1"), "text/plain; charset=latin-1", "latin-1"),
        (expose(content_type='text/plain; charset="latin-1"'), 'text/plain; charset="latin-1"', "latin-1"),
        (expose(content_type="image/png"), "image/png", "utf-8"),
        (expose("json"), "application/json", "utf-8"),
        (expose("csv"), "text/csv; charset=utf-8", "utf-8"),
        (expose("json", content_type="application/vnd.orders+json"), "application/vnd.orders+json", "utf-8"),
        (expose(charset="latin-1"), "text/html; charset=latin-1", "latin-1"),
    ],
)
def test_an_exposure_is_an_offer_with_its_type_and_charset(
    exposed: Decorator, content_type: str, charset: str
) -> None:
    (offer,) = planned(exposed).offers
    assert (offer.content_type, offer.charset) == (content_type, charset)
    assert offer.media_type == content_type.partition(";")[0]


def test_the_deployments_charset_is_that_of_text_nobody_declared() -> None:
    (offer,) = planned(expose(), charset="latin-1").offers
    assert offer.content_type == "text/html; charset=latin-1"
    assert offer.encoder("Root.feed").item("ü") == b"\xfc"


def test_only_text_as_it_comes_is_raw() -> None:
    raw, csv = planned(expose(), expose("csv")).offers
    assert (raw.is_raw, csv.is_raw) == (True, False)


def test_every_stream_gets_an_encoder_of_its_own_that_knows_its_action() -> None:
    (offer,) = planned(expose("csv", fields=("a", "b"))).offers
    first, second = offer.encoder("Root.feed"), offer.encoder("Root.feed")
    assert first is not second
    assert isinstance(first, Csv)
    assert first.action == "Root.feed"


def test_an_action_is_planned_once() -> None:
    made = planner()
    one = action(made, expose())
    assert made.plan(one) is made.plan(one)


def test_settings_of_an_action_lie_over_the_deployments() -> None:
    plan = planned(expose(lifetime=60), idle_timeout=5)
    assert (plan.settings.lifetime, plan.settings.idle_timeout) == (60, 5)


def test_plans_of_actions_that_are_gone_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_MOST_PLANS", 3)
    made = planner()
    for _ in range(10):
        made.plan(action(made, expose()))
    gc.collect()
    assert made._made.cache_info().currsize == 3


# Extensions


@pytest.mark.parametrize(
    ("exposed", "some"),
    [
        (expose(), {"html", "htm"}),
        (expose("json"), {"json"}),
        (expose("ndjson"), {"ndjson", "jsonl"}),
        (expose(content_type="text/csv"), {"csv"}),
        (expose(content_type="image/png"), {"png"}),
        (expose(content_type="text/html; charset=latin-1"), {"html", "htm"}),
        (expose("json", content_type="application/vnd.orders+json"), {"json"}),
        (expose(content_type="application/x-nobody-knows"), set()),
    ],
)
def test_an_exposure_is_asked_for_by_the_extensions_of_its_type_and_codec(
    exposed: Decorator, some: set[str]
) -> None:
    (offer,) = planned(exposed).offers
    assert some <= offer.extensions
    assert not any(extension.startswith(".") for extension in offer.extensions)


# Choosing


@pytest.mark.parametrize(
    ("extension", "wanted", "accept", "chosen"),
    [
        ("", "", None, "application/json"),
        ("", "", "*/*", "application/json"),
        ("", "", "text/csv", "text/csv"),
        ("", "", "text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("", "csv", "application/json", "text/csv"),
        ("", "jsonl", None, "application/x-ndjson"),
        ("", "CSV", None, "text/csv"),
        ("csv", "", None, "text/csv"),
        ("CSV", "json", "application/json", "text/csv"),
        ("jsonl", "nonsense", "text/csv", "application/x-ndjson"),
    ],
)
def test_the_client_chooses_by_extension_then_by_format_and_then_by_accept(
    extension: str, wanted: str, accept: str | None, chosen: str
) -> None:
    plan = planned(*THREE)
    assert plan.negotiates
    assert plan.choose(extension, wanted, accept).media_type == chosen


@pytest.mark.parametrize(
    ("wanted", "accept", "there"),
    [
        ("", "image/png", "application/json, application/x-ndjson, text/csv"),
        ("xls", "text/csv", "formats json, ndjson, jsonl, csv"),
    ],
)
def test_a_client_that_takes_none_of_several_is_told_which_there_are(
    wanted: str, accept: str, there: str
) -> None:
    with pytest.raises(HTTPError) as told:
        planned(*THREE).choose("", wanted, accept)
    assert told.value.status == 406
    assert told.value.detail.endswith(there)


@pytest.mark.parametrize("accept", [None, "image/png", "*/*;q=0"])
def test_a_single_format_is_sent_whatever_the_client_takes(accept: str | None) -> None:
    plan = planned(expose("json"))
    assert not plan.negotiates
    assert not plan.by_format
    assert plan.choose("", "", accept).media_type == "application/json"


def test_a_format_may_be_named_by_the_extension_of_a_template_or_a_type(tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    plan = planned(expose("page.html"), expose(content_type="application/json"), folder=tmp_path)
    assert {name: offer.media_type for name, offer in plan.by_format.items()} == {
        "html": "text/html",
        "htm": "text/html",
        "json": "application/json",
    }


def test_an_action_with_a_parameter_of_that_name_keeps_it() -> None:
    def feed(self: object, format: str = "") -> None:  # noqa: A002  the name is the point
        """Stand in for an author's method."""

    made = planner()
    for expose_it in THREE:
        expose_it(feed)
    declaration = declared(feed)
    assert declaration is not None
    assert not made.plan(compile_action("Root", "feed", feed, declaration, made.extensions_of)).by_format


# Downloads


def dispositions(*exposes: Decorator, folder: Path | None = None) -> list[str | None]:
    offers = planned(*exposes, folder=folder).offers
    return [None if offer.download is None else offer.download.disposition((), {}) for offer in offers]


def test_a_download_names_every_format_a_codec_writes(tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    exposed = (expose("page.html"), expose("json"), expose("ndjson", download="orders.csv"), expose("csv"))
    assert dispositions(*exposed, folder=tmp_path) == [
        None,
        'attachment; filename="orders.json"',
        'attachment; filename="orders.ndjson"',
        'attachment; filename="orders.csv"',
    ]


def test_a_format_may_have_a_name_of_its_own_or_none() -> None:
    assert dispositions(
        expose("json", download=""), expose("ndjson", download="lines"), expose("csv", download="a.csv")
    ) == [None, 'attachment; filename="lines.ndjson"', 'attachment; filename="a.csv"']


def test_a_body_its_author_writes_is_saved_under_the_name_it_was_given() -> None:
    exposed = expose(content_type="text/csv", download="orders.txt")
    assert dispositions(exposed) == ['attachment; filename="orders.txt"']


# Templates


def test_a_body_its_author_writes_may_be_a_compressed_file() -> None:
    (offer,) = planned(expose(content_type="application/octet-stream", download="a.csv.gz")).offers
    assert offer.download is not None


def test_an_engine_that_is_no_codec_is_a_template(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ title }}")
    for engine in ("page.html", "jinja:page.html"):
        (offer,) = planned(expose(engine), folder=tmp_path).offers
        assert (offer.codec, offer.template, offer.media_type) == (Raw, "page.html", "text/html")


# What is told at start-up, with the action's name


@pytest.mark.parametrize(
    ("exposed", "text"),
    [
        (expose("jsn"), "Root.feed: 'jsn' is neither a codec nor a template"),
        (expose("csv", delimeter=";"), "Root.feed: the codec 'csv' does not know the option 'delimeter'"),
        (expose(max_rows=3), "Root.feed: the codec 'raw' does not know the option 'max_rows'"),
        (
            expose("json", compression="gzip"),
            "Root.feed: the codec 'json' does not know the option 'compression': its options are",
        ),
        (expose(lifetime="long"), "Root.feed: the setting lifetime is 'long'"),
        (expose(content_type="text/plain; charset=nonsense"), "Root.feed: 'nonsense' is no charset"),
        (expose(on_disconnect="stay"), "Root.feed: the setting on_disconnect is 'stay'"),
        (expose("csv", download="{month}.csv"), "Root.feed: the download '{month}.csv' has the placeholder"),
        (expose("csv", download="a.csv.gz"), "Root.feed: the download 'a.csv.gz' ends in .gz, but the body"),
        (expose(download="a.{ext}"), "Root.feed: the download 'a.{ext}' asks for an extension"),
    ],
)
def test_what_cannot_be_used_is_told_with_the_actions_name(exposed: Decorator, text: str) -> None:
    assert refused(exposed).startswith(text)


def test_a_template_that_is_not_there_is_told_with_the_actions_name(tmp_path: Path) -> None:
    said = refused(expose("missing.html"), folder=tmp_path)
    assert said.startswith("Root.feed: the template 'missing.html' in ")
