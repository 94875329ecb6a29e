"""Which scheduled step a device means, and when an entry leaves the worklist."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from bridge.config import Destination, Hl7, Performed
from bridge.domain.coding import Code
from bridge.domain.order import OrderStatus
from bridge.domain.patient import PersonName
from bridge.domain.performed import ScheduledReference
from bridge.store import review
from tests.unit.workflow.house import JOHN, House, at, ct_step, order, who

JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}
JOHNS = {"patient_id": "2002", "patient_issuer": "HOSP"}
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")
RIS = Destination(name="ris", port=1, events=frozenset({"started", "completed", "discontinued"}))
CT = ct_step(step_id="S1")
MR = ct_step(step_id="S2", modality="MR", modality_sent="MR")


def statuses(house: House) -> dict[str, str]:
    return {step.scheduled_step_id: str(step.status) for step in house.steps()}


def request(step_id: str) -> tuple[ScheduledReference, ...]:
    return (ScheduledReference(scheduled_step_id=step_id),)


# -- devices without MPPS -----------------------------------------------------------------------------------------


def test_an_image_starts_the_step_of_its_modality_and_leaves_the_other_scanners_list(house: House) -> None:
    house.order(order(steps=(CT, MR)))
    house.image(modality="CT")
    assert statuses(house) == {"S1": "STARTED", "S2": "SCHEDULED"}
    assert [entry.modality for entry in house.worklist()] == ["MR"]


def test_the_quiet_time_ends_the_steps_that_were_done_and_no_other(house: House) -> None:
    house.order(order(steps=(CT, MR)))
    house.image(modality="CT")
    house.complete()
    assert statuses(house) == {"S1": "COMPLETED", "S2": "SCHEDULED"}
    assert house.order_row().status is OrderStatus.IP


def test_the_other_scanners_images_end_the_order(house: House) -> None:
    house.order(order(steps=(CT, MR)))
    house.image(modality="CT")
    house.complete()
    house.image(modality="MR", series_instance_uid="1.2.3.2")
    assert statuses(house) == {"S1": "COMPLETED", "S2": "STARTED"}
    house.complete()
    assert (statuses(house), house.order_row().status) == ({"S1": "COMPLETED", "S2": "COMPLETED"}, OrderStatus.CM)


def test_an_image_that_names_its_step_starts_that_one(house: House) -> None:
    house.order(order(steps=(CT, ct_step(step_id="S3"))))
    house.image(requests=request("S3"))
    assert statuses(house) == {"S1": "SCHEDULED", "S3": "STARTED"}
    house.complete()
    assert statuses(house) == {"S1": "SCHEDULED", "S3": "COMPLETED"}


def test_of_two_steps_of_one_modality_the_one_planned_for_the_sender_starts(house: House) -> None:
    here = ct_step(step_id="S1", station_ae_titles=("CT1",))
    house.order(order(steps=(here, ct_step(step_id="S3", station_ae_titles=("CT2",)))))
    house.image()
    assert statuses(house) == {"S1": "STARTED", "S3": "SCHEDULED"}


def test_an_image_that_fits_two_steps_moves_neither_and_a_person_is_told(house: House) -> None:
    house.order(order(steps=(CT, ct_step(step_id="S3"))))
    house.image()
    assert statuses(house) == {"S1": "SCHEDULED", "S3": "SCHEDULED"}
    house.complete()
    assert statuses(house) == {"S1": "SCHEDULED", "S3": "SCHEDULED"}
    assert ("performed-conflict", "step-unclear") in house.reviews()


def test_images_that_fit_two_steps_are_shown_though_mpps_tells_of_another_modality(house: House) -> None:
    house.order(order(steps=(CT, MR, ct_step(step_id="S3", modality="MR", modality_sent="MR"))))
    house.mpps("1.1", ScheduledReference("1.2.3", scheduled_step_id="S1"), modality="CT", **JANES)
    house.mpps_end("1.1")
    house.image(modality="MR")
    house.complete()
    assert house.reviews() == {("performed-conflict", "step-unclear")}


def test_images_of_an_exam_that_mpps_has_told_of_are_no_doubt(house: House) -> None:
    house.order(order(steps=(CT, ct_step(step_id="S3"))))
    house.mpps("1.1", ScheduledReference("1.2.3", scheduled_step_id="S1"), modality="CT", **JANES)
    house.image()
    house.mpps_end("1.1")
    house.complete()
    assert (statuses(house), house.reviews()) == ({"S1": "COMPLETED", "S3": "SCHEDULED"}, set())


def test_late_images_do_not_show_again_what_a_person_has_dealt_with(house: House) -> None:
    house.order(order(steps=(CT, ct_step(step_id="S3"))))
    house.image()
    house.complete()
    subject = f"study:{house.study().id}"
    house.database.write(
        lambda c: review.close_review(c, ("performed-conflict",), subject, at(12), "cli:anna", "told the RIS")
    )
    house.image()
    house.complete()
    assert house.reviews() == set()


def test_a_dose_report_of_a_known_exam_troubles_nobody(house: House) -> None:
    house.order(order(steps=(CT, MR)))
    house.image(modality="CT")
    house.image(modality="SR", series_instance_uid="1.2.3.9")
    house.complete()
    assert statuses(house) == {"S1": "COMPLETED", "S2": "SCHEDULED"}
    assert house.reviews() == set()


def test_the_only_step_is_meant_whatever_the_device_calls_its_modality(house: House) -> None:
    house.order(order(steps=(ct_step(modality="CR", modality_sent="CR", station_ae_titles=("CT1",)),)))
    house.image(modality="DX")
    assert house.status_of_step() == "STARTED"


def test_a_step_id_that_we_never_gave_is_not_taken_for_another_step(house: House) -> None:
    house.order(order(steps=(CT,)))
    house.image(requests=request("S9"))
    assert statuses(house) == {"S1": "SCHEDULED"}
    house.complete()
    assert ("performed-conflict", "step-unclear") in house.reviews()


def test_an_image_that_names_nobody_starts_nothing(house: House) -> None:
    house.order(order())
    house.image(patient_id="", patient_issuer="")
    assert len(house.worklist()) == 1


def test_an_image_of_another_patient_starts_nothing_though_it_names_the_step(house: House) -> None:
    house.order(order(steps=(CT,)))
    house.image(patient_id=JOHN.value, patient_name=PersonName("ROE^JOHN"), requests=request("S1"))
    assert statuses(house) == {"S1": "SCHEDULED"}


def test_a_group_case_starts_the_steps_of_both_orders_by_the_requests_in_its_images(house: House) -> None:
    house.order(order(procedure_id="R1", steps=(CT,)))
    house.order(order(placer="P2", accession="A2", uid="1.2.4", procedure_id="R2", steps=(ct_step(step_id="S7"),)))
    both = (ScheduledReference("", "A1", "RIS", "R1", "S1"), ScheduledReference("", "A2", "RIS", "R2", "S7"))
    house.image(study_instance_uid="1.2.99", accession_number="", requests=both)
    assert [house.status_of_step("P1"), house.status_of_step("P2")] == ["STARTED", "STARTED"]


def test_the_first_image_of_a_device_without_mpps_puts_the_order_in_progress(house: House) -> None:
    house.order(order())
    house.image()
    assert house.order_row().status is OrderStatus.IP


# -- MPPS that names no step --------------------------------------------------------------------------------------


def test_mpps_without_a_step_id_means_the_step_of_its_modality(house: House) -> None:
    house.order(order(steps=(CT, MR)))
    house.mpps("1.1", ScheduledReference("1.2.3"), modality="MR", **JANES)
    assert statuses(house) == {"S1": "SCHEDULED", "S2": "STARTED"}
    house.mpps_end("1.1")
    assert statuses(house) == {"S1": "SCHEDULED", "S2": "COMPLETED"}


def test_mpps_without_a_step_id_means_the_step_that_was_planned_for_its_station(house: House) -> None:
    here = ct_step(step_id="S1", station_ae_titles=("CT1",))
    house.order(order(steps=(here, ct_step(step_id="S3", station_ae_titles=("CT2",)))))
    house.mpps("1.1", ScheduledReference("1.2.3"), modality="CT", station_ae_title="CT2", **JANES)
    assert statuses(house) == {"S1": "SCHEDULED", "S3": "STARTED"}


def test_mpps_that_fits_two_steps_leaves_both_on_the_list_and_a_person_is_told(house: House) -> None:
    house.order(order(steps=(CT, ct_step(step_id="S3"))))
    house.mpps("1.1", ScheduledReference("1.2.3"), modality="CT", station_ae_title="CT1", **JANES)
    assert statuses(house) == {"S1": "SCHEDULED", "S3": "SCHEDULED"}
    assert house.reviews() == {("performed-conflict", "step-unclear")}


def test_mpps_with_a_step_id_that_we_never_gave_is_shown_to_a_person(house: House) -> None:
    house.order(order(steps=(CT,)))
    house.mpps("1.1", ScheduledReference("1.2.3", scheduled_step_id="S9"), modality="CT", **JANES)
    assert statuses(house) == {"S1": "SCHEDULED"}
    assert house.reviews() == {("performed-conflict", "step-unclear")}


def test_an_unclear_step_that_a_person_has_dealt_with_is_not_shown_again_at_its_end(house: House) -> None:
    house.order(order(steps=(CT, ct_step(step_id="S3"))))
    house.mpps("1.1", ScheduledReference("1.2.3"), modality="CT", **JANES)
    (entry,) = house.read(review.open_reviews)
    house.database.write(
        lambda c: review.close_review(c, ("performed-conflict",), str(entry["subject"]), at(12), "cli:anna", "known")
    )
    house.mpps_end("1.1")
    assert house.reviews() == set()


def test_mpps_of_an_unknown_study_is_no_conflict(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.77"), modality="CT", **JANES)
    assert house.reviews() == set()


def test_mpps_that_names_an_accession_but_nobody_is_shown_to_a_person(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.77", "A1", "RIS"))
    assert house.reviews() == {("performed-conflict", "patient-missing")}


def test_an_accession_number_of_two_people_means_the_order_of_the_one_who_was_examined(house: House) -> None:
    house.order(order(), order(placer="P2", uid="1.2.4", patient=who(JOHN)))
    house.mpps("1.1", ScheduledReference("1.2.77", "A1", "RIS"), **JANES)
    assert [house.status_of_step("P1"), house.status_of_step("P2")] == ["STARTED", "SCHEDULED"]


def test_images_move_the_step_that_an_unclear_mpps_could_not(house: House) -> None:
    house.order(order(steps=(CT, ct_step(step_id="S3"))))
    house.mpps("1.1", ScheduledReference("1.2.3"), modality="CT", **JANES)
    house.image(requests=request("S3"))
    assert statuses(house) == {"S1": "SCHEDULED", "S3": "STARTED"}


def test_images_do_not_end_a_step_whose_mpps_is_in_progress(house: House) -> None:
    house.order(order(steps=(CT, MR)))
    house.mpps("1.1", ScheduledReference("1.2.3"), modality="CT", **JANES)
    house.image(modality="CT")
    house.complete()
    assert statuses(house) == {"S1": "STARTED", "S2": "SCHEDULED"}


# -- an order that was given up, and is performed all the same ----------------------------------------------------


@pytest.mark.parametrize(("control", "status"), [("CA", OrderStatus.CA), ("OD", OrderStatus.DC)])
def test_an_order_that_was_given_up_and_is_performed_is_shown_to_a_person(
    house: House, control: str, status: OrderStatus
) -> None:
    house.order(order())
    house.order(order(control))
    house.mpps("1.1", FROM_LIST, **JANES)
    assert house.reviews() == {("performed-conflict", "order-given-up")}
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", status)
    house.mpps_end("1.1")
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", status)


def test_an_order_on_hold_that_is_performed_is_shown_to_a_person(house: House) -> None:
    house.order(order())
    house.order(order("HD"))
    house.mpps("1.1", FROM_LIST, **JANES)
    assert house.reviews() == {("performed-conflict", "order-on-hold")}
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", OrderStatus.IP)


def test_whoever_gave_an_order_up_is_told_that_it_is_performed(build: Callable[..., House]) -> None:
    house = build(hl7=Hl7(destination=(RIS,)))
    house.order(order())
    house.order(order("CA"))
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1")
    assert [row.event for row in house.rows("outbound_message")] == ["started", "completed"]


def test_an_order_given_up_during_the_exam_that_is_completed_is_shown_to_a_person(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.order(order("OC"))
    assert house.reviews() == set()
    house.mpps_end("1.1")
    assert house.reviews() == {("performed-conflict", "order-given-up")}


def test_an_order_given_up_during_the_exam_that_is_discontinued_is_no_conflict(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.order(order("OC"))
    house.mpps_end("1.1", "DISCONTINUED")
    assert (house.reviews(), house.status_of_step()) == (set(), "DISCONTINUED")


def test_a_conflict_that_a_person_has_closed_does_not_come_again_with_the_end_of_the_exam(house: House) -> None:
    house.order(order())
    house.order(order("CA"))
    house.mpps("1.1", FROM_LIST, **JANES)
    (entry,) = house.read(review.open_reviews)
    house.database.write(
        lambda c: review.close_review(c, (str(entry["kind"]),), str(entry["subject"]), at(12), "cli:anna", "known")
    )
    house.mpps_end("1.1")
    assert house.reviews() == set()


def test_images_of_an_order_that_was_given_up_are_shown_to_a_person(house: House) -> None:
    house.order(order())
    house.order(order("CA"))
    house.image()
    assert house.reviews() == {("performed-conflict", "order-given-up")}


def test_late_images_of_an_exam_that_was_done_before_the_order_was_given_up_are_no_conflict(house: House) -> None:
    house.order(order())
    house.image()
    house.complete()
    house.order(order("OC"))
    house.image(series_instance_uid="1.2.3.2")
    assert (house.reviews(), house.status_of_step()) == (set(), "COMPLETED")


# -- performed before it was ordered (IHE PIR) --------------------------------------------------------------------


def test_an_order_that_comes_after_its_exam_is_done_and_its_owner_is_told(build: Callable[..., House]) -> None:
    house = build(hl7=Hl7(destination=(RIS,)))
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    house.mpps_end("1.1")
    house.order(order())
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)
    assert [row.event for row in house.rows("outbound_message")] == ["completed"]


@pytest.mark.parametrize("arrival", list(permutations(("SC", "NW", "MPPS"))))
def test_an_order_is_done_with_its_exam_whichever_word_came_first(house: House, arrival: tuple[str, ...]) -> None:
    for name in arrival:
        if name == "MPPS":
            house.mpps("1.9.1", ScheduledReference("1.2.3"), **JANES)
            house.mpps_end("1.9.1")
        elif name == "SC":
            house.order(order("SC", "SC", steps=(), event_time=at(10)))
        else:
            house.order(order(event_time=at(9)))
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", "CM")


def test_an_order_that_comes_during_its_exam_is_in_progress_and_ends_with_it(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    house.order(order())
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", OrderStatus.IP)
    house.mpps_end("1.1")
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)


def test_an_order_that_comes_after_its_exam_was_given_up_for_another_time_waits(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    house.mpps_end("1.1", "DISCONTINUED", discontinuation=(Code("110501", "DCM"),))
    house.order(order())
    assert len(house.worklist()) == 1


def test_an_order_of_another_patient_does_not_adopt_the_exam(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"), **JOHNS)
    house.order(order())
    assert house.status_of_step() == "SCHEDULED"
    assert house.reviews() == {("performed-conflict", "patient-differs")}


def test_an_order_adopts_the_exam_that_named_its_accession_number_only(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.77", "A1", "RIS"), **JANES)
    house.mpps_end("1.1")
    house.order(order())
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)


def test_of_an_order_that_comes_later_only_the_step_that_was_done_leaves_the_list(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"), modality="CT", **JANES)
    house.mpps_end("1.1")
    house.order(order(steps=(CT, MR)))
    assert statuses(house) == {"S1": "COMPLETED", "S2": "SCHEDULED"}
    assert house.order_row().status is OrderStatus.IP


def test_an_order_that_comes_after_its_images_is_offered_where_no_image_was_made(house: House) -> None:
    house.image(modality="CT")
    house.complete()
    house.order(order(steps=(CT, MR)))
    assert statuses(house) == {"S1": "COMPLETED", "S2": "SCHEDULED"}


def test_an_order_that_comes_between_its_images_ends_with_them(house: House) -> None:
    house.image()
    house.order(order())
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", OrderStatus.IP)
    house.complete()
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)


def test_what_was_unclear_is_settled_by_the_step_that_comes_later(house: House) -> None:
    house.order(order(steps=(CT,)))
    house.mpps("1.1", ScheduledReference("1.2.3", scheduled_step_id="S9"), modality="CT", **JANES)
    assert house.reviews() == {("performed-conflict", "step-unclear")}
    house.order(order("XO", steps=(ct_step(step_id="S9"),)))
    assert statuses(house) == {"S1": "SCHEDULED", "S9": "STARTED"}
    assert house.reviews() == set()


def test_a_step_added_to_an_order_whose_other_step_was_done_is_offered(house: House) -> None:
    house.order(order(steps=(CT,)))
    house.mpps("1.1", FROM_LIST, **JANES)
    house.order(order("XO", steps=(CT, MR)))
    assert statuses(house)["S2"] == "SCHEDULED"


def test_a_cancelled_order_that_comes_after_its_exam_is_shown_to_a_person(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    house.mpps_end("1.1")
    house.order(order("NW", "CA"))
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CA)
    assert house.reviews() == {("performed-conflict", "order-given-up")}


def test_an_order_is_done_when_its_last_step_is_discontinued_and_another_was_completed(house: House) -> None:
    house.order(order(steps=(CT, MR)))
    house.mpps("1.1", ScheduledReference("1.2.3", scheduled_step_id="S1"), **JANES)
    house.mpps_end("1.1")
    house.mpps("1.2", ScheduledReference("1.2.3", scheduled_step_id="S2"), **JANES)
    house.mpps_end("1.2", "DISCONTINUED")
    assert house.order_row().status is OrderStatus.CM


# -- a retake -----------------------------------------------------------------------------------------------------


def test_a_retake_opens_the_step_and_its_order_again_until_it_ends_too(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1")
    house.mpps("1.2", FROM_LIST, **JANES)
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", OrderStatus.IP)
    house.mpps_end("1.2")
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)


def test_a_retake_that_is_broken_off_leaves_what_was_done(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1")
    house.mpps("1.2", FROM_LIST, **JANES)
    house.mpps_end("1.2", "DISCONTINUED", discontinuation=(Code("110514", "DCM"),))
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)


def test_a_retake_of_what_was_discontinued_is_in_progress(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", "DISCONTINUED")
    house.mpps("1.2", FROM_LIST, **JANES)
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", OrderStatus.IP)


def test_a_retake_is_told_as_a_start_and_an_end_of_its_own(build: Callable[..., House]) -> None:
    house = build(hl7=Hl7(destination=(RIS,)))
    house.order(order())
    for uid in ("1.1", "1.2"):
        house.mpps(uid, FROM_LIST, **JANES)
        house.mpps_end(uid)
    assert [row.event.partition("#")[0] for row in house.rows("outbound_message")] == ["started", "completed"] * 2


def test_a_retake_under_an_order_whose_end_the_filler_told_leaves_the_fillers_word(house: House) -> None:
    house.order(order())
    house.order(order("SC", "CM"))
    house.mpps("1.1", FROM_LIST, **JANES)
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", OrderStatus.CM)


def test_no_message_takes_back_what_a_device_completed(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1")
    house.order(order("XO"))
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)


# -- discontinued without a reason --------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "status"), [("end", "DISCONTINUED"), ("again", "SCHEDULED")])
def test_what_is_discontinued_without_a_reason_ends_or_waits_as_the_site_says(
    build: Callable[..., House], setting: str, status: str
) -> None:
    house = build(performed=Performed.model_validate({"discontinued": setting}))
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", "DISCONTINUED")
    assert house.status_of_step() == status
