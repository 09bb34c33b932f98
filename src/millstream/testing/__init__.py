"""The test kit: clients that can step, stall and leave a stream, real servers, and checks.

`Client` and `SyncClient` speak to any ASGI application in this process; `serve` and `serve_process` run
a real server, to which `connect` opens a raw connection; `no_leaks` requires that nothing is left over;
`check_codec` and `check_log` require that a codec, or a log's engine, keeps its contract.
"""

from millstream.testing.bodies import unfinished
from millstream.testing.client import Client
from millstream.testing.contracts import check_codec
from millstream.testing.durable import check_log
from millstream.testing.events import EventReader, ReceivedEvent
from millstream.testing.failures import (
    BodyTruncated,
    CheckFailed,
    Leaked,
    LifespanFailed,
    Misused,
    ProtocolViolation,
    ServerFailed,
    StillRunning,
    TimedOut,
)
from millstream.testing.leaks import no_leaks
from millstream.testing.process import ServerProcess, serve_process
from millstream.testing.reply import Reply, StreamReply
from millstream.testing.server import Server, serve
from millstream.testing.sync_client import SyncClient, SyncStreamReply
from millstream.testing.wire import Framing, WireChunk, WireClient, WireReply, connect

__all__ = [
    "BodyTruncated",
    "CheckFailed",
    "Client",
    "EventReader",
    "Framing",
    "Leaked",
    "LifespanFailed",
    "Misused",
    "ProtocolViolation",
    "ReceivedEvent",
    "Reply",
    "Server",
    "ServerFailed",
    "ServerProcess",
    "StillRunning",
    "StreamReply",
    "SyncClient",
    "SyncStreamReply",
    "TimedOut",
    "WireChunk",
    "WireClient",
    "WireReply",
    "check_codec",
    "check_log",
    "connect",
    "no_leaks",
    "serve",
    "serve_process",
    "unfinished",
]
