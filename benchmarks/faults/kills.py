"""kill -9, over and over: one part of the site at a time, each kind in turn."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import psutil

from benchmarks.faults.site import Site

WEB_CHILD, WEB, WORKER_CHILD, WORKER = "web process", "web master", "worker process", "worker"
STOPPED_WORKER, BEAT, BROKER = "worker, asked to stop", "beat", "broker"
BACKEND, DATABASE = "database backend", "database"
ALL = (WEB_CHILD, WEB, WORKER_CHILD, WORKER, BEAT, BROKER, BACKEND, DATABASE)
OF_JOBS = (WORKER_CHILD, WORKER, STOPPED_WORKER, BROKER)


class Killer:
    """Kills the given kinds in turn, in a new order each round."""

    def __init__(self, site: Site, rng: random.Random) -> None:
        self.site, self.rng = site, rng
        self.killed: Counter[str] = Counter()

    def has_hit(self, kinds: Iterable[str], n: int = 1) -> bool:
        """Each of them at least so often."""
        return all(self.killed[kind] >= n for kind in kinds)

    def strike(self, kind: str) -> bool:
        """Whether there was something to kill; what is just being started again is left alone."""
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            is_hit = _STRIKES[kind](self)
            self.killed[kind] += is_hit
            return is_hit
        return False

    @contextlib.contextmanager
    def at_work(self, kinds: Sequence[str], pauses: Callable[[], Iterable[float]]) -> Iterator[None]:
        """Strikes inside the block; after each it asks for pauses, in seconds."""
        ended = threading.Event()

        def run() -> None:
            while not ended.is_set():
                for kind in self.rng.sample(kinds, len(kinds)):
                    self.strike(kind)
                    if any(ended.wait(pause) for pause in pauses()):
                        return

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def program(self, name: str) -> bool:
        """A program with all its children, as the kernel would for want of memory."""
        running = self.site.named(name)
        if running:
            self.rng.choice(running).kill_group()
        return bool(running)

    def child(self, name: str) -> bool:
        """One of the processes that a master has made; it makes another."""
        children = [
            child
            for service in self.site.named(name)
            if service.process is not None
            for child in psutil.Process(service.process.pid).children()
        ]
        if children:
            self.rng.choice(children).kill()
        return bool(children)

    def stop_worker(self) -> bool:
        running = self.site.named("worker")
        process = self.rng.choice(running).process if running else None
        if process is not None:
            process.send_signal(signal.SIGTERM)
        return process is not None

    def server(self, name: str) -> bool:
        """A server with all its processes."""
        process = self.site.server(name)
        if process is None:
            return False
        for part in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()
        return True

    def backend(self) -> bool:
        """One connection's process: Postgres then ends all others and recovers."""
        server = self.site.server("database")
        backends = [
            child
            for child in (server.children() if server else [])
            if "alliance alliance" in " ".join(child.cmdline())
        ]
        if backends:
            os.kill(self.rng.choice(backends).pid, signal.SIGKILL)
        return bool(backends)


_STRIKES: dict[str, Callable[[Killer], bool]] = {
    WEB_CHILD: lambda killer: killer.child("web"),
    WEB: lambda killer: killer.program("web"),
    WORKER_CHILD: lambda killer: killer.child("worker"),
    WORKER: lambda killer: killer.program("worker"),
    STOPPED_WORKER: Killer.stop_worker,
    BEAT: lambda killer: killer.program("beat"),
    BROKER: lambda killer: killer.server("broker"),
    BACKEND: Killer.backend,
    DATABASE: lambda killer: killer.server("database"),
}
