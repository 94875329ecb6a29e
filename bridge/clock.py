"""The clock, injected everywhere: nothing else in the project asks the machine for the time.

There are two. `now` is the wall clock, for what people and other systems read: a stamp, a token's life, a day. It may
be moved while the bridge runs. `steady` decides when something is due: leases, pauses, quiet times and what may be
deleted. It begins as the wall clock and then counts seconds, the same for every process of a bridge: one machine's
share the moment at which it began, several machines' take it from their database.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """`now` and `steady` are aware UTC datetimes; `monotonic` counts seconds; the last two never jump."""

    def now(self) -> datetime: ...

    def steady(self) -> datetime: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock. `epoch` is the time, in seconds since 1970, at which `monotonic` was 0."""

    def __init__(self, epoch: float | None = None) -> None:
        self._epoch = _epoch() if epoch is None else epoch

    def now(self) -> datetime:
        return datetime.now(UTC)

    def steady(self) -> datetime:
        return datetime.fromtimestamp(self._epoch + time.monotonic(), UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def follow(self, steady: datetime) -> None:
        """From here on steady time is that of another clock, which shows `steady` at this moment."""
        self._epoch = steady.timestamp() - time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved; for tests."""

    def __init__(self, start: datetime) -> None:
        self._now = self._steady = start.astimezone(UTC)
        self._mono = 0.0

    def now(self) -> datetime:
        return self._now

    def steady(self) -> datetime:
        return self._steady

    def monotonic(self) -> float:
        return self._mono

    def advance(self, seconds: float) -> None:
        self.jump(seconds)
        self._steady += timedelta(seconds=seconds)
        self._mono += seconds

    def jump(self, seconds: float) -> None:
        """Somebody moves the wall clock; no time passes."""
        self._now += timedelta(seconds=seconds)


def agreed_epoch(path: Path, *, anew: bool = False) -> float:
    """What the processes of one machine agree on in the file `path`: written by the first, and `anew` at a start.

    A file of before the machine's last start says nothing: its monotonic clock began again.
    """
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    if not anew:
        with suppress(OSError, ValueError, KeyError, TypeError):
            agreed = json.loads(path.read_text())
            if agreed["boot"] == boot:
                return float(agreed["epoch"])
    epoch = _epoch()
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):  # a reader without the right to write has its own
        temporary.write_text(json.dumps({"boot": boot, "epoch": epoch}))
        temporary.replace(path)
    return epoch


def _epoch() -> float:
    return time.time() - time.monotonic()
