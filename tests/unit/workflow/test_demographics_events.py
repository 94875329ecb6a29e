"""Visits, accounts, links, moves and changes of identifier, and what they do to orders (adt.md sections 1 and 3)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from bridge.config import Station
from bridge.domain.appointment import AppointmentRequest
from bridge.domain.identity import Identifier
from bridge.domain.message import Envelope, Fate, Reading
from bridge.domain.patient import DELETED, NO_NAME, PatientData, PatientEvent, PersonName, Visit
from bridge.store import visits
from bridge.store.db import Database
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from tests.unit.workflow.house import CT1, JANE, JOHN, House, at, ct_step, order, who

TEMP = Identifier("TMP7", "HOSP")
V1, V2 = Identifier("V1", "HOSP"), Identifier("V2", "HOSP")
A1, A2 = Identifier("ACCT1", "HOSP"), Identifier("ACCT2", "HOSP")

ORDERS = itertools.count(10)


def tell(house: House, event: str, who_is: Identifier = JANE, visit: Visit | None = None, **more: Any) -> Any:
    patient = PatientData((who_is,))
    return house.send(Reading(patient=PatientEvent(event, patient, visit or Visit(), **more)))


def visiting(number: Identifier | None = V1, account: Identifier | None = None, **more: Any) -> Visit:
    return Visit(admission=number or account, account=account, **more)


def column(house: House, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, n) for n in names) for row in house.rows("imaging_order")]


# -- visits -------------------------------------------------------------------------------------------------------


def test_a_transfer_moves_the_patient_on_the_worklist(house: House) -> None:
    house.order(order(visit=visiting(location="WARD1")))
    (before,) = house.worklist()
    tell(house, "A02", visit=visiting(location="WARD2"))
    (after,) = house.worklist()
    assert (after.patient_location, after.version > before.version) == ("WARD2", True)


def test_a_transfer_of_another_visit_moves_nothing(house: House) -> None:
    house.order(order(visit=visiting(location="WARD1")))
    tell(house, "A02", visit=visiting(V2, location="WARD2"))
    assert house.worklist()[0].patient_location == "WARD1"


def test_an_order_without_a_visit_learns_where_the_patient_is_and_never_the_number(house: House) -> None:
    house.order(order())
    tell(house, "A08", visit=visiting(V1, A1, location="WARD2", patient_class="I"))
    columns = ("admission_id", "account_number", "patient_location", "patient_class")
    assert column(house, *columns) == [("", "", "WARD2", "I")]


def test_an_old_visit_that_moves_takes_no_order_along_that_never_named_it(house: House) -> None:
    house.adt("A04", JOHN, name=PersonName("ROE^JOHN"))
    house.order(order())
    tell(house, "A08", visit=visiting(V1))
    fate, told = tell(house, "A45", JOHN, prior=(JANE,), prior_visit=V1)
    assert house.worklist()[0].patient_name == PersonName("DOE^JANE")
    assert (fate, "a person is asked" in told[0]) == (Fate.APPLIED, True)
    assert ("patient-identifiers", "visit-moved-orders-stay") in house.reviews()


@pytest.mark.parametrize("event", ["A01", "A06"])
def test_a_new_class_of_patient_goes_to_the_scanner_of_that_class(build: Callable[..., House], event: str) -> None:
    inpatients = Station(ae_titles=("CT2",), modality="CT", patient_class="I")
    house = build(station=(CT1, inpatients))
    house.order(order(visit=visiting(V1, patient_class="E"), event_time=at(9)))
    assert house.worklist()[0].station_ae_titles == ("CT1",)
    tell(house, event, visit=visiting(V1, patient_class="I"), occurred=at(10))
    assert house.worklist()[0].station_ae_titles == ("CT2",)


def test_a_scanner_that_the_order_names_itself_stays_when_the_class_changes(build: Callable[..., House]) -> None:
    house = build(station=(CT1, Station(ae_titles=("CT2",), modality="CT", patient_class="I")))
    house.order(order(visit=visiting(patient_class="O"), steps=(ct_step(station_ae_titles=("CT9",)),)))
    tell(house, "A06", visit=visiting(patient_class="I"))
    assert house.worklist()[0].station_ae_titles == ("CT9",)


OUT, INSIDE = (Station(ae_titles=(t,), modality="CT", patient_class=c) for t, c in (("CTO", "O"), ("CTI", "I")))
ROOM = Station(ae_titles=("CTX",), modality="CT", room="R2")


def booked(house: House, event: str = "S13", *places: str) -> None:
    starts = (datetime(2026, 11, 28, 15, 0),)
    request = AppointmentRequest(event, Identifier("P1", "RIS"), None, who(), starts, places=places, occurred=at(10))
    house.send(Reading(appointments=(request,)))


def an_outpatient(build: Callable[..., House], *stations: Station) -> House:
    house = build(station=stations)
    house.order(order(visit=visiting(V1, patient_class="O"), event_time=at(9)))
    return house


def becomes_inpatient(house: House) -> None:
    tell(house, "A06", visit=visiting(V1, patient_class="I"), occurred=at(11))


def test_a_new_class_leaves_the_appointment_where_it_was_moved_to(build: Callable[..., House]) -> None:
    house = an_outpatient(build, OUT, INSIDE)
    booked(house)
    becomes_inpatient(house)
    (entry,) = house.worklist()
    assert (entry.station_ae_titles, entry.start_date, entry.start_time) == (("CTI",), "20261128", "150000")


def test_a_new_class_leaves_the_room_that_scheduling_named(build: Callable[..., House]) -> None:
    house = an_outpatient(build, OUT, ROOM)
    booked(house, "S13", "R2")
    becomes_inpatient(house)
    (step,) = house.steps()
    assert (step.location, house.worklist()[0].station_ae_titles) == ("R2", ("CTX",))


def test_a_new_class_takes_the_room_of_the_new_scanner_where_none_was_named(build: Callable[..., House]) -> None:
    house = an_outpatient(
        build, OUT.model_copy(update={"location": "EAST"}), INSIDE.model_copy(update={"location": "WEST"})
    )
    becomes_inpatient(house)
    assert house.steps()[0].location == "WEST"


def test_an_appointment_given_up_stays_given_up_and_comes_back_at_the_new_class_scanner(
    build: Callable[..., House],
) -> None:
    house = an_outpatient(build, OUT, INSIDE)
    booked(house, "S15")
    becomes_inpatient(house)
    assert house.worklist() == []
    booked(house, "S12")
    assert house.worklist()[0].station_ae_titles == ("CTI",)


def test_a_new_class_that_no_scanner_is_for_parks_the_step(build: Callable[..., House]) -> None:
    house = an_outpatient(build, OUT)
    becomes_inpatient(house)
    assert (house.worklist(), ("order-parked", "no-station") in house.reviews()) == ([], True)


def test_an_old_word_on_another_visit_moves_no_order_to_other_scanners(build: Callable[..., House]) -> None:
    house = build(station=(OUT, INSIDE))
    house.order(order(visit=visiting(None, patient_class="I"), event_time=at(9)))
    tell(house, "A08", visit=visiting(V2, patient_class="O", location="AMB"), occurred=at(6))
    assert (house.worklist()[0].station_ae_titles, column(house, "patient_location")) == (("CTI",), [("",)])


@pytest.mark.parametrize("wards", [("W1", "W2"), ("W2", "W1")])
def test_of_two_transfers_the_later_one_holds_whichever_came_first(house: House, wards: tuple[str, str]) -> None:
    house.order(order(visit=visiting(location="W0"), event_time=at(9)))
    for ward in wards:
        tell(house, "A02", visit=visiting(location=ward), occurred=at(10 if ward == "W1" else 11))
    assert column(house, "patient_location") == [("W2",)]


def test_a_transfer_of_before_an_update_changes_nothing_though_the_update_told_nothing_new(house: House) -> None:
    house.order(order(visit=visiting(location="W1"), event_time=at(9)))
    tell(house, "A08", visit=visiting(location="W1"), occurred=at(11))
    tell(house, "A02", visit=visiting(location="W0"), occurred=at(10))
    assert column(house, "patient_location") == [("W1",)]


def test_an_event_dated_ahead_of_our_clock_does_not_hold_against_what_comes_after_it(house: House) -> None:
    house.order(order(visit=visiting(location="W0"), event_time=at(9)))
    tell(house, "A02", visit=visiting(location="W1"), occurred=at(23))
    house.clock.advance(60)
    tell(house, "A02", visit=visiting(location="W2"), occurred=house.clock.now())
    assert column(house, "patient_location") == [("W2",)]


def test_an_old_word_fills_what_nobody_told_of(house: House) -> None:
    house.order(order(visit=visiting(patient_class="I"), event_time=at(9)))
    tell(house, "A02", visit=visiting(patient_class="I", location="W1"), occurred=at(8))
    assert column(house, "patient_location") == [("W1",)]


def test_a_late_order_message_leaves_the_ward_that_the_patient_was_moved_to(house: House) -> None:
    """Whatever the order of arrival, once the order is known when the transfer is told."""
    new = order(visit=visiting(location="W0"), event_time=at(9))
    changes = [order("XO", visit=visiting(None), event_time=at(hour)) for hour in (10, 12)]
    for arrival in itertools.permutations((new, *changes, None)):
        if arrival[0] is None:
            continue
        number = Identifier(f"P{next(ORDERS)}", "RIS")
        for one in arrival:
            if one is None:
                tell(house, "A02", visit=visiting(location="W1"), occurred=at(11))
            else:
                house.order(
                    replace(one, placer=number, accession=None, procedure=replace(one.procedure, study_instance_uid=""))
                )
    late = {row.placer_order_number: row.patient_location for row in house.rows("imaging_order")}
    assert set(late.values()) == {"W1"}


def test_a_newer_order_message_tells_the_ward(house: House) -> None:
    house.order(order(visit=visiting(location="W0"), event_time=at(9)))
    tell(house, "A02", visit=visiting(location="W1"), occurred=at(10))
    house.order(order("XO", visit=visiting(location="W2"), event_time=at(11)))
    assert column(house, "patient_location") == [("W2",)]


def test_a_late_order_message_leaves_the_step_at_the_scanner_of_the_class_of_now(build: Callable[..., House]) -> None:
    house = build(station=(OUT, INSIDE))
    house.order(order("XO", visit=visiting(patient_class="O"), event_time=at(9, 30)))
    tell(house, "A06", visit=visiting(patient_class="I"), occurred=at(11))
    house.order(order(visit=visiting(patient_class="O"), event_time=at(9)))
    assert (column(house, "patient_class"), house.worklist()[0].station_ae_titles) == ([("I",)], ("CTI",))


def test_two_quotes_delete_place_and_physician_of_the_visits_orders(house: House) -> None:
    """HL7 v2.5.1 2.5.3."""
    house.order(order(visit=visiting(location="WARD1", referring_physician=PersonName("REF^DOC"))))
    tell(house, "A08", visit=visiting(location=DELETED, referring_physician=NO_NAME))
    assert column(house, "patient_location", "referring_physician", "admission_id") == [("", "", "V1")]


def test_an_update_tells_scanners_the_patients_allergies(house: House) -> None:
    house.order(order(allergies=("Dust",)))
    tell(house, "A08", allergies=("Nuts", "Latex"))
    assert house.worklist()[0].allergies == ("Nuts", "Latex")
    tell(house, "A31")
    assert house.worklist()[0].allergies == ("Nuts", "Latex")


def test_an_allergy_update_changes_the_allergies_that_it_names(house: House) -> None:
    house.order(order(allergies=("Dust", "Nuts")))
    tell(house, "A60", allergies_now=("Latex",), allergies_no_more=("nuts",))
    assert house.worklist()[0].allergies == ("Dust", "Latex")


def test_allergies_of_before_the_order_change_nothing(house: House) -> None:
    house.order(order(allergies=("Dust",), event_time=at(10)))
    tell(house, "A08", allergies=("Nuts",), occurred=at(9))
    assert house.worklist()[0].allergies == ("Dust",)


def test_an_admission_gives_a_pre_admitted_order_its_new_visit(house: House) -> None:
    """IHE MESA 102: A05, order, then A01 with a new PV1-19."""
    house.order(order(visit=visiting(V1, patient_class="P"), event_time=at(9)))
    tell(house, "A01", visit=visiting(V2, patient_class="I"), occurred=at(10))
    assert column(house, "admission_id", "patient_class") == [("V2", "I")]


def test_an_admission_leaves_the_outpatients_next_visit_alone(house: House) -> None:
    house.order(order(visit=visiting(V1, patient_class="O"), event_time=at(9)))
    tell(house, "A01", visit=visiting(V2, patient_class="I"), occurred=at(10))
    assert column(house, "admission_id") == [("V1",)]


@pytest.mark.parametrize(("event", "before", "after"), [("A06", "O", "I"), ("A07", "I", "O")])
def test_a_change_of_class_gives_open_orders_the_new_visit(house: House, event: str, before: str, after: str) -> None:
    house.order(order(visit=visiting(V1, patient_class=before), event_time=at(9)))
    tell(house, event, visit=visiting(V2, patient_class=after), occurred=at(10))
    assert column(house, "admission_id", "patient_class") == [("V2", after)]


def test_a_visit_of_before_the_order_does_not_take_the_order_back(house: House) -> None:
    house.order(order(visit=visiting(V2, patient_class="I"), event_time=at(10)))
    tell(house, "A07", visit=visiting(V1, patient_class="O"), occurred=at(9))
    assert column(house, "admission_id") == [("V2",)]


@pytest.mark.parametrize("event", ["A03", "A11", "A38"])
def test_a_visit_that_ends_cancels_no_order_and_says_so(house: House, event: str) -> None:
    house.order(order(visit=visiting()))
    fate, told = tell(house, event, visit=visiting())
    assert (fate, told) == (Fate.APPLIED, ["open imaging orders of the visit that ended: 1, kept"])
    assert len(house.worklist()) == 1


def test_a_patient_who_arrives_is_shown_as_arrived(house: House) -> None:
    house.order(order(visit=visiting()), order(placer="P2", accession="A2", uid="1.2.4", visit=visiting(V2)))
    tell(house, "A10", visit=visiting())
    assert (house.status_of_step(), house.status_of_step("P2")) == ("ARRIVED", "SCHEDULED")
    assert len(house.worklist()) == 2


def test_a_patient_who_leaves_again_stays_on_the_worklist_as_departed_and_may_come_back(house: House) -> None:
    house.order(order(visit=visiting()))
    found = []
    for event in ("A10", "A09", "A10"):
        tell(house, event, visit=visiting())
        found.append(house.worklist()[0].step_status)
    assert found == ["ARRIVED", "DEPARTED", "ARRIVED"]


def test_a_patient_who_leaves_the_ward_has_not_been_here(house: House) -> None:
    house.order(order(visit=visiting()))
    tell(house, "A09", visit=visiting())
    assert house.status_of_step() == "SCHEDULED"


def test_a_change_of_the_order_brings_no_departed_patient_back(house: House) -> None:
    house.order(order(visit=visiting()))
    tell(house, "A10", visit=visiting())
    tell(house, "A09", visit=visiting())
    house.order(order("XO"))
    assert house.status_of_step() == "DEPARTED"


def test_an_arrival_without_a_known_visit_marks_nobody(house: House) -> None:
    house.order(order())
    assert tell(house, "A10")[1] == ["no open imaging order of the visit: nobody is marked as arrived"]
    assert house.status_of_step() == "SCHEDULED"


def test_an_order_that_has_ended_keeps_the_visit_it_was_done_in(house: House) -> None:
    house.order(order(visit=visiting(location="WARD1")))
    house.order(order("CA", "CA"))
    tell(house, "A08", visit=visiting(location="WARD2"))
    assert column(house, "patient_location") == [("WARD1",)]


@pytest.mark.parametrize("event", ["A23", "A29"])
def test_nobody_is_deleted(house: House, event: str) -> None:
    house.order(order())
    assert tell(house, event) == (Fate.APPLIED, ["records are never deleted: the patient is kept"])
    assert len(house.worklist()) == len(house.rows("patient")) == 1


def test_a_deletion_makes_nobody_known(house: House) -> None:
    tell(house, "A23")
    assert house.rows("patient") == []


# -- numbers of visits and accounts -------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["A41", "A49"])
def test_an_account_gets_its_new_number(house: House, event: str) -> None:
    house.order(order(visit=visiting(None, A1)))
    tell(house, event, visit=visiting(None, A2), prior_account=A1)
    assert column(house, "account_number", "admission_id") == [("ACCT2", "ACCT2")]
    assert house.worklist()[0].admission_id == "ACCT2"


@pytest.mark.parametrize("event", ["A42", "A50"])
def test_a_visit_gets_its_new_number_and_the_account_keeps_its_own(house: House, event: str) -> None:
    house.order(order(visit=visiting(V1, A1)))
    tell(house, event, visit=visiting(V2, A1), prior_visit=V1)
    assert column(house, "admission_id", "account_number") == [("V2", "ACCT1")]


def test_an_alternate_visit_number_is_changed_by_its_own_event(house: House) -> None:
    house.order(order(visit=visiting(V1)))
    tell(house, "A51", visit=Visit(alternate=V2), prior_alternate=V1)
    assert column(house, "admission_id") == [("V2",)]


def test_the_same_number_of_another_authority_is_not_renamed(house: House) -> None:
    house.order(order(visit=visiting(V1)))
    fate, told = tell(house, "A50", visit=visiting(V2), prior_visit=Identifier("V1", "OTHER"))
    assert (fate, told) == (Fate.APPLIED, ["no imaging order carries the number that changes"])
    assert column(house, "admission_id") == [("V1",)]


def test_a_new_number_that_is_missing_refuses_the_change(house: House) -> None:
    house.order(order(visit=visiting(V1)))
    assert tell(house, "A50", visit=Visit(), prior_visit=V1)[0] is Fate.REFUSED


# -- moves --------------------------------------------------------------------------------------------------------


def two_accounts(house: House) -> None:
    """Two orders of Jane's, of which the second one's account is really John's."""
    house.adt("A04", JOHN, name=PersonName("ROE^JOHN"))
    house.order(order(visit=visiting(V1, A1)), order(placer="P2", accession="A2", uid="1.2.4", visit=visiting(V2, A2)))


@pytest.mark.parametrize(("event", "moved"), [("A44", {"prior_account": A2}), ("A45", {"prior_visit": V2})])
def test_only_the_orders_of_the_moved_account_or_visit_move(house: House, event: str, moved: dict[str, Any]) -> None:
    two_accounts(house)
    tell(house, event, JOHN, prior=(JANE,), **moved)
    assert {(e.accession_number, e.patient_id) for e in house.worklist()} == {("A1", "1001"), ("A2", "2002")}
    assert house.patient(JANE).id != house.patient(JOHN).id


def test_the_study_of_a_moved_account_is_published_for_the_right_patient(house: House) -> None:
    two_accounts(house)
    house.image(study_instance_uid="1.2.4", series_instance_uid="1.2.4.1", accession_number="A2")
    house.complete()
    version = house.study("1.2.4").version
    tell(house, "A44", JOHN, prior=(JANE,), prior_account=A2)
    house.complete()
    study = house.study("1.2.4")
    assert (study.match_state, study.version > version) == ("matched", True)
    (link,) = house.links("1.2.4")
    assert house.order_row("P2").patient_id == house.patient(JOHN).id and link.order_id == house.order_row("P2").id


def test_an_account_that_moved_already_moves_nothing_more(house: House) -> None:
    two_accounts(house)
    tell(house, "A44", JOHN, prior=(JANE,), prior_account=A2)
    fate, told = tell(house, "A44", JOHN, prior=(JANE,), prior_account=A2)
    assert (fate, told) == (Fate.APPLIED, ["no imaging order carries the number that moves"])


def test_an_account_of_a_patient_whom_nobody_knows_is_refused(house: House) -> None:
    assert tell(house, "A44", JOHN, prior=(JANE,), prior_account=A2)[0] is Fate.REFUSED
    assert house.rows("patient") == []


def test_an_identifier_with_its_whole_record_moves_to_its_owner_and_stays_in_use(house: House) -> None:
    house.order(order(patient=who(TEMP)))
    house.adt("A04", JANE, name=PersonName("DOE^JANE"))
    tell(house, "A43", JANE, prior=(TEMP,))
    assert house.worklist()[0].patient_id == "1001"
    assert house.adt("A08", TEMP, sex="F")[0] is Fate.APPLIED


def test_an_identifier_that_leaves_a_record_with_others_leaves_the_orders_to_a_person(house: House) -> None:
    house.adt("A04", JOHN, TEMP)
    house.order(order(patient=who(JOHN)))
    house.adt("A04", JANE)
    tell(house, "A43", JANE, prior=(TEMP,))
    assert house.patient(TEMP).id == house.patient(JANE).id
    assert house.worklist()[0].patient_id == "2002"
    assert ("patient-identifiers", "identifier-moved-orders-stay") in house.reviews()


# -- change of identifier -----------------------------------------------------------------------------------------


def test_a_changed_identifier_is_shown_in_the_place_of_the_old_one(house: House) -> None:
    house.adt("A04", TEMP, Identifier("999", "SSN"))
    house.order(order(patient=who(TEMP)))
    (before,) = house.worklist()
    tell(house, "A47", JANE, prior=(TEMP,))
    (after,) = house.worklist()
    assert (after.patient_id, after.version > before.version) == ("1001", True)
    assert house.patient(TEMP).id == house.patient(JANE).id


def test_images_under_the_old_identifier_still_find_the_order(house: House) -> None:
    house.order(order(patient=who(TEMP, name=PersonName("DOE^JANE"))))
    tell(house, "A47", JANE, prior=(TEMP,))
    house.image(patient_id=TEMP.value)
    house.complete()
    assert house.study().match_state == "matched"


def test_an_identifier_is_not_changed_into_another_patients(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A04", JANE)
    assert tell(house, "A47", JANE, prior=(TEMP,))[0] is Fate.REFUSED
    assert house.patient(TEMP).id != house.patient(JANE).id


JANET = {"name": PersonName("DOE^JANET"), "birth_date": "19800101", "sex": "F"}


@pytest.mark.parametrize("arrival", list(itertools.permutations(("order", "A47", "A08"))))
def test_an_update_that_overtakes_the_change_of_its_number_makes_no_second_person(
    house: House, arrival: tuple[str, ...]
) -> None:
    acts: dict[str, Callable[[], tuple[Fate, list[str]]]] = {
        "order": lambda: house.order(order(patient=who(TEMP, name=PersonName("DOE^JANE")))),
        "A47": lambda: house.adt("A47", JANE, prior=(TEMP,), at=at(10)),
        "A08": lambda: house.adt("A08", JANE, at=at(11), **JANET),
    }
    assert {acts[name]()[0] for name in arrival} == {Fate.APPLIED}
    assert house.patient(TEMP).id == house.patient(JANE).id
    assert [(e.patient_id, e.patient_name.dicom) for e in house.worklist()] == [("1001", "DOE^JANET")]
    assert house.adt("A08", JANE, sex="F") == (Fate.APPLIED, [])


@pytest.mark.parametrize("holds", ["an order", "a study", "a link", "another person's name"])
def test_a_record_of_the_new_number_that_is_in_use_stays_another_patients(house: House, holds: str) -> None:
    house.order(order(patient=who(TEMP, name=PersonName("DOE^JANE"))))
    house.adt("A08", JANE, **JANET)
    if holds == "an order":
        house.order(order(placer="P2", accession="A2", uid="1.2.4", patient=who(name=PersonName("DOE^JANET"))))
    elif holds == "a study":
        house.image(study_instance_uid="1.2.5", accession_number="")
    elif holds == "a link":
        tell(house, "A24", JANE, other=PatientData((JOHN,)))
    else:
        house.adt("A08", JANE, name=PersonName("ROE^JOHN"), birth_date="19700707")
    assert house.adt("A47", JANE, prior=(TEMP,))[1][0] == "duplicate-key PID-3"
    assert house.patient(TEMP).id != house.patient(JANE).id


def test_a_change_told_twice_is_told_once(house: House) -> None:
    house.adt("A04", TEMP)
    tell(house, "A47", JANE, prior=(TEMP,))
    assert tell(house, "A47", JANE, prior=(TEMP,))[0] is Fate.APPLIED
    assert len(house.rows("patient")) == 1


# -- links --------------------------------------------------------------------------------------------------------


def linked(house: House, identifier: Identifier) -> list[int]:
    return house.read(lambda c: visits.linked_to(c, house.patient(identifier).id))


def test_a_link_keeps_both_records_and_ends_when_it_is_unlinked(house: House) -> None:
    tell(house, "A24", JANE, other=PatientData((JOHN,)))
    assert linked(house, JANE) == [house.patient(JOHN).id]
    tell(house, "A37", JOHN, other=PatientData((JANE,)))
    assert (linked(house, JANE), len(house.rows("patient"))) == ([], 2)


def test_a_link_follows_its_record_into_a_merge(house: House) -> None:
    tell(house, "A24", TEMP, other=PatientData((JOHN,)))
    house.adt("A40", JANE, prior=(TEMP,))
    assert linked(house, JOHN) == [house.patient(JANE).id]


def test_a_record_is_not_linked_to_itself(house: House) -> None:
    assert tell(house, "A24", JANE, other=PatientData((JANE,)))[0] is Fate.REFUSED


# -- merges -------------------------------------------------------------------------------------------------------


def pairs(house: House, *merges: tuple[Identifier, Identifier]) -> Fate:
    first, *further = (PatientEvent("A40", PatientData((to,)), prior=(prior,)) for prior, to in merges)
    return house.send(Reading(patient=first, further_patients=tuple(further)))[0]


def test_several_pairs_of_one_message_are_all_merged(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A04", Identifier("TMP8", "HOSP"))
    assert pairs(house, (TEMP, JANE), (Identifier("TMP8", "HOSP"), JOHN)) is Fate.APPLIED
    assert house.patient(TEMP).id == house.patient(JANE).id != house.patient(JOHN).id


def test_one_pair_that_cannot_be_merged_undoes_the_others(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A04", JANE)
    assert pairs(house, (TEMP, JANE), (JOHN, JOHN)) is Fate.REFUSED
    assert house.patient(TEMP).id != house.patient(JANE).id


def test_a_chain_within_one_message_leads_to_the_last(house: House) -> None:
    house.order(order(patient=who(TEMP)))
    assert pairs(house, (TEMP, JOHN), (JOHN, JANE)) is Fate.APPLIED
    assert house.worklist()[0].patient_id == "1001"


def test_a_merge_renames_nobody_whom_the_feed_has_named(house: House) -> None:
    house.adt("A04", JANE, name=PersonName("DOE^JANE"))
    house.adt("A40", JANE, prior=(TEMP,), name=PersonName("DO^J"))
    assert house.patient(JANE).name == PersonName("DOE^JANE")


def test_a_merge_with_its_account_renames_the_account_too(house: House) -> None:
    house.order(order(patient=who(TEMP), visit=visiting(None, A1)))
    tell(house, "A36", JANE, visit=visiting(None, A2), prior=(TEMP,), prior_account=A1)
    assert (column(house, "account_number"), house.worklist()[0].patient_id) == ([("ACCT2",)], "1001")


def test_f30_a_cycle_is_refused_as_a_duplicate_and_changes_nothing(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A40", JANE, prior=(TEMP,))
    fate, told = house.adt("A40", TEMP, prior=(JANE,))
    assert (fate, told[0]) == (Fate.REFUSED, "duplicate-key PID-3")
    assert house.patient(TEMP).id == house.patient(JANE).id and house.patient(JANE).merged_into is None


def test_a_prior_number_that_is_another_live_number_of_the_survivor_is_retired(house: House) -> None:
    house.adt("A04", TEMP, JANE)
    house.order(order(patient=who(JANE)))
    house.adt("A40", JANE, prior=(TEMP,))
    assert house.worklist()[0].patient_id == "1001"


def test_an_update_that_changes_everything_alarms(house: House) -> None:
    house.adt("A04", JANE, name=PersonName("DOE^JANE"), birth_date="19800101", sex="F")
    house.adt("A08", JANE, name=PersonName("ROE^JOHN"), birth_date="19500505", sex="M")
    assert ("patient-overlay", "name-birth-and-sex-changed") in house.reviews()


def test_a_new_name_gives_the_patients_studies_a_new_version_to_publish(house: House) -> None:
    house.adt("A04", JANE, name=PersonName("DOE^JANE"))
    house.order(order())
    house.image()
    house.complete()
    version = house.study().version
    house.adt("A08", JANE, name=PersonName("DOE^JANE^ANN"))
    house.complete()
    assert (house.study().version > version, house.study().match_state) == (True, "matched")


@pytest.mark.parametrize("moment", range(4))
def test_f29_a_merge_at_any_moment_of_a_study_leaves_it_under_the_survivor(house: House, moment: int) -> None:
    acts: list[Callable[[], object]] = [
        lambda: house.order(order(patient=who(TEMP, name=PersonName("DOE^JANE")))),
        lambda: house.image(patient_id=TEMP.value),
        lambda: house.image(patient_id=TEMP.value),
    ]
    acts.insert(moment, lambda: house.adt("A40", JANE, prior=(TEMP,), name=PersonName("DOE^JANE")))
    for act in acts:
        act()
    house.complete()
    (link,) = house.links()
    assert (house.study().match_state, house.order_row().id) == ("matched", link.order_id)
    assert house.order_row().patient_id == house.patient(JANE).id


def test_f31_first_messages_of_new_patients_at_once_make_one_patient_each(house: House) -> None:
    databases = [Database("", house.settings.data, on_broken=lambda: None) for _ in range(4)]
    intakes = [Intake(Context(one, house.settings, house.clock)) for one in databases]
    people = [Identifier(f"N{n}", "HOSP") for n in range(10)]

    def first_message(number: int) -> Fate:
        person, intake = people[number // 4], intakes[number % 4]
        told = Reading(orders=(order(placer=f"Q{number}", accession=f"Q{number}", uid="", patient=who(person)),))
        envelope = Envelope("ris", b"%d" % number, "10.0.0.1", house.clock.now(), "RIS", "H", f"F{number}")
        return intake.take(envelope, told, lambda _: ("AA", b""))[0]

    try:
        with ThreadPoolExecutor(8) as pool:
            fates = list(pool.map(first_message, range(40)))
    finally:
        for one in databases:
            one.close()
    assert fates == [Fate.APPLIED] * 40
    assert (len(house.rows("patient")), len(house.rows("imaging_order"))) == (10, 40)
