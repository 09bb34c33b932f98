"""Django: a `StreamingHttpResponse` over its own ORM's `iterator()`, a thousand rows a chunk."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import django
import orjson
from django.conf import settings
from sqlalchemy import make_url

BATCH = 1_000


def _database() -> dict[str, Any]:
    url = make_url(os.environ["BENCH_DATABASE"])
    engine = "postgresql" if url.drivername.startswith("postgresql") else "sqlite3"
    where = {"HOST": url.host or "", "PORT": url.port or "", "USER": url.username or ""}
    return {"ENGINE": f"django.db.backends.{engine}", "NAME": url.database, "CONN_MAX_AGE": None, **where}


settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": _database()},
    ROOT_URLCONF=__name__,
    SECRET_KEY="for benchmarks on the loopback only",
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402  models and URLs need the settings
from django.db import models  # noqa: E402  as above
from django.http import HttpRequest, StreamingHttpResponse  # noqa: E402  as above
from django.urls import path  # noqa: E402  as above

from flights import NAMES, TEXTS  # noqa: E402  as above


def _field(name: str) -> models.Field:
    return models.TextField(null=True) if name in TEXTS else models.IntegerField(null=True)


class Meta:
    app_label = "peers"
    db_table = "flights"
    managed = False


Flight = type(
    "Flight",
    (models.Model,),
    {
        "__module__": __name__,
        "Meta": Meta,
        "id": models.IntegerField(primary_key=True),
        **{name: _field(name) for name in NAMES},
    },
)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        yield batch


def _as_csv(count: int) -> Iterator[bytes]:
    header: list[Any] = [("id", *NAMES)]
    for rows in _batches(Flight.objects.filter(id__lte=count).values_list().iterator(chunk_size=BATCH)):
        text = io.StringIO()
        csv.writer(text).writerows(header + rows)
        header = []
        yield text.getvalue().encode()


def _as_ndjson(count: int) -> Iterator[bytes]:
    for rows in _batches(Flight.objects.filter(id__lte=count).values().iterator(chunk_size=BATCH)):
        yield b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows])


def flights_csv(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_as_csv(int(request.GET["count"])), content_type="text/csv")


def flights_ndjson(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_as_ndjson(int(request.GET["count"])), content_type="application/x-ndjson")


urlpatterns = [path("flights.csv", flights_csv), path("flights.ndjson", flights_ndjson)]
app = get_wsgi_application()
