"""Before the association: silence, drips and lies end; and the private names of pynetdicom are where we think."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import evt

from bridge.dicom import acceptor, conversation, guard
from bridge.dicom.ae import DicomServer
from bridge.dicom.upper import REQUEST_BYTES
from tests.unit.dicom.support import (
    CT,
    MPPS,
    MWL,
    FakeServices,
    associated,
    command,
    encoded,
    image,
    pdu,
    sends,
    serving,
)

pytestmark = pytest.mark.usefixtures("transport")

VERIFICATION, IMPLICIT, EXPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DicomServer]:
    with serving(tmp_path, FakeServices()) as started:
        yield started


def connect(server: DicomServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def closed(connection: socket.socket) -> bool:
    """True when the other side closes without a word."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def echoes(server: DicomServer) -> bool:
    with associated(server, (VERIFICATION, IMPLICIT)) as association:
        return association.is_established and association.send_c_echo().Status == 0


@pytest.mark.parametrize("length", [0xFFFFFFFF, REQUEST_BYTES])
def test_an_announced_giant_is_closed_before_it_is_read(server: DicomServer, length: int) -> None:
    with connect(server) as liar:
        liar.sendall(struct.pack(">BBL", 1, 0, length))
        assert closed(liar)


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x04\0\0\0\0\x10", b"\x16\x03\x01\x02\x00\x01"])
def test_what_is_no_association_request_is_closed(server: DicomServer, first: bytes) -> None:
    with connect(server) as stranger:
        stranger.sendall(first)
        assert closed(stranger)


def test_a_dripping_peer_is_closed_at_the_deadline(server: DicomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for listener in (guard, acceptor):
        monkeypatch.setattr(listener, "REQUEST_SECONDS", 0.5)
    with connect(server) as dripping:
        for _ in range(100):
            with contextlib.suppress(OSError):
                dripping.send(b"\x01")
            dripping.settimeout(0.05)
            try:
                if dripping.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("still open")


def test_silent_connections_are_few_and_an_honest_device_is_served(server: DicomServer) -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connect(server))
        time.sleep(0.3)
        assert threading.active_count() - before <= guard.WAITING_PER_ADDRESS
    assert echoes(server)


def test_the_place_of_a_silent_connection_is_free_again(server: DicomServer) -> None:
    for _ in range(guard.WAITING_PER_ADDRESS * 2):
        connect(server).close()
    time.sleep(0.3)
    assert echoes(server)


def test_one_association_too_many_is_refused_with_2_3_2(tmp_path: Path) -> None:
    with (
        serving(tmp_path, FakeServices(), max_associations=2) as server,
        associated(server, (VERIFICATION, IMPLICIT)),
        associated(server, (VERIFICATION, IMPLICIT)),
        associated(server, (VERIFICATION, IMPLICIT)) as third,
    ):
        answer = third.acceptor.primitive
        assert third.is_rejected and answer is not None
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)


def test_a_pdu_over_the_negotiated_size_ends_the_association(server: DicomServer) -> None:
    with associated(server, (CT, EXPLICIT)) as modality:
        wrapped = modality.dul.socket
        assert wrapped is not None
        wrapped.send(struct.pack(">BBL", 4, 0, 0x7FFFFFFF) + bytes(1000))
        for _ in range(100):
            if not modality.is_established:
                break
            time.sleep(0.05)
        assert not modality.is_established
    assert echoes(server)


FIND, CREATE, STORE, ECHO = 0x0020, 0x0140, 0x0001, 0x0030
MANY = [bytes(60_000)] * 100
"""Six megabytes: more than a message may have in these tests, less than an object may."""


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[DicomServer]:
    """A server that takes messages of 64 KiB."""
    with serving(tmp_path, FakeServices(), max_message_bytes=64 * 1024) as started:
        yield started


@pytest.mark.parametrize(("context", "field"), [(MWL, FIND), (MPPS, CREATE), (CT, FIND)])
def test_an_endless_data_set_that_goes_to_no_file_ends_the_association(
    narrow: DicomServer, context: str, field: int
) -> None:
    with associated(narrow, (context, EXPLICIT)) as modality:
        opening = pdu(1, 3, command(context, field))
        assert sends(modality, [opening, *(pdu(1, 0, piece) for piece in MANY)])
    assert echoes(narrow)


def test_an_endless_command_set_ends_the_association(narrow: DicomServer) -> None:
    with associated(narrow, (CT, EXPLICIT)) as modality:
        assert sends(modality, (pdu(1, 1, piece) for piece in MANY))
    assert echoes(narrow)


def test_an_object_may_be_longer_than_a_message(narrow: DicomServer) -> None:
    with associated(narrow, (CT, EXPLICIT)) as modality:
        assert modality.send_c_store(image(PixelData=bytes(2_000_000))).Status == 0x0000


@pytest.mark.parametrize(
    "opening",
    [
        pdu(77, 3, command(CT, STORE)),  # a context that nobody accepted
        pdu(1, 3, command(CT, 0x7FFF)),  # no such operation
        pdu(1, 3, encoded(Dataset())),  # no command at all
        pdu(1, 3, b"\xff" * 100),
    ],
)
def test_what_is_no_message_ends_the_association(server: DicomServer, opening: bytes) -> None:
    with associated(server, (CT, EXPLICIT)) as modality:
        assert sends(modality, [opening])
    assert echoes(server) and list(server.archive.incoming.iterdir()) == []


def test_requests_that_pile_up_behind_a_slow_one_take_no_more_memory_than_few(tmp_path: Path, transport: str) -> None:
    """pynetdicom's listener reads on, and must end the association; ours leaves them in the network and answers all."""
    services, answered = FakeServices(), threading.Semaphore(0)
    services.acquiring.hold = threading.Event()
    with (
        serving(tmp_path, services) as server,
        associated(server, (CT, EXPLICIT), (VERIFICATION, EXPLICIT)) as modality,
    ):
        modality.bind(evt.EVT_DIMSE_RECV, lambda _: answered.release())
        first = [pdu(1, 3, command(CT, STORE)), pdu(1, 2, encoded(image()))]
        echo = pdu(3, 3, command(VERIFICATION, ECHO, CommandDataSetType=0x0101))
        seconds = 5 if transport == "pynetdicom" else 0.2
        ended = sends(modality, [*first, *[echo] * (guard.WAITING_REQUESTS + 2)], seconds)
        assert ended is (transport == "pynetdicom")
        services.acquiring.hold.set()
        assert echoes(server)
        if not ended:
            assert all(answered.acquire(timeout=10) for _ in range(guard.WAITING_REQUESTS + 3))


def test_long_requests_that_pile_up_behind_a_slow_one_take_no_more_memory_than_one(
    tmp_path: Path, transport: str
) -> None:
    services = FakeServices()
    services.acquiring.hold = threading.Event()
    with (
        serving(tmp_path, services, max_message_bytes=64 * 1024) as server,
        associated(server, (CT, EXPLICIT), (MWL, EXPLICIT)) as modality,
    ):
        first = [pdu(1, 3, command(CT, STORE)), pdu(1, 2, encoded(image()))]
        query = [pdu(3, 3, command(MWL, FIND)), pdu(3, 2, bytes(30_000))]
        ended = sends(modality, [*first, *query * 4], 5 if transport == "pynetdicom" else 0.2)
        assert ended is (transport == "pynetdicom")
        services.acquiring.hold.set()
        assert echoes(server)


def test_requests_in_one_pdu_are_too_many(server: DicomServer, transport: str) -> None:
    if transport == "pynetdicom":
        pytest.skip("takes the first, and loses the others")
    echo = pdu(1, 3, command(VERIFICATION, ECHO, CommandDataSetType=0x0101))[6:]
    with associated(server, (VERIFICATION, EXPLICIT)) as modality:
        many = echo * (conversation.WAITING_REQUESTS + 1)
        assert sends(modality, [struct.pack(">BBL", 4, 0, len(many)) + many])
    assert echoes(server)


def test_requests_one_after_another_are_never_too_many(narrow: DicomServer) -> None:
    identifier = Dataset()
    identifier.PatientName, identifier.PatientComments = "", "x" * 4000
    with associated(narrow, (MWL, EXPLICIT)) as modality:
        for _ in range(guard.WAITING_REQUESTS * 2):
            assert [status.Status for status, _ in modality.send_c_find(identifier, MWL)][-1] == 0x0000


@pytest.mark.parametrize(("title", "called", "reason"), [("NEW", "BRIDGE", 3), ("CT1", "ELSEWHERE", 7)])
def test_a_refusal_tells_its_reason(server: DicomServer, title: str, called: str, reason: int) -> None:
    with associated(server, (MWL, IMPLICIT), title=title, called=called) as association:
        answer = association.acceptor.primitive
        assert association.is_rejected and answer is not None
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, reason)


def test_accepted_sockets_have_no_nagle(server: DicomServer) -> None:
    with associated(server, (VERIFICATION, IMPLICIT)):
        listener: Any = server._listener
        if isinstance(listener, acceptor.Acceptor):
            (plain,) = (one.sock for one in listener._places.all())
        else:
            (plain,) = (one.dul.socket.socket for one in listener._server.active_associations)
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_no_log_line_holds_patient_data(server: DicomServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), associated(server, (CT, EXPLICIT)) as modality:
        modality.send_c_store(image(PatientName="SECRET^NAME", PatientID="../SECRET", StudyInstanceUID="SECRET"))
    lines = [f"{record.getMessage()} {record.__dict__.get('fields')}" for record in caplog.records]
    ours = [line for line, record in zip(lines, caplog.records, strict=True) if record.name.startswith("bridge")]
    assert any("c-store" in line for line in ours) and not any("SECRET" in line for line in ours)


def test_a_stopped_server_leaves_no_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    with serving(tmp_path, FakeServices()) as server, associated(server, (VERIFICATION, IMPLICIT)) as modality:
        modality.send_c_echo()
    for _ in range(60):
        if threading.active_count() <= before:
            return
        time.sleep(0.05)
    pytest.fail("threads are left")
