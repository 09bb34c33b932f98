"""A node of a cluster: tests run this application in several processes, over the log that LOG names."""

from __future__ import annotations

import os

from millstream import Millstream, Settings, TGController, expose
from millstream.dispatch.controllers import ASGIAppController
from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams

LOG = open_log(os.environ["LOG"])


class RootController(TGController):
    streams = ASGIAppController(DurableStreams(LOG))

    @expose("json")
    async def pid(self) -> dict[str, int]:
        """Which process has this connection."""
        return {"pid": os.getpid()}

    @expose("json")
    async def poll(self, seconds: float) -> dict[str, float]:
        """From now on whoever waits here looks so seldom, unless a hint comes."""
        LOG._engine.poll = seconds
        return {"poll": seconds}


app = Millstream(RootController(), Settings(drain_timeout=float(os.environ.get("DRAIN", "30"))))
