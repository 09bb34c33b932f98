from __future__ import annotations

import threading

import pytest

from millstream.testing.failures import ServerFailed
from millstream.testing.log import Log


def test_a_line_may_be_waited_for() -> None:
    log = Log()
    log.add("one\n")
    writer = threading.Thread(target=log.add, args=("one more\n",))
    writer.start()
    log.wait("one", 5, times=2)
    writer.join()
    assert log.text == "one\none more\n"


def test_a_log_that_ends_is_not_waited_for() -> None:
    log = Log()
    log.add("one\n")
    log.close()
    with pytest.raises(ServerFailed, match=r"(?s)ended and had not logged 'two' 1 times; its log:\none"):
        log.wait("two", 5)
