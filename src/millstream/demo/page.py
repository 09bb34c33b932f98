"""The four Python examples of TurboGears' page about streaming responses.

The first two stand here as they are printed there, which is why this file is neither formatted nor annotated.
The other two speak to TurboGears' `DBSession`, `model` and `transaction`; they stand here as our own
equivalents over plain `sqlite3`.
"""
# fmt: off
# ruff: noqa: ANN201, ANN202, ANN001, D102, PLR2004, Q000, SLF001, UP031  the page's own code, as printed
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from millstream import TGController, expose, request, stream

AIRPLANE = 'SELECT tailnum FROM flights WHERE id = ?'


class Generators(TGController):
    """The example of "Streaming with Generators", as printed."""

    @expose(content_type='application/json')
    def stream_list(self):
        def output_pause():
            num = 0
            yield '['
            while num < 9:
                num += 1
                yield '%s, ' % num
                time.sleep(1)
            yield '10]'
        return output_pause()


class AccessingRequest(TGController):
    """The example of "Accessing Request", as printed."""

    @expose(content_type='text/css')
    def stream(self):
        def output_pause(req):
            num = 0
            while num < 10:
                num += 1
                yield '%s/%s\n' % (req.path_info, num)
                time.sleep(1)
        return output_pause(request._current_obj())


# fmt: on


class ReadingFromDatabase(TGController):
    """An equivalent of "Reading from Database": the connection lives as long as the stream."""

    def __init__(self, database: Path) -> None:
        self._database = database

    @expose(content_type="application/json")
    def stream_db(self) -> Iterator[str]:
        """The airplanes of the first flights, one a second."""
        with closing(sqlite3.connect(self._database)) as database:
            yield "["
            for num in range(9):
                found = database.execute(AIRPLANE, [num]).fetchone()
                yield f'"{found[0]}", ' if found else "null, "
                stream.sleep(1)
            yield "null]"


class WritingToDatabase(TGController):
    """An equivalent of "Writing to Database": a private database; the last item tells of the commit."""

    @expose(content_type="application/json")
    def stream_list(self) -> Iterator[str]:
        """Nine permissions, one a second."""
        with closing(sqlite3.connect("")) as database:
            database.execute("CREATE TABLE permission (permission_name TEXT)")
            yield "["
            for num in range(9):
                name = f"perm_{num}"
                database.execute("INSERT INTO permission VALUES (?)", [name])
                yield f'"{name}", '
                stream.sleep(1)
            database.commit()
            yield '"committed"]'


class PageController(TGController):
    """One controller for each example, because two of them bear the same name."""

    def __init__(self, database: Path) -> None:
        self.generators = Generators()
        self.accessing = AccessingRequest()
        self.reading = ReadingFromDatabase(database)
        self.writing = WritingToDatabase()
