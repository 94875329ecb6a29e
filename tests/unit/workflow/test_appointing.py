"""Appointments move the steps of known orders, and wait for those that are not known yet (IHE RAD-48)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest

from bridge.config import Station
from bridge.domain.appointment import AppointmentRequest
from bridge.domain.identity import Identifier
from bridge.domain.message import Fate, Reading
from bridge.domain.patient import PatientData
from bridge.store import orders
from tests.unit.workflow.house import JANE, JOHN, House, at, ct_step, order, who

P1 = Identifier("P1", "RIS")


def local(hour: int, minute: int = 0, day: int = 25) -> datetime:
    return datetime(2026, 11, day, hour, minute)


def appointment(event: str = "S13", *starts: datetime, **changes: Any) -> AppointmentRequest:
    values: dict[str, Any] = {"placer": P1, "filler": None, "patient": who(), "starts": starts, "occurred": at(11)}
    return AppointmentRequest(event, **{**values, **changes})


def send(house: House, *requests: AppointmentRequest) -> tuple[Fate, list[str]]:
    return house.send(Reading(appointments=requests))


def shown(house: House) -> list[str]:
    return [e.start_time for e in house.worklist()]


def early(*args: Any, **changes: Any) -> Any:
    return order(*args, **{"event_time": at(10), **changes})


@pytest.mark.parametrize("event", ["S12", "S13", "S14"])
def test_a_booking_moves_the_step(house: House, event: str) -> None:
    house.order(early())
    (before,) = house.worklist()
    assert send(house, appointment(event, local(15)))[0] is Fate.APPLIED
    (after,) = house.worklist()
    assert (after.start_time, after.version > before.version) == ("150000", True)
    assert after.study_instance_uid == before.study_instance_uid


@pytest.mark.parametrize("event", ["S15", "S17", "S26"])
def test_an_appointment_given_up_takes_the_step_from_the_list_and_not_the_order(house: House, event: str) -> None:
    house.order(early())
    send(house, appointment(event))
    assert (shown(house), house.status_of_step(), house.order_row().status) == ([], "CANCELED", "SC")
    last = house.read(lambda c: orders.history_of(c, house.order_row().id))[-1]
    assert last["event"] == f"SIU {event}"


def test_a_step_that_was_given_up_shows_again_when_it_is_booked_anew(house: House) -> None:
    house.order(early())
    send(house, appointment("S26"))
    send(house, appointment("S12", local(16), occurred=at(12)))
    assert shown(house) == ["160000"]


def test_an_order_that_was_cancelled_is_not_booked_back(house: House) -> None:
    house.order(early())
    house.order(early("CA", "CA"))
    assert send(house, appointment("S12", local(15)))[0] is Fate.IGNORED
    assert shown(house) == []


def test_a_step_that_a_scanner_has_begun_is_left_alone(house: House) -> None:
    house.order(early())
    house.image()
    house.complete()
    house.order(early("SC", "IP", event_time=at(10, 30), steps=()))
    before = house.steps()
    send(house, appointment("S15"))
    assert [s.status for s in house.steps()] == [s.status for s in before] != ["CANCELED"]


def test_steps_of_one_order_keep_their_distance(house: House) -> None:
    house.order(early(steps=(ct_step(start=local(13)), ct_step(start=local(13, 20)))))
    send(house, appointment("S13", local(15)))
    assert shown(house) == ["150000", "152000"]


def test_as_many_times_as_steps_are_a_time_each(house: House) -> None:
    house.order(early(steps=(ct_step(start=local(13)), ct_step(start=local(13, 20)))))
    send(house, appointment("S13", local(15), local(17)))
    assert shown(house) == ["150000", "170000"]


def test_an_arrived_patient_who_is_booked_for_another_day_is_expected_again(house: House) -> None:
    house.order(early())
    house.database.write(lambda c: orders.change_step(c, house.steps()[0].id, {"status": "ARRIVED"}))
    send(house, appointment("S13", local(9, day=26)))
    assert house.status_of_step() == "SCHEDULED"


# -- which room ---------------------------------------------------------------------------------------------------


ROOMS = (
    Station(ae_titles=("CT1",), modality="CT", room="R1", name="ONE"),
    Station(ae_titles=("CT2",), modality="CT", room="R2", name="TWO"),
)


def placed(house: House) -> list[tuple[tuple[str, ...], str, str]]:
    return [(e.station_ae_titles, e.station_name, e.step_location) for e in house.worklist()]


def test_another_room_is_another_scanner(build: Callable[..., House]) -> None:
    house = build(station=ROOMS)
    house.order(early(steps=(ct_step(location="R1"),)))
    send(house, appointment("S13", local(15), places=("R2",)))
    assert placed(house) == [(("CT2",), "TWO", "R2")]


def test_an_appointment_that_names_no_room_leaves_the_scanner(build: Callable[..., House]) -> None:
    house = build(station=ROOMS)
    house.order(early(steps=(ct_step(location="R1"),)))
    send(house, appointment("S13", local(15)))
    assert placed(house) == [(("CT1",), "ONE", "R1")]


def test_each_step_goes_to_its_own_room(build: Callable[..., House]) -> None:
    house = build(station=ROOMS)
    house.order(early(steps=(ct_step(step_id="S1", location="R1"), ct_step(step_id="S2", location="R2"))))
    send(house, appointment("S13", local(15), local(16), places=("R2", "R1")))
    assert [(e.step_id, e.station_ae_titles) for e in house.worklist()] == [("S1", ("CT2",)), ("S2", ("CT1",))]


def test_a_room_without_a_scanner_is_parked_in_sight_and_comes_back_with_one_that_has(
    build: Callable[..., House],
) -> None:
    house = build(station=ROOMS)
    house.order(early(steps=(ct_step(location="R1"),)))
    send(house, appointment("S13", local(15), places=("R9",)))
    assert (house.worklist(), house.reviews()) == ([], {("order-parked", "no-station")})
    send(house, appointment("S13", local(15), places=("R2",), occurred=at(12)))
    assert (placed(house), house.reviews()) == ([(("CT2",), "TWO", "R2")], set())


def test_the_room_of_an_appointment_that_came_before_its_order_holds(build: Callable[..., House]) -> None:
    house = build(station=ROOMS)
    house.adt("A04", JANE)
    send(house, appointment("S13", local(15), places=("R2",)))
    house.order(early(steps=(ct_step(location="R1"),)))
    assert placed(house) == [(("CT2",), "TWO", "R2")]


# -- which order --------------------------------------------------------------------------------------------------


def test_the_number_of_another_authority_moves_nothing(house: House) -> None:
    house.order(early())
    send(house, appointment("S13", local(15), placer=Identifier("P1", "OTHER")))
    assert shown(house) == ["130000"]


def test_the_filler_number_finds_the_order_too(house: House) -> None:
    house.order(early(filler="F1"))
    send(house, appointment("S13", local(15), placer=None, filler=Identifier("F1", "RIS")))
    assert shown(house) == ["150000"]


def test_another_patients_appointment_moves_nothing_and_waits_for_a_person(house: House) -> None:
    house.order(early())
    house.adt("A04", JOHN)
    fate, _ = send(house, appointment("S13", local(15), patient=who(JOHN)))
    assert (fate, shown(house)) == (Fate.PARKED, ["130000"])
    assert ("appointment-conflict", "appointment-of-another-patient") in house.reviews()


def test_a_patient_whom_nobody_knows_is_another_patient(house: House) -> None:
    house.order(early())
    assert send(house, appointment("S13", local(15), patient=who(JOHN)))[0] is Fate.PARKED
    assert len(house.rows("patient")) == 1


# -- order of arrival ---------------------------------------------------------------------------------------------


def test_an_appointment_before_its_order_is_kept_and_applied_when_the_order_comes(house: House) -> None:
    fate, told = send(house, appointment("S12", local(15)))
    assert (fate, told) == (Fate.APPLIED, ["the order of the appointment is not known: kept until it comes"])
    house.order(early())
    assert shown(house) == ["150000"]


def test_a_waiting_appointment_of_another_patient_is_not_applied(house: House) -> None:
    send(house, appointment("S12", local(15), patient=who(JOHN)))
    house.order(early())
    assert shown(house) == ["130000"]
    assert ("appointment-conflict", "appointment-of-another-patient") in house.reviews()


def test_an_older_appointment_does_not_undo_a_newer_one(house: House) -> None:
    house.order(early())
    send(house, appointment("S13", local(15), occurred=at(12)))
    assert send(house, appointment("S13", local(14), occurred=at(11)))[0] is Fate.IGNORED
    assert shown(house) == ["150000"]


def test_an_order_that_names_no_time_takes_any_appointments(house: House) -> None:
    house.order(order(steps=(ct_step(start=None),), event_time=at(11, 30)))
    send(house, appointment("S12", local(15)))
    assert shown(house) == ["150000"]


def test_a_change_of_the_order_that_names_no_time_keeps_the_appointment(house: House) -> None:
    house.order(early())
    send(house, appointment("S26"))
    house.order(order("XO", "SC", steps=(ct_step(start=None),), event_time=at(12)))
    assert shown(house) == []


@pytest.mark.parametrize("arrival", list(permutations(range(4))))
def test_whatever_comes_first_the_newest_word_on_the_time_holds(house: House, arrival: tuple[int, ...]) -> None:
    story = (
        Reading(orders=(early(),)),
        Reading(appointments=(appointment("S13", local(15), occurred=at(11)),)),
        Reading(orders=(order("XO", "SC", steps=(ct_step(start=local(16)),), event_time=at(12)),)),
        Reading(appointments=(appointment("S13", local(17), occurred=at(13)),)),
    )
    for index in arrival:
        house.send(story[index])
    assert shown(house) == ["170000"]


# -- an order of which only its number is known -------------------------------------------------------------------


def test_an_appointment_of_an_order_that_was_spoken_of_without_a_patient_waits_for_the_order(house: House) -> None:
    acts = {
        "status": lambda: house.order(replace(order("SC", "SC", steps=(), event_time=at(12)), patient=PatientData(()))),
        "appointment": lambda: send(house, appointment("S12", local(15))),
        "order": lambda: house.order(early()),
    }
    for name in ("status", "appointment", "order"):
        assert acts[name]()[0] is not Fate.PARKED, name
    assert (shown(house), house.reviews()) == (["150000"], set())


def test_what_is_said_without_a_patient_parks_no_appointment_that_waits(house: House) -> None:
    send(house, appointment("S12", local(15)))
    house.order(replace(early("XO", steps=()), patient=PatientData(())))
    house.order(early())
    assert (shown(house), house.reviews()) == (["150000"], set())
