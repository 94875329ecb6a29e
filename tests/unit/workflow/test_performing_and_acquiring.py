"""What devices say and send: MPPS (PS3.4 F.7.2), images, and when a study is whole."""

from __future__ import annotations

import pytest

from bridge.domain.coding import Code
from bridge.domain.order import OrderStatus
from bridge.domain.patient import PersonName
from bridge.domain.performed import PerformedStatus, PerformedStep, ScheduledReference
from bridge.errors import BadValue, NotFound, StateConflict
from bridge.store import audit
from bridge.workflow.acquiring import MOST_REFUSED
from tests.unit.workflow.house import JOHN, House, ct_step, made, order, who

JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}
JOHNS = {"patient_id": "2002", "patient_issuer": "HOSP"}
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")


# -- MPPS ---------------------------------------------------------------------------------------------------------


def test_a_performed_step_takes_its_entry_off_the_worklist_and_starts_the_order(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    assert (house.status_of_step(), house.order_row().status) == ("STARTED", OrderStatus.IP)
    assert house.worklist() == []


def test_a_completed_step_completes_the_order_when_all_its_steps_are_done(house: House) -> None:
    house.order(order(steps=(ct_step(step_id="S1"), ct_step(step_id="S2"))))
    for number, status in (("1", OrderStatus.IP), ("2", OrderStatus.CM)):
        house.mpps(f"1.{number}", ScheduledReference("1.2.3", scheduled_step_id=f"S{number}"), **JANES)
        house.mpps_end(f"1.{number}")
        assert house.order_row().status is status


def test_the_same_uid_twice_is_a_duplicate_and_changes_nothing(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST)
    house.mpps_end("1.1")
    with pytest.raises(StateConflict) as fault:
        house.mpps("1.1", FROM_LIST)
    assert fault.value.code == "duplicate"
    assert house.status_of_step() == "COMPLETED"


def again(house: House, device: str = "CT1", study: str = "1.2.3", **whom: str) -> set[tuple[str, str]]:
    """The UID of a step of Jane's told once more; what a person is told of it."""
    house.mpps("1.1", FROM_LIST, **JANES)
    told = PerformedStep("1.1", PerformedStatus.IN_PROGRESS, (ScheduledReference(study),), **{**JANES, **whom})
    with pytest.raises(StateConflict):
        house.performing.take_create(told, {}, device)
    return house.reviews()


def test_a_device_that_lost_our_answer_and_says_it_again_troubles_nobody(house: House) -> None:
    assert again(house) == set()


def test_another_device_that_makes_a_known_uid_is_shown_to_a_person(house: House) -> None:
    assert again(house, "CT2") == {("performed-uid-again", "uid-of-another-device")}


@pytest.mark.parametrize("other", [{"study": "1.2.4"}, {"patient_id": "2002"}])
def test_another_exam_under_a_known_uid_is_shown_to_a_person(house: House, other: dict[str, str]) -> None:
    assert again(house, **other) == {("performed-uid-again", "uid-of-another-exam")}


def test_a_step_that_another_device_ends_is_ended_and_audited_as_such(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    ended = PerformedStep("1.1", PerformedStatus.COMPLETED)
    house.performing.take_set("1.1", lambda *_: (ended, {}), "CT2")
    assert house.status_of_step() == "COMPLETED"
    details = [row.details for row in house.rows("audit") if row.action == "mpps-set"]
    assert details == [{"begun_by": "CT1"}]


@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize("again", ["", "IN PROGRESS", "COMPLETED", "DISCONTINUED"])
def test_a_final_step_takes_no_change(house: House, end: str, again: str) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps_end("1.1", end)
    with pytest.raises(StateConflict):
        house.mpps_end("1.1", again)
    assert house.rows("performed_procedure_step")[0].status == end


def test_a_change_of_an_unknown_step_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        house.mpps_end("1.1")


def test_a_status_that_is_no_status_changes_nothing(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"))
    with pytest.raises(BadValue):
        house.mpps_end("1.1", "DONE")
    assert house.rows("performed_procedure_step")[0].status == "IN PROGRESS"


def test_a_second_performed_step_keeps_the_scheduled_one_open_until_it_ends_too(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps("1.2", FROM_LIST, **JANES)
    house.mpps_end("1.1")
    assert house.status_of_step() == "STARTED"
    house.mpps_end("1.2")
    assert house.status_of_step() == "COMPLETED"


@pytest.mark.parametrize("reason", ["110514", "110501", "110516", "110515", "110506"])
def test_a_wrong_pick_goes_back_to_the_worklist(house: House, reason: str) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", "DISCONTINUED", discontinuation=(Code(reason, "DCM"),) if reason else ())
    assert len(house.worklist()) == 1


@pytest.mark.parametrize("reason", ["110500", "110504", "110513", ""])
def test_a_step_given_up_for_another_reason_stays_away(house: House, reason: str) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", "DISCONTINUED", discontinuation=(Code(reason, "DCM"),) if reason else ())
    assert (house.worklist(), house.status_of_step()) == ([], "DISCONTINUED")


def test_a_wrong_pick_of_an_order_that_was_cancelled_meanwhile_does_not_bring_it_back(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.order(order("OC"))
    house.mpps_end("1.1", "DISCONTINUED", discontinuation=(Code("110514", "DCM"),))
    assert house.worklist() == []
    assert house.status_of_step() == "CANCELED"


def test_an_unscheduled_step_touches_no_order(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.77"))
    assert len(house.worklist()) == 1


def test_a_group_starts_every_step_that_it_names(house: House) -> None:
    house.order(order(), order(placer="P2", accession="A2", uid="1.2.4"))
    house.mpps("1.1", ScheduledReference("1.2.99", "A1", "RIS"), ScheduledReference("1.2.99", "A2", "RIS"), **JANES)
    assert house.worklist() == []


def test_an_accession_number_typed_at_the_scanner_does_not_hide_another_patients_entry(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.77", "A1", "RIS"), **JOHNS)
    assert len(house.worklist()) == 1
    assert ("performed-conflict", "patient-differs") in house.reviews()


def test_an_accession_number_without_any_patient_starts_nothing(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.77", "A1", "RIS"))
    assert len(house.worklist()) == 1


def test_a_device_that_names_no_authority_is_taken_by_its_number(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, patient_id="1001")
    assert house.worklist() == []


# -- images -------------------------------------------------------------------------------------------------------


def test_a_new_image_is_new_and_the_same_bytes_again_are_not(house: House) -> None:
    assert house.image(sop_instance_uid="1.5", sha="x") is True
    assert house.image(sop_instance_uid="1.5", sha="x") is False
    assert len(house.rows("instance")) == 1


def test_other_bytes_under_a_known_uid_are_kept_aside_and_shown(house: House) -> None:
    house.image(sop_instance_uid="1.5", sha="x")
    with pytest.raises(StateConflict) as fault:
        house.image(sop_instance_uid="1.5", sha="y")
    assert fault.value.code == "different-bytes"
    assert [r.sha256 for r in house.rows("instance")] == ["x"]
    assert [r.sha256 for r in house.rows("instance_aside")] == ["y"]
    assert ("instance-differs", "same-uid-other-bytes") in house.reviews()


def test_a_series_of_another_study_is_refused_and_leaves_no_study_behind(house: House) -> None:
    house.image()
    with pytest.raises(StateConflict) as fault:
        house.image(study_instance_uid="1.2.4")
    assert fault.value.code == "other-study"
    assert [r.study_instance_uid for r in house.rows("study")] == ["1.2.3"]


def test_the_first_image_starts_the_step_of_a_device_without_mpps(house: House) -> None:
    house.order(order())
    house.image()
    assert (house.status_of_step(), house.worklist()) == ("STARTED", [])


def test_an_image_of_another_patient_under_an_orders_uid_does_not_hide_the_order(house: House) -> None:
    house.order(order())
    house.image(patient_id=JOHN.value, patient_name=PersonName("ROE^JOHN"))
    assert len(house.worklist()) == 1
    house.complete()
    assert ("study-ambiguous", "patient-differs") in house.reviews()


# -- complete -----------------------------------------------------------------------------------------------------


def test_a_study_is_whole_when_every_image_that_mpps_lists_is_here(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(sop_instance_uid="1.5")
    house.mpps_end("1.1", **made("1.5", "1.6"))
    house.acquiring.complete_due()
    assert house.study().state == "receiving"
    house.image(sop_instance_uid="1.6")
    house.acquiring.complete_due()
    assert (house.study().state, house.study().completed_by) == ("complete", "MPPS")


def test_an_open_performed_step_keeps_the_study_open(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps("1.2", ScheduledReference("1.2.3"))
    house.image(sop_instance_uid="1.5")
    house.mpps_end("1.1", **made("1.5"))
    house.acquiring.complete_due()
    assert house.study().state == "receiving"


def test_other_images_do_not_make_up_for_those_that_are_missing(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(sop_instance_uid="1.8", modality="SR", series_instance_uid="1.2.3.9")
    house.image(sop_instance_uid="1.9")
    house.mpps_end("1.1", **made("1.5", "1.6"))
    house.acquiring.complete_due()
    assert house.study().state == "receiving"


def test_a_later_change_replaces_the_list_whole(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(sop_instance_uid="1.5")
    house.mpps_end("1.1", "", **made("1.6"))
    house.mpps_end("1.1", **made("1.5"))
    house.acquiring.complete_due()
    assert house.study().completed_by == "MPPS"


def test_a_series_that_no_device_lists_may_still_be_coming(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(sop_instance_uid="1.5")
    house.image(series_instance_uid="1.2.3.2", modality="MR")
    house.mpps_end("1.1", **made("1.5"))
    house.acquiring.complete_due()
    assert house.study().state == "receiving"
    house.complete()
    assert house.study().completed_by == "quiet"


def test_a_dose_report_that_no_device_lists_holds_nothing_up(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(sop_instance_uid="1.5")
    house.image(series_instance_uid="1.2.3.9", modality="SR")
    house.mpps_end("1.1", **made("1.5"))
    house.acquiring.complete_due()
    assert house.study().completed_by == "MPPS"


def test_a_list_of_a_discontinued_step_is_waited_for_but_missed_by_nobody(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(sop_instance_uid="1.5")
    house.mpps_end("1.1", "DISCONTINUED", **made("1.5", "1.6"))
    house.acquiring.complete_due()
    assert house.study().state == "receiving"
    house.complete()
    assert (house.study().completed_by, house.reviews()) == ("quiet", set())


def test_a_study_without_mpps_is_whole_after_the_quiet_time_and_ends_the_order(house: House) -> None:
    house.order(order())
    house.image()
    house.clock.advance(59)
    assert house.acquiring.complete_due() == 0
    house.clock.advance(1)
    assert house.acquiring.complete_due() == 1
    assert (house.study().completed_by, house.status_of_step()) == ("quiet", "COMPLETED")
    assert house.order_row().status is OrderStatus.CM


def test_a_late_image_opens_the_study_again_and_it_is_told_again(house: House) -> None:
    house.order(order())
    house.image()
    house.complete()
    (told,) = house.rows("publication")
    house.image()
    assert house.study().state == "receiving"
    house.complete()
    (again,) = house.rows("publication")
    assert (house.study().state, again.version > told.version) == ("complete", True)


# -- one study, one patient ---------------------------------------------------------------------------------------


def test_images_of_two_patients_in_one_study_close_it_at_once(house: House) -> None:
    house.order(order())
    house.image()
    house.complete()
    assert house.study().match_state == "matched"
    house.image(patient_id=JOHN.value)
    assert house.study().match_state == "ambiguous"
    assert ("study-conflict", "instances-name-two-patients") in house.reviews()
    house.complete()
    assert (house.links(), house.study().match_state) == ([], "ambiguous")


def test_an_image_that_names_nobody_in_a_study_that_names_somebody_is_a_conflict(house: House) -> None:
    house.order(order())
    house.image()
    house.image(patient_id="", patient_issuer="")
    house.complete()
    assert house.study().match_state == "ambiguous"


def test_a_person_who_linked_a_study_did_not_agree_to_another_patients_images(house: House) -> None:
    house.order(order(uid="1.2.77", accession="A9"))
    house.image()
    house.complete()
    house.matching.link(house.study().id, house.order_row().id, "cli:anna")
    house.image(patient_id=JOHN.value)
    house.complete()
    assert house.study().match_state == "ambiguous"


def test_a_person_may_link_a_study_whose_images_disagree(house: House) -> None:
    house.order(order())
    house.image()
    house.image(patient_id=JOHN.value)
    house.complete()
    house.matching.link(house.study().id, house.order_row().id, "cli:anna")
    house.matching.judge_due()
    assert house.study().match_state == "matched"
    assert house.reviews() == set()


def test_who_linked_by_a_wrong_order_of_somebody_else_stays_in_the_trail(house: House) -> None:
    house.order(order(patient=who(JOHN)))
    house.image()
    house.complete()
    house.matching.link(house.study().id, house.order_row().id, "cli:anna")
    (link,) = house.links()
    assert ["patient identifier", "differs"] in link.evidence
    assert link.made_by == "cli:anna"


def test_strangers_are_audited_once_a_minute_for_each_reason(house: House) -> None:
    for _ in range(5):
        for code in ("1/1/3", "1/1/7"):
            house.acquiring.note_refused("10.0.0.9", "EVIL\n", code)
    rows = house.read(lambda c: audit.find_audit(c, action="dicom-refused"))
    assert [(r["who"], r["subject"], r["outcome"]) for r in rows] == [
        ("address:10.0.0.9", "ae:EVIL?", "1/1/3"),
        ("address:10.0.0.9", "ae:EVIL?", "1/1/7"),
    ]
    house.clock.advance(61)
    house.acquiring.note_refused("10.0.0.9", "EVIL", "1/1/3")
    assert len(house.read(lambda c: audit.find_audit(c, action="dicom-refused"))) == 3


def test_strangers_from_everywhere_do_not_fill_the_audit(house: House) -> None:
    for number in range(MOST_REFUSED + 20):
        house.acquiring.note_refused(f"10.0.{number // 250}.{number % 250}", "EVIL", "1/1/3")
    assert house.read(lambda c: audit.count_audit(c, "dicom-refused")) == MOST_REFUSED
