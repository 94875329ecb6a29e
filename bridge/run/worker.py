"""The worker's loops: look for rows that are due, do them, look again. A wake only saves waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from bridge.errors import BridgeError

log = logging.getLogger("bridge.worker")


class Loop:
    """One thread that runs `steps` in order, again at once while any of them did something, else when woken.

    A step returns how many rows it did. A step that fails is logged and tried again with the next round: the rows
    are still there.
    """

    def __init__(self, name: str, steps: tuple[Callable[[], int], ...], *, idle_seconds: float = 1.0) -> None:
        self.name = name
        self._steps = steps
        self._idle = idle_seconds
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """End after the step in hand."""
        self._ending.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.clear()
            done, failed = 0, False
            for step in self._steps:
                if self._ending.is_set():
                    return
                try:
                    done += step()
                except BridgeError as fault:
                    failed = True
                    log.warning("step failed", extra={"fields": {"role": self.name, "error": fault.code}})
                except Exception:
                    failed = True
                    log.exception("step failed", extra={"fields": {"role": self.name}})
            if failed:
                self._ending.wait(self._idle)
            elif not done:
                self._wake.wait(self._idle)
