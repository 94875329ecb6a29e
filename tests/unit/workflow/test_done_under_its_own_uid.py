"""Exams that a device made under a UID of its own (IHE PIR case 3), and how their orders find them."""

from __future__ import annotations

import pytest

from bridge.domain.performed import ScheduledReference
from tests.unit.workflow.house import JOHN, House, at, ct_step, order

OWN = "1.9.9"
"""The UID that the device made."""
JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}


def an_order_without_uid(house: House) -> None:
    """RAD-2: the placer knows of no UID, so that we make one."""
    house.order(order(uid="", event_time=at(9)))


def told_the_uid(house: House) -> None:
    """RAD-4: the filler tells the UID of the exam that it found done."""
    house.order(order("XO", uid=OWN, event_time=at(10)))


def mpps(house: House) -> None:
    house.mpps("1.9.1", ScheduledReference(OWN), **JANES)
    house.mpps_end("1.9.1")


def images(house: House, **header: str) -> None:
    house.image(study_instance_uid=OWN, accession_number="", accession_issuer="", **header)
    house.complete()


def outcome(house: House, placer: str = "P1") -> tuple[str, str]:
    return house.status_of_step(placer), str(house.order_row(placer).status)


# -- the UID is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exam", [mpps, images])
def test_an_exam_that_was_done_is_not_offered_again_when_its_uid_is_told(house: House, exam: object) -> None:
    an_order_without_uid(house)
    exam(house)  # type: ignore[operator]
    told_the_uid(house)
    assert (outcome(house), house.worklist()) == (("COMPLETED", "CM"), [])


def test_the_uid_of_an_exam_that_is_under_way_starts_the_step(house: House) -> None:
    an_order_without_uid(house)
    house.mpps("1.9.1", ScheduledReference(OWN), **JANES)
    told_the_uid(house)
    assert outcome(house) == ("STARTED", "IP")


def test_the_uid_of_an_exam_of_somebody_else_ends_nothing(house: House) -> None:
    an_order_without_uid(house)
    house.mpps("1.9.1", ScheduledReference(OWN), patient_id=JOHN.value, patient_issuer=JOHN.issuer)
    house.mpps_end("1.9.1")
    told_the_uid(house)
    assert outcome(house) == ("SCHEDULED", "SC")


def test_a_step_that_came_with_the_uid_is_done_alone_when_it_alone_was_performed(house: House) -> None:
    an_order_without_uid(house)
    house.mpps("1.9.1", ScheduledReference(OWN), modality="CT", **JANES)
    house.mpps_end("1.9.1")
    steps = (ct_step(), ct_step(modality="MR", modality_sent="MR"))
    house.order(order("XO", uid=OWN, steps=steps, event_time=at(10)))
    assert [entry.modality for entry in house.worklist()] == ["MR"]


# -- the study is linked ------------------------------------------------------------------------------------------


def test_an_exam_that_matching_finds_by_its_accession_number_is_not_offered_again(house: House) -> None:
    an_order_without_uid(house)
    house.image(study_instance_uid=OWN)
    house.complete()
    assert (len(house.links(OWN)), outcome(house)) == (1, ("COMPLETED", "CM"))


def test_an_exam_that_a_person_ties_to_its_order_is_not_offered_again(house: House) -> None:
    an_order_without_uid(house)
    images(house)
    assert outcome(house) == ("SCHEDULED", "SC")
    house.matching.link(house.study(OWN).id, house.order_row().id, "ann")
    assert (outcome(house), house.worklist()) == (("COMPLETED", "CM"), [])


def test_an_exam_without_patient_is_the_one_that_a_person_says(house: House) -> None:
    an_order_without_uid(house)
    images(house, patient_id="", patient_issuer="")
    house.matching.link(house.study(OWN).id, house.order_row().id, "ann")
    assert outcome(house) == ("COMPLETED", "CM")


def test_a_person_who_ties_a_study_ends_the_step_whose_mpps_it_is(house: House) -> None:
    an_order_without_uid(house)
    mpps(house)
    images(house)
    house.matching.link(house.study(OWN).id, house.order_row().id, "ann")
    assert outcome(house) == ("COMPLETED", "CM")


def test_matching_ends_no_step_by_the_mpps_of_somebody_else(house: House) -> None:
    an_order_without_uid(house)
    house.image(study_instance_uid=OWN)
    house.mpps("1.9.1", ScheduledReference(OWN), patient_id=JOHN.value, patient_issuer=JOHN.issuer)
    house.complete()
    assert ("performed-conflict", "patient-differs") in house.reviews()


def test_a_link_leaves_the_steps_alone_that_another_scanner_is_to_do(house: House) -> None:
    house.order(order(uid="", steps=(ct_step(), ct_step(modality="MR", modality_sent="MR"))))
    images(house)
    house.matching.link(house.study(OWN).id, house.order_row().id, "ann")
    assert [entry.modality for entry in house.worklist()] == ["MR"]


def test_a_link_that_fits_two_steps_moves_neither_and_a_person_is_told(house: House) -> None:
    house.order(order(uid="", steps=(ct_step(step_id="S1"), ct_step(step_id="S2"))))
    images(house)
    house.matching.link(house.study(OWN).id, house.order_row().id, "ann")
    assert len(house.worklist()) == 2
    assert ("performed-conflict", "step-unclear") in house.reviews()


def test_an_exam_that_a_link_ended_is_in_sight_when_the_link_is_undone(house: House) -> None:
    an_order_without_uid(house)
    images(house)
    house.matching.link(house.study(OWN).id, house.order_row().id, "ann")
    house.matching.unlink(house.study(OWN).id, "ann", "the wrong patient's")
    assert ("performed-conflict", "done-by-a-link-undone") in house.reviews()


def test_an_exam_that_a_link_ended_is_in_sight_when_another_order_is_chosen(house: House) -> None:
    an_order_without_uid(house)
    house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    images(house)
    for placer in ("P1", "P2"):
        house.matching.link(house.study(OWN).id, house.order_row(placer).id, "ann")
    assert outcome(house, "P2") == ("COMPLETED", "CM")
    assert ("performed-conflict", "done-by-a-link-undone") in house.reviews()


def test_an_exam_that_a_link_ended_is_in_sight_when_matching_takes_the_link_back(house: House) -> None:
    an_order_without_uid(house)
    house.image(study_instance_uid=OWN)
    house.complete()
    house.image(study_instance_uid=OWN, patient_id=JOHN.value)
    house.complete()
    assert house.links(OWN) == []
    assert ("performed-conflict", "done-by-a-link-undone") in house.reviews()


def test_an_exam_whose_link_was_undone_is_offered_again_when_it_is_ordered_anew(house: House) -> None:
    an_order_without_uid(house)
    images(house)
    house.matching.link(house.study(OWN).id, house.order_row().id, "ann")
    house.matching.unlink(house.study(OWN).id, "ann", "the wrong patient's")
    house.clock.advance(60)
    house.order(order(uid="", event_time=house.clock.now()))
    assert len(house.worklist()) == 1


def test_a_study_made_from_the_wrong_entry_ends_the_step_of_the_order_that_a_person_chooses(house: House) -> None:
    house.order(order(uid=OWN, steps=(ct_step(step_id="S1"),)))
    house.order(order(placer="P2", accession="A2", uid="1.2.4", steps=(ct_step(step_id="S2"),)))
    images(house, requests=(ScheduledReference(scheduled_step_id="S1"),))  # type: ignore[arg-type]
    house.matching.link(house.study(OWN).id, house.order_row("P2").id, "ann")
    assert outcome(house, "P2") == ("COMPLETED", "CM")
