"""What a server costs: CPU seconds and resident memory of its process and all its children."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

try:
    import psutil
except ImportError:
    raise SystemExit("psutil is missing: pip install -r benchmarks/requirements.txt") from None


from servers import ServerFailed


class Gauge:
    """Looks at the processes there are when it is made: servers have forked by the time they answer."""

    def __init__(self, pid: int) -> None:
        try:
            parent = psutil.Process(pid)
            self._tree = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            raise ServerFailed("died") from None

    def cpu(self) -> float:
        """Seconds since the processes began; what has ended counts no more."""
        seconds = 0.0
        for process in self._tree:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                seconds += times.user + times.system
        return seconds

    def resident(self) -> int:
        size = 0
        for process in self._tree:
            with suppress(psutil.NoSuchProcess):
                size += process.memory_info().rss
        return size

    @contextmanager
    def watching(self, every: float = 0.02) -> Iterator[Watch]:
        """Measure what happens in the block."""
        watch = Watch(self)
        stop = threading.Event()
        sampler = threading.Thread(target=watch.sample, args=(stop, every))
        sampler.start()
        try:
            yield watch
        finally:
            stop.set()
            sampler.join()
            watch.finish()


class Watch:
    """One block's cost: CPU seconds, and how far memory rose above its beginning at the highest."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._cpu = gauge.cpu()
        self._before = self._peak = gauge.resident()
        self.cpu = 0.0

    @property
    def grown(self) -> int:
        return self._peak - self._before

    def sample(self, stop: threading.Event, every: float) -> None:
        while not stop.wait(every):
            self._peak = max(self._peak, self._gauge.resident())

    def finish(self) -> None:
        self._peak = max(self._peak, self._gauge.resident())
        self.cpu = self._gauge.cpu() - self._cpu
