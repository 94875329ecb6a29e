"""The database's part of a backup: the lock that keeps its files from being deleted, the copy, and what goes in it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import StateConflict

LOCK = "backup.lock"
PATIENCE_SECONDS = 30.0


@contextmanager
def holding(run: Path) -> Iterator[None]:
    """The lock of a backup, in the folder `run`: nothing that a row owned is deleted meanwhile.

    Waits for a deletion in hand. Raises `StateConflict` when another backup has it.
    """
    with _opened(run) as descriptor:
        pause = threading.Event()
        for _ in range(int(PATIENCE_SECONDS / 0.1)):
            if _locked(descriptor, fcntl.LOCK_EX):
                break
            pause.wait(0.1)
        else:
            raise StateConflict("another backup runs", where=LOCK)
        yield


@contextmanager
def deleting(run: Path) -> Iterator[bool]:
    """For a deletion's single piece, rows and files both: False while a backup runs, and nothing may be deleted."""
    with _opened(run) as descriptor:
        yield _locked(descriptor, fcntl.LOCK_SH)


@contextmanager
def _opened(run: Path) -> Iterator[int]:
    descriptor = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # the kernel frees the lock, of the dead too


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
