"""Messages run again after their cause was mended, and old ones that go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.domain.message import Envelope, Fate, Reading
from bridge.domain.order import StepRequest
from bridge.domain.patient import PatientData, PersonName
from bridge.errors import MissingField, NotFound, StateConflict
from bridge.store import review
from bridge.workflow.context import Context
from bridge.workflow.replaying import WHOLE, Replaying
from bridge.workflow.retention import Retention
from tests.unit.workflow.house import CT1, JANE, House, at, ct_step, order, settings

BAD = Reading(refusal=MissingField("no patient", where="PID-3"))


def replaying(house: House, reading: Reading) -> Replaying:
    return Replaying(house.context, lambda envelope: reading)


def fates(house: House) -> list[str]:
    return [row.fate for row in house.rows("message")]


def refused(house: House) -> int:
    house.send(BAD)
    return int(house.rows("message")[-1].id)


def quarantined(house: House, reason: str) -> int:
    envelope = Envelope("ris", b"bytes", "10.0.0.1", house.clock.now(), "RIS", "H", "C1")
    house.intake.quarantine(envelope, reason, "", b"")
    return int(house.rows("message")[-1].id)


def test_a_refused_message_that_is_right_today_is_applied_and_its_review_closed(house: House) -> None:
    number = refused(house)
    before = house.rows("message")[0].ack
    done = replaying(house, Reading(orders=(order(),))).replay(number, "cli:a", dry_run=False)
    assert (done.before, done.after) == (Fate.REFUSED, Fate.APPLIED)
    row = house.rows("message")[0]
    assert (row.fate, row.replays, row.ack) == ("applied", 1, before)
    assert house.reviews() == set()
    assert house.audited("message-replay") == 1
    assert len(house.worklist()) == 1


def test_a_dry_run_tells_the_same_and_changes_nothing(house: House) -> None:
    number = refused(house)
    again = replaying(house, Reading(orders=(order(),)))
    told = again.replay(number, "cli:a", dry_run=True)
    assert (fates(house), house.rows("imaging_order"), house.rows("message")[0].replays) == (["refused"], [], 0)
    assert ("message-refused", "missing-field PID-3") in house.reviews()
    assert told == again.replay(number, "cli:a", dry_run=False)
    assert "order-created" in [action for action, _ in told.acts]


def test_an_order_that_is_parked_again_as_before_was_replayed_in_vain(house: House) -> None:
    unknown = Reading(orders=(order(steps=(StepRequest(modality_sent="ROE"),)),))
    house.send(unknown)
    (row,) = house.rows("message")
    told = replaying(house, unknown).replay(row.id, "cli:a", dry_run=True)
    assert (told.before, told.after, told.acts) == (Fate.PARKED, Fate.PARKED, ())


def test_a_replay_twice_has_one_effect(house: House) -> None:
    number = refused(house)
    again = replaying(house, Reading(orders=(order(),)))
    again.replay(number, "cli:a", dry_run=False)
    history = len(house.rows("order_history"))
    assert again.replay(number, "cli:a", dry_run=False).acts == ()
    assert (len(house.rows("order_history")), house.rows("message")[0].replays) == (history, 1)


def test_a_message_that_is_still_wrong_stays_refused_with_todays_reason(house: House) -> None:
    number = refused(house)
    worse = Reading(refusal=MissingField("no order number", where="ORC-2"))
    assert replaying(house, worse).replay(number, "cli:a", dry_run=False).after is Fate.REFUSED
    assert house.reviews() == {("message-refused", "missing-field ORC-2")}
    assert house.rows("message")[0].reasons == ["missing-field ORC-2"]


def test_orders_that_were_parked_show_after_the_station_table_was_mended(
    tmp_path: Path, build: Callable[..., House]
) -> None:
    before = build(station=())
    before.order(order())
    assert (fates(before), before.worklist()) == (["parked"], [])
    after = Context(before.database, settings(tmp_path, station=(CT1,)), before.clock)
    again = Replaying(after, lambda envelope: Reading(orders=(order(),)))
    (number,) = again.find(fates=("parked",), limit=10)
    assert again.replay(number, "cli:a", dry_run=False).after is Fate.APPLIED
    assert len(before.worklist()) == 1
    assert before.reviews() == set()


# One message, two orders: P1 is shown, P2 is parked.

BOTH = Reading(
    orders=(
        order(event_time=at(8)),
        order(placer="P2", accession="A2", uid="1.2.4", steps=(StepRequest(modality_sent="ROE"),), event_time=at(8)),
    )
)
BETTER = Reading(orders=(BOTH.orders[0], order(placer="P2", accession="A2", uid="1.2.4", event_time=at(8))))


def test_what_a_message_said_holds_when_its_replay_is_refused(house: House) -> None:
    house.send(BOTH)
    assert replaying(house, BAD).replay(1, "cli:a", dry_run=False).after is Fate.REFUSED
    house.order(order("XO", event_time=at(9)))
    assert [e.accession_number for e in house.worklist()] == ["A1"]


def test_what_a_message_said_holds_when_its_replay_contradicts_the_patient(house: House) -> None:
    house.send(BOTH)
    john = {"name": PersonName("ROE^JOHN"), "birth_date": "19700707", "sex": "M"}
    house.adt("A08", JANE, **john)
    assert replaying(house, BOTH).replay(1, "cli:a", dry_run=False).told == ("message-contradicts-patient",)
    house.order(order("XO", event_time=at(9), patient=PatientData((JANE,), **john)))
    assert [e.accession_number for e in house.worklist()] == ["A1"]


def test_what_a_message_said_of_an_order_holds_when_today_it_says_nothing_of_it(house: House) -> None:
    house.send(BOTH)
    replaying(house, Reading(orders=BETTER.orders[1:])).replay(1, "cli:a", dry_run=False)
    house.order(order("XO", event_time=at(9)))
    assert {e.accession_number for e in house.worklist()} == {"A1", "A2"}


def test_a_replay_says_anew_what_its_message_said(house: House) -> None:
    house.send(BOTH)
    assert replaying(house, BETTER).replay(1, "cli:a", dry_run=False).after is Fate.APPLIED
    assert len(house.rows("order_event")) == 2


def test_a_cancelled_order_stays_cancelled_when_its_message_without_times_is_run_again(house: House) -> None:
    unknown = Reading(orders=(order(steps=(StepRequest(modality_sent="ROE"),)),))
    house.send(unknown)
    house.order(order("CA", steps=()))
    replaying(house, Reading(orders=(order(),))).replay(1, "cli:a", dry_run=False)
    assert (house.order_row().status, house.worklist()) == ("CA", [])


def test_a_message_without_times_that_was_never_applied_counts_as_of_its_receipt(house: House) -> None:
    number = refused(house)
    house.clock.advance(60)
    house.order(order("CA", steps=()))
    replaying(house, Reading(orders=(order(),))).replay(number, "cli:a", dry_run=False)
    assert (house.order_row().status, house.worklist()) == ("CA", [])


@pytest.mark.parametrize("reason", ["frame interrupted", "frame unfinished", "frame too-large"])
def test_a_part_of_a_message_is_never_run(house: House, reason: str) -> None:
    number = quarantined(house, reason)
    with pytest.raises(StateConflict):
        replaying(house, Reading(orders=(order(),))).replay(number, "cli:a", dry_run=False)
    assert house.rows("imaging_order") == []


def test_a_whole_message_of_a_bad_frame_may_be_run(house: House) -> None:
    number = quarantined(house, WHOLE)
    done = replaying(house, Reading(orders=(order(),))).replay(number, "cli:a", dry_run=False)
    assert done.after is Fate.APPLIED
    assert house.reviews() == set()


def test_a_message_that_is_not_there_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        replaying(house, BAD).replay(7, "cli:a", dry_run=True)


def test_a_replay_is_the_act_of_the_person_who_asked(house: House) -> None:
    number = refused(house)
    replaying(house, Reading(orders=(order(),))).replay(number, "cli:anna", dry_run=False)
    assert {row.who for row in house.rows("audit") if row.action == "order-created"} == {"cli:anna"}


# Retention


def age(house: House, days: int) -> None:
    house.clock.advance(timedelta(days=days).total_seconds())


def purge(house: House) -> None:
    retention = Retention(house.context)
    while retention.purge_due():
        pass


def test_a_message_goes_when_its_time_is_over_and_its_order_stays(house: House) -> None:
    house.order(order())
    age(house, 91)
    house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    purge(house)
    assert [row.id for row in house.rows("message")] == [2]
    assert len(house.rows("imaging_order")) == 2
    assert house.audited("message-purge") == 1


def test_a_younger_message_stays(house: House) -> None:
    house.order(order())
    age(house, 89)
    house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    purge(house)
    assert len(house.rows("message")) == 2


def test_what_a_person_has_not_settled_stays(house: House) -> None:
    number = refused(house)
    age(house, 200)
    house.order(order())
    purge(house)
    assert number in [row.id for row in house.rows("message")]
    subject = f"message:{number}"
    house.database.write(
        lambda c: review.close_review(c, ("message-refused",), subject, house.clock.now(), "cli:a", "seen")
    )
    purge(house)
    assert number not in [row.id for row in house.rows("message")]


def test_a_parked_message_stays_while_its_order_waits(house: House) -> None:
    house.order(order(steps=(StepRequest(modality="US", modality_sent="US"),)))
    assert fates(house) == ["parked"]
    age(house, 200)
    house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    purge(house)
    assert fates(house) == ["parked", "applied"]
    house.order(order("XO", steps=(ct_step(),), event_time=house.clock.now()))
    house.database.write(
        lambda c: review.close_review(c, ("order-parked",), "step:1", house.clock.now(), "cli:a", "seen")
    )
    purge(house)
    assert "parked" not in fates(house)[:1]


def test_many_rows_go_in_small_steps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.workflow.retention.STEP_ROWS", 3)
    for n in range(10):
        house.order(order(placer=f"P{n}", accession=f"A{n}", uid=f"1.2.{n + 10}"))
    age(house, 91)
    house.order(order(placer="P99", accession="A99", uid="1.2.99"))
    retention = Retention(house.context)
    left = []
    while retention.purge_due():
        left.append(len(house.rows("message")))
    assert left == [8, 5, 2]
    assert len(house.rows("message")) == 1
