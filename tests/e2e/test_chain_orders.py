"""Orders over MLLP as the scanner sees them: resends, restarts, cancels, changes and daylight saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from bridge.hl7.client import MllpClient
from bridge.sandbox import ris as messages
from tests.e2e.story import STEP, Site, Story, until

SUMMER, WINTER = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))


def exchange(site: Site, raw: bytes) -> bytes:
    with MllpClient("127.0.0.1", site.hospital.ports.hl7, 10) as client:
        return client.send(raw)


def effects(story: Story) -> tuple[int, int, int]:
    """How many messages, orders and steps of order history the bridge has of this order."""
    row = story.site.rows(
        "SELECT (SELECT count(*) FROM message WHERE control_id = :c) AS m, (SELECT count(*) FROM imaging_order WHERE "
        "placer_order_number = :n) AS o, (SELECT count(*) FROM order_history h JOIN imaging_order o "
        "ON o.id = h.order_id WHERE o.placer_order_number = :n) AS h",
        c=f"resend-{story.number}",
        n=story.order.placer,
    )[0]
    return row["m"], row["o"], row["h"]


@pytest.mark.parametrize("build", [messages.orm_o01, messages.omi_o23])
def test_a_resent_message_gets_the_same_bytes_and_no_second_effect(site: Site, build: Callable[..., bytes]) -> None:
    story = site.story()
    raw = build(story.order, datetime.now(UTC), f"resend-{story.number}")
    first = exchange(site, raw)
    assert exchange(site, raw) == first and b"MSA|AA" in first
    assert effects(story) == (1, 1, 1)


def test_a_resend_after_a_restart_gets_the_same_bytes_and_no_second_effect(site: Site) -> None:
    story = site.story()
    raw = messages.omi_o23(story.order, datetime.now(UTC), f"resend-{story.number}")
    first = exchange(site, raw)
    old = site.hospital.kill_role("hl7")
    assert until(lambda: site.hospital.role_pid("hl7") not in (None, old), 20)
    assert exchange(site, raw) == first
    assert effects(story) == (1, 1, 1)


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("version", ["2.3.1", "2.5.1"])
def test_a_cancelled_order_leaves_the_worklist(site: Site, tmp_path: Path, version: str) -> None:
    story = site.story()
    story.send(messages.orm_o01 if version == "2.3.1" else messages.omi_o23)
    assert len(story.worklist(tmp_path / "before")) == 1
    site.ris.send(messages.cancel, story.order, version=version)
    assert story.worklist(tmp_path / "after") == []
    assert story.order_row()["status"] == "CA"


@pytest.mark.peer("dcmtk")
def test_a_changed_order_keeps_its_study_and_moves_its_time(site: Site, tmp_path: Path) -> None:
    story = site.story(start=datetime(2027, 3, 1, 9, 0))
    story.send()
    story.order = replace(story.order, start=datetime(2027, 3, 2, 11, 30))
    story.send(messages.change)
    found = story.worklist(tmp_path / "found")
    step = found[0].ScheduledProcedureStepSequence[0]
    assert [str(item.StudyInstanceUID) for item in found] == [story.uid]
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime[:4]) == ("20270302", "1130")


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize(
    ("start", "day", "time"),
    [
        (datetime(2027, 7, 1, 8, 0, tzinfo=UTC), "20270701", "1000"),
        (datetime(2027, 1, 15, 8, 0, tzinfo=UTC), "20270115", "0900"),
        (datetime(2027, 7, 1, 23, 0, tzinfo=UTC), "20270702", "0100"),
        (datetime(2027, 7, 1, 9, 0), "20270701", "0900"),
        # the hour that comes twice, and the last moment before the hour that never comes
        (datetime(2027, 10, 31, 2, 30, tzinfo=SUMMER), "20271031", "0230"),
        (datetime(2027, 10, 31, 2, 30, tzinfo=WINTER), "20271031", "0230"),
        (datetime(2027, 3, 28, 0, 59, tzinfo=UTC), "20270328", "0159"),
        (datetime(2027, 3, 28, 1, 0, tzinfo=UTC), "20270328", "0300"),
    ],
)
def test_the_worklist_says_the_hospitals_wall_clock(
    site: Site, tmp_path: Path, start: datetime, day: str, time: str
) -> None:
    story = site.story(start=start)
    story.send()
    found = story.worklist(tmp_path / "found", f"{STEP}ScheduledProcedureStepStartDate={day}")
    step = found[0].ScheduledProcedureStepSequence[0]
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime[:4]) == (day, time)
