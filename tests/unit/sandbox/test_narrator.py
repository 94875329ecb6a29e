"""The demo's printed lines."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from bridge.clock import ManualClock
from bridge.sandbox.narrate import Narrator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 25, tzinfo=UTC))


def test_a_step_is_one_line_with_offset_parties_answer_and_duration(clock: ManualClock) -> None:
    out = io.StringIO()
    narrator = Narrator(out, clock=clock)
    clock.advance(1.5)
    with narrator.step("RIS", "Bridge", "OMI^O23 new order") as answer:
        clock.advance(0.004)
        answer.set("AA")
    assert out.getvalue() == "+   1.5s  RIS → Bridge  OMI^O23 new order  [AA, 4 ms]\n"


def test_a_failing_step_is_told_and_goes_on_failing(clock: ManualClock) -> None:
    out = io.StringIO()
    with pytest.raises(ValueError), Narrator(out, clock=clock).step("CT1", "Bridge", "C-ECHO"):
        raise ValueError
    assert "[ValueError, 0 ms]" in out.getvalue()


def test_no_escape_codes_and_one_line_of_progress_without_a_terminal(clock: ManualClock) -> None:
    out = io.StringIO()
    narrator = Narrator(out, clock=clock)
    with narrator.progress("CT1", "Bridge", "C-STORE") as tick:
        for done in (1, 2, 3):
            clock.advance(1)
            tick(done, 3)
    assert out.getvalue() == "+   3.0s  CT1 → Bridge  C-STORE  [3 of 3, 3.0 s]\n"


def test_progress_may_end_in_words_of_its_own(clock: ManualClock) -> None:
    out = io.StringIO()
    with Narrator(out, clock=clock).progress("Setup", "viewer", "npm ci") as tick:
        tick(1, 1)
        tick.set("in place")
    assert "[in place, 0 ms]" in out.getvalue()


def test_progress_that_stops_short_is_no_success(clock: ManualClock) -> None:
    out = Terminal()
    with Narrator(out, clock=clock).progress("CT1", "Bridge", "C-STORE") as tick:
        tick(1, 2)
    assert "\033[31m[1 of 2" in out.getvalue()


def test_progress_moves_on_a_terminal_and_leaves_one_line(clock: ManualClock) -> None:
    out = Terminal()
    with Narrator(out, clock=clock).progress("CT1", "Bridge", "C-STORE") as tick:
        clock.advance(1)
        tick(1, 2)
        clock.advance(1)
        tick(2, 2)
    assert "█" in out.getvalue()
    assert out.getvalue().count("\n") == 1
    assert "\033[32m" in out.getvalue()
