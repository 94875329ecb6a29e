"""The supervisor: no database, no listeners. Starts the roles as fresh processes and keeps them alive.

A role that dies is started again after 0.1 s, doubling to 5 s; five deaths of one role in a minute end the whole
service with an error, for a role that cannot live must not pretend to.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.errors import ConfigurationError
from bridge.log import work
from bridge.run.role import Ending

log = logging.getLogger("bridge.supervisor")
DRAIN_SECONDS = 30.0
DEATHS, WINDOW_SECONDS = 5, 60.0
FIRST_DELAY, LAST_DELAY = 0.1, 5.0


class DataFolderLock:
    """One supervisor a data folder, and one process a role: a second is refused. The kernel frees a dead one's."""

    def __init__(self, folder: Path, name: str = "supervisor") -> None:
        path = folder / f"{name}.lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:  # the disk is read-only, say
            raise ConfigurationError([f"{path}: {fault.strerror}"]) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise ConfigurationError([f"{folder}: another bridge runs on this data folder ({name})"]) from None

    def close(self) -> None:
        os.close(self._descriptor)


class _Child:
    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.command = list(command)
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths: deque[float] = deque(maxlen=DEATHS)
        self.delay = FIRST_DELAY
        self.due = 0.0

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
        work(log, "role started", role=self.name, pid=self.process.pid)


class Supervisor:
    """`commands` maps a role to the command that runs it."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._children = [_Child(name, command) for name, command in commands.items()]
        self._ending = Ending()
        self._failed = False

    def run(self) -> int:
        """Start all, watch, and return the exit status once all have ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _s, _f: self._ending.ask())
        for child in self._children:
            child.start()
        while not self._ending.wait(0.1):
            for child in self._children:
                self._look_after(child)
        work(log, "ending", outcome="failed" if self._failed else "asked")
        self._end()
        work(log, "ended")
        return 1 if self._failed else 0

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.due:
                child.start()
            return
        status = child.process.poll()
        if status is None:
            if child.deaths and now - child.deaths[-1] > WINDOW_SECONDS:
                child.deaths.clear()
                child.delay = FIRST_DELAY
            return
        work(log, "role died", logging.ERROR, role=child.name, status=status, pid=child.process.pid)
        child.process = None
        child.deaths.append(now)
        if len(child.deaths) == DEATHS and now - child.deaths[0] <= WINDOW_SECONDS:
            work(log, "role dies again and again: giving up", logging.CRITICAL, role=child.name)
            self._failed = True
            self._ending.ask()
            return
        child.due = now + child.delay
        child.delay = min(child.delay * 2, LAST_DELAY)

    def _end(self) -> None:
        """Ask all to drain, wait, then end what still runs."""
        live = [c.process for c in self._children if c.process is not None]
        for process in live:
            process.terminate()
        deadline = time.monotonic() + DRAIN_SECONDS
        for process in live:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
