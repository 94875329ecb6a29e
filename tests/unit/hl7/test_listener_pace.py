"""How fast one address may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.hl7.pace import Pace


def test_without_a_limit_nobody_waits() -> None:
    pace = Pace(0)
    assert {pace.delay("a", 0.0) for _ in range(1000)} == {0.0}


def test_a_seconds_worth_comes_at_once_and_the_rest_waits_its_turn() -> None:
    pace = Pace(4)
    assert [round(pace.delay("a", 0.0), 6) for _ in range(7)] == [0, 0, 0, 0, 0.25, 0.5, 0.75]


def test_less_than_one_a_second_lets_the_first_pass() -> None:
    pace = Pace(0.5)
    assert [pace.delay("a", 0.0), pace.delay("a", 0.0)] == [0, 2]


def test_one_address_does_not_slow_another() -> None:
    pace = Pace(1)
    for _ in range(50):
        pace.delay("noisy", 0.0)
    assert pace.delay("quiet", 0.0) == 0


def test_who_has_waited_is_free_again() -> None:
    pace = Pace(1)
    pace.delay("a", 0.0)
    assert pace.delay("a", 0.0) == 1
    assert pace.delay("a", 10.0) == 0


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.1, 50))
def test_no_more_than_the_rate_and_one_seconds_worth_pass_in_any_time(gaps: list[float], rate: float) -> None:
    pace, now, passed = Pace(rate), 0.0, []
    for gap in gaps:
        now = max(now + gap, passed[-1] if passed else 0.0)
        passed.append(now + pace.delay("a", now))
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= rate * (passed[last] - passed[first]) + max(rate, 1) + 1 + 1e-6


def test_addresses_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.hl7.pace._MOST_KNOWN", 10)
    pace = Pace(10)
    for n in range(100):
        pace.delay(f"a{n}", float(n))
    assert len(pace._due) <= 10
