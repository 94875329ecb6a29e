"""`bridge alarms` and `bridge status`: trouble first."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge import app
from bridge.store import alarms
from tests.unit.cli.site import OnDisk

BEGAN = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
DETAILS = {"value": 61.5, "limit": 60, "unit": "min"}


@pytest.fixture
def site(tmp_path: Path) -> OnDisk:
    made = OnDisk(tmp_path)
    made.store()
    database = app.open_database(made.settings)
    ended = database.write(lambda c: alarms.begin_alarm(c, "disk-low", "archive", {}, BEGAN))
    database.write(lambda c: alarms.end_alarm(c, ended, BEGAN))
    database.write(lambda c: alarms.begin_alarm(c, "feed-silent", "ris", DETAILS, BEGAN))
    database.close()
    return made


def test_open_alarms_are_listed_and_fail_the_command(site: OnDisk) -> None:
    answer = site.run("alarms")
    assert answer.exit_code == 1
    assert "feed-silent" in answer.output
    assert "61.5 min, limit 60" in answer.output
    assert "disk-low" not in answer.output


def test_those_that_have_ended_are_listed_when_asked_for(site: OnDisk) -> None:
    rows = json.loads(site.run("alarms", "--all", "--json").output)
    assert [(r["kind"], r["ended_at"] is None) for r in rows] == [("feed-silent", True), ("disk-low", False)]


def test_no_alarm_is_a_good_end(tmp_path: Path) -> None:
    quiet = OnDisk(tmp_path)
    quiet.store()
    answer = quiet.run("alarms")
    assert (answer.exit_code, answer.output) == (0, "No alarms.\n")


def test_status_tells_open_alarms_first(site: OnDisk) -> None:
    lines = [line for line in site.run("status").output.splitlines() if line.strip()]
    assert "ALARM  feed-silent" in lines[1]
