"""Patients who do not come are hidden after some hours, and shown again as soon as anybody is heard of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.config import Worklist, WorklistView
from bridge.domain.appointment import AppointmentRequest
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.message import Reading
from bridge.domain.patient import PatientData, PatientEvent, Visit
from bridge.domain.performed import ScheduledReference
from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import Reason
from bridge.store import worklist
from bridge.workflow.expiring import Expiring
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import JANE, SCANNER, House, ct_step, order, who

HOUR = 3600.0
VISIT = Visit(Identifier("V1", "HOSP"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """At noon a step that is to begin at one, and whose patient is given up at one the next day."""
    made = House(tmp_path, worklist=Worklist(no_show_hours=24))
    made.order(order(visit=VISIT))
    yield made
    made.database.close()


def expire(house: House, hours: float = 26) -> int:
    house.clock.advance(hours * HOUR)
    return Expiring(house.context).expire_due()


def shown(house: House, *rows: WorklistView, **keys: Any) -> list[str]:
    context = replace(house.context, settings=_with(house, view=rows)) if rows else house.context
    return [e.accession_number for e in WorklistDesk(context).find(WorklistKeys(**keys), SCANNER)]


def _with(house: House, **changes: Any) -> Any:
    worklist = house.settings.worklist.model_copy(update=changes)
    return house.settings.model_copy(update={"worklist": worklist})


def why(house: House) -> tuple[Reason, ...]:
    (explained,) = WorklistDesk(house.context).explain("A1", WorklistKeys(), SCANNER)
    return explained.reasons


# -- who is hidden ------------------------------------------------------------------------------------------------


def test_who_does_not_come_is_hidden(house: House) -> None:
    assert (expire(house), shown(house)) == (1, [])


def test_before_that_they_are_shown(house: House) -> None:
    assert (expire(house, 24.9), shown(house)) == (0, ["A1"])


def test_the_list_says_why(house: House) -> None:
    expire(house)
    assert why(house) == (Reason("no-show", "20261125 130000"),)


def test_it_is_audited_once(house: House) -> None:
    expire(house)
    expire(house)
    assert house.audited("step-no-show") == 1


def test_no_order_changes_and_nobody_is_told(house: House) -> None:
    def told() -> list[object]:
        return [house.order_row(), house.rows("order_history"), house.rows("outbound_message"), house.reviews()]

    before = told()
    assert (expire(house), told()) == (1, before)


def test_it_counts_no_more_as_due(house: House) -> None:
    expire(house)
    assert house.read(worklist.count_due) == 0


def test_as_shipped_nobody_is_given_up(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.order(order())
    assert (expire(house, 24 * 20), shown(house)) == (0, ["A1"])


def test_who_has_arrived_is_not_missed(house: House) -> None:
    house.send(Reading(patient=PatientEvent("A10", PatientData((JANE,)), visit=VISIT)))
    assert (expire(house), shown(house)) == (0, ["A1"])


def test_an_exam_that_has_begun_is_not_missed(house: House) -> None:
    house.mpps("1.2.8", ScheduledReference("1.2.3"), patient_id="1001", patient_issuer="HOSP", modality="CT")
    assert expire(house) == 0


def test_who_waits_for_another_try_is_not_missed(house: House) -> None:
    """Discontinued by a wrong entry chosen: the step is scheduled again, its start long past."""
    house.mpps("1.2.8", ScheduledReference("1.2.3"), patient_id="1001", patient_issuer="HOSP", modality="CT")
    house.mpps_end("1.2.8", "DISCONTINUED", discontinuation=(Code("110514", "DCM"),))
    assert house.status_of_step() == "SCHEDULED"
    assert (expire(house), shown(house)) == (0, ["A1"])


def test_an_order_that_comes_after_its_start_is_given_as_long(house: House) -> None:
    """A paper order, written up in the evening: its start was in the morning."""
    late = ct_step(start=datetime(2026, 11, 24, 8, 0))
    house.order(order(placer="P2", accession="A2", uid="1.2.4", steps=(late,)))
    assert expire(house, 23) == 0
    assert expire(house, 2) == 1


def test_what_a_person_must_place_first_is_not_missed(house: House) -> None:
    parked = replace(ct_step(), modality="US", modality_sent="US")
    house.order(order(placer="P2", accession="A2", uid="1.2.4", steps=(parked,)))
    assert expire(house) == 1


@pytest.mark.parametrize("control", ["HD", "CA"])
def test_an_order_that_is_held_or_given_up_is_not_missed(house: House, control: str) -> None:
    house.order(order(control))
    assert expire(house) == 0


def test_a_clock_that_ran_ahead_hides_nobody_when_it_is_right_again(house: House) -> None:
    expire(house, 48)
    assert shown(house) == []
    house.clock.advance(-48 * HOUR)
    assert shown(house) == ["A1"]


def test_a_site_that_gives_nobody_up_any_more_shows_them_again(house: House) -> None:
    expire(house)
    house.context = replace(house.context, settings=_with(house, no_show_hours=0))
    assert shown(house) == ["A1"]


# -- who is heard of ----------------------------------------------------------------------------------------------


def test_another_start_in_the_order_shows_the_patient_again(house: House) -> None:
    expire(house)
    house.order(order("XO", steps=(ct_step(start=datetime(2026, 11, 27, 9, 0)),), visit=VISIT))
    assert shown(house) == ["A1"]


def test_the_same_start_again_does_not(house: House) -> None:
    expire(house)
    house.order(order("XO", visit=VISIT))
    assert shown(house) == []


def test_an_appointment_at_another_time_shows_the_patient_again(house: House) -> None:
    expire(house)
    appointment = AppointmentRequest(
        "S13", Identifier("P1", "RIS"), None, who(), (datetime(2026, 11, 27, 9, 0),), occurred=house.clock.now()
    )
    house.send(Reading(appointments=(appointment,)))
    assert shown(house) == ["A1"]


def test_an_arrival_shows_the_patient_again(house: House) -> None:
    expire(house)
    house.send(Reading(patient=PatientEvent("A10", PatientData((JANE,)), visit=VISIT)))
    assert shown(house) == ["A1"]


def test_a_late_patient_who_is_sought_is_found(house: House) -> None:
    expire(house)
    rows = WorklistView(peers=("*",), beyond={"accession"})
    assert shown(house, rows, accession_number="A1") == ["A1"]
    assert shown(house, rows, accession_number="A*") == []


def test_an_exam_that_a_device_gives_up_again_waits_after_it(house: House) -> None:
    """The patient came late, and the wrong entry was chosen at first."""
    expire(house)
    house.mpps("1.2.8", ScheduledReference("1.2.3"), patient_id="1001", patient_issuer="HOSP", modality="CT")
    house.mpps_end("1.2.8", "DISCONTINUED", discontinuation=(Code("110514", "DCM"),))
    assert (expire(house, 1), shown(house)) == (0, ["A1"])
