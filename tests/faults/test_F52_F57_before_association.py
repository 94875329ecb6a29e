"""F52-F57, who knocks: lies, floods, drips and strangers cost little; an honest device is served within a second."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.config import DicomPeer
from bridge.dicom.places import WAITING
from tests.fakes.raw_peer import RawPeer, association_request, message
from tests.faults.dicom_apart import MIB, Apart
from tests.peers.available import need
from tests.unit.dicom.support import CT, SC, FakeServices, command, encoded, image, part10, serving

VERIFICATION, IMPLICIT, EXPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ECHO = association_request([(VERIFICATION, [IMPLICIT])], calling="HONEST")
pytestmark = pytest.mark.usefixtures("transport")


@pytest.fixture
def apart(tmp_path: Path, transport: str) -> Iterator[Apart]:
    started = Apart(tmp_path / "apart")
    yield started
    started.close()


def served_within_a_second(port: int) -> bool:
    begin = time.monotonic()
    with RawPeer(port) as honest:
        answer = honest.associate(ECHO)
        return answer[:1] == b"\x02" and time.monotonic() - begin < 1


def closed_within(one: socket.socket, seconds: float) -> bool:
    """Whether it is closed in time, with an A-ABORT before or without."""
    one.settimeout(seconds)
    try:
        while one.recv(100):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_F52_a_giant_pdu_is_closed_at_its_header(apart: Apart) -> None:
    with apart.within(8):
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", apart.port)) as liar:
                liar.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF))
                assert closed_within(liar, 1)
                with contextlib.suppress(OSError):
                    liar.sendall(bytes(MIB))
    assert served_within_a_second(apart.port)


def test_F53_500_silent_connections_are_bounded_and_an_honest_device_is_served(apart: Apart, transport: str) -> None:
    assert served_within_a_second(apart.port)
    before = apart.threads
    with contextlib.ExitStack() as flood:
        for number in range(500):
            address = f"127.0.{1 + number % 8}.1"
            one = flood.enter_context(socket.socket())
            one.bind((address, 0))
            one.connect(("127.0.0.1", apart.port))
        assert apart.threads - before <= 64
        if transport == "own":  # pynetdicom's turns the honest away while all places wait
            assert served_within_a_second(apart.port)
            assert apart.threads - before <= WAITING + 4
    assert apart.alive


@pytest.mark.full
def test_F54_dripping_peers_are_closed_in_35_seconds(apart: Apart) -> None:
    begin, request = time.monotonic(), ECHO
    with contextlib.ExitStack() as stack:
        dripping = [stack.enter_context(socket.create_connection(("127.0.0.1", apart.port))) for _ in range(10)]
        for step in range(9):  # a byte each 4 s
            for one in dripping:
                with contextlib.suppress(OSError):
                    one.send(request[step : step + 1])
            time.sleep(max(0.0, begin + 4 * (step + 1) - time.monotonic()))
            if time.monotonic() - begin > 31:
                break
        assert all(closed_within(one, max(0.1, begin + 35 - time.monotonic())) for one in dripping)


def storescu(port: int, path: Path, *titles: str) -> str:
    command = [need("storescu"), "-v", *titles, "127.0.0.1", str(port), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def test_F56_strangers_and_what_a_device_may_not_do_are_refused_in_the_right_words(tmp_path: Path) -> None:
    """Called title, calling title, address, operation: refused, told, and noted for the audit."""
    services = FakeServices()
    peers = (
        DicomPeer(ae_title="CT1"),
        DicomPeer(ae_title="AWAY", addresses=("10.9.9.9",)),
        DicomPeer(ae_title="LIST", may=frozenset({"echo", "worklist"})),
    )
    path = part10(tmp_path / "image.dcm", image())
    with serving(tmp_path / "data", services, peer=peers, unknown_peers=frozenset()) as server:
        assert "Called AE Title Not Recognized" in storescu(server.port, path, "-aet", "CT1", "-aec", "OTHER")
        for title in ("STRANGER", "AWAY", "LIST"):
            told = storescu(server.port, path, "-aet", title, "-aec", "BRIDGE")
            assert "Calling AE Title Not Recognized" in told
        assert "Store Response (Success)" in storescu(server.port, path, "-aet", "CT1", "-aec", "BRIDGE")
        with RawPeer(server.port) as device:  # an object of a class that was not agreed on
            device.associate(association_request([(CT, [EXPLICIT])]))
            assert device.ask(message(1, command(SC, 0x0001), encoded(image())))[1] == [0x0124]
    assert {code for _, _, code in services.acquiring.refused} == {"1/1/7", "1/1/3", "0124 c-store"}
    assert {title for _, title, _ in services.acquiring.refused} <= {"CT1", "STRANGER", "AWAY", "LIST"}


@pytest.mark.parametrize(("title", "most"), [("A", 5), ("", 3)])
def test_F57_associations_are_limited_in_all_and_of_a_title(
    tmp_path: Path, transport: str, title: str, most: int
) -> None:
    """`title`: all from others, so that the limit of all counts; else all of one."""
    if not title and transport == "pynetdicom":
        pytest.skip("pynetdicom's listener knows no limit of an AE title")
    given = {"max_associations": 5, "max_associations_per_ae": 3, "unknown_peers": frozenset({"echo"})}
    with serving(tmp_path, FakeServices(), **given) as server, contextlib.ExitStack() as stack:
        answers = []
        for number in range(8):
            peer = stack.enter_context(RawPeer(server.port))
            calling = f"{title}{number}" if title else "SAME"
            answers.append(peer.associate(association_request([(VERIFICATION, [IMPLICIT])], calling=calling)))
        assert [answer[0] for answer in answers] == [2] * most + [3] * (8 - most)
        assert all(tuple(answer[7:10]) == (2, 3, 2) for answer in answers[most:])
