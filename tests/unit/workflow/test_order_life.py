"""What a request may still do once an order is begun or over, and whose word stands (HL7 v2.5.1 4.5.1, table 0119)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.domain.message import UNKNOWN_END, Fate
from bridge.domain.order import OrderStatus, StepRequest
from bridge.domain.performed import ScheduledReference
from bridge.store import orders
from tests.unit.workflow.house import JANE, JOHN, NOON, House, at, ct_step, order, who

NOBODY = who(identifiers=())


def two_steps(**changes: object) -> tuple[StepRequest, ...]:
    return ct_step(step_id="S1", **changes), ct_step(step_id="S2", **changes)


# -- what an export tells as new ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["CM", "CA", "DC", "HD"])
def test_a_new_order_that_is_over_or_on_hold_is_offered_to_nobody(house: House, status: str) -> None:
    house.order(order("NW", status))
    assert house.worklist() == []
    assert house.order_row().status == status


@pytest.mark.parametrize("status", ["", "A", "IP", "SC", "ER"])
def test_a_new_order_that_is_active_is_scheduled(house: House, status: str) -> None:
    house.order(order("NW", status))
    assert len(house.worklist()) == 1


# -- a device's word ----------------------------------------------------------------------------------------------


def completed(house: House) -> None:
    house.order(order(event_time=at(9)))
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps_end("1.1")


@pytest.mark.parametrize(("control", "status"), [("XO", "SC"), ("SC", "SC"), ("SC", "IP"), ("HD", ""), ("SC", "HD")])
def test_what_a_device_completed_is_not_open_again(house: House, control: str, status: str) -> None:
    completed(house)
    house.order(order(control, status))
    assert house.order_row().status is OrderStatus.CM


def test_what_a_device_began_is_not_yet_to_begin(house: House) -> None:
    house.order(order(event_time=at(9)))
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.order(order("XO", "SC"))
    assert house.order_row().status is OrderStatus.IP


def test_a_device_that_completes_what_the_filler_reported_completed_has_the_last_word(house: House) -> None:
    house.order(order(event_time=at(9)))
    house.order(order("SC", "CM", event_time=at(10)))
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps_end("1.1")
    house.order(order("XO", "SC"))
    assert house.order_row().status is OrderStatus.CM


def test_a_change_while_a_device_does_one_step_leaves_the_other_one_on_the_worklist(house: House) -> None:
    house.order(order(steps=two_steps(), event_time=at(9)))
    house.mpps("1.1", ScheduledReference("1.2.3", scheduled_step_id="S1"))
    house.order(order("XO", "SC", steps=two_steps()))
    assert [e.step_id for e in house.worklist()] == ["S2"]


# -- requests that come too late ----------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["CA", "DC", "RP"])
def test_a_request_to_end_what_is_completed_changes_nothing(house: House, control: str) -> None:
    house.order(order())
    house.order(order("SC", "CM"))
    _, told = house.order(order(control))
    assert house.order_row().status is OrderStatus.CM
    assert any("comes too late" in text for text in told)


@pytest.mark.parametrize(("control", "status"), [("OC", ""), ("CA", "CA"), ("DC", "CA"), ("OD", "")])
def test_the_filler_may_take_back_what_it_reported_completed(house: House, control: str, status: str) -> None:
    house.order(order())
    house.order(order("SC", "CM"))
    house.order(order(control, status))
    assert house.order_row().status in (OrderStatus.CA, OrderStatus.DC)


def test_what_replaces_a_completed_order_is_ordered_and_a_person_is_told(house: House) -> None:
    house.order(order())
    house.order(order("SC", "CM"))
    fate, _ = house.order(order("RP"), order("RO", placer="P2", accession="A2", uid="1.2.4"))
    assert (fate, [e.placer_order_number for e in house.worklist()]) == (Fate.PARKED, ["P2"])
    assert house.reviews() == {("order-conflict", "replaced-too-late")}


def test_what_is_begun_is_not_held(house: House) -> None:
    house.order(order())
    house.order(order("SC", "IP"))
    house.order(order("HD"))
    assert house.order_row().status is OrderStatus.IP


def test_what_the_filler_held_while_it_was_begun_goes_on_as_begun(house: House) -> None:
    house.order(order())
    house.order(order("SC", "IP"))
    house.order(order("OH", "HD"))
    house.order(order("RL"))
    assert (house.order_row().status, house.worklist()) == (OrderStatus.IP, [])


def test_the_fillers_own_release_shows_a_held_order_again(house: House) -> None:
    house.order(order())
    house.order(order("OH", "HD"))
    house.order(order("OE"))
    assert len(house.worklist()) == 1


def test_a_change_of_what_is_begun_is_kept_and_said_to_be_late(house: House) -> None:
    house.order(order())
    house.order(order("SC", "IP"))
    _, told = house.order(order("XO"))
    assert "the order is in progress: the change may come too late" in told


def test_an_error_that_the_filler_reports_is_in_sight(house: House) -> None:
    house.order(order())
    fate, _ = house.order(order("SC", "ER"))
    assert (fate, house.order_row().status) == (Fate.PARKED, OrderStatus.SC)
    assert house.reviews() == {("order-conflict", "filler-reports-an-error")}


# -- times that cannot be -----------------------------------------------------------------------------------------


def test_a_cancel_beats_an_order_dated_by_its_exam(house: House) -> None:
    """ORC-9 of the order holds the scheduled date; the cancel has none, MSH-7 stands for it."""
    _, told = house.order(order(event_time=NOON + timedelta(days=1), sent_time=at(10)))
    house.order(order("CA", event_time=at(10, 5), sent_time=at(10, 5)))
    assert house.worklist() == []
    assert "ORC-9 lies after MSH-7: MSH-7 counts" in told


def test_a_cancel_beats_an_order_from_a_clock_that_runs_ahead(house: House) -> None:
    early = NOON + timedelta(hours=1)
    _, told = house.order(order(event_time=early, sent_time=early))
    house.clock.advance(300)
    now = NOON + timedelta(minutes=5)
    house.order(order("CA", event_time=now, sent_time=now))
    assert house.worklist() == []
    assert "the message is dated ahead of our clock: the time of its receipt counts" in told


def test_a_cancel_of_a_clock_that_runs_ahead_beats_the_order_that_it_overtook(house: House) -> None:
    ordered, cancelled = NOON + timedelta(minutes=60), NOON + timedelta(minutes=61)
    house.order(order("CA", event_time=cancelled, sent_time=cancelled))
    house.clock.advance(1)
    house.order(order(event_time=ordered, sent_time=ordered))
    assert house.worklist() == []


def test_a_clock_some_seconds_ahead_is_believed(house: House) -> None:
    soon = NOON + timedelta(seconds=20)
    assert house.order(order(event_time=soon, sent_time=soon))[1] == house.order(order(placer="P2", uid="1.2.4"))[1]


# -- without a patient --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["CA", "OC", "DC", "HD"])
def test_a_known_order_is_ended_by_its_number_alone(house: House, control: str) -> None:
    house.order(order())
    house.order(order(control, patient=NOBODY, steps=(), uid="", accession=""))
    assert house.worklist() == []


def test_a_change_without_a_patient_is_of_the_orders_own(house: House) -> None:
    house.order(order())
    house.order(order("XO", patient=NOBODY, steps=(ct_step(location="R9"),)))
    assert [(e.patient_id, e.step_location) for e in house.worklist()] == [("1001", "R9")]


def test_a_cancel_without_a_patient_waits_for_its_order_and_its_patient(house: House) -> None:
    fate, told = house.order(
        order("CA", patient=NOBODY, steps=(), uid="", accession="", event_time=at(10, 5), sent_time=at(10, 5))
    )
    assert (fate, told) == (Fate.APPLIED, [UNKNOWN_END])
    house.order(order(event_time=at(10), sent_time=at(10)))
    assert house.worklist() == []
    assert house.order_row().patient_id == house.patient(JANE).id
    assert len(house.rows("patient")) == 1


def test_a_new_order_without_a_patient_is_refused(house: House) -> None:
    assert house.order(order(patient=NOBODY))[0] is Fate.REFUSED


# -- the work of one more message ---------------------------------------------------------------------------------


def test_the_newest_message_reads_nothing_of_what_was_said_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.order(order(event_time=at(8)))
    house.order(order("XO", event_time=at(9)))
    monkeypatch.setattr(orders, "events_of", lambda *_: pytest.fail("read all events"))
    house.order(order("XO", "SC", event_time=at(10)))
    house.mpps("1.1", ScheduledReference("1.2.3"))
    assert house.order_row().status is OrderStatus.IP


def test_the_state_kept_with_the_order_is_the_fold_of_its_events(house: House) -> None:
    """Also after a device spoke between the messages, and one came late."""
    from bridge.domain.folding import fold
    from bridge.workflow import order_events

    house.order(order("NW", "SC", event_time=at(8)))
    house.order(order("OH", "HD", event_time=at(9)))
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.order(order("SC", "IP", event_time=at(8, 30)))
    house.mpps_end("1.1")
    house.order(order("XO", "SC"))
    row = house.order_row()
    assert house.read(lambda c: fold(order_events.events_of(c, row.id))).state == row.state


# -- a Study Instance UID that an order carries of which nobody knows whose it is ---------------------------------


def test_a_study_uid_of_nobodys_order_hides_no_other_order(house: House) -> None:
    house.order(order("XO", placer="P2", accession="A2", patient=NOBODY))
    assert house.order(order())[0] is Fate.APPLIED
    house.order(order(placer="P2", accession="A2"))
    assert {e.accession_number for e in house.worklist()} == {"A1", "A2"}


def test_an_order_that_turns_out_to_be_another_patients_is_judged_by_its_study_uid_again(house: House) -> None:
    house.order(order("XO", placer="P2", accession="A2", patient=NOBODY))
    house.order(order())
    house.order(order(placer="P2", accession="A2", patient=who(JOHN)))
    assert [e.accession_number for e in house.worklist()] == ["A1"]
    assert ("order-parked", "study-uid-of-another-patient") in house.reviews()
