"""How fast one address may send: the faster one waits, nothing is dropped."""

from __future__ import annotations

import threading

_MOST_KNOWN = 4096


class Pace:
    """Messages a second for each address; a second's worth may come at once (the generic cell rate algorithm)."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()

    def delay(self, address: str, now: float) -> float:
        """Count a message and return the seconds that it must wait."""
        if not self._interval:
            return 0.0
        with self._lock:
            if len(self._due) >= _MOST_KNOWN:
                self._due = {one: due for one, due in self._due.items() if due > now}
            due = max(self._due.get(address, now), now)
            self._due[address] = due + self._interval
            return max(0.0, due - now - max(1.0 - self._interval, 0.0))
