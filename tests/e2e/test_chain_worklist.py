"""A scanner that keeps its association open: what the RIS says meanwhile is on its very next list."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind as MWL  # type: ignore[attr-defined]

from bridge.sandbox import ris as messages
from bridge.sandbox.hospital import Hospital, wait_for
from bridge.sandbox.ris import DemoOrder, DemoPatient, Ris
from bridge.uids import new_uid

ZONE = "Europe/Berlin"
VIEWS = """
[[worklist.view]]
peers = ["*"]
stations = ["@"]

# What is of yesterday at this time of day is not of today, whenever the test runs.
[[worklist.view]]
peers = ["CT1"]
window_hours = [26, 1]
keep_minutes = 30
beyond = ["accession"]
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("day"), fhir_base="http://127.0.0.1:1/fhir", time_zone=ZONE)
    made.config.write_text(made.config.read_text() + VIEWS)
    with made:
        yield made


@pytest.fixture(scope="module")
def ris(hospital: Hospital) -> Ris:
    return hospital.ris()


Ask = Callable[..., list[Dataset]]


@contextmanager
def console(hospital: Hospital, title: str) -> Iterator[Ask]:
    """A scanner's console: one association, asked again and again."""
    ae = AE(ae_title=title)
    ae.add_requested_context(MWL)
    association = ae.associate("127.0.0.1", hospital.ports.dicom, ae_title="BRIDGE")
    assert association.is_established

    def ask(day: date | None = None, **keys: Any) -> list[Dataset]:
        found = list(association.send_c_find(_query(day, **keys), MWL))
        assert found[-1][0].Status == 0x0000
        return [identifier for _, identifier in found if identifier is not None]

    try:
        yield ask
        assert association.is_established, "the association did not last"
    finally:
        association.release()


@pytest.fixture
def ct1(hospital: Hospital) -> Iterator[Ask]:
    with console(hospital, "CT1") as ask:
        yield ask


@pytest.fixture
def mr1(hospital: Hospital) -> Iterator[Ask]:
    with console(hospital, "MR1") as ask:
        yield ask


def _query(day: date | None = None, **keys: Any) -> Dataset:
    asked, step = Dataset(), Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("AccessionNumber", "PatientName", "PatientID", "StudyInstanceUID", "RequestedProcedureID"):
        setattr(asked, keyword, keys.get(keyword, ""))
    for keyword in ("Modality", "ScheduledProcedureStepID", "ScheduledProcedureStepStatus"):
        setattr(step, keyword, keys.get(keyword, ""))
    step.ScheduledProcedureStepStartDate = f"{day:%Y%m%d}" if day else ""
    step.ScheduledProcedureStepStartTime = ""
    asked.ScheduledProcedureStepSequence = [step]
    return asked


def now() -> datetime:
    return datetime.now(ZoneInfo(ZONE)).replace(tzinfo=None)


def an_order(modality: str = "CT", start: datetime | None = None) -> DemoOrder:
    """Somebody new, to be examined now."""
    number = next(_numbers)
    patient = DemoPatient(f"W{number:05}", "WALKIN", f"N{number}", date(1970, 1, 2), "F")
    return DemoOrder(
        patient, f"WP{number}", f"WF{number}", f"WA{number:05}", f"WRP{number}", f"WS{number}", "CTHEAD", "Head",
        modality, f"{modality}1", start or now(), new_uid(),
    )  # fmt: skip


def accessions(found: list[Dataset]) -> set[str]:
    return {str(item.AccessionNumber) for item in found}


# -- the very next list -------------------------------------------------------------------------------------------


def test_the_next_patient_is_on_the_list_one_query_after_the_message(ct1: Ask, ris: Ris) -> None:
    for _ in range(5):
        order = an_order()
        assert order.accession not in accessions(ct1(now().date()))
        assert ris.send(messages.omi_o23, order).code == "AA"
        assert order.accession in accessions(ct1(now().date()))


def test_a_cancelled_patient_is_gone_one_query_after_the_message(ct1: Ask, ris: Ris) -> None:
    order = an_order()
    ris.send(messages.omi_o23, order)
    assert order.accession in accessions(ct1())
    ris.send(messages.cancel, order)
    assert order.accession not in accessions(ct1())


def test_a_merged_patient_has_the_surviving_number_one_query_after_the_message(ct1: Ask, ris: Ris) -> None:
    order = an_order()
    ris.send(messages.omi_o23, order)
    survivor = replace(order.patient, mrn=f"S{order.patient.mrn}")
    ris.send(messages.adt_a04, survivor)
    ris.send(messages.adt_a40, survivor, order.patient)
    (found,) = ct1(AccessionNumber=order.accession)
    assert found.PatientID == survivor.mrn
    assert accessions(ct1(PatientID=order.patient.mrn)) == set()


def test_a_name_that_was_mended_is_told_one_query_after_the_message(ct1: Ask, ris: Ris) -> None:
    order = an_order()
    ris.send(messages.omi_o23, order)
    ris.send(messages.adt_a08, replace(order.patient, given="MENDED"))
    (found,) = ct1(AccessionNumber=order.accession)
    assert str(found.PatientName) == "WALKIN^MENDED"


# -- each scanner its own -----------------------------------------------------------------------------------------


def test_a_scanner_has_its_own_list_and_no_other(ct1: Ask, mr1: Ask, ris: Ris) -> None:
    order = an_order("MR")
    ris.send(messages.omi_o23, order)
    assert order.accession in accessions(mr1()) and order.accession not in accessions(ct1())


def test_a_room_that_was_changed_at_the_scanner_is_found_by_its_barcode(ct1: Ask, mr1: Ask, ris: Ris) -> None:
    at_mr, at_ct = an_order("MR"), an_order("CT")
    ris.send(messages.omi_o23, at_mr)
    ris.send(messages.omi_o23, at_ct)
    assert accessions(ct1(AccessionNumber=at_mr.accession)) == {at_mr.accession}
    assert accessions(mr1(AccessionNumber=at_ct.accession)) == set()


# -- the night shift ----------------------------------------------------------------------------------------------


def test_the_night_shift_asks_for_today_and_is_shown_who_came_before_midnight(ct1: Ask, mr1: Ask, ris: Ris) -> None:
    before = now() - timedelta(hours=25)
    late = {modality: an_order(modality, before) for modality in ("CT", "MR")}
    for order in late.values():
        ris.send(messages.omi_o23, order)
    today = now().date()
    (found,) = (item for item in ct1(today) if item.AccessionNumber == late["CT"].accession)
    assert found.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == f"{before:%Y%m%d}"
    assert late["MR"].accession not in accessions(mr1(today)), "the MR's view has no window"


# -- a retake -----------------------------------------------------------------------------------------------------


def test_a_patient_whose_exam_has_just_ended_is_there_for_a_retake(ct1: Ask, ris: Ris, hospital: Hospital) -> None:
    order, scanner = an_order(), hospital.scanner("CT1")
    ris.send(messages.omi_o23, order)
    (item,) = scanner.worklist(AccessionNumber=order.accession)

    def statuses() -> list[str]:
        found = ct1(AccessionNumber=order.accession)
        return [str(one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus) for one in found]

    for _ in ("the exam", "the retake"):
        step = scanner.start(item)
        assert statuses() == []
        scanner.complete(step, [])
        assert statuses() == ["COMPLETED"]


def test_without_that_rule_it_is_gone(mr1: Ask, ris: Ris, hospital: Hospital) -> None:
    order, scanner = an_order("MR"), hospital.scanner("MR1")
    ris.send(messages.omi_o23, order)
    (item,) = scanner.worklist(AccessionNumber=order.accession)
    scanner.complete(scanner.start(item), [])
    assert accessions(mr1(AccessionNumber=order.accession)) == set()


def test_why_asks_as_the_scanner_itself_does(ct1: Ask, ris: Ris, hospital: Hospital) -> None:
    order = an_order("CT", now() + timedelta(days=3))
    ris.send(messages.omi_o23, order)
    ct1(now().date(), Modality="CT")

    def told() -> str:
        return hospital.run("worklist", "why", order.accession, "--as", "CT1").stdout

    assert wait_for(lambda: "as it does itself" in told(), 5, every=1)
    assert f"asked {now():%Y%m%d}, the order has {order.start:%Y%m%d %H%M%S}" in told()


def test_why_says_what_the_list_shows(ris: Ris, hospital: Hospital) -> None:
    order = an_order("MR")
    ris.send(messages.omi_o23, order)
    told = hospital.run("worklist", "why", order.accession, "--as", "CT1", "--station", "").stdout
    assert "station MR1: it is another station's (stations)" in told
