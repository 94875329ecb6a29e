"""HL7 out against receivers that answer wrongly (faults F22): never a false "sent", never out of order, never lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import certifi
import pytest
from sqlalchemy import insert

from bridge.app import Hl7Role, Process
from bridge.clock import ManualClock
from bridge.config import Destination, Feed, Hl7
from bridge.domain.performed import ScheduledReference
from bridge.errors import ConfigurationError, StoreUnavailable
from bridge.hl7.header import header_of
from bridge.hl7.message import Message
from bridge.hl7.sender import Sender
from bridge.run.role import Ending
from bridge.store.db import Database
from bridge.store.outbound import OutboundState
from bridge.store.schema import outbound_message
from bridge.workflow.context import Context
from bridge.workflow.notifying import OutQueue
from tests.fakes.mllp_peer import HONEST, NEGATIVE, WRONG, MllpPeer
from tests.unit.workflow.house import NOON, House, order, settings

STATUS = frozenset({"started", "completed", "discontinued"})
Behave = Callable[[str, int], str]


@contextmanager
def peer_that(behave: Behave | str) -> Iterator[MllpPeer]:
    peer = MllpPeer((lambda _id, _n: behave) if isinstance(behave, str) else behave)
    try:
        yield peer
    finally:
        peer.close()


def destination(port: int, **changes: Any) -> Destination:
    return Destination(**{"name": "placer", "port": port, "events": STATUS, "ack_seconds": 5, **changes})


class Restarted(House):
    """The same data folder, a new process."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.clock = ManualClock(NOON)
        self.settings = settings(folder, **changes)
        self.database = Database("", folder, on_broken=lambda: None)
        self.context = Context(self.database, self.settings, self.clock)


@contextmanager
def house_with(folder: Path, port: int, kind: type[House] = House, **changes: Any) -> Iterator[tuple[House, Sender]]:
    house = kind(folder, hl7=Hl7(destination=(destination(port, **changes),)))
    sender = Sender(house.context, house.settings.hl7.destination[0])
    try:
        yield house, sender
    finally:
        sender.close()
        house.database.close()


def perform(house: House) -> None:
    """One order from NW to completed: two messages."""
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps_end("1.1")


def enqueue(house: House, count: int) -> list[str]:
    """`count` messages that are built already."""
    ids = [f"Q{n}" for n in range(count)]
    now = house.clock.now()
    rows = [
        {
            "destination": "placer", "control_id": one, "subject": f"order:{one}", "event": "started", "state": "due",
            "raw": f"MSH|^~\\&|BR|||| 20261125||ORM^O01|{one}|P|2.3.1\rORC|SC|{one}\r".encode(),
            "next_attempt_at": now, "created_at": now,
        }
        for one in ids
    ]  # fmt: skip
    house.database.write(lambda c: c.core.execute(insert(outbound_message), rows))
    return ids


def run(house: House, sender: Sender, most: int = 10_000) -> None:
    """The sender's thread, with the pauses passed over, until nothing waits."""
    for _ in range(most):
        if not sender.send_due():
            if not waiting(house):
                return
            house.clock.advance(120)


def waiting(house: House) -> list[str]:
    return [r.control_id for r in house.rows("outbound_message") if r.state in ("new", "due")]


def states(house: House) -> list[str]:
    return [r.state for r in house.rows("outbound_message")]


def test_the_status_of_an_order_goes_out_in_order_and_is_sent_after_its_ack(tmp_path: Path) -> None:
    with peer_that("AA") as peer, house_with(tmp_path, peer.port) as (house, sender):
        perform(house)
        run(house, sender)
        orcs = [Message.read(raw).order_groups()[0].get("ORC", 5) for raw in peer.received]
        assert orcs == ["IP", "CM"]
        assert states(house) == ["sent", "sent"]


def test_the_bytes_are_kept_before_they_leave(tmp_path: Path) -> None:
    with peer_that("silence") as peer, house_with(tmp_path, peer.port, ack_seconds=0.05) as (house, sender):
        perform(house)
        sender.send_due()
        assert [r.raw for r in house.rows("outbound_message")][:1] == peer.received


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_does_not_count_and_the_same_bytes_go_again(tmp_path: Path, wrong: str) -> None:
    behave: Behave = lambda _id, number: wrong if number == 0 else "AA"  # noqa: E731
    with peer_that(behave) as peer, house_with(tmp_path, peer.port, ack_seconds=0.2) as (house, sender):
        enqueue(house, 2)
        assert sender.send_due() == 0
        assert states(house) == ["due", "due"]
        run(house, sender)
        assert peer.ids == ["Q0", "Q0", "Q1"]
        assert peer.received[0] == peer.received[1]
        assert states(house) == ["sent", "sent"]


@pytest.mark.parametrize("refusal", ["AR", "CR"])
def test_a_reject_is_tried_again(tmp_path: Path, refusal: str) -> None:
    behave: Behave = lambda _id, number: refusal if number < 3 else "AA"  # noqa: E731
    with peer_that(behave) as peer, house_with(tmp_path, peer.port) as (house, sender):
        enqueue(house, 1)
        run(house, sender)
        assert peer.ids == ["Q0"] * 4
        assert states(house) == ["sent"]


@pytest.mark.parametrize("fault", ["AE", "CE"])
def test_an_error_is_parked_for_a_person_and_the_next_goes_on(tmp_path: Path, fault: str) -> None:
    behave: Behave = lambda one, _n: fault if one == "Q0" else "AA"  # noqa: E731
    with peer_that(behave) as peer, house_with(tmp_path, peer.port) as (house, sender):
        enqueue(house, 2)
        run(house, sender)
        assert peer.ids == ["Q0", "Q1"]
        assert states(house) == ["dead", "sent"]
        assert ("outbound-dead", f"answered-{fault}") in house.reviews()


def test_an_error_stops_the_queue_where_the_site_wants_that(tmp_path: Path) -> None:
    with peer_that("AE") as peer, house_with(tmp_path, peer.port, on_error="stop") as (house, sender):
        enqueue(house, 2)
        for _ in range(5):
            sender.send_due()
            house.clock.advance(3600)
        assert peer.ids == ["Q0"]
        assert states(house) == ["stopped", "due"]


def test_an_error_is_tried_again_where_the_site_wants_that(tmp_path: Path) -> None:
    behave: Behave = lambda _id, number: "AE" if number < 2 else "AA"  # noqa: E731
    with peer_that(behave) as peer, house_with(tmp_path, peer.port, on_error="retry") as (house, sender):
        enqueue(house, 1)
        run(house, sender)
        assert peer.ids == ["Q0"] * 3


def test_a_receiver_that_is_away_for_a_night_gets_everything_in_order_when_it_is_back(tmp_path: Path) -> None:
    with peer_that("AA") as away:
        port = away.port
    with house_with(tmp_path, port) as (house, sender):
        ids = enqueue(house, 5)
        for _ in range(20):
            assert sender.send_due() == 0
            house.clock.advance(3600)
        assert states(house) == ["due"] * 5
    with peer_that("AA") as back, house_with(tmp_path, back.port, Restarted) as (house, sender):
        house.clock.advance(86400)
        run(house, sender)
        assert back.ids == ids


def test_a_message_that_does_not_conform_never_leaves_and_is_listed(tmp_path: Path) -> None:
    with peer_that("AA") as peer, house_with(tmp_path, peer.port) as (house, sender):
        house.order(order(placer="9" * 300))
        house.mpps("1.1", ScheduledReference("1.2.3"))
        run(house, sender)
        assert peer.received == []
        assert ("outbound-dead", "hl7-not-conformant ORC") in house.reviews()


def test_a_crash_between_the_ack_and_its_row_sends_the_same_message_again(tmp_path: Path) -> None:
    """At least once, with the same MSH-10: the receiver can tell."""

    class Crashing(OutQueue):
        def sent(self, *_: Any) -> bool:
            raise StoreUnavailable("the power fails here")

    with peer_that("AA") as peer:
        with house_with(tmp_path, peer.port) as (house, _):
            perform(house)
            crashing = Sender(
                house.context, house.settings.hl7.destination[0], Crashing(house.context, destination(peer.port))
            )
            with suppress(StoreUnavailable):
                crashing.send_due()
            crashing.close()
        with house_with(tmp_path, peer.port, Restarted) as (house, sender):
            house.clock.advance(60)
            run(house, sender)
            first, again, second = peer.received
            assert first == again
            assert header_of(second).control_id != header_of(first).control_id
            assert states(house) == ["sent", "sent"]


def test_restarts_in_the_middle_lose_nothing_and_keep_the_order(tmp_path: Path) -> None:
    choices = random.Random(7)
    behave: Behave = lambda _id, _n: choices.choice(("AA", "AA", "AR", "close"))  # noqa: E731
    with peer_that(behave) as peer:
        with house_with(tmp_path, peer.port) as (house, _):
            ids = enqueue(house, 30)
        for run_number in range(60):
            with house_with(tmp_path, peer.port, Restarted) as (house, sender):
                house.clock.advance(120 * (run_number + 1))
                for _ in range(3):
                    sender.send_due()
        assert [one for one, _ in groupby(peer.ids)] == ids
        with house_with(tmp_path, peer.port, Restarted) as (house, _):
            assert set(states(house)) == {OutboundState.SENT}


def test_a_thousand_exchanges_with_a_receiver_that_misbehaves_at_random_give_no_false_sent(tmp_path: Path) -> None:
    """F22. Half of the answers are honest, the others anything that a broken receiver or a bad line can give."""
    choices = random.Random(22)
    words = (*HONEST * 7, *NEGATIVE, *WRONG)
    behave: Behave = lambda _id, _n: choices.choice(words)  # noqa: E731
    with peer_that(behave) as peer, house_with(tmp_path, peer.port, ack_seconds=0.05) as (house, sender):
        ids = enqueue(house, 1000)
        for _ in range(1000):
            if not sender.send_due():
                house.clock.advance(120)
        rows = house.rows("outbound_message")
        sent = [r.control_id for r in rows if r.state == "sent"]
        dead = [r.control_id for r in rows if r.state == "dead"]
        assert len(peer.received) == 1000
        assert set(sent) <= set(peer.accepted)
        # In order, no gap, nothing overtaken: what came is a prefix of the queue, resends beside their firsts.
        seen = [one for one, _ in groupby(peer.ids)]
        assert seen == ids[: len(seen)]
        still = set(waiting(house))
        assert sorted([*sent, *dead], key=ids.index) == [one for one in seen if one not in still]
        assert all(r.last_answer in ("answered-AE", "answered-CE") for r in rows if r.state == "dead")


def test_the_hl7_role_sends_by_itself_and_ends_when_asked(tmp_path: Path) -> None:
    with peer_that("AA") as peer:
        with house_with(tmp_path, peer.port) as (house, _):
            perform(house)
            chosen = house.settings.model_copy(
                update={"hl7": Hl7(feed=(Feed(name="ris", port=0),), destination=(destination(peer.port),))}
            )
        process = Process(chosen, Ending(), ManualClock(NOON))
        role = Hl7Role(process)
        role.start()
        try:
            for _ in range(200):
                if len(peer.accepted) == 2:
                    break
                Ending().wait(0.05)
        finally:
            role.stop()
            process.database.close()
        assert len(peer.accepted) == 2


def test_off_loopback_a_destination_needs_tls_or_an_explicit_word() -> None:
    with pytest.raises(ValueError, match="plaintext"):
        destination(2575, host="10.1.2.3")
    assert destination(2575, host="10.1.2.3", plaintext=True).tls_ca_file is None


def test_a_receiver_that_speaks_no_tls_gets_nothing_where_tls_is_asked_for(tmp_path: Path) -> None:
    tls = {"tls_ca_file": Path(certifi.where()), "ack_seconds": 0.2}
    with peer_that("AA") as peer, house_with(tmp_path, peer.port, **tls) as (house, sender):
        enqueue(house, 1)
        assert sender.send_due() == 0
        assert (states(house), peer.received) == (["due"], [])


def test_a_tls_file_that_is_missing_is_told_by_the_destinations_name(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="placer"),
        house_with(tmp_path, 1, tls_ca_file=tmp_path / "nowhere.pem"),
    ):
        pass
