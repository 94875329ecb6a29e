"""Reports, appointments, moves and the race of two first messages, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from bridge.clock import ManualClock
from bridge.domain.appointment import AppointmentRequest
from bridge.domain.identity import Identifier
from bridge.domain.message import Envelope, Fate, Reading
from bridge.domain.patient import PatientData, PatientEvent, Visit
from bridge.domain.report import ReportRequest
from bridge.store import reports
from bridge.store.db import Database
from bridge.store.schema import appointment, imaging_order, patient, report
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from tests.unit.workflow.house import JANE, JOHN, NOON, at, order, settings, who

P1 = Identifier("P1", "RIS")
ACCOUNT = Identifier("ACCT1", "HOSP")


def taker(database: Database, folder: Path, name: str = "M") -> Callable[[Reading], Fate]:
    intake = Intake(Context(database, settings(folder), ManualClock(NOON)))
    numbers = iter(range(1000))

    def take(reading: Reading) -> Fate:
        control = f"{name}{next(numbers)}"
        envelope = Envelope("ris", control.encode(), "10.0.0.1", NOON, "RIS", "H", control)
        return intake.take(envelope, reading, lambda _: ("AA", b""))[0]

    return take


def test_report_and_appointment_find_their_order_and_follow_it_to_its_patient(
    database: Database, tmp_path: Path
) -> None:
    take = taker(database, tmp_path)
    take(Reading(reports=(ReportRequest("F", P1, None, who(), text="text", issued=at(12), sent=at(12)),)))
    take(Reading(appointments=(AppointmentRequest("S13", P1, None, who(), (), at(12)),)))
    take(Reading(orders=(order(visit=Visit(account=ACCOUNT)),)))
    take(Reading(patient=PatientEvent("A24", PatientData((JOHN,)), other=PatientData((Identifier("X", "HOSP"),)))))
    moved = PatientEvent("A44", PatientData((JOHN,)), prior=(JANE,), prior_account=ACCOUNT)
    assert take(Reading(patient=moved)) is Fate.APPLIED
    assert take(Reading(patient=PatientEvent("A40", PatientData((JANE,)), prior=(JOHN,)))) is Fate.APPLIED
    with database.read() as connection:
        (told,) = connection.execute(select(report))
        (known,) = connection.execute(select(imaging_order))
        assert connection.execute(select(appointment)).one().event == "S13"
        assert (told.order_id, told.patient_id) == (known.id, known.patient_id)
        assert reports.reports_of_study(connection, 1) == []


@pytest.mark.parametrize("rounds", [10])
def test_f31_two_first_messages_of_a_patient_at_once_make_one(database: Database, tmp_path: Path, rounds: int) -> None:
    here = database.writer_engine.url
    url = here.render_as_string(hide_password=False) if here.drivername.startswith("postgresql") else ""
    other = Database(url, tmp_path, on_broken=lambda: None)
    takers = [taker(database, tmp_path, "A"), taker(other, tmp_path, "B")]
    try:
        with ThreadPoolExecutor(2) as pool:
            for number in range(rounds):
                both = PatientEvent("A04", PatientData((Identifier(f"N{number}", "HOSP"),)))
                fates = list(pool.map(lambda take, told=both: take(Reading(patient=told)), takers))
                assert fates == [Fate.APPLIED] * 2
    finally:
        other.close()
    with database.read() as connection:
        assert len(connection.execute(select(patient.c.id)).all()) == rounds
