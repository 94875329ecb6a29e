"""A report is kept, tied to order and study, and never to another patient's (v2-to-fhir.md section 5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest

from bridge.domain.identity import Identifier
from bridge.domain.message import Fate, Reading
from bridge.domain.patient import NO_NAME, PatientData, PersonName
from bridge.domain.report import ReportRequest
from bridge.store import orders, reports
from tests.unit.workflow.house import JANE, JOHN, House, at, order, who


def report(**changes: Any) -> ReportRequest:
    base = ReportRequest(
        status="F",
        placer=Identifier("P1", "RIS"),
        filler=Identifier("F1", "RIS"),
        patient=who(),
        text="No bleeding.",
        issued=at(14),
        sent=at(14),
    )
    return replace(base, **changes)


def send(house: House, *requests: ReportRequest) -> tuple[Fate, list[str]]:
    return house.send(Reading(reports=requests))


def only(house: House) -> Any:
    (row,) = house.rows("report")
    return row


def scan(house: House, **header: Any) -> None:
    house.image(**header)
    house.complete()


# -- tying --------------------------------------------------------------------------------------------------------


def test_a_report_is_tied_to_its_order_and_to_the_study_of_the_order(house: House) -> None:
    house.order(order())
    scan(house)
    assert send(house, report())[0] is Fate.APPLIED
    row = only(house)
    assert (row.order_id, row.study_id) == (house.order_row().id, house.study().id)


@pytest.mark.parametrize(
    "numbers",
    [
        {"placer": None, "filler": Identifier("F1", "RIS")},
        {"placer": Identifier("P1", "RIS"), "filler": Identifier("other", "RIS")},
        {"placer": None, "filler": Identifier("X", "RIS"), "accession": Identifier("A1", "RIS")},
    ],
    ids=["filler", "placer", "accession"],
)
def test_any_number_of_the_order_finds_it(house: House, numbers: dict[str, Any]) -> None:
    house.order(order(filler="F1"))
    send(house, report(**numbers))
    assert only(house).order_id == house.order_row().id


@pytest.mark.parametrize("field", ["placer", "filler", "accession"])
def test_the_same_number_of_another_authority_finds_nothing(house: House, field: str) -> None:
    house.order(order(placer="1", filler="1", accession="1"))
    numbers = {"placer": None, "filler": Identifier("none", "OTHER"), field: Identifier("1", "OTHER")}
    fate, told = send(house, report(**numbers))
    assert (fate, only(house).order_id) == (Fate.APPLIED, None)
    assert told == ["the order of the report is not known: tied when it comes"]


def test_a_report_before_its_order_is_tied_when_the_order_comes(house: House) -> None:
    send(house, report())
    house.order(order())
    assert only(house).order_id == house.order_row().id


def test_a_report_names_its_study_by_uid_also_without_an_order(house: House) -> None:
    scan(house)
    send(house, report(study_instance_uid="1.2.3"))
    assert (only(house).order_id, only(house).study_id) == (None, house.study().id)


def test_a_study_that_comes_after_its_report_shows_it(house: House) -> None:
    house.order(order())
    send(house, report())
    scan(house)
    found = house.read(lambda c: reports.reports_of_study(c, house.study().id))
    assert [r.text for r in found] == ["No bleeding."]


def test_one_report_for_two_orders_of_one_accession_is_tied_by_the_study(house: House) -> None:
    house.order(order(placer="P1"), order(placer="P2"))
    house.image()
    house.complete()
    send(house, report(placer=None, filler=Identifier("R", "RIS"), accession=Identifier("A1", "RIS")))
    assert (only(house).order_id, only(house).study_id) == (None, house.study().id)


# -- the patient --------------------------------------------------------------------------------------------------


def test_a_report_of_another_patient_than_the_orders_is_never_tied(house: House) -> None:
    house.order(order())
    fate, _ = send(house, report(patient=who(JOHN)))
    assert (fate, only(house).order_id) == (Fate.PARKED, None)
    assert ("report-conflict", "report-of-another-patient") in house.reviews()


def test_a_report_of_an_order_that_was_spoken_of_without_a_patient_waits_for_the_order(house: House) -> None:
    house.order(replace(order("SC", "SC", steps=(), event_time=at(9)), patient=PatientData(())))
    assert send(house, report())[0] is Fate.APPLIED
    house.order(order(event_time=at(8)))
    assert (only(house).order_id, house.reviews()) == (house.order_row().id, set())


def test_a_report_of_another_patient_is_not_tied_when_the_order_comes_later(house: House) -> None:
    send(house, report(patient=who(JOHN)))
    house.order(order())
    assert only(house).order_id is None
    assert ("report-conflict", "report-of-another-patient") in house.reviews()


def test_a_study_of_another_patient_is_not_tied_by_its_uid(house: House) -> None:
    scan(house, patient_id=JOHN.value)
    assert send(house, report(study_instance_uid="1.2.3"))[0] is Fate.PARKED
    assert only(house).study_id is None


def test_a_correction_for_another_patient_changes_nothing(house: House) -> None:
    send(house, report())
    assert send(house, report(patient=who(JOHN), text="Tumour.", issued=at(15)))[0] is Fate.PARKED
    assert (only(house).text, only(house).patient_id) == ("No bleeding.", house.patient(JANE).id)


def test_a_merge_that_makes_two_patients_one_ties_the_report_that_waited(house: House) -> None:
    house.order(order())
    send(house, report(patient=who(JOHN)))
    house.adt("A40", JANE, prior=(JOHN,))
    row = only(house)
    assert (row.order_id, row.patient_id) == (house.order_row().id, house.patient(JANE).id)
    assert ("report-conflict", "report-of-another-patient") not in house.reviews()


# -- versions -----------------------------------------------------------------------------------------------------


def test_a_correction_changes_the_one_report(house: House) -> None:
    send(house, report(document=b"%PDF", document_type="application/pdf"))
    send(house, report(status="C", text="Small bleeding.", issued=at(15)))
    row = only(house)
    assert (row.status, row.text, row.document, row.version > 1) == ("C", "Small bleeding.", None, True)


def test_a_status_alone_keeps_the_text(house: House) -> None:
    send(house, report())
    send(house, report(status="X", text="", issued=at(15)))
    assert (only(house).status, only(house).text) == ("X", "No bleeding.")


STORY = (
    report(status="P", text="preliminary", issued=at(13), sent=at(13)),
    report(status="F", text="final", issued=at(14), sent=at(14)),
    report(status="C", text="corrected", issued=at(14), sent=at(15)),
)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_in_whatever_order_the_versions_come_the_newest_holds(house: House, arrival: tuple[int, ...]) -> None:
    house.order(order())
    for index in arrival:
        send(house, STORY[index])
    assert (only(house).status, only(house).text) == ("C", "corrected")


def test_a_preliminary_report_sent_later_does_not_replace_the_final_one_of_its_moment(house: House) -> None:
    """OBR-22 is one, MSH-7 is not: a queue that was emptied late says nothing new."""
    send(house, report(status="F", text="final", issued=at(14), sent=at(15)))
    assert send(house, report(status="P", text="preliminary", issued=at(14), sent=at(16)))[0] is Fate.IGNORED
    assert (only(house).status, only(house).text) == ("F", "final")


def test_a_final_report_sent_earlier_replaces_the_preliminary_one_of_its_moment(house: House) -> None:
    send(house, report(status="P", text="preliminary", issued=at(14), sent=at(16)))
    send(house, report(status="F", text="final", issued=at(14), sent=at(15)))
    assert (only(house).status, only(house).text) == ("F", "final")


def test_a_corrected_interpreter_may_be_none(house: House) -> None:
    send(house, report(interpreter=PersonName("READ^DOC")))
    send(house, report(status="C", interpreter=NO_NAME, issued=at(15), sent=at(15)))
    assert only(house).interpreter == ""


def test_of_the_same_moment_the_more_final_report_holds(house: House) -> None:
    send(house, report(status="F", text="final"))
    send(house, report(status="P", text="preliminary"))
    assert only(house).text == "final"


def test_without_times_the_last_to_come_holds(house: House) -> None:
    send(house, report(text="first", issued=None, sent=None))
    house.clock.advance(1)
    send(house, report(text="second", issued=None, sent=None))
    assert only(house).text == "second"


# -- what it does to the order ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "after"), [("F", "CM"), ("C", "CM"), ("P", "SC"), ("X", "SC")])
def test_only_a_final_report_ends_the_order(house: House, status: str, after: str) -> None:
    house.order(order())
    send(house, report(status=status))
    assert house.order_row().status == after
    assert bool(house.worklist()) is (after == "SC")


@pytest.mark.parametrize("arrival", list(permutations(("NW", "XO", "ORU"))))
def test_an_exam_with_a_final_report_is_not_offered_whichever_message_came_first(
    house: House, arrival: tuple[str, ...]
) -> None:
    for name in arrival:
        if name == "ORU":
            send(house, report())
        else:
            house.order(order(name, event_time=at(9 if name == "NW" else 10)))
    assert (house.order_row().status, house.status_of_step(), house.worklist()) == ("CM", "COMPLETED", [])


def test_an_order_that_is_sent_after_its_report_was_done_already(house: House) -> None:
    house.order(order("SC", event_time=at(9)))
    send(house, report(sent=at(10), issued=at(10)))
    house.order(order(event_time=at(11)))
    assert (house.order_row().status, house.worklist()) == ("CM", [])


def test_the_end_by_a_report_stands_in_the_orders_history(house: House) -> None:
    house.order(order())
    send(house, report())
    last = house.read(lambda c: orders.history_of(c, house.order_row().id))[-1]
    assert (last["event"], last["status_before"], last["status_after"]) == ("ORU F", "SC", "CM")


def test_a_cancelled_order_is_not_completed_by_a_report(house: House) -> None:
    house.order(order())
    house.order(order("CA", "CA"))
    send(house, report())
    assert house.order_row().status == "CA"


def test_a_report_tells_no_patient_data_in_its_history_and_audit(house: House) -> None:
    house.order(order())
    send(house, report())
    assert house.audited("report-taken") == 1
    assert "bleeding" not in str(house.rows("audit")) + str(house.rows("order_history"))


def test_the_time_of_a_report_is_utc(house: House) -> None:
    send(house, report())
    assert isinstance(only(house).issued_at, datetime) and only(house).issued_at == at(14)


# -- whose report it is -------------------------------------------------------------------------------------------


def test_a_laboratorys_result_is_not_kept_and_makes_no_patient(house: House) -> None:
    fate, told = send(house, report(of_imaging=False, text="Glucose: 92 mg/dL"))
    assert (fate, house.rows("report"), house.rows("patient")) == (Fate.IGNORED, [], [])
    assert any("no imaging report" in text for text in told)


@pytest.mark.parametrize(
    "numbers", [{}, {"placer": None, "accession": Identifier("A1", "RIS")}], ids=["order", "accession"]
)
def test_a_result_without_words_of_an_order_that_we_know_is_kept(house: House, numbers: dict[str, Any]) -> None:
    house.order(order())
    send(house, report(of_imaging=False, **numbers))
    assert only(house).order_id == house.order_row().id


def test_a_report_of_an_unknown_order_is_in_sight_until_its_order_comes(house: House) -> None:
    send(house, report())
    assert house.reviews() == {("report-untied", "order-not-known")}
    house.order(order())
    assert house.reviews() == set()
