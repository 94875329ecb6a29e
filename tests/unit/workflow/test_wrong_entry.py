"""Reasons for breaking an exam off: the wrong entry takes the study off its order, others ask a person."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.coding import Code
from bridge.domain.performed import ScheduledReference
from bridge.store import review
from tests.unit.workflow.house import House, ct_step, made, order

JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")
WRONG_PICK, DIED = Code("110514", "DCM"), Code("110504", "DCM")
OFF_ITS_ORDER = ("study-ambiguous", "wrong-entry")


def broken_off(house: House, reason: Code = WRONG_PICK, uid: str = "1.1", **listed: Any) -> None:
    house.mpps_end(uid, "DISCONTINUED", discontinuation=(reason,), **listed)


def linked(house: House) -> bool:
    return bool(house.links())


@pytest.fixture
def begun(house: House) -> House:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    return house


def test_images_under_the_wrong_entry_are_linked_to_no_order(begun: House) -> None:
    begun.image(performed_step_uid="1.1")
    broken_off(begun)
    begun.complete()
    assert (linked(begun), begun.reviews(), len(begun.worklist())) == (False, {OFF_ITS_ORDER}, 1)


def test_a_study_that_was_linked_is_off_its_order_and_withdrawn_at_once(begun: House) -> None:
    begun.image(performed_step_uid="1.1")
    begun.complete()
    assert linked(begun)
    (before,) = begun.rows("publication")
    broken_off(begun)
    (after,) = begun.rows("publication")
    assert (linked(begun), begun.reviews(), after.version > before.version) == (False, {OFF_ITS_ORDER}, True)
    assert begun.study().match_state == "ambiguous"
    assert begun.audited("study-unlinked") == 1
    begun.matching.judge_due()
    assert (linked(begun), begun.reviews()) == (False, {OFF_ITS_ORDER})


def test_another_reason_leaves_the_study_at_its_order(begun: House) -> None:
    begun.image(performed_step_uid="1.1")
    broken_off(begun, Code("110501", "DCM"))
    begun.complete()
    assert (linked(begun), len(begun.worklist())) == (True, 1)


def test_the_right_exam_of_that_entry_is_linked_when_nothing_of_the_wrong_one_is_here(begun: House) -> None:
    broken_off(begun)
    begun.mpps("1.2", FROM_LIST, **JANES)
    begun.image(sop_instance_uid="1.5", performed_step_uid="1.2")
    begun.mpps_end("1.2", **made("1.5"))
    begun.complete()
    assert (linked(begun), begun.reviews(), begun.status_of_step()) == (True, set(), "COMPLETED")


@pytest.mark.parametrize("by", ["its list", "its images"])
def test_images_of_the_wrong_exam_among_those_of_the_right_one_are_for_a_person(begun: House, by: str) -> None:
    begun.image(sop_instance_uid="1.4", performed_step_uid="1.1" if by == "its images" else "")
    broken_off(begun, **(made("1.4") if by == "its list" else {}))
    begun.mpps("1.2", FROM_LIST, **JANES)
    begun.image(sop_instance_uid="1.5", performed_step_uid="1.2")
    begun.mpps_end("1.2", **made("1.5"))
    begun.complete()
    assert (linked(begun), begun.reviews()) == (False, {OFF_ITS_ORDER})


def test_an_entry_that_was_done_before_and_is_chosen_again_by_mistake_keeps_its_study(begun: House) -> None:
    begun.image(sop_instance_uid="1.5", performed_step_uid="1.1")
    begun.mpps_end("1.1", **made("1.5"))
    begun.complete()
    (before,) = begun.rows("publication")
    begun.mpps("1.2", FROM_LIST, **JANES)
    broken_off(begun, uid="1.2")
    begun.matching.judge_due()
    assert (linked(begun), begun.reviews(), begun.status_of_step()) == (True, set(), "COMPLETED")
    assert begun.audited("study-unlinked") == 0
    assert [row.state for row in begun.rows("publication")] == [before.state]


def test_an_order_whose_entry_was_chosen_by_mistake_is_as_if_nobody_had_begun_it(begun: House) -> None:
    broken_off(begun)
    assert (begun.order_row().status, begun.status_of_step()) == ("SC", "SCHEDULED")


def test_what_a_person_has_linked_stays_and_is_in_sight(begun: House) -> None:
    begun.image(performed_step_uid="1.1")
    begun.complete()
    begun.matching.link(begun.study().id, begun.order_row().id, "cli:anna")
    broken_off(begun)
    assert (linked(begun), begun.reviews()) == (True, {("performed-conflict", "wrong-entry-linked")})


def test_a_person_may_link_it_after_all(begun: House) -> None:
    begun.image(performed_step_uid="1.1")
    broken_off(begun)
    begun.complete()
    begun.matching.link(begun.study().id, begun.order_row().id, "cli:anna")
    begun.matching.judge_due()
    assert (linked(begun), begun.reviews()) == (True, set())


def test_an_order_that_comes_after_the_mistake_does_not_take_its_images(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(performed_step_uid="1.1")
    broken_off(house)
    house.order(order())
    house.complete()
    assert (linked(house), OFF_ITS_ORDER in house.reviews(), len(house.worklist())) == (False, True, 1)


# -- a reason that speaks for a cancel ------------------------------------------------------------------------------

PROPOSED = ("performed-discontinued", "cancel-proposed")


def test_a_reason_that_speaks_for_a_cancel_is_put_to_a_person(begun: House) -> None:
    broken_off(begun, DIED)
    assert (begun.worklist(), begun.order_row().status, begun.reviews()) == ([], "IP", {PROPOSED})
    (entry,) = begun.read(review.open_reviews)
    assert entry["details"] == {"order": begun.order_row().id, "performed": 1, "reason": "110504 DCM"}


def test_the_filler_who_cancels_the_order_answers_it(begun: House) -> None:
    broken_off(begun, DIED)
    begun.order(order("OC"))
    assert begun.reviews() == set()


def test_an_exam_that_is_begun_again_answers_it(begun: House) -> None:
    broken_off(begun, DIED)
    begun.mpps("1.2", FROM_LIST, **JANES)
    assert begun.reviews() == set()


def test_the_other_half_of_a_done_order_is_asked_for_too(house: House) -> None:
    house.order(order(steps=(ct_step(step_id="S1"), ct_step(step_id="S2"))))
    for number in ("1", "2"):
        house.mpps(f"1.{number}", ScheduledReference("1.2.3", scheduled_step_id=f"S{number}"), **JANES)
    house.mpps_end("1.1")
    broken_off(house, DIED, "1.2")
    assert (house.order_row().status, house.reviews()) == ("CM", {PROPOSED})


def test_an_order_that_was_cancelled_before_asks_nobody(begun: House) -> None:
    begun.order(order("OC"))
    broken_off(begun, DIED)
    assert PROPOSED not in begun.reviews()


@pytest.mark.parametrize("code", ["110502", "110503", "110513"])
def test_other_reasons_ask_nobody(begun: House, code: str) -> None:
    broken_off(begun, Code(code, "DCM"))
    assert (begun.reviews(), begun.worklist()) == (set(), [])
