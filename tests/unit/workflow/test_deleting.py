"""What a sender deletes in an order: `""` deletes, empty keeps (HL7 v2.5.1 2.5.3; F14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from bridge.config import Station
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.order import NO_CODES, NO_TEXTS, OrderRequest
from bridge.domain.patient import DELETED, NO_NAME, PersonName, Visit
from tests.unit.workflow.house import House, at, ct_step, order

TOLD = {
    "patient_state": "isolation",
    "medical_alerts": "metal",
    "allergies": ("nuts",),
    "pregnancy_status": "3",
    "requesting_physician": PersonName("REQ^DOC"),
    "patient_weight_kg": "70",
}
NULLS: dict[str, Any] = {
    **dict.fromkeys(TOLD, DELETED), "allergies": NO_TEXTS, "requesting_physician": NO_NAME,
}  # fmt: skip


def full(control: str, hour: int, **changes: Any) -> OrderRequest:
    """An order that says all that may be deleted, or deletes it."""
    null = control == "XO"
    made = order(control, event_time=at(hour), sent_time=at(hour), **(NULLS if null else TOLD))
    name, text = (NO_NAME, DELETED) if null else (PersonName("OTHER^DOC"), "said")
    step = ct_step(performing_physician=name, protocol_codes=NO_CODES if null else (Code("P1", "L", "thin"),))
    procedure = replace(
        made.procedure, description="CT head", priority=text, reason=text, transport=text, comments=text, steps=(step,)
    )
    return replace(made, procedure=procedure, visit=Visit(location=text, referring_physician=name), **changes)


def shown(house: House) -> dict[str, Any]:
    (entry,) = house.worklist()
    names = (
        *NULLS, "priority", "reason", "transport", "comments", "referring_physician", "performing_physician",
        "patient_location", "protocol_codes",
    )  # fmt: skip
    return {name: getattr(entry, name) for name in names}


def test_what_the_placer_deletes_no_scanner_is_told_any_more(house: House) -> None:
    house.order(full("NW", 8))
    assert all(shown(house).values())
    house.order(full("XO", 9))
    assert {name: value for name, value in shown(house).items() if value} == {}


def test_a_deletion_holds_also_when_it_came_before_what_it_deletes(house: House) -> None:
    house.order(full("XO", 9))
    house.order(full("NW", 8))
    assert {name: value for name, value in shown(house).items() if value} == {}


def test_what_is_said_anew_after_a_deletion_is_shown(house: House) -> None:
    """And it does not matter which of the three came first."""
    again = order("XO", event_time=at(10), sent_time=at(10), medical_alerts="pacemaker")
    for number, arrival in enumerate(permutations((full("NW", 8), full("XO", 9), again))):
        for one in arrival:
            placer, accession = (replace(i, value=f"{i.value}{number}") for i in (one.placer, one.accession) if i)
            procedure = replace(one.procedure, study_instance_uid=f"1.2.{number}")
            house.order(replace(one, placer=placer, accession=accession, procedure=procedure))
    assert {(e.medical_alerts, e.patient_state, e.allergies) for e in house.worklist()} == {("pacemaker", "", ())}


def test_a_deleted_room_no_longer_chooses_the_scanner(build: Callable[..., House]) -> None:
    house = build(
        station=(Station(ae_titles=("CT1",), modality="CT"), Station(ae_titles=("CT9",), modality="CT", room="R9"))
    )
    house.order(order(steps=(ct_step(location="R9"),)))
    house.order(order("XO", steps=(ct_step(location=DELETED),)))
    assert [(e.station_ae_titles, e.step_location) for e in house.worklist()] == [(("CT1",), "")]


def test_a_station_that_is_deleted_and_that_no_row_replaces_waits_for_a_person(build: Callable[..., House]) -> None:
    house = build(station=())
    house.order(order(steps=(ct_step(station_ae_titles=("CT7",)),)))
    assert len(house.worklist()) == 1
    house.order(order("XO", steps=(ct_step(station_ae_titles=NO_TEXTS),)))
    assert (house.worklist(), house.reviews()) == ([], {("order-parked", "no-station")})


@pytest.mark.parametrize("issuer", ["HOSP", ""])
def test_another_visit_number_takes_its_issuer_with_it(house: House, issuer: str) -> None:
    house.order(order(visit=Visit(admission=Identifier("V1", "OLD"))))
    house.order(order("XO", visit=Visit(admission=Identifier("V2", issuer))))
    assert [(e.admission_id, e.admission_issuer) for e in house.worklist()] == [("V2", issuer)]
