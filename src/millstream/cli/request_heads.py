"""A limit for the head of a request, which uvicorn's faster parser does not have.

A client may send a header of any size, any number of headers, and any trailers after a chunked body: uvicorn
collects them in memory before the application hears of the request. Here the connection ends with
431 (RFC 6585 §5) before that.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request line and its headers, or of what frames and follows a body; h11 allows as many."""

LINGER: Final = 1.0
"""Seconds that a client has to read the refusal."""


class HeadTooLong(Exception):
    """The head is longer than `MAX_HEAD`; the parser ends with it."""


class LimitedHeads(HttpToolsProtocol):
    """uvicorn's protocol on httptools, with `MAX_HEAD` in force."""

    _unparsed = 0  # bytes since the last that were body, or completed a head
    _is_refused = False

    def data_received(self, data: bytes) -> None:
        """Take what came; all that is neither body nor a complete head counts."""
        if self._is_refused:
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD and not self._is_refused:
            self._refuse()

    def on_headers_complete(self) -> None:
        """Begin to answer, if the head is not too long.

        Raises:
            HeadTooLong: through the parser, to `send_400_response`.
        """
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD:
            self._unparsed = size
            raise HeadTooLong
        self._unparsed = 0
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []  # trailers are no headers (RFC 9110 §6.5.1): the scope has its list already

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Pass the end of the body on."""
        self._unparsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser refused, by the right status."""
        if self._unparsed > MAX_HEAD:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        """End the connection: with a status, unless it would stand in the middle of another response."""
        answered: RequestResponseCycle | None = self.cycle  # typed as if there always were one
        if answered is not None and not answered.response_complete:
            self.transport.abort()
            return
        self.transport.write(_REFUSAL)
        self.transport.close()


_TEXT: Final = b"The request's head is too long.\n"
_REFUSAL: Final = (
    b"%scontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
    % (
        STATUS_LINE[431],
        len(_TEXT),
        _TEXT,
    )
)
