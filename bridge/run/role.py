"""The life of one role: start, say where it listens, wait for the end, drain.

A role ends on SIGTERM, when its supervisor's pipe closes (no orphan keeps a port), or when its store is broken.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

log = logging.getLogger("bridge.role")
STORE_BROKEN = 70
"""Exit status when a sync failed (EX_SOFTWARE): the supervisor starts the role anew, from what is on disk."""


class Role(Protocol):
    """`start` listens and returns the ports by name; `stop` drains and ends within its own limits."""

    name: str

    def start(self) -> dict[str, int]: ...

    def stop(self) -> None: ...


class Ending:
    """Why and when the process shall end; shared by signals, the pipe and the store.

    A queue and not an event: a signal's handler may run while its own thread holds an event's lock.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.status = 0

    def ask(self, status: int = 0) -> None:
        self.status = self.status or status
        self._asked.put(None)

    def wait(self, timeout: float) -> bool:
        """Whether the end was asked for within `timeout` seconds. For one thread."""
        try:
            self._asked.get(timeout=timeout)
        except queue.Empty:
            return False
        self._asked.put(None)
        return True


def run_role(role: Role, folder: Path, ending: Ending, *, pipe: bool) -> int:
    """Run until asked to end; `folder` gets `<role>.json` with pid and ports. Returns the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _s, _f: ending.ask())
    if pipe:
        threading.Thread(target=_watch_pipe, args=(ending.ask,), daemon=True).start()
    notice = folder / f"{role.name}.json"
    ports = role.start()
    write_notice(notice, {"pid": os.getpid(), "ports": ports})
    # Never without a limit: a signal that the system gave to another thread is handled when this one next wakes.
    while not ending.wait(0.2):
        pass
    if ending.status == STORE_BROKEN:
        # Nothing is flushed or answered on the way out: what is on disk is all there is.
        os._exit(STORE_BROKEN)
    with suppress(OSError):  # of a process that is gone it says nothing, wherever it cannot be removed
        notice.unlink()
    try:
        role.stop()
    except Exception:
        # What was answered is on disk; threads that nobody stopped would keep the port and the lock.
        log.exception("the role could not be stopped in order")
        logging.shutdown()
        os._exit(1)
    return ending.status


def write_notice(path: Path, notice: dict[str, object]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(notice))
    temporary.replace(path)


def read_notice(path: Path) -> dict[str, object] | None:
    """What a role says of itself, or None; a notice of a process that is gone counts for nothing."""
    try:
        notice: dict[str, object] = json.loads(path.read_text())
        os.kill(int(str(notice["pid"])), 0)
    except (OSError, ValueError, KeyError):
        return None
    return notice


def _watch_pipe(ask: Callable[[], None]) -> None:
    """The supervisor holds the other end: end of file means that it is gone."""
    while os.read(0, 1):  # not sys.stdin: its lock, held here for ever, would break the interpreter's end
        pass
    ask()
