from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django  # type: ignore[import-untyped]  # it ships no types
import pytest
from django.conf import settings  # type: ignore[import-untyped]  # as above
from django.db import connection, models  # type: ignore[import-untyped]  # as above
from django.db.models import F, Value  # type: ignore[import-untyped]  # as above

from millstream import Millstream, TGController, expose
from millstream.testing import SyncClient


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path: Path = tmp_path_factory.mktemp("django") / "orders.db"
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path}}, USE_TZ=True
    )
    django.setup()

    class Order(models.Model):  # type: ignore[misc]  # noqa: DJ008  nobody prints it
        number = models.IntegerField(primary_key=True)
        name = models.CharField(max_length=9)
        file = models.FileField(default="a/b.txt")
        buyer = models.ForeignKey("self", models.CASCADE, null=True)

        class Meta:
            app_label = "shop"

    with connection.schema_editor() as editor:
        editor.create_model(Order)
    Order.objects.create(number=1, name="ann")
    yield Order
    connection.close()


ALL = {"number": 1, "name": "ann", "file": "a/b.txt", "buyer_id": None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (lambda objects: objects.all(), [ALL]),
        (lambda objects: objects.only("name"), [{"number": 1, "name": "ann"}]),
        (lambda objects: objects.defer("file", "buyer"), [{"number": 1, "name": "ann"}]),
        (lambda objects: objects.annotate(n=Value(7)), [{**ALL, "n": 7}]),
        (lambda objects: objects.values("name"), [{"name": "ann"}]),
        (lambda objects: objects.values_list("name", "number"), [{"name": "ann", "number": 1}]),
        (lambda objects: objects.values_list(), [ALL]),
        (lambda objects: objects.annotate(n=F("number")).values_list("n"), [{"n": 1}]),
        (lambda objects: objects.values_list("name", named=True), [{"name": "ann"}]),
        (lambda objects: objects.values_list("name", flat=True), ["ann"]),
        (lambda objects: objects.none(), []),
        (lambda objects: (each for each in [objects.all()]), [ALL]),
        (lambda objects: list(objects.all()), [ALL]),
        (lambda objects: objects.get(), ALL),
        (lambda objects: {"orders": list(objects.all())}, {"orders": [ALL]}),
    ],
)
@pytest.mark.parametrize("action", ["sync", "in_task"])
def test_a_queryset_is_its_rows(order: Any, query: Any, expected: Any, action: str) -> None:
    made = query(order.objects)

    class Root(TGController):
        @expose("json")
        def sync(self) -> Any:
            return made

        @expose("json")
        async def in_task(self) -> Any:
            return made

    with SyncClient(Millstream(Root())) as client:
        assert client.get(f"/{action}").json() == expected


def test_a_queryset_inside_of_an_object_is_refused_because_it_has_to_be_read(
    order: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(TGController):
        @expose("json")
        def index(self) -> Any:
            return {"orders": order.objects.all()}

    with SyncClient(Millstream(Root())) as client:
        assert client.get("/").status == 500
    assert "QuerySet, whose rows are read while they are sent: put list(...) of it there" in caplog.text
