"""Orders: what each message does to what a scanner is shown (IHE RAD-2, RAD-3, RAD-4, RAD-13; IHE PIR)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.config import Site, Station
from bridge.domain.identity import Identifier
from bridge.domain.message import Fate
from bridge.domain.order import OrderRequest, OrderStatus, StepRequest
from bridge.domain.patient import PatientData, Visit
from bridge.domain.performed import ScheduledReference
from tests.unit.workflow.house import CT1, JOHN, House, at, ct_step, made, order, who

# -- one order, its life ------------------------------------------------------------------------------------------


def test_a_new_order_is_on_the_worklist_with_its_own_ids(house: House) -> None:
    assert house.order(order(procedure_id="RP1", steps=(ct_step(step_id="S1"),))) == (Fate.APPLIED, [])
    (entry,) = house.worklist()
    assert (entry.accession_number, entry.study_instance_uid, entry.patient_id) == ("A1", "1.2.3", "1001")
    assert (entry.modality, entry.station_ae_titles, entry.start_date, entry.start_time) == (
        "CT", ("CT1",), "20261125", "130000",
    )  # fmt: skip


def test_a_change_moves_the_time_and_keeps_every_id(house: House) -> None:
    house.order(order())
    (before,) = house.worklist()
    house.order(order("XO", uid="", steps=(ct_step(start=datetime(2026, 11, 26, 9, 30)),)))
    (after,) = house.worklist()
    assert (after.start_date, after.start_time) == ("20261126", "093000")
    assert (after.step_id, after.requested_procedure_id, after.study_instance_uid) == (
        before.step_id, before.requested_procedure_id, before.study_instance_uid,
    )  # fmt: skip
    assert after.version > before.version


@pytest.mark.parametrize(("control", "status"), [("CA", ""), ("OC", ""), ("DC", "CA"), ("OD", ""), ("RP", "")])
def test_an_order_that_is_given_up_leaves_the_worklist(house: House, control: str, status: str) -> None:
    house.order(order())
    house.order(order(control, status))
    assert house.worklist() == []


@pytest.mark.parametrize("control", ["HD", "OH"])
def test_a_held_order_is_hidden_and_comes_back_when_released(house: House, control: str) -> None:
    house.order(order())
    house.order(order(control))
    assert house.worklist() == []
    house.order(order("RL"))
    assert len(house.worklist()) == 1


def test_a_release_does_not_bring_back_a_cancelled_order(house: House) -> None:
    house.order(order())
    house.order(order("CA"))
    house.order(order("RL"))
    assert house.worklist() == []


def test_a_hold_and_release_do_not_bring_back_a_cancelled_order(house: House) -> None:
    house.order(order())
    house.order(order("CA"))
    house.order(order("HD"))
    house.order(order("RL"))
    assert house.worklist() == []


@pytest.mark.parametrize(("control", "status"), [("NA", ""), ("XO", ""), ("SC", "ER"), ("SC", "Scheduled")])
def test_only_an_explicit_status_brings_back_a_cancelled_order(house: House, control: str, status: str) -> None:
    house.order(order())
    house.order(order("CA"))
    house.order(order(control, status))
    assert house.worklist() == []
    assert house.order_row().status is OrderStatus.CA


def test_a_change_of_an_order_in_progress_leaves_it_in_progress(house: House) -> None:
    house.order(order())
    house.order(order("SC", "IP"))
    house.order(order("XO"))
    assert house.order_row().status is OrderStatus.IP


def test_a_re_order_under_the_cancelled_number_is_shown_again(house: House) -> None:
    house.order(order(event_time=at(9)))
    house.order(order("CA", event_time=at(10)))
    house.order(order(event_time=at(11)))
    assert len(house.worklist()) == 1


def test_a_completed_order_that_is_sent_again_is_not_offered_again(house: House) -> None:
    """Sent again with the time of its making: nobody is scanned twice."""
    house.order(order(event_time=at(9)))
    house.order(order("SC", "CM", event_time=at(10)))
    house.order(order(event_time=at(9), sent_time=at(11)))
    assert house.worklist() == []


def test_a_new_order_under_a_completed_number_that_is_newer_than_the_completion_is_shown_again(house: House) -> None:
    house.order(order(event_time=at(9)))
    house.order(order("SC", "CM", event_time=at(10)))
    house.order(order(event_time=at(11)))
    assert [e.step_status for e in house.worklist()] == ["SCHEDULED"]


def test_a_cancel_request_for_what_is_being_performed_is_not_granted(house: House) -> None:
    house.order(order(event_time=at(9)))
    house.order(order("SC", "IP", event_time=at(10)))
    house.order(order("CA", event_time=at(11)))
    assert house.order_row().status is OrderStatus.IP


def test_a_cancel_of_the_filler_is_a_fact_also_for_what_is_being_performed(house: House) -> None:
    house.order(order(event_time=at(9)))
    house.order(order("SC", "IP", event_time=at(10)))
    house.order(order("OC", event_time=at(11)))
    assert house.order_row().status is OrderStatus.CA


def test_a_change_before_its_order_is_on_no_worklist_and_is_found_in_it(house: House) -> None:
    house.order(order("XO", "SC", event_time=at(10), steps=(ct_step(start=datetime(2026, 11, 26, 9, 30)),)))
    assert house.worklist() == []
    house.order(order(event_time=at(9)))
    assert [(e.start_date, e.start_time) for e in house.worklist()] == [("20261126", "093000")]


def test_a_late_echo_of_in_progress_does_not_reopen_a_performed_step(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps_end("1.1")
    house.order(order("SC", "IP"))
    assert house.status_of_step() == "COMPLETED"


def test_giving_up_an_order_does_not_undo_a_performed_step(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps_end("1.1")
    house.order(order("DC", "CA"))
    assert house.status_of_step() == "COMPLETED"


def test_a_parent_order_is_hidden_behind_its_children(house: House) -> None:
    house.order(order("PA", placer="P0", accession="A0", uid="1.2.0"), order("CH", placer="P1"))
    assert [e.placer_order_number for e in house.worklist()] == ["P1"]


# -- out of order -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [(), None], ids=["bare", "with its steps"])
@pytest.mark.parametrize("minutes", [0, 1], ids=["same minute", "a minute later"])
def test_a_cancel_that_overtook_its_order_wins(house: House, steps: Any, minutes: int) -> None:
    house.order(order("CA", event_time=at(10, minutes), steps=steps))
    house.order(order("NW", event_time=at(10, 0)))
    assert house.worklist() == []
    assert house.order_row().status is OrderStatus.CA


def test_a_late_new_order_fills_in_what_its_cancel_did_not_say(house: House) -> None:
    house.order(order("CA", event_time=at(10, 5), steps=(), uid="", accession=""))
    house.order(order("NW", event_time=at(10)))
    (step,) = house.steps()
    assert (step.status, step.modality) == ("CANCELED", "CT")


def test_a_status_that_overtook_its_order_stays_true(house: House) -> None:
    house.order(order("SC", "IP", event_time=at(10, 5), steps=()))
    house.order(order("NW", event_time=at(10)))
    assert house.status_of_step() == "STARTED"
    assert house.worklist() == []


def test_an_older_message_changes_nothing(house: House) -> None:
    house.order(order(event_time=at(11)))
    fate, told = house.order(order("CA", event_time=at(10)))
    assert (fate, told) == (Fate.IGNORED, ["older than what is stored: no effect"])
    assert len(house.worklist()) == 1


def test_an_answer_to_ourselves_creates_nothing(house: House) -> None:
    assert house.order(order("OK"))[0] is Fate.IGNORED
    assert house.rows("imaging_order") == []


def test_an_order_control_outside_the_table_is_refused(house: House) -> None:
    assert house.order(order("ZZ"))[0] is Fate.REFUSED


# -- never the wrong person ---------------------------------------------------------------------------------------


def test_a_known_number_with_another_patient_is_parked_and_changes_nothing(house: House) -> None:
    house.order(order())
    fate, told = house.order(order("XO", patient=who(JOHN), steps=(ct_step(start=datetime(2026, 11, 27, 8, 0)),)))
    assert (fate, told) == (Fate.PARKED, ["order-of-another-patient"])
    (entry,) = house.worklist()
    assert (entry.patient_id, entry.start_date) == ("1001", "20261125")
    assert ("order-conflict", "order-of-another-patient") in house.reviews()


def test_a_cancel_that_names_another_patient_cancels_nobodys_order(house: House) -> None:
    house.order(order())
    house.order(order("CA", patient=who(JOHN)))
    assert len(house.worklist()) == 1


def test_the_same_number_of_another_issuer_is_another_order(house: House) -> None:
    house.order(order())
    foreign = replace(order(accession="B1", uid="1.2.4", patient=who(JOHN)), placer=Identifier("P1", "OTHER"))
    house.order(foreign)
    assert sorted(e.patient_id for e in house.worklist()) == ["1001", "2002"]


def test_numbers_of_two_orders_in_one_message_are_parked(house: House) -> None:
    house.order(order(placer="P1", filler="F1"), order(placer="P2", filler="F2", accession="A2", uid="1.2.4"))
    fate, told = house.order(order("CA", placer="P1", filler="F2"))
    assert (fate, told) == (Fate.PARKED, ["order-numbers-of-two-orders"])
    assert len(house.worklist()) == 2


def test_a_study_uid_that_another_patients_order_has_is_not_given_to_a_scanner(house: House) -> None:
    """Two people under one Study Instance UID would be one study: no scanner may be told so."""
    house.order(order(uid="1.2.3"))
    fate, told = house.order(order(placer="P2", accession="A2", patient=who(JOHN), uid="1.2.3"))
    assert (fate, "study-uid-of-another-patient" in told) == (Fate.PARKED, True)
    assert [e.patient_id for e in house.worklist()] == ["1001"]


def test_a_late_order_with_the_uid_of_another_patients_study_is_seen_not_swallowed(house: House) -> None:
    house.order(order())
    house.image()
    house.complete()
    fate, _ = house.order(order(placer="P2", accession="A2", patient=who(JOHN), uid="1.2.3"))
    assert fate is Fate.PARKED
    assert ("order-parked", "study-uid-of-another-patient") in house.reviews()
    assert house.steps("P2")[0].status != "COMPLETED"


def test_two_orders_of_one_patient_may_share_a_study(house: House) -> None:
    house.order(order(), order(placer="P2", accession="A2", uid="1.2.3"))
    assert len(house.worklist()) == 2


# -- where it is done ---------------------------------------------------------------------------------------------


def test_the_most_specific_row_of_the_station_table_wins(build: Callable[..., House]) -> None:
    room = Station(ae_titles=("CT9",), modality="CT", room="R9")
    house = build(station=(CT1, room))
    house.order(order(steps=(ct_step(location="R9"),)))
    assert house.worklist()[0].station_ae_titles == ("CT9",)


def test_a_row_for_a_class_of_patient_beats_the_pool(build: Callable[..., House]) -> None:
    rows = (Station(ae_titles=("CT1",), modality="CT"), Station(ae_titles=("CT9",), modality="CT", patient_class="E"))
    house = build(station=rows)
    house.order(order(visit=Visit(patient_class="E")))
    house.order(order("XO", uid="", accession=""))
    assert [e.station_ae_titles for e in house.worklist()] == [("CT9",)]


def test_equal_rows_share_a_step_and_name_no_station(build: Callable[..., House]) -> None:
    house = build(station=(CT1, Station(ae_titles=("CT2", "CT1"), modality="CT", name="CT2")))
    house.order(order())
    (entry,) = house.worklist()
    assert (entry.station_ae_titles, entry.station_name) == (("CT1", "CT2"), "")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (order(steps=(ct_step(modality="", modality_sent="XYZ"),)), "modality-unknown"),
        (order(steps=(ct_step(modality="US", modality_sent="US"),)), "no-station"),
        (order(steps=()), "no-step"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_placed_is_parked_in_sight(house: House, request_: Any, reason: str) -> None:
    fate, told = house.order(request_)
    assert (fate, told[0]) == (Fate.PARKED, reason)
    assert house.worklist() == []
    assert house.reviews() == {("order-parked", reason)}


def test_a_later_message_that_can_be_placed_ends_the_parking(house: House) -> None:
    house.order(order(steps=(ct_step(modality="", modality_sent="XYZ"),)))
    house.order(order("XO"))
    assert len(house.worklist()) == 1
    assert house.reviews() == set()


def test_cancelling_a_parked_order_ends_the_waiting_for_a_person(house: House) -> None:
    house.order(order(steps=(ct_step(modality="US", modality_sent="US"),)))
    house.order(order("CA"))
    assert house.reviews() == set()


def test_a_message_that_only_moves_the_time_does_not_hide_the_step(house: House) -> None:
    """Empty keeps: an update without modality or room is no reason to park what was placed."""
    house.order(order(steps=(ct_step(location="R1"),), department="RAD"))
    fate, _ = house.order(order("XO", uid="", accession="", steps=(StepRequest(start=datetime(2026, 11, 25, 15, 0)),)))
    assert fate is Fate.APPLIED
    assert [e.start_time for e in house.worklist()] == ["150000"]


def test_an_update_by_department_uses_the_department_that_is_stored(build: Callable[..., House]) -> None:
    house = build(station=(Station(ae_titles=("CT7",), department="ER"),))
    house.order(order(department="ER"))
    assert house.order(order("XO"))[0] is Fate.APPLIED
    assert house.worklist()[0].station_ae_titles == ("CT7",)


def test_an_unknown_modality_in_an_update_parks(house: House) -> None:
    house.order(order())
    assert house.order(order("XO", steps=(ct_step(modality="", modality_sent="XYZ"),)))[0] is Fate.PARKED
    assert house.worklist() == []


def test_an_accession_number_too_long_for_dicom_reaches_scanners_as_an_alias_that_stays(house: House) -> None:
    _, told = house.order(order(accession="A" * 17))
    (before,) = house.worklist()
    house.order(order("XO", accession="", uid=""))
    (after,) = house.worklist()
    assert before.accession_number == after.accession_number != "A" * 16
    assert len(before.accession_number) == 16
    assert house.order_row().accession == Identifier("A" * 17, "RIS")
    assert any("accession number is longer" in text for text in told)


def test_images_that_come_back_with_the_alias_find_their_order(house: House) -> None:
    house.order(order(accession="A" * 17))
    (entry,) = house.worklist()
    house.image(study_instance_uid="1.2.77", accession_number=entry.accession_number, accession_issuer="RIS")
    house.complete()
    (study,) = house.rows("study")
    assert study.match_state == "matched"


def test_a_change_of_modality_moves_the_step_to_the_other_scanner(house: House) -> None:
    house.order(order())
    house.order(order("XO", steps=(ct_step(modality="MR", modality_sent="MR"),)))
    (entry,) = house.worklist()
    assert (entry.modality, entry.station_ae_titles, entry.station_name) == ("MR", ("MR1",), "")


def test_a_station_named_twice_by_the_order_is_one_station(house: House) -> None:
    house.order(order(steps=(ct_step(station_ae_titles=("CT5", "CT5")),)))
    assert house.worklist()[0].station_ae_titles == ("CT5",)


# -- ids ----------------------------------------------------------------------------------------------------------


def test_ids_that_the_order_lacks_are_made_once_and_stay(house: House) -> None:
    house.order(order(uid=""))
    (before,) = house.worklist()
    house.order(order("XO", uid=""))
    (after,) = house.worklist()
    assert before.study_instance_uid == after.study_instance_uid
    assert before.study_instance_uid.startswith("2.25.")
    assert (before.requested_procedure_id, before.step_id) == (after.requested_procedure_id, after.step_id)


def test_several_steps_keep_their_ids_when_the_accession_comes_later(house: House) -> None:
    two = (ct_step(), ct_step(start=datetime(2026, 11, 25, 14, 0)))
    house.order(order(accession="", filler="F1", steps=two))
    before = [e.step_id for e in house.worklist()]
    house.order(order("SC", "SC", accession="A1", filler="F1", steps=two))
    assert [e.step_id for e in house.worklist()] == before


def test_a_procedure_id_that_comes_later_does_not_double_the_entry(house: House) -> None:
    house.order(order(uid=""))
    house.order(order("SC", "SC", uid="", procedure_id="RP77"))
    assert len(house.worklist()) == 1


def test_a_step_id_that_comes_later_does_not_double_the_entry(house: House) -> None:
    house.order(order())
    house.order(order("SC", "SC", steps=(ct_step(step_id="SPS77"),)))
    assert len(house.worklist()) == 1


def test_one_step_named_twice_in_a_message_is_one_step(house: House) -> None:
    """OMI repeats IPC-4 for each protocol code (RAD-4)."""
    house.order(order(steps=(ct_step(step_id="S1"), ct_step(step_id="S1"))))
    assert len(house.worklist()) == 1


def test_two_step_ids_are_two_entries(house: House) -> None:
    house.order(order(steps=(ct_step(step_id="S1"), ct_step(step_id="S2"))))
    assert sorted(e.step_id for e in house.worklist()) == ["S1", "S2"]


def test_an_id_too_long_for_a_scanner_gets_an_alias_that_stays(house: House) -> None:
    house.order(order(procedure_id="R" * 20))
    (before,) = house.worklist()
    house.order(order("XO", procedure_id="R" * 20))
    (after,) = house.worklist()
    assert len(before.requested_procedure_id) == 16
    assert before.requested_procedure_id == after.requested_procedure_id != "R" * 16


def test_a_study_uid_that_images_carry_is_not_replaced(house: House) -> None:
    house.order(order(uid="1.2.3"))
    house.image()
    _, told = house.order(order("XO", uid="1.2.77"))
    assert "the Study Instance UID is in use: the new one was not adopted" in told
    assert (
        house.read(lambda c: c.exec_driver_sql("SELECT study_instance_uid FROM requested_procedure").scalar_one())
        == "1.2.3"
    )


def test_a_study_uid_that_nobody_used_yet_follows_the_order(house: House) -> None:
    house.order(order(uid=""))
    house.order(order("SC", "SC", uid="1.2.77"))
    assert house.worklist()[0].study_instance_uid == "1.2.77"


# -- time ---------------------------------------------------------------------------------------------------------


def test_a_start_that_the_order_lacks_is_set_once(house: House) -> None:
    house.order(order(steps=(ct_step(start=None),)))
    (before,) = house.worklist()
    house.clock.advance(3600)
    house.order(order("XO", steps=(ct_step(start=None),)))
    (after,) = house.worklist()
    assert (before.start_date, before.start_time) == (after.start_date, after.start_time) == ("20261125", "120000")


@pytest.mark.parametrize(
    ("now", "local"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "015900"),
        (datetime(2026, 3, 29, 1, 1, tzinfo=UTC), "030100"),
        (datetime(2026, 10, 25, 0, 59, tzinfo=UTC), "025900"),
        (datetime(2026, 10, 25, 1, 1, tzinfo=UTC), "020100"),
    ],
    ids=["before spring", "after spring", "before autumn", "after autumn"],
)
def test_a_start_by_the_clock_is_the_sites_wall_time(build: Callable[..., House], now: datetime, local: str) -> None:
    house = build(site=Site(time_zone="Europe/Berlin"))
    house.clock.advance((now - house.clock.now()).total_seconds())
    house.order(order(steps=(ct_step(start=None),)))
    assert house.worklist()[0].start_time == local


# -- acquired first (IHE PIR case 3) ------------------------------------------------------------------------------


def test_an_order_made_after_its_study_is_not_offered_and_is_matched(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"), patient_id="1001", patient_issuer="HOSP")
    house.image(accession_number="", sop_instance_uid="1.5")
    house.mpps_end("1.1", **made("1.5"))
    house.complete()
    assert house.study().match_state == "unmatched"
    house.order(order("SN", placer="", filler="F1", uid="1.2.3"))
    assert house.worklist() == []
    house.matching.judge_due()
    assert house.study().match_state == "matched"


def test_a_late_order_that_agrees_in_patient_modality_and_day_only_is_a_candidate(house: House) -> None:
    house.image(accession_number="")
    house.complete()
    house.order(order(uid="1.2.77"))
    house.matching.judge_due()
    assert (house.study().match_state, house.links()) == ("unmatched", [])
    assert ("study-unmatched", "weak-evidence") in house.reviews()
    assert len(house.worklist()) == 1


@pytest.mark.parametrize("control", ["XO", "XX"])
def test_a_change_without_a_step_of_an_order_that_is_not_known_waits_for_no_person(house: House, control: str) -> None:
    assert house.order(order(control, steps=()))[0] is Fate.APPLIED
    house.order(order(control, steps=()))
    assert house.reviews() == set()


def test_an_order_without_a_step_waits_for_a_person_also_when_its_change_came_first(house: House) -> None:
    house.order(order("XO", steps=(), event_time=at(9)))
    assert house.order(order(steps=(), event_time=at(8)))[0] is Fate.PARKED
    assert house.reviews() == {("order-parked", "no-step")}


# -- one order, spoken of by one of its numbers before the message that has both ----------------------------------

NOBODY = who(identifiers=())
BOTH = order("XO", "SC", filler="F1", event_time=at(9))


def cancelled_by_filler(patient: PatientData = NOBODY, status: str = "") -> OrderRequest:
    return order(
        "OC", status, placer="", filler="F1", accession="", steps=(), uid="", event_time=at(10), patient=patient
    )


@pytest.mark.parametrize("patient", [NOBODY, who()], ids=["nobody", "same"])
def test_a_cancel_by_the_filler_number_alone_stops_the_order_of_the_placer(house: House, patient: PatientData) -> None:
    house.order(order(accession="", event_time=at(8)))
    house.order(cancelled_by_filler(patient))
    assert house.order(BOTH)[0] is Fate.APPLIED
    assert (house.order_row().status, house.worklist(), house.reviews()) == ("CA", [], set())


def test_the_order_has_both_numbers_then(house: House) -> None:
    house.order(order(accession="", event_time=at(8)))
    house.order(cancelled_by_filler())
    house.order(BOTH)
    (row,) = house.rows("imaging_order")
    assert (row.placer_order_number, row.filler_order_number) == ("P1", "F1")
    assert len(house.rows("order_event")) == 3
    assert len(house.rows("patient")) == 1


def test_a_cancel_by_the_placer_number_alone_stops_the_order_of_the_filler(house: House) -> None:
    house.order(order("SN", placer="", filler="F1", event_time=at(8)))
    house.order(order("CA", accession="", steps=(), uid="", event_time=at(10), patient=NOBODY))
    house.order(BOTH)
    assert (house.order_row().status, house.worklist()) == ("CA", [])


def test_a_re_order_after_the_cancel_is_shown(house: House) -> None:
    house.order(order(accession="", event_time=at(8)))
    house.order(cancelled_by_filler())
    house.order(order(filler="F1", event_time=at(11)))
    assert len(house.worklist()) == 1


def test_a_cancel_of_another_patients_order_stops_none(house: House) -> None:
    house.order(order(accession="", event_time=at(8)))
    house.order(cancelled_by_filler(who(JOHN)))
    assert house.order(BOTH)[0] is Fate.PARKED
    assert house.reviews() == {("order-conflict", "order-numbers-of-two-orders")}


def test_two_orders_that_were_ordered_stay_two(house: House) -> None:
    house.order(order(accession="", event_time=at(8)))
    house.order(order("SN", placer="", filler="F1", accession="A2", uid="1.2.4", event_time=at(8)))
    assert house.order(BOTH)[0] is Fate.PARKED
    assert len(house.rows("imaging_order")) == 2


def test_what_a_person_is_to_look_at_is_not_joined(house: House) -> None:
    house.order(order(accession="", event_time=at(8)))
    house.order(cancelled_by_filler(status="ER"))
    assert house.order(BOTH)[0] is Fate.PARKED


def test_a_message_that_is_parked_joins_nothing(house: House) -> None:
    house.order(order(accession="", event_time=at(8)))
    house.order(cancelled_by_filler())
    assert house.order(replace(BOTH, patient=who(JOHN)))[0] is Fate.PARKED
    assert len(house.rows("imaging_order")) == 2
