"""Who writes next to the one SQLite file: two file locks, so that waiting is a queue and not a poll.

SQLite's busy handler sleeps and tries again, and starves a waiter while another process commits without pause. Here
a writer takes *next*, then *main*, frees *next*, works, frees *main*. The kernel frees the locks of the dead.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turnstile:
    """Between processes only: within one, the single writer thread is the queue."""

    def __init__(self, folder: Path) -> None:
        self._next = os.open(folder / "writer.next", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._main = os.open(folder / "writer.main", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def turn(self) -> Iterator[None]:
        fcntl.flock(self._next, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._main, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._main, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._next)
        os.close(self._main)
