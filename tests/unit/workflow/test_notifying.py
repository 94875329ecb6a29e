"""What an order's owner is told (hl7-to-mwl sections 6 and 8): once, in order, and in the transaction of the act."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import pytest

from bridge.config import Destination, Hl7
from bridge.config.filling import Filling
from bridge.config.hl7 import Event
from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.message import Reading
from bridge.domain.order import OrderRequest, StepRequest
from bridge.domain.performed import ScheduledReference
from bridge.errors import BridgeError, MissingField
from bridge.store import orders, outbound
from bridge.store.outbound import OutboundRow, OutboundState
from bridge.workflow import notifying
from bridge.workflow.notifying import OutQueue, Telling, drop_outbound, read_telling, send_again
from bridge.workflow.replaying import Replaying
from tests.unit.workflow.house import House, at, ct_step, order

EVERYTHING = frozenset(get_args(Event))
PLACER = Destination(name="placer", port=1, events=EVERYTHING)
SCHEDULED = ScheduledReference("1.2.3")
Build = Callable[..., House]


def telling_house(build: Build, *destinations: Destination, **changes: Any) -> House:
    return build(hl7=Hl7(destination=destinations or (PLACER,)), **changes)


def told(house: House, destination: str = "placer") -> list[str]:
    return [row.event for row in house.rows("outbound_message") if row.destination == destination]


def facts(house: House, number: int = -1) -> Telling:
    return read_telling(house.rows("outbound_message")[number].raw)


def status_only(**changes: Any) -> Destination:
    return PLACER.model_copy(update={"events": frozenset({"started", "completed", "discontinued"}), **changes})


# -- what devices do ----------------------------------------------------------------------------------------------


def test_without_a_destination_nothing_is_queued(house: House) -> None:
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1")
    assert house.rows("outbound_message") == []


def test_mpps_tells_started_and_then_completed(build: Build) -> None:
    house = telling_house(build, status_only())
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1")
    assert told(house) == ["started", "completed"]


def test_a_discontinued_step_is_told_as_discontinued(build: Build) -> None:
    house = telling_house(build, status_only())
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1", "DISCONTINUED")
    assert told(house) == ["started", "discontinued"]


def test_a_step_that_waits_again_is_neither_discontinued_nor_started_twice(build: Build) -> None:
    """CID 9301 "equipment failure" and its like: the patient comes back tomorrow."""
    house = telling_house(build, status_only())
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1", "DISCONTINUED", discontinuation=(Code("110501", "DCM"),))
    house.mpps("1.2", SCHEDULED)
    house.mpps_end("1.2")
    assert told(house) == ["started", "completed"]


def test_an_order_of_two_steps_is_completed_with_the_second(build: Build) -> None:
    house = telling_house(build, status_only())
    house.order(order(steps=(ct_step(step_id="S1"), ct_step(step_id="S2"))))
    for number, step in enumerate(("S1", "S2"), 1):
        house.mpps(f"1.{number}", ScheduledReference("1.2.3", scheduled_step_id=step))
        house.mpps_end(f"1.{number}")
        assert told(house) == ["started", "completed"][:number]


def test_the_first_image_of_a_device_without_mpps_tells_started_and_quiet_tells_completed(build: Build) -> None:
    house = telling_house(build, status_only())
    house.order(order())
    house.image()
    house.image()
    assert told(house) == ["started"]
    house.complete()
    assert told(house) == ["started", "completed"]


def test_a_re_order_is_told_anew(build: Build) -> None:
    house = telling_house(build, status_only())
    house.order(order(event_time=at(9)))
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1", "DISCONTINUED")
    house.order(order("CA", "CA", event_time=at(10)))
    house.order(order(event_time=at(11)))
    house.mpps("1.2", SCHEDULED)
    house.mpps_end("1.2")
    assert told(house) == ["started", "discontinued", "started#2", "completed"]


def test_what_the_filler_itself_says_is_not_told_back(build: Build) -> None:
    house = telling_house(build, status_only())
    house.order(order())
    house.order(order("SC", "IP"))
    house.order(order("SC", "CM"))
    assert told(house) == []


def test_a_refused_n_create_tells_nothing(build: Build) -> None:
    house = telling_house(build, status_only())
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    with pytest.raises(BridgeError):
        house.mpps("1.1", SCHEDULED)
    assert told(house) == ["started"]


def test_the_telling_holds_the_ids_as_their_sender_wrote_them(build: Build) -> None:
    house = telling_house(build, status_only())
    long = "PROCEDURE-NUMBER-OF-MORE-THAN-16"
    house.order(order(filler="F1", procedure_id=long))
    (row,) = house.rows("requested_procedure")
    house.database.write(lambda c: orders.change_procedure(c, row.id, {"requested_procedure_id_sent": long}))
    house.mpps("1.1", SCHEDULED)
    found = facts(house)
    assert (found.placer, found.filler) == (Identifier("P1", "RIS"), Identifier("F1", "RIS"))
    assert found.accession == Identifier("A1", "RIS")
    assert [p.procedure_id for p in found.procedures] == [long]
    assert found.at == house.clock.now()


# -- who is told --------------------------------------------------------------------------------------------------


def test_each_destination_is_told_only_its_events(build: Build) -> None:
    house = telling_house(
        build,
        status_only(name="a", events=frozenset({"started"})),
        status_only(name="b", events=frozenset({"completed"})),
    )
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1")
    assert (told(house, "a"), told(house, "b")) == (["started"], ["completed"])


def test_a_placer_hears_nothing_of_anothers_orders(build: Build) -> None:
    house = telling_house(build, status_only(name="ours", placers=("RIS",)), status_only(name="theirs", placers=("X",)))
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    assert (told(house, "ours"), told(house, "theirs")) == (["started"], [])


# -- the filler's answers -----------------------------------------------------------------------------------------


def test_a_taken_order_is_answered_with_the_uid_that_was_made_for_it(build: Build) -> None:
    house = telling_house(build)
    house.order(order(uid=""))
    (entry,) = house.worklist()
    assert told(house) == ["accepted"]
    assert facts(house).answers == "M1"
    assert [p.study_instance_uid for p in facts(house).procedures] == [entry.study_instance_uid]


def test_a_resent_order_is_not_answered_twice(build: Build) -> None:
    house = telling_house(build)
    for _ in range(2):
        house.send(Reading(orders=(order(),)), raw=b"the same", control="M1")
    assert told(house) == ["accepted"]


UNKNOWN = order(steps=(StepRequest(modality_sent="ROE"),))


def replay(house: House, *of_it: OrderRequest) -> None:
    Replaying(house.context, lambda envelope: Reading(orders=of_it)).replay(1, "cli:a", dry_run=False)


def test_a_replay_answers_no_second_time(build: Build) -> None:
    house = telling_house(build)
    house.order(UNKNOWN)
    replay(house, UNKNOWN)
    replay(house, order())
    assert told(house) == ["accepted"]


def test_a_refused_order_gets_its_first_answer_when_its_replay_takes_it(build: Build) -> None:
    house = telling_house(build)
    house.send(Reading(refusal=MissingField("no patient", where="PID-3")))
    replay(house, order())
    assert told(house) == ["accepted"]


def test_an_order_without_an_exam_gets_its_first_answer_when_its_replay_finds_one(build: Build) -> None:
    house = telling_house(build)
    house.order(order(steps=()))
    assert told(house) == []
    replay(house, order())
    assert told(house) == ["accepted"]


def test_of_two_orders_of_a_replay_only_the_one_that_was_parked_unanswered_is_answered(build: Build) -> None:
    house = telling_house(build)
    house.order(order(placer="P1", filler="F1"))
    house.order(order(placer="P2", filler="F2", accession="A2", uid="1.2.4"))
    both = order(placer="P3", accession="A3", uid="1.2.5"), order(placer="P2", filler="F1", accession="A1")
    house.order(*both)
    fixed = order(placer="P4", filler="F4", accession="A4", uid="1.2.6")
    Replaying(house.context, lambda envelope: Reading(orders=(both[0], fixed))).replay(3, "cli:a", dry_run=False)
    of_last = [row.subject for row in house.rows("outbound_message")][2:]
    assert of_last == ["order:3", "order:4"]


def test_a_cancel_request_is_granted_while_nothing_is_performed(build: Build) -> None:
    house = telling_house(build)
    house.order(order())
    house.order(order("CA"))
    assert told(house) == ["accepted", "cancelled"]
    assert facts(house).answers == "M2"


def test_a_cancel_request_for_what_is_performed_is_refused(build: Build) -> None:
    house = telling_house(build, PLACER.model_copy(update={"events": frozenset({"cancelled", "cancel-refused"})}))
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1")
    house.order(order("CA"))
    assert told(house) == ["cancel-refused"]


def test_a_filler_that_reports_a_cancel_is_not_answered(build: Build) -> None:
    house = telling_house(build)
    house.order(order())
    house.order(order("CA", "CA"))
    assert told(house) == ["accepted"]


def test_a_cancel_of_an_unknown_order_is_not_answered_with_an_order_that_does_not_exist(build: Build) -> None:
    house = telling_house(build)
    house.order(order("CA", steps=()))
    assert told(house) == []


def test_every_cancel_request_gets_its_own_answer(build: Build) -> None:
    house = telling_house(build)
    house.order(order())
    house.order(order("CA"))
    house.order(order("CA"))
    assert told(house) == ["accepted", "cancelled", "cancelled#2"]


# -- the queue ----------------------------------------------------------------------------------------------------


def queue_of_two(build: Build, **changes: Any) -> tuple[House, OutQueue]:
    destination = status_only(**changes)
    house = telling_house(build, destination)
    house.order(order())
    house.mpps("1.1", SCHEDULED)
    house.mpps_end("1.1")
    return house, OutQueue(house.context, destination, jitter=lambda: 0.0)


def head(queue: OutQueue) -> OutboundRow:
    row = queue.head()
    assert row is not None
    return row


def test_the_oldest_goes_first_and_the_next_only_after_it(build: Build) -> None:
    _, queue = queue_of_two(build)
    first = head(queue)
    attempt = queue.begin(first, b"M")
    assert queue.head() is None
    queue.sent(first, attempt, "AA")
    assert (first.event, head(queue).event) == ("started", "completed")


def test_nothing_overtakes_a_message_that_waits_for_its_next_attempt(build: Build) -> None:
    house, queue = queue_of_two(build, retry_seconds=10)
    first = head(queue)
    queue.again(first, queue.begin(first, b"M"), "remote-unavailable")
    house.clock.advance(9)
    assert queue.head() is None
    house.clock.advance(2)
    assert head(queue).id == first.id


def test_the_pauses_double_up_to_the_longest(build: Build) -> None:
    house, queue = queue_of_two(build, retry_seconds=1, retry_most_seconds=5)
    pauses = []
    for _ in range(5):
        row = head(queue)
        queue.again(row, queue.begin(row, b"M"), "AR")
        due = house.rows("outbound_message")[0].next_attempt_at
        pauses.append((due - house.clock.now()) / timedelta(seconds=1))
        house.clock.advance(60)
    assert pauses == [1, 2, 4, 5, 5]


def test_two_nodes_do_not_send_one_message_at_once(build: Build) -> None:
    house, queue = queue_of_two(build)
    other = OutQueue(house.context, status_only())
    mine, theirs = head(queue), head(other)
    assert queue.begin(mine, b"M") == 1
    assert other.begin(theirs, b"M") == 0


def test_an_attempt_of_a_node_that_died_is_taken_over_when_its_time_is_up(build: Build) -> None:
    house, queue = queue_of_two(build, ack_seconds=20)
    first = head(queue)
    dead = queue.begin(first, b"M")
    house.clock.advance(26)
    again = head(queue)
    alive = queue.begin(again, again.raw)
    assert (again.id, again.raw, again.control_id) == (first.id, b"M", first.control_id)
    assert not queue.sent(first, dead, "AA")
    assert queue.sent(again, alive, "AA")


def test_a_parked_message_is_listed_and_the_next_goes_on(build: Build) -> None:
    house, queue = queue_of_two(build)
    first = head(queue)
    queue.give_up(first, queue.begin(first, b"M"), "answered-AE", stop=False)
    assert ("outbound-dead", "answered-AE") in house.reviews()
    assert head(queue).event == "completed"


def test_a_stopped_queue_sends_nothing_until_a_person_decides(build: Build) -> None:
    house, queue = queue_of_two(build)
    first = head(queue)
    queue.give_up(first, queue.begin(first, b"M"), "answered-AE", stop=True)
    house.clock.advance(86400)
    assert queue.head() is None
    assert send_again(house.context, first.id, "cli:test")
    assert head(queue).id == first.id
    assert house.reviews() == set()


def test_a_stopped_message_that_is_dropped_lets_the_next_go(build: Build) -> None:
    house, queue = queue_of_two(build)
    first = head(queue)
    queue.give_up(first, queue.begin(first, b"M"), "answered-AE", stop=True)
    assert drop_outbound(house.context, first.id, "cli:test")
    assert head(queue).event == "completed"
    assert house.audited("outbound-dropped") == 1


def test_a_sent_message_is_nobodys_to_decide(build: Build) -> None:
    house, queue = queue_of_two(build)
    first = head(queue)
    queue.sent(first, queue.begin(first, b"M"), "AA")
    assert not send_again(house.context, first.id, "cli:test")
    assert not drop_outbound(house.context, 999, "cli:test")


def test_a_message_that_could_not_be_built_is_built_anew_when_it_is_tried_again(build: Build) -> None:
    house, queue = queue_of_two(build)
    first = head(queue)
    queue.give_up(first, first.attempts, "hl7-not-conformant PID", stop=True)
    send_again(house.context, first.id, "cli:test")
    assert head(queue).state is OutboundState.NEW


def test_the_state_of_a_queue_is_told_for_the_one_on_call(build: Build) -> None:
    house, queue = queue_of_two(build)
    first = head(queue)
    begun = house.clock.now()
    queue.again(first, queue.begin(first, b"M"), "AR")
    house.clock.advance(60)
    (state,) = house.read(outbound.queue_states)
    assert (state.destination, state.waiting, state.sent, state.oldest, state.answer) == ("placer", 2, 0, begun, "AR")


def test_an_act_that_fails_leaves_no_telling_behind(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = telling_house(build)
    house.order(order())

    def trip(*_: Any) -> None:
        raise ValueError

    told_before = told(house)
    monkeypatch.setattr("bridge.store.audit.note_activity", trip)
    with pytest.raises(ValueError):
        house.mpps("1.1", SCHEDULED)
    assert told(house) == told_before
    assert notifying.PROGRESS[0] not in told_before


# -- what a placer asks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "asked", "answer"),
    [
        ((), "DC", "stopped"),
        ((("SC", "CM"),), "DC", "stop-refused"),
        ((), "HD", "held"),
        ((("SC", "IP"),), "HD", "hold-refused"),
        ((("HD", ""),), "RL", "released"),
        ((("OC", "CA"),), "RL", "release-refused"),
        ((), "XO", "changed"),
        ((("SC", "IP"),), "XO", "change-refused"),
        ((), "RP", "replaced"),
        ((("SC", "IP"),), "RP", "replace-refused"),
        ((), "SS", "status"),
    ],
)
def test_a_placer_hears_whether_what_it_asked_was_done(
    build: Build, before: tuple[tuple[str, str], ...], asked: str, answer: str
) -> None:
    """HL7 v2.5.1 4.5.1.1, table 0119; IHE: what is begun is neither changed nor held."""
    house = telling_house(build)
    house.order(order(event_time=at(8)))
    for number, (control, status) in enumerate(before):
        house.order(order(control, status, event_time=at(9, number), steps=()))
    heard = len(told(house))
    house.order(order(asked, event_time=at(10)))
    assert (told(house)[heard:], facts(house).answers) == ([answer], f"M{len(before) + 2}")


def test_a_status_that_was_asked_for_is_the_orders_own(build: Build) -> None:
    house = telling_house(build)
    house.order(order())
    house.order(order("SC", "IP", steps=()))
    house.order(order("SS", steps=()))
    assert (told(house)[-1], facts(house).status) == ("status", "IP")


@pytest.mark.parametrize(("control", "status"), [("DC", "CA"), ("HD", "HD"), ("XO", "SC")])
def test_a_filler_that_tells_a_fact_gets_no_answer(build: Build, control: str, status: str) -> None:
    house = telling_house(build)
    house.order(order(event_time=at(8)))
    house.order(order(control, status, event_time=at(9)))
    assert told(house) == ["accepted"]


# -- numbers made here --------------------------------------------------------------------------------------------

MAKING = Filling(accession_number="derived", accession_issuer="BRIDGE")


def test_the_placer_learns_the_accession_number_that_was_made_by_its_answer(build: Build) -> None:
    house = telling_house(build, filling=MAKING)
    house.order(order(accession=""))
    (entry,) = house.worklist()
    assert (told(house), facts(house).accession) == (["accepted"], Identifier(entry.accession_number, "BRIDGE"))


def test_the_owner_of_an_order_that_asks_for_no_answer_is_told_the_number(build: Build) -> None:
    house = telling_house(build, filling=MAKING)
    house.order(order("SN", accession="", placer="", filler="F1"))
    assert (told(house), facts(house).accession) == (["numbered"], house.read(_accession))


def test_a_resend_or_a_change_tells_the_number_no_second_time(build: Build) -> None:
    house = telling_house(build, PLACER.model_copy(update={"events": frozenset({"numbered"})}), filling=MAKING)
    house.order(order(accession=""))
    house.order(order("XO", accession=""))
    assert told(house) == ["numbered"]


def _accession(connection: Any) -> Identifier | None:
    return orders.find_order(connection, None, Identifier("F1", "RIS"))[0].accession
