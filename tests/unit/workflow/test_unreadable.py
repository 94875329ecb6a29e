"""An order that a device cannot be told stands on the review list, once, and goes when it can."""

from __future__ import annotations

from typing import Any

from bridge.config import DicomPeer
from bridge.domain.message import Fate
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import House, order

CT1, CT2 = (DicomPeer(ae_title=name, character_set="ISO_IR 100", utf8=False) for name in ("CT1", "CT2"))
NAME = "(0010,0010)"


def entries(house: House) -> list[tuple[Any, Any, Any]]:
    return [(r.subject, r.reason, r.details) for r in house.rows("review") if r.closed_at is None]


def test_each_device_is_named_in_one_entry_and_leaves_it_when_it_can_be_told(house: House) -> None:
    house.order(order())
    (step,) = house.steps()
    desk = WorklistDesk(house.context)
    desk.note_unreadable(CT1, {step.id: NAME}, frozenset())
    desk.note_unreadable(CT2, {step.id: NAME}, frozenset())
    assert entries(house) == [(f"step:{step.id}", "not-readable", {"CT1": NAME, "CT2": NAME})]
    desk.note_unreadable(CT1, {}, {step.id})
    assert entries(house) == [(f"step:{step.id}", "not-readable", {"CT2": NAME})]
    desk.note_unreadable(CT2, {}, {step.id})
    assert entries(house) == []


def test_the_same_query_again_writes_nothing(house: House) -> None:
    house.order(order())
    (step,) = house.steps()
    desk = WorklistDesk(house.context)
    desk.note_unreadable(CT1, {step.id: NAME}, frozenset())
    house.database.close()  # whatever would write, fails
    desk.note_unreadable(CT1, {step.id: NAME}, frozenset())


def test_a_device_says_nothing_of_steps_that_it_did_not_ask_for(house: House) -> None:
    house.order(order())
    (step,) = house.steps()
    desk = WorklistDesk(house.context)
    desk.note_unreadable(CT1, {step.id: NAME}, frozenset())
    desk.note_unreadable(CT1, {}, frozenset())
    assert len(entries(house)) == 1


def test_the_entry_goes_with_the_order(house: House) -> None:
    house.order(order())
    (step,) = house.steps()
    WorklistDesk(house.context).note_unreadable(CT1, {step.id: NAME}, frozenset())
    assert house.order(order("CA"))[0] is Fate.APPLIED
    assert entries(house) == []
