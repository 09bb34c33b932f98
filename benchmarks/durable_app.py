"""Durable streams on Millstream; the log's URL is in the environment variable BENCH_DURABLE."""

import os

from millstream.durable.engines import open_log
from millstream.durable.http.endpoint import DurableStreams

app = DurableStreams(open_log(os.environ["BENCH_DURABLE"]))
