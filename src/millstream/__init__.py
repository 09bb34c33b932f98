"""Millstream: a web framework whose unit of work is the stream.

Everything an author needs is here, and nothing else is public but `millstream.testing`.
"""

from millstream.app import Millstream
from millstream.codecs.base import Codec
from millstream.codecs.sse import Event
from millstream.config import Settings
from millstream.dispatch.controllers import ASGIAppController, Controller, RestController, TGController
from millstream.dispatch.expose import expose
from millstream.dispatch.stops import Stops
from millstream.errors import HTTPError, MillstreamError
from millstream.protocol.events import Progress, Reason, Statistics
from millstream.web.navigation import abort, redirect, url
from millstream.web.proxies import request, response, stream, tmpl_context
from millstream.web.transforms import inject_html

__all__ = [
    "ASGIAppController",
    "Codec",
    "Controller",
    "Event",
    "HTTPError",
    "Millstream",
    "MillstreamError",
    "Progress",
    "Reason",
    "RestController",
    "Settings",
    "Statistics",
    "Stops",
    "TGController",
    "abort",
    "expose",
    "inject_html",
    "redirect",
    "request",
    "response",
    "stream",
    "tmpl_context",
    "url",
]
