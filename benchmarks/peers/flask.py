"""Flask: a `Response` of a generator."""

from flask import Flask, Response, request

from peers.exports import as_csv, as_ndjson
from peers.generators import items, sleeps

app = Flask(__name__)


@app.get("/sync/<int:count>/<int:size>")
def sync(count: int, size: int) -> Response:
    return Response(items(count, size), mimetype="application/octet-stream")


@app.get("/sleep/<int:count>/<int:ms>")
def sleep(count: int, ms: int) -> Response:
    return Response(sleeps(count, ms), mimetype="text/plain")


@app.get("/flights.csv")
def flights_csv() -> Response:
    return Response(as_csv(int(request.args["count"])), mimetype="text/csv")


@app.get("/flights.ndjson")
def flights_ndjson() -> Response:
    return Response(as_ndjson(int(request.args["count"])), mimetype="application/x-ndjson")
