"""APScheduler's only door: it ticks, in one process, and nothing of value lives in it. A tick wakes a worker."""

from __future__ import annotations

from collections.abc import Callable

from apscheduler.schedulers.background import BackgroundScheduler  # type: ignore[import-untyped]


class Ticker:
    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(timezone="UTC")

    def every(self, seconds: float, wake: Callable[[], None]) -> None:
        """Call `wake` (quick: it sets an event) each `seconds`."""
        self._scheduler.add_job(
            wake, "interval", seconds=seconds, coalesce=True, max_instances=1, misfire_grace_time=None
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
