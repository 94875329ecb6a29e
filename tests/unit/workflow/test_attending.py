"""What devices began or ended and nothing followed: exams without an order, without an end, without their images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bridge.config import Alarms, Performed
from bridge.domain.performed import PerformedStatus, ScheduledReference
from bridge.store import alarms, review
from bridge.store.performed import reject_performed
from bridge.workflow.alarming import Alarming
from bridge.workflow.attending import Attending
from bridge.workflow.reviewing import close_entry
from tests.unit.workflow.house import House, ct_step, made, order

JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")
WALK_IN = ScheduledReference("1.2.77")
MINUTE, HOUR = 60.0, 3600.0


def later(house: House, seconds: float) -> set[tuple[str, str]]:
    """What a person is told after that time."""
    house.clock.advance(seconds)
    Attending(house.context).look()
    return house.reviews()


def entry(house: House, kind: str) -> dict[str, Any]:
    (found,) = [one for one in house.read(review.open_reviews) if one["kind"] == kind]
    return found


def closed_by_a_person(house: House, kind: str) -> None:
    close_entry(house.context, int(entry(house, kind)["id"]), "cli:anna", "seen")


def alarmed(house: House, kind: str) -> dict[str, float]:
    house.settings.archive.mkdir(exist_ok=True)
    Alarming(house.context, ()).check()
    return {a["subject"]: a["details"]["value"] for a in house.read(alarms.open_alarms) if a["kind"] == kind}


# -- images that a device lists -------------------------------------------------------------------------------------


def ended(house: House, *listed: str) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", **made(*listed))


def test_images_that_a_device_lists_and_that_do_not_come_are_shown_to_a_person(house: House) -> None:
    ended(house, "1.5", "1.6", "1.7")
    house.image(sop_instance_uid="1.5")
    assert later(house, HOUR - 1) == set()
    assert later(house, 1) == {("images-missing", "listed-by-mpps")}
    details = {"missing": 2, "listed": 3, "aet": "CT1", "studies": [house.study().id]}
    assert entry(house, "images-missing")["details"] == details


def test_an_exam_of_which_no_image_came_at_all_is_shown_too(house: House) -> None:
    ended(house, "1.5", "1.6")
    assert later(house, HOUR) == {("images-missing", "listed-by-mpps")}
    assert entry(house, "images-missing")["details"]["missing"] == 2


def test_the_count_follows_the_images_and_the_entry_closes_with_the_last(house: House) -> None:
    ended(house, "1.5", "1.6")
    later(house, HOUR)
    house.image(sop_instance_uid="1.5")
    later(house, 1)
    assert entry(house, "images-missing")["details"]["missing"] == 1
    house.image(sop_instance_uid="1.6")
    assert later(house, 1) == set()


def test_an_exam_whose_images_are_all_here_troubles_nobody(house: House) -> None:
    ended(house, "1.5")
    house.image(sop_instance_uid="1.5")
    assert later(house, 0) == set()
    assert later(house, 30 * HOUR) == set()


def test_images_of_an_exam_that_was_rejected_are_waited_for_no_more(house: House) -> None:
    ended(house, "1.5")
    later(house, HOUR)
    house.database.write(lambda c: reject_performed(c, 1, house.clock.now()))
    assert later(house, 1) == set()


def test_what_a_person_has_closed_stays_closed(house: House) -> None:
    ended(house, "1.5")
    later(house, HOUR)
    closed_by_a_person(house, "images-missing")
    assert later(house, HOUR) == set()


def test_missing_images_are_an_alarm_of_their_device_until_they_come(house: House) -> None:
    ended(house, "1.5")
    later(house, HOUR)
    assert alarmed(house, "images-missing") == {"CT1": 1}
    house.image(sop_instance_uid="1.5")
    later(house, 1)
    assert alarmed(house, "images-missing") == {}


def test_a_site_whose_images_go_past_the_bridge_misses_none(build: Callable[..., House]) -> None:
    house = build(performed=Performed(images_missing_minutes=0))
    ended(house, "1.5")
    assert later(house, 100 * HOUR) == set()


def test_an_exam_that_was_broken_off_misses_no_image(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", "DISCONTINUED", **made("1.5"))
    assert later(house, HOUR) == set()


def test_images_of_an_exam_that_a_person_ended_are_waited_for(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", "", **made("1.5"))
    house.performing.finish("1.1", PerformedStatus.COMPLETED, "cli:anna", "the scanner crashed")
    assert later(house, HOUR) == {("images-missing", "listed-by-mpps")}


# -- exams without an order -----------------------------------------------------------------------------------------


def test_an_exam_without_an_order_is_shown_to_a_person(house: House) -> None:
    house.mpps("1.1", WALK_IN, modality="CT", **JANES)
    assert later(house, 120 * MINUTE - 1) == set()
    assert later(house, 1) == {("performed-unscheduled", "no-order")}
    assert entry(house, "performed-unscheduled")["details"] == {"aet": "CT1", "modality": "CT"}


def test_an_order_that_comes_later_adopts_it(house: House) -> None:
    house.mpps("1.1", WALK_IN, **JANES)
    later(house, 120 * MINUTE)
    house.order(order(uid="1.2.77"))
    assert (house.reviews(), house.status_of_step()) == (set(), "STARTED")


def test_an_order_that_comes_in_time_leaves_nothing_to_tell(house: House) -> None:
    house.mpps("1.1", WALK_IN, **JANES)
    house.order(order(uid="1.2.77"))
    assert later(house, 10 * HOUR) == set()


def test_an_exam_whose_images_are_here_is_asked_for_once_by_its_study(house: House) -> None:
    house.mpps("1.1", WALK_IN, **JANES)
    house.image(study_instance_uid="1.2.77", accession_number="")
    house.mpps_end("1.1", **made("1.2.9.2"))
    house.complete()
    assert {kind for kind, _ in later(house, 130 * MINUTE)} == {"study-unmatched", "images-missing"}


def test_the_entry_closes_when_the_study_of_the_exam_is_linked(house: House) -> None:
    house.mpps("1.1", WALK_IN, modality="CT", **JANES)
    later(house, 120 * MINUTE)
    house.order(order())
    house.image(study_instance_uid="1.2.77", series_instance_uid="1.2.77.1", accession_number="")
    house.mpps_end("1.1")
    house.complete()
    assert ("performed-unscheduled", "no-order") in house.reviews()
    house.matching.link(house.study("1.2.77").id, house.order_row().id, "cli:anna")
    assert (house.reviews(), house.status_of_step()) == (set(), "COMPLETED")


def test_a_test_run_that_was_broken_off_without_an_image_asks_for_no_order(house: House) -> None:
    house.mpps("1.1", WALK_IN, **JANES)
    house.mpps_end("1.1", "DISCONTINUED")
    assert later(house, 10 * HOUR) == set()


def test_an_exam_whose_step_is_unclear_is_shown_as_that_and_no_more(house: House) -> None:
    house.order(order(steps=(ct_step(step_id="S1"), ct_step(step_id="S2"))))
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    assert later(house, 10 * HOUR) == {("performed-conflict", "step-unclear")}


def test_a_person_who_has_closed_it_is_not_told_again(house: House) -> None:
    house.mpps("1.1", WALK_IN, **JANES)
    later(house, 120 * MINUTE)
    closed_by_a_person(house, "performed-unscheduled")
    assert later(house, 5 * HOUR) == set()


def test_a_site_that_wants_no_word_of_walk_ins_gets_none(build: Callable[..., House]) -> None:
    house = build(performed=Performed(unscheduled_minutes=0))
    house.mpps("1.1", WALK_IN, **JANES)
    assert later(house, 20 * HOUR) == set()


# -- exams that nobody ends -----------------------------------------------------------------------------------------


def test_an_exam_that_nobody_ends_is_one_entry(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, modality="CT", **JANES)
    assert later(house, 24 * HOUR - 1) == set()
    assert later(house, 1) == later(house, HOUR) == {("performed-open", "silent")}
    assert len(house.rows("review")) == 1


@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
def test_the_entry_closes_with_the_exam(house: House, end: str) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    later(house, 24 * HOUR)
    house.mpps_end("1.1", end)
    assert house.reviews() == set()


def test_the_entry_closes_when_a_person_ends_the_exam(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    later(house, 24 * HOUR)
    house.performing.finish("1.1", PerformedStatus.COMPLETED, "cli:anna", "done")
    assert house.reviews() == set()


def test_a_device_that_is_heard_of_closes_it_until_it_is_silent_again(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    later(house, 24 * HOUR)
    house.image()
    assert later(house, 1) == set()
    assert later(house, 24 * HOUR) == {("performed-open", "silent")}


def test_an_open_exam_that_a_person_has_closed_is_told_of_again_only_after_a_word_of_its_device(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    later(house, 24 * HOUR)
    closed_by_a_person(house, "performed-open")
    assert later(house, 24 * HOUR) == set()
    house.mpps_end("1.1", "")
    assert later(house, 24 * HOUR) == {("performed-open", "silent")}


def test_no_limit_is_no_entry(build: Callable[..., House]) -> None:
    house = build(alarms=Alarms(performed_hours=0), performed=Performed(unscheduled_minutes=0))
    house.mpps("1.1", FROM_LIST, **JANES)
    assert later(house, 1000 * HOUR) == set()
