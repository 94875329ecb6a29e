"""What an order leaves out is made by named rules, once, and its sender is told (issue of the dirty feeds, item 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.config import Settings, Site
from bridge.config.filling import Filling
from bridge.domain.identity import Identifier
from bridge.domain.message import Fate
from bridge.domain.performed import ScheduledReference
from bridge.store import orders
from bridge.workflow import filling
from tests.unit.workflow.house import House, at, ct_step, order

Build = Callable[..., House]
MAKING = Filling(accession_number="derived", accession_issuer="BRIDGE")


def accession(house: House) -> tuple[str, str]:
    (entry,) = house.worklist()
    return entry.accession_number, entry.accession_issuer


# -- accession numbers --------------------------------------------------------------------------------------------


def test_without_the_setting_no_accession_number_is_made(house: House) -> None:
    _, told = house.order(order(accession=""))
    assert (accession(house), filling.ACCESSION in told) == (("", ""), False)


def test_an_order_without_accession_number_gets_one_that_every_scanner_can_hold(build: Build) -> None:
    house = build(filling=MAKING)
    fate, told = house.order(order(accession=""))
    number, issuer = accession(house)
    assert (fate, filling.ACCESSION in told, issuer, 0 < len(number) <= 16) == (Fate.APPLIED, True, "BRIDGE", True)


def test_it_is_made_once_and_stays_through_a_change_and_a_re_order(build: Build) -> None:
    house = build(filling=MAKING)
    house.order(order(accession="", event_time=at(8)))
    first = accession(house)
    for control, hour in (("XO", 9), ("CA", 10), ("NW", 11)):
        _, told = house.order(order(control, accession="", event_time=at(hour)))
        assert filling.ACCESSION not in told
    assert accession(house) == first


def test_another_node_or_an_empty_database_makes_the_same(build: Build, tmp_path: Any) -> None:
    house = build(filling=MAKING)
    house.order(order(accession=""))
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", filling=MAKING)
    other.order(order(accession="", event_time=at(9)))
    assert accession(house) == accession(other)
    other.database.close()


def test_a_number_that_another_order_has_is_not_given_again(build: Build) -> None:
    house = build(filling=MAKING)
    taken = filling.derived_accession(Identifier("P1", "RIS"), 0)
    house.order(order(placer="P9", accession=taken, uid="1.2.9"))
    house.database.write(lambda c: _under(c, "BRIDGE"))
    house.order(order(accession=""))
    assert len({entry.accession_number for entry in house.worklist()}) == 2


def _under(connection: Any, issuer: str) -> None:
    orders.change_order(connection, 1, {"accession_issuer": issuer})


def test_a_placeholder_gets_none_until_it_is_ordered(build: Build) -> None:
    house = build(filling=MAKING)
    house.order(order("XO", accession="", event_time=at(9)))
    assert house.order_row().accession is None
    house.order(order(accession="", event_time=at(8)))
    assert house.order_row().accession is not None


def test_a_number_told_later_takes_the_place_of_ours(build: Build) -> None:
    house = build(filling=MAKING)
    house.order(order(accession=""))
    _, told = house.order(order("XO", accession="A1"))
    assert (accession(house), filling.REPLACED in told) == (("A1", "RIS"), True)


@pytest.mark.parametrize("by", ["mpps", "image"])
def test_a_number_that_a_device_has_used_is_kept_and_a_person_decides(build: Build, by: str) -> None:
    house = build(filling=MAKING)
    house.order(order(accession=""))
    ours = house.order_row().accession
    if by == "mpps":
        house.mpps("1.1", ScheduledReference("1.2.3"))
    else:
        house.image(accession_number=ours.value if ours else "", accession_issuer="BRIDGE")
    fate, _ = house.order(order("XO", accession="A1"))
    assert (house.order_row().accession, fate) == (ours, Fate.PARKED)
    assert ("order-conflict", filling.IN_USE) in house.reviews()


def test_images_that_come_back_with_the_made_number_find_their_order(build: Build) -> None:
    house = build(filling=MAKING)
    house.order(order(accession="", uid=""))
    number, issuer = accession(house)
    house.image(accession_number=number, accession_issuer=issuer)
    house.complete()
    assert len(house.links()) == 1


def test_an_exam_named_by_its_own_id_later_is_still_one_entry(build: Build) -> None:
    house = build(filling=MAKING)
    house.order(order(accession=""))
    house.order(order("XO", accession="A1", procedure_id="RP1"))
    assert len(house.worklist()) == 1


# -- the other ids ------------------------------------------------------------------------------------------------


def test_a_made_id_that_scanners_were_shown_stays_when_the_sender_tells_its_own(house: House) -> None:
    house.order(order(uid=""))
    shown = [(e.requested_procedure_id, e.step_id) for e in house.worklist()]
    house.order(order("XO", procedure_id="RP1", steps=(ct_step(step_id="S1"),)))
    assert [(e.requested_procedure_id, e.step_id) for e in house.worklist()] == shown


def test_a_made_id_that_no_scanner_was_shown_gives_way_to_the_senders(house: House) -> None:
    house.order(order("XO", uid="", event_time=at(9)))
    house.order(order(procedure_id="RP1", steps=(ct_step(step_id="S1"),), event_time=at(8)))
    assert [(e.requested_procedure_id, e.step_id) for e in house.worklist()] == [("RP1", "S1")]


@pytest.mark.parametrize("what", ["requested procedure id", "scheduled step id", "Study Instance UID"])
def test_a_made_id_is_a_warning_once(house: House, what: str) -> None:
    warning = filling.MADE.format(what)
    assert warning in house.order(order(uid=""))[1]
    assert warning not in house.order(order("XO", uid=""))[1]


@pytest.mark.parametrize(("rule", "wanted"), [("accession", "A1"), ("filler", "F1"), ("placer", "P1")])
def test_the_rule_says_whose_number_the_procedure_is_named_by(build: Build, rule: Any, wanted: str) -> None:
    house = build(filling=Filling(requested_procedure_id=rule))
    house.order(order(filler="F1"))
    (entry,) = house.worklist()
    assert (entry.requested_procedure_id, entry.step_id) == (wanted, f"{wanted}-1")


def test_a_derived_study_uid_is_the_same_in_an_empty_database(build: Build, tmp_path: Any) -> None:
    rules = {"filling": Filling(study_instance_uid="derived"), "site": Site(name="St. Mary")}
    house = build(**rules)
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", **rules)
    for one in (house, other):
        one.order(order(uid=""))
    assert [e.study_instance_uid for e in house.worklist()] == [e.study_instance_uid for e in other.worklist()]
    other.database.close()


def test_a_derived_study_uid_needs_a_site_of_its_own_name() -> None:
    with pytest.raises(ValidationError, match=r"site\.name"):
        Settings(filling=Filling(study_instance_uid="derived"))


def test_the_start_may_be_the_time_of_the_event(build: Build) -> None:
    house = build(filling=Filling(start="event"))
    _, told = house.order(order(event_time=at(9, 30), steps=(ct_step(start=None),)))
    (entry,) = house.worklist()
    assert (entry.start_date, entry.start_time) == ("20261125", "093000")
    assert "no scheduled start in the order: the time of event stands in" in told
