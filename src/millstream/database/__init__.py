"""Databases: sessions that live as long as their stream, connections that do not, and queries as sources.

`Database` is the participant; `session` and `async_session` are what an author uses. A session joins the
settlement of its stream when it is first used (`units`), gives its connection back whenever the stream
pauses and nothing needs it (`lease`), and is one with the `transaction` package where the code is
synchronous (`joining`). A query that is returned becomes a `RowSource` (`rows`).
"""

from millstream.database.database import Database
from millstream.database.pins import LeaseReport
from millstream.database.rows import RowSource

__all__ = ["Database", "LeaseReport", "RowSource"]
