"""Millstream: a web framework whose unit of work is the stream.

Everything an author needs is here; `millstream.database` and `millstream.testing` have other public names.
"""

from millstream.app import Millstream
from millstream.codecs.base import Codec
from millstream.codecs.csv import Csv
from millstream.codecs.json import Json
from millstream.codecs.multipart import Part
from millstream.codecs.ndjson import Ndjson
from millstream.codecs.sse import Event, Sse
from millstream.codecs.zip import Member
from millstream.config import Settings
from millstream.dispatch.controllers import ASGIAppController, Controller, RestController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.stops import Stops
from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams
from millstream.durable.runs.declared import Durable
from millstream.errors import HTTPError, MillstreamError
from millstream.protocol.events import Progress, Reason, Statistics
from millstream.web.navigation import abort, redirect, url
from millstream.web.proxies import request, response, stream, tmpl_context
from millstream.web.transforms import inject_html

__all__ = [
    "ASGIAppController",
    "Codec",
    "Controller",
    "Csv",
    "Durable",
    "DurableStreams",
    "Event",
    "HTTPError",
    "Json",
    "Member",
    "Millstream",
    "MillstreamError",
    "Ndjson",
    "Part",
    "Progress",
    "Reason",
    "RestController",
    "Settings",
    "Sse",
    "Statistics",
    "Stops",
    "TGController",
    "abort",
    "expose",
    "inject_html",
    "open_log",
    "redirect",
    "request",
    "response",
    "stream",
    "tmpl_context",
    "url",
]
