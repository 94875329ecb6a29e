"""How a scanner asks for its list is remembered, without who it asked for: so that a person can ask as it does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import list_keys, moved
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import House

DAILY = WorklistKeys(station_ae_title="CT1", start_date="20261125", modality="CT", patient_name="*")


@pytest.fixture
def desk(house: House) -> WorklistDesk:
    return WorklistDesk(house.context)


def remembered(house: House, title: str = "CT1") -> dict[str, str] | None:
    """What another process reads."""
    found = WorklistDesk(house.context).last_asked(title)
    return None if found is None else dict(found.keys)


def test_the_keys_of_a_list_are_kept_and_universal_ones_are_not(house: House, desk: WorklistDesk) -> None:
    desk.note_asked("CT1", DAILY)
    assert remembered(house) == {"station_ae_title": "CT1", "start_date": "20261125", "modality": "CT"}


def test_a_device_that_never_asked_is_known_as_such(house: House, desk: WorklistDesk) -> None:
    desk.note_asked("CT1", DAILY)
    assert remembered(house, "CT2") is None


def test_one_that_asks_for_everything_did_ask(house: House, desk: WorklistDesk) -> None:
    desk.note_asked("CT1", WorklistKeys())
    assert remembered(house) == {}


@pytest.mark.parametrize(
    "keys",
    [
        {"patient_name": "DOE*"},
        {"patient_id": "1001"},
        {"accession_number": "A1"},
        {"study_instance_uids": ("1.2.3",)},
        {"requesting_physician": "GALEN"},
        {"birth_date": "19800101"},
        {"other_patient_ids": (("patient_id", "77"),)},
    ],
    ids=str,
)
def test_a_query_that_seeks_somebody_leaves_no_trace(house: House, desk: WorklistDesk, keys: dict[str, Any]) -> None:
    desk.note_asked("CT1", DAILY)
    desk.note_asked("CT1", WorklistKeys(station_ae_title="CT9", **keys))
    assert remembered(house) == list_keys(DAILY)


def test_its_days_are_counted_from_today(house: House, desk: WorklistDesk) -> None:
    desk.note_asked("CT1", DAILY)
    house.clock.advance(86400)
    found = remembered(house)
    assert found is not None and found["start_date"] == "20261126"


def test_a_console_that_is_stuck_on_yesterday_is_known_to_ask_for_yesterday(house: House, desk: WorklistDesk) -> None:
    desk.note_asked("CT1", DAILY)
    house.clock.advance(86400)
    desk.note_asked("CT1", DAILY)
    assert remembered(house) == list_keys(DAILY)


def test_the_same_query_again_is_no_reason_to_sync_a_disk(house: House, desk: WorklistDesk) -> None:
    for _ in range(3):
        desk.note_asked("CT1", DAILY)
    assert [row.count for row in house.rows("activity") if row.kind == "worklist-keys"] == [1]


def test_a_device_that_negotiates_names_that_resemble_is_known_as_well() -> None:
    assert list_keys(WorklistKeys(modality="CT", fuzzy=True)) == {"modality": "CT"}


@pytest.mark.parametrize(
    ("days", "later"),
    [
        ("20261130", "20261201"),
        ("20261124-20261126", "20261125-20261127"),
        ("20261130-", "20261201-"),
        ("-20261130", "-20261201"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_a_range_moves_at_both_ends(days: str, later: str) -> None:
    assert moved(days, timedelta(days=1)) == later
