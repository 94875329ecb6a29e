"""How entries leave the list: kept for a retake, and by the rule of the device that performs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.config import Dicom, DicomPeer, Worklist, WorklistView
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.performed import ScheduledReference
from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import Reason
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import House, order

MINUTE = 60.0
KNOWN = Dicom(peer=(DicomPeer(ae_title="CT1"), DicomPeer(ae_title="CT2")))
Make = Callable[..., House]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[House] = []

    def house(*rows: WorklistView) -> House:
        made.append(House(tmp_path, worklist=Worklist(view=rows), dicom=KNOWN))
        made[0].order(order())
        return made[0]

    yield house
    made[0].database.close()


def row(*peers: str, **rules: Any) -> WorklistView:
    return WorklistView(peers=peers or ("*",), **rules)


def shown(house: House, title: str = "CT1", **keys: Any) -> list[str]:
    found = WorklistDesk(house.context).find(WorklistKeys(**keys), DicomPeer(ae_title=title))
    return [str(entry.step_status) for entry in found]


def perform(house: House, status: str = "COMPLETED", uid: str = "1.2.8") -> None:
    begin(house, uid)
    house.mpps_end(uid, status)


def begin(house: House, uid: str = "1.2.8") -> None:
    house.mpps(uid, ScheduledReference("1.2.3"), patient_id="1001", patient_issuer="HOSP", modality="CT")


# -- kept for a retake --------------------------------------------------------------------------------------------

KEPT = row("CT1", keep_minutes=30)


def test_as_shipped_what_was_done_is_gone(make: Make) -> None:
    house = make()
    perform(house)
    assert shown(house) == []


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED"])
def test_what_has_just_ended_stays_with_its_true_status(make: Make, status: str) -> None:
    house = make(KEPT)
    perform(house, status)
    assert shown(house) == [status]


def test_it_is_gone_when_its_minutes_are_over(make: Make) -> None:
    house = make(KEPT)
    perform(house)
    house.clock.advance(30 * MINUTE)
    assert shown(house) == ["COMPLETED"]
    house.clock.advance(1)
    assert shown(house) == []


def test_then_why_says_so(make: Make) -> None:
    house = make(KEPT)
    perform(house)
    house.clock.advance(31 * MINUTE)
    (explained,) = WorklistDesk(house.context).explain("A1", WorklistKeys(), DicomPeer(ae_title="CT1"))
    assert explained.reasons == (Reason("step-status", "COMPLETED"),)


def test_it_stays_for_those_whose_view_keeps_it(make: Make) -> None:
    house = make(KEPT)
    perform(house)
    assert shown(house, "CT2") == []


def test_a_retake_opens_it_and_its_end_counts_anew(make: Make) -> None:
    house = make(KEPT)
    perform(house)
    house.clock.advance(20 * MINUTE)
    perform(house, uid="1.2.8.2")
    house.clock.advance(20 * MINUTE)
    assert shown(house) == ["COMPLETED"]


def test_while_it_is_performed_it_is_shown_where_its_status_is(make: Make) -> None:
    house = make(row("CT1", keep_minutes=30), row("CT2", keep_minutes=30, statuses={*VISIBLE, "STARTED"}))
    begin(house)
    assert (shown(house), shown(house, "CT2")) == ([], ["STARTED"])


@pytest.mark.parametrize("control", ["CA", "DC"])
def test_what_its_owner_gave_up_is_gone_at_once(make: Make, control: str) -> None:
    house = make(KEPT)
    house.order(order(control))
    assert shown(house) == []


def test_what_its_owner_ended_is_gone_at_once(make: Make) -> None:
    house = make(KEPT)
    house.order(order("SC", "CM"))
    assert house.status_of_step() == "COMPLETED"
    assert shown(house) == []


def test_an_exam_by_images_alone_is_kept_too(make: Make) -> None:
    house = make(KEPT)
    house.image()
    house.complete()
    assert shown(house) == ["COMPLETED"]


# -- devices without MPPS -----------------------------------------------------------------------------------------


def test_by_the_first_image_the_entry_leaves(make: Make) -> None:
    house = make(row("CT1", leave="first-image"))
    house.image()
    assert (shown(house), house.status_of_step()) == ([], "STARTED")


def test_by_completion_it_stays_until_the_study_is_complete(make: Make) -> None:
    house = make(row("CT1", leave="completion"))
    house.image()
    house.image()
    assert shown(house) == ["SCHEDULED"]
    house.complete()
    assert (shown(house), house.order_row().status) == ([], "CM")


def test_by_age_images_end_nothing(make: Make) -> None:
    house = make(row("CT1", leave="age"))
    house.image()
    house.complete()
    assert (shown(house), house.order_row().status) == (["SCHEDULED"], "SC")
    house.clock.advance(31 * 86400)
    assert shown(house) == []


def test_by_age_an_order_message_still_ends_it(make: Make) -> None:
    house = make(row("CT1", leave="age"))
    house.image()
    house.order(order("SC", "CM"))
    assert shown(house) == []


def test_the_rule_is_that_of_the_device_that_performs(make: Make) -> None:
    house = make(row("CT2", leave="age"))
    house.image()
    assert shown(house, "CT2") == []


@pytest.mark.parametrize("leave", ["completion", "age"])
def test_where_mpps_speaks_it_alone_counts(make: Make, leave: str) -> None:
    house = make(row("CT1", leave=leave))
    house.image()
    begin(house)
    assert shown(house) == []
    house.mpps_end("1.2.8")
    assert house.status_of_step() == "COMPLETED"


def test_an_order_that_comes_after_a_complete_study_leaves_by_completion(tmp_path: Path) -> None:
    house = House(tmp_path, worklist=Worklist(view=(row(leave="completion"),)))
    house.image()
    house.complete()
    house.order(order())
    assert house.status_of_step() == "COMPLETED"
