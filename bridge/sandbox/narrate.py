"""The demo's printed lines: one readable line a step, who tells whom what, what came back, how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from bridge.clock import Clock, SystemClock

_RESET, _BOLD, _DIM, _GREEN, _RED, _CYAN = "\033[0m", "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[36m"
_BAR_WIDTH = 24
_REDRAW_SECONDS = 0.1


class Answer:
    """What a step's block says of its outcome; unset, the line ends in `ok`."""

    def __init__(self) -> None:
        self.text = "ok"
        self.good = True

    def set(self, text: str, *, good: bool = True) -> None:
        self.text, self.good = text, good


class Progress(Answer):
    """As an Answer; called with (done, total) meanwhile. Unset, the line ends in `done of total`."""

    def __init__(self, draw: Callable[[int, int], None]) -> None:
        super().__init__()
        self._draw = draw
        self.text = ""
        self._done = self._total = 0

    def __call__(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._draw(done, total)

    def finish(self) -> None:
        if not self.text:
            self.set(f"{self._done} of {self._total}", good=self._done == self._total)


class Narrator:
    """Writes to `stream`; colours and a moving bar only when that is a terminal."""

    def __init__(self, stream: TextIO, *, clock: Clock | None = None) -> None:
        self._stream = stream
        self._clock = clock or SystemClock()
        self._begun = self._clock.monotonic()
        self._tty = stream.isatty()

    def section(self, title: str) -> None:
        """A heading with room above it."""
        self._write(f"\n{self._paint(_BOLD + _CYAN, title)}\n")

    def note(self, text: str) -> None:
        """A line that is no exchange: an address to open, a remark."""
        self._write(f"{' ' * 9}{text}\n")

    def say(
        self, who: str, whom: str, what: str, answer: str = "", seconds: float | None = None, *, good: bool = True
    ) -> None:
        """One exchange: `+  1.2s  RIS -> Bridge  OMI^O23 new order  [AA, 4 ms]`."""
        offset = f"+{self._clock.monotonic() - self._begun:6.1f}s"
        took = _duration(seconds) if seconds is not None else ""
        outcome = ", ".join(part for part in (answer, took) if part)
        line = f"{self._paint(_DIM, offset)}  {self._paint(_BOLD, who)} → {self._paint(_BOLD, whom)}  {what}"
        if outcome:
            line += "  " + self._paint(_GREEN if good else _RED, f"[{outcome}]")
        self._write(line + "\n")

    @contextmanager
    def step(self, who: str, whom: str, what: str) -> Iterator[Answer]:
        """Time the block and print its line after it; an exception is printed as the answer and goes on."""
        answer = Answer()
        begun = self._clock.monotonic()
        try:
            yield answer
        except Exception as error:
            self.say(who, whom, what, type(error).__name__, self._clock.monotonic() - begun, good=False)
            raise
        self.say(who, whom, what, answer.text, self._clock.monotonic() - begun, good=answer.good)

    @contextmanager
    def progress(self, who: str, whom: str, what: str) -> Iterator[Progress]:
        """As `step`, for long work: the block calls what it is given with (done, total)."""
        drawn = [-_REDRAW_SECONDS]

        def draw(done: int, total: int) -> None:
            now = self._clock.monotonic()
            if self._tty and (done == total or now - drawn[0] >= _REDRAW_SECONDS):
                drawn[0] = now
                self._write(f"\r\033[K{' ' * 9}{_bar(done, total)} {done}/{total} {what}")

        tick = Progress(draw)
        with self.step(who, whom, what) as answer:
            try:
                yield tick
            finally:
                if self._tty:
                    self._write("\r\033[K")
            tick.finish()
            answer.set(tick.text, good=tick.good)

    def wait_until(self, true: Callable[[], bool], seconds: float = 30.0) -> bool:
        """Look five times a second until `true()`; False when the time is over first."""
        end = self._clock.monotonic() + seconds
        while not true():
            if self._clock.monotonic() >= end:
                return False
            time.sleep(0.2)
        return True

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._tty else text

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _bar(done: int, total: int) -> str:
    filled = round(_BAR_WIDTH * done / total) if total else 0
    return "█" * filled + "░" * (_BAR_WIDTH - filled)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def counted(number: int, one: str, more: str = "") -> str:
    """`1 image`, `2 images`; `more` where an s does not do."""
    return f"{number} {one if number == 1 else more or one + 's'}"
