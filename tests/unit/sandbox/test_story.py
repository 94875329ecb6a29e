"""What the demo's lines say, and when its orders are scheduled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bridge.sandbox.narrate import counted
from bridge.sandbox.story import scheduled

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(("number", "told"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_is_no_plural(number: int, told: str) -> None:
    assert counted(number, "image") == told


def test_an_order_is_scheduled_minutes_before_its_scan() -> None:
    early = NOON.astimezone().replace(tzinfo=None) - scheduled(NOON)
    assert timedelta(0) < early < timedelta(minutes=30)
