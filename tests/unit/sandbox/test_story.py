"""What the demo's lines say, and when its orders are scheduled."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.clock import ManualClock
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital
from bridge.sandbox.narrate import Narrator, counted
from bridge.sandbox.story import Story

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(("number", "told"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_is_no_plural(number: int, told: str) -> None:
    assert counted(number, "image") == told


def test_an_order_is_scheduled_minutes_before_its_scan(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, fhir_base="http://localhost:9/fhir")
    story = Story(hospital, PretendEhr(), Narrator(io.StringIO()), ManualClock(NOON))
    order = story.order("CT", "CTCHEST", "CT chest", "2.25.1")
    early = NOON.astimezone().replace(tzinfo=None) - order.start
    assert timedelta(0) < early < timedelta(minutes=30)
