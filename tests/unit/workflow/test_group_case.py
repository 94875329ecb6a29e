"""Several procedures in one go (PS3.4 F.7.2.1, IHE RAD-6 group case): each order is started, done, linked and told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from bridge.domain.order import OrderStatus
from bridge.domain.performed import ScheduledReference
from tests.unit.workflow.house import JOHN, House, ct_step, made, order, who

JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}
NEW = "1.2.99"
IMAGES: dict[str, Any] = {"study_instance_uid": NEW, "series_instance_uid": f"{NEW}.1", "accession_number": ""}
ITEMS = (
    ScheduledReference(NEW, "A1", "RIS", "A1", "1", original_study_uid="1.2.3"),
    ScheduledReference(NEW, "A2", "RIS", "A2", "1", original_study_uid="1.2.4"),
)
"""Both steps are "1": a counter that tells nothing by itself."""


def both(house: House) -> None:
    for placer, accession, uid in (("P1", "A1", "1.2.3"), ("P2", "A2", "1.2.4")):
        house.order(order(placer=placer, accession=accession, uid=uid, steps=(ct_step(step_id="1"),)))


def statuses(house: House) -> list[tuple[str, str]]:
    return [(house.order_row(p).status, house.status_of_step(p)) for p in ("P1", "P2")]


def linked(house: House, uid: str = NEW) -> int:
    return len({link.order_id for link in house.links(uid)})


@pytest.mark.parametrize("items", [
    ITEMS,
    tuple(ScheduledReference(NEW, r.accession_number, "RIS") for r in ITEMS),
    tuple(ScheduledReference(NEW, original_study_uid=r.original_study_uid) for r in ITEMS),
    tuple(ScheduledReference(NEW, scheduled_step_id="1", original_study_uid=r.original_study_uid) for r in ITEMS),
], ids=["whole", "accession numbers", "planned studies", "planned studies and steps"])  # fmt: skip
def test_every_step_that_a_group_names_starts_and_ends(house: House, items: tuple[ScheduledReference, ...]) -> None:
    both(house)
    house.mpps("1.1", *items, **JANES)
    assert statuses(house) == [(OrderStatus.IP, "STARTED")] * 2
    house.mpps_end("1.1")
    assert statuses(house) == [(OrderStatus.CM, "COMPLETED")] * 2
    assert house.reviews() == set()


def test_a_group_under_the_study_of_one_of_its_orders_still_means_both(house: House) -> None:
    both(house)
    house.mpps("1.1", *(ScheduledReference("1.2.3", r.accession_number, "RIS", "", "1") for r in ITEMS), **JANES)
    assert [step for _, step in statuses(house)] == ["STARTED", "STARTED"]


def test_an_order_of_the_group_that_comes_later_is_done_too(house: House) -> None:
    house.order(order(steps=(ct_step(step_id="1"),)))
    house.mpps("1.1", *ITEMS, **JANES)
    house.mpps_end("1.1")
    house.order(order(placer="P2", accession="A2", uid="1.2.4", steps=(ct_step(step_id="1"),)))
    assert statuses(house) == [(OrderStatus.CM, "COMPLETED")] * 2


def test_a_group_under_the_study_of_its_first_order_waits_for_the_second_without_a_doubt(house: House) -> None:
    house.order(order(steps=(ct_step(step_id="1"),)))
    house.mpps("1.1", *(ScheduledReference("1.2.3", f"A{n}", "RIS", "", f"{n}") for n in (1, 2)), **JANES)
    assert (house.status_of_step("P1"), house.reviews()) == ("STARTED", set())
    house.order(order(placer="P2", accession="A2", uid="1.2.4", steps=(ct_step(step_id="2"),)))
    assert house.status_of_step("P2") == "STARTED"


def test_a_group_that_names_somebody_elses_order_does_not_touch_it(house: House) -> None:
    house.order(order(), order(placer="P2", accession="A2", uid="1.2.4", patient=who(JOHN)))
    house.mpps("1.1", *(ScheduledReference(NEW, r.accession_number, "RIS") for r in ITEMS), **JANES)
    assert [step for _, step in statuses(house)] == ["STARTED", "SCHEDULED"]
    assert house.reviews() == {("performed-conflict", "patient-differs")}


# -- its study ------------------------------------------------------------------------------------------------------


def test_one_study_is_linked_to_every_order_that_its_images_name(house: House) -> None:
    both(house)
    house.image(**IMAGES, requests=ITEMS)
    house.complete()
    assert (linked(house), [step for _, step in statuses(house)]) == (2, ["COMPLETED", "COMPLETED"])


@pytest.mark.parametrize("named", [(), ITEMS[:1]], ids=["none", "one"])
def test_a_group_of_which_the_images_name_fewer_is_linked_as_its_mpps_says(
    house: House, named: tuple[ScheduledReference, ...]
) -> None:
    both(house)
    house.mpps("1.1", *ITEMS, modality="CT", **JANES)
    house.image(**IMAGES, sop_instance_uid="1.5", requests=named)
    house.mpps_end("1.1", **made("1.5", series=f"{NEW}.1"))
    house.complete()
    assert (linked(house), house.reviews()) == (2, set())


def test_a_study_that_carries_the_first_orders_number_is_linked_to_both(house: House) -> None:
    both(house)
    house.mpps("1.1", *ITEMS, **JANES)
    house.image(**{**IMAGES, "accession_number": "A1", "accession_issuer": "RIS"})
    house.mpps_end("1.1")
    house.complete()
    assert linked(house) == 2


def test_images_that_speak_for_an_order_outside_the_group_are_for_a_person(house: House) -> None:
    both(house)
    house.order(order(placer="P3", accession="A3", uid="1.2.5"))
    house.mpps("1.1", *ITEMS, **JANES)
    house.image(**{**IMAGES, "accession_number": "A3", "accession_issuer": "RIS"})
    house.mpps_end("1.1")
    house.complete()
    assert (house.links(NEW), house.reviews()) == ([], {("study-ambiguous", "several-orders")})


def test_an_order_of_the_group_that_was_cancelled_is_not_linked(house: House) -> None:
    both(house)
    house.order(order("OC", placer="P2", accession="A2", uid="1.2.4"))
    house.mpps("1.1", *ITEMS, **JANES)
    house.image(**IMAGES)
    house.mpps_end("1.1")
    house.complete()
    assert [link.order_id for link in house.links(NEW)] == [house.order_row("P1").id]
    assert ("performed-conflict", "order-given-up") in house.reviews()


def test_two_exams_that_were_done_one_after_the_other_are_no_group(house: House) -> None:
    both(house)
    for number, item in enumerate(ITEMS, 1):
        house.mpps(f"1.{number}", item, **JANES)
        house.mpps_end(f"1.{number}")
    house.image(**IMAGES)
    house.complete()
    assert (house.links(NEW), house.reviews()) == ([], {("study-ambiguous", "several-orders")})


def test_a_group_comes_to_one_end_whichever_word_came_first(build: Callable[..., House]) -> None:
    ends = set()
    for number, arrival in enumerate(permutations(("orders", "mpps", "image", "end"))):
        if arrival.index("end") < arrival.index("mpps"):
            continue
        house = build() if number == 0 else house  # noqa: F821 - one database for all, a patient each
        ends.add(_played(house, arrival, number))
    assert ends == {(2, (("CM", "COMPLETED"), ("CM", "COMPLETED")))}


def _played(house: House, arrival: tuple[str, ...], n: int) -> tuple[int, tuple[tuple[str, str], ...]]:
    new, step = f"1.2.{n}.99", f"1.2.{n}.50"
    items = [ScheduledReference(new, f"A{n}-{i}", "RIS", original_study_uid=f"1.2.{n}.{i}") for i in (1, 2)]
    for word in arrival:
        if word == "orders":
            for i in (1, 2):
                house.order(order(placer=f"P{n}-{i}", accession=f"A{n}-{i}", uid=f"1.2.{n}.{i}"))
        elif word == "mpps":
            house.mpps(step, *items, **JANES)
        elif word == "image":
            house.image(**{**IMAGES, "study_instance_uid": new, "series_instance_uid": f"{new}.1"})
        else:
            house.mpps_end(step)
    house.complete()
    placers = [f"P{n}-{i}" for i in (1, 2)]
    return linked(house, new), tuple((house.order_row(p).status, house.status_of_step(p)) for p in placers)


def test_a_report_that_names_its_requests_is_linked_to_their_orders(house: House) -> None:
    """A structured report has no Request Attributes, but Referenced Requests (0040,A370)."""
    both(house)
    named = tuple(ScheduledReference(NEW, r.accession_number, "RIS", "", "", r.original_study_uid) for r in ITEMS)
    house.image(**IMAGES, modality="SR", requests=named)
    house.complete()
    assert linked(house) == 2
