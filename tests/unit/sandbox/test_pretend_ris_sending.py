"""The pretend RIS on the wire, against a listener of a few lines."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bridge.clock import ManualClock
from bridge.sandbox.ris import DemoOrder, DemoPatient, Ris, adt_a04, omi_o23, orm_o01


class Listener(socketserver.ThreadingTCPServer):
    """Keeps what came and answers AA to everything."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.received: list[str] = []


class Answering(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Listener)
        message = b""
        while byte := self.rfile.read(1):
            message += byte
            if message.endswith(b"\x1c\r"):
                text = message[1:-2].decode("utf-8")
                self.server.received.append(text)
                control_id = text.split("|")[9]
                ack = f"MSH|^~\\&|B|B|R|R|20261125||ACK|1|P|2.5.1\rMSA|AA|{control_id}\r"
                self.wfile.write(b"\x0b" + ack.encode() + b"\x1c\r")
                message = b""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def ris(listener: Listener) -> Iterator[Ris]:
    sender = Ris("127.0.0.1", listener.server_address[1], clock=ManualClock(datetime(2026, 11, 25, tzinfo=UTC)))
    yield sender
    sender.close()


def test_answer_of_the_receiver_comes_back(ris: Ris, patient: DemoPatient) -> None:
    assert ris.send(adt_a04, patient).code == "AA"


def test_every_message_has_its_own_control_id(ris: Ris, listener: Listener, order: DemoOrder) -> None:
    ris.send(omi_o23, order)
    ris.send(orm_o01, order, control="XO")
    ids = [text.split("|")[9] for text in listener.received]
    assert len(set(ids)) == 2
    assert all(len(one) <= 20 for one in ids)


def test_options_reach_the_builder(ris: Ris, listener: Listener, order: DemoOrder) -> None:
    ris.send(orm_o01, order, control="DC", status="CA")
    assert "\rORC|DC|" in listener.received[0]
