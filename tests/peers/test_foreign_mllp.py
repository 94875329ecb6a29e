"""HL7 v2 over MLLP with software that is not ours: simple-hl7 (Node) sends to our feed and receives from our sender."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

import pytest

from bridge.config import Destination, Hl7
from bridge.domain.performed import ScheduledReference
from bridge.hl7.ack import AckCode, read_ack
from bridge.hl7.client import MllpClient
from bridge.hl7.sender import Sender
from bridge.sandbox import ris
from bridge.sandbox.ris import DemoOrder, DemoPatient
from tests.faults.feed_site import feed_site
from tests.peers.available import MLLP, need
from tests.unit.workflow.house import NOON, House, order

pytestmark = pytest.mark.peer("mllp")

SECONDS = 60.0
HOSP = ris.Authority("HOSP", "2.25.1")


def demo(number: int) -> DemoOrder:
    patient = DemoPatient(f"M{number}", "Müller", "Jörg", date(1961, 5, 4), "M", visit=f"V{number}", authority=HOSP)
    return DemoOrder(
        patient, f"P{number}", f"F{number}", f"A{number}", f"RP{number}", f"S{number}", "CTCHEST",
        "CT <chest> & abdomen", "CT", "CT1", datetime(2026, 11, 25, 13), f"1.2.3.{number}",
    )  # fmt: skip


def foreign_send(port: int, *messages: bytes) -> list[dict[str, Any]]:
    """What simple-hl7 reads in our answer to each message, all sent on one connection."""
    need("mllp")
    command = [need("node"), str(MLLP / "send.js"), "127.0.0.1", str(port)]
    texts = json.dumps([raw.decode() for raw in messages])
    run = subprocess.run(command, input=texts, capture_output=True, encoding="utf-8", timeout=SECONDS)
    assert run.returncode == 0, f"{run.stdout[-500:]} {run.stderr[-500:]}"
    return [json.loads(line) for line in run.stdout.splitlines()]


class ForeignReceiver:
    """simple-hl7's server as a process; `hear` gives each message as it read it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line().split()[1])

    def hear(self, count: int) -> list[dict[str, Any]]:
        return [json.loads(self._line()) for _ in range(count)]

    def _line(self) -> str:
        timer = threading.Timer(SECONDS, self._process.kill)  # ends the read below
        timer.start()
        try:
            line = _pipe(self._process.stdout).readline()
        finally:
            timer.cancel()
        assert line, "receive.js ended or was silent"
        return line


@contextmanager
def foreign_receiver(*codes: str) -> Iterator[ForeignReceiver]:
    """Its answers are `codes` in turn, then AA."""
    need("mllp")
    command = [need("node"), str(MLLP / "receive.js"), *codes]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8") as process:
        try:
            yield ForeignReceiver(process)
        finally:
            _pipe(process.stdin).close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def sending_house(folder: Path, port: int) -> Iterator[tuple[House, Sender]]:
    events = frozenset({"started", "completed"})
    target = Destination(name="placer", port=port, events=events, ack_seconds=20)
    house = House(folder, hl7=Hl7(destination=(target,)))
    sender = Sender(house.context, target)
    try:
        yield house, sender
    finally:
        sender.close()
        house.database.close()


def perform(house: House, sender: Sender) -> None:
    """One order from NW to completed, and what is to be told of it is sent."""
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.3"))
    house.mpps_end("1.1")
    while sender.send_due():
        pass


@pytest.mark.parametrize(("build", "version"), [(ris.orm_o01, "2.3.1"), (ris.omi_o23, "2.5.1")], ids=["ORM", "OMI"])
def test_a_foreign_ris_orders_a_ct_and_reads_our_aa(tmp_path: Path, build: Any, version: str) -> None:
    with feed_site(tmp_path) as site:
        (ack,) = foreign_send(site.receiver.listener.port, build(demo(1), NOON, "C1"))
        assert (ack["type"], ack["version"], ack["code"], ack["answers"]) == ("ACK", version, "AA", "C1")
        assert site.orders() == 1


def test_a_foreign_ris_keeps_one_connection_and_reads_each_answer_to_its_own_message(tmp_path: Path) -> None:
    builders = (ris.orm_o01, ris.omi_o23)
    messages = [builders[n % 2](demo(n), NOON, f"C{n}") for n in range(8)]
    with feed_site(tmp_path) as site:
        acks = foreign_send(site.receiver.listener.port, *messages)
        assert [(ack["code"], ack["answers"]) for ack in acks] == [("AA", f"C{n}") for n in range(8)]
        assert len({ack["localPort"] for ack in acks}) == 1
        assert site.counts["connections"] == 1
        assert site.orders() == 8


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (ris.orm_o01, {"first": "PID^1^3^101&Required field missing&HL70357"}),
        (ris.omi_o23, {"where": "PID^1^3", "error": "101", "severity": "E"}),
    ],
    ids=["ORM", "OMI"],
)
def test_a_foreign_ris_reads_our_refusal_and_its_next_order_is_taken(
    tmp_path: Path, build: Any, error: dict[str, str]
) -> None:
    good = build(demo(1), NOON, "C1")
    bad = b"".join(line + b"\r" for line in good.split(b"\r")[:-1] if not line.startswith(b"PID"))
    with feed_site(tmp_path) as site:
        refused, taken = foreign_send(site.receiver.listener.port, bad.replace(b"|C1|", b"|C0|"), good)
        assert (refused["code"], refused["answers"]) == ("AE", "C0")
        assert (taken["code"], taken["answers"]) == ("AA", "C1")
        assert site.orders() == 1


def test_a_foreign_receiver_reads_our_messages_and_our_client_its_answers() -> None:
    orders = ris.orm_o01(demo(1), NOON, "C1"), ris.omi_o23(demo(2), NOON, "C2")
    messages = [*orders, ris.adt_a08(demo(3).patient, NOON, "C3")]
    with foreign_receiver() as receiver, MllpClient("127.0.0.1", receiver.port, 20) as client:
        acks = [read_ack(client.send(raw)) for raw in messages]
        heard = receiver.hear(3)
    assert [(ack.code, ack.control_id) for ack in acks] == [(AckCode.AA, f"C{n}") for n in (1, 2, 3)]
    assert [(one["type"], one["event"], one["id"]) for one in heard] == [
        ("ORM", "O01", "C1"), ("OMI", "O23", "C2"), ("ADT", "A08", "C3"),
    ]  # fmt: skip
    assert heard[0]["segments"] == ["PID", "PV1", "ORC", "OBR", "ZDS"]
    assert heard[0]["pid"][4] == "Müller^Jörg^^^^^L"
    assert len({one["from"] for one in heard}) == 1


@pytest.mark.parametrize("code", ["AE", "AR"])
def test_our_client_reads_a_foreign_refusal(code: str) -> None:
    with foreign_receiver(code) as receiver, MllpClient("127.0.0.1", receiver.port, 20) as client:
        acks = [read_ack(client.send(ris.orm_o01(demo(1), NOON, one))) for one in ("C1", "C2")]
    assert [(ack.code.value, ack.control_id) for ack in acks] == [(code, "C1"), ("AA", "C2")]


def test_the_status_of_an_order_reaches_a_foreign_placer_in_order(tmp_path: Path) -> None:
    with foreign_receiver() as receiver, sending_house(tmp_path, receiver.port) as (house, sender):
        perform(house, sender)
        rows = house.rows("outbound_message")
        assert [row.state for row in rows] == ["sent", "sent"]
        heard = receiver.hear(2)
    assert [(one["id"], one["orc"][0], one["orc"][4]) for one in heard] == [
        (rows[0].control_id, "SC", "IP"), (rows[1].control_id, "SC", "CM"),
    ]  # fmt: skip


def test_a_foreign_placers_error_parks_that_message_and_the_next_is_sent(tmp_path: Path) -> None:
    with foreign_receiver("AE") as receiver, sending_house(tmp_path, receiver.port) as (house, sender):
        perform(house, sender)
        assert [row.state for row in house.rows("outbound_message")] == ["dead", "sent"]
        assert ("outbound-dead", "answered-AE") in house.reviews()
