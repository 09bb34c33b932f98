"""Only our own applications can drain; how they do is tested over the wire, in `test_commands`."""

from __future__ import annotations

from millstream.app import Millstream
from millstream.cli.draining import drained
from millstream.dispatch.controllers import TGController


def test_an_application_of_ours_listens() -> None:
    application = Millstream(TGController())
    assert drained(application) is not application


def test_another_stays_as_it_is() -> None:
    async def application(scope: object, receive: object, send: object) -> None: ...

    assert drained(application) is application
