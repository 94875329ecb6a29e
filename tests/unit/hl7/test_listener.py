"""The listener and the client on loopback (faults F01 to F10, F16, F22)."""

import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.clock import SystemClock
from bridge.errors import RemoteUnavailable, Retry
from bridge.hl7.ack import AckCode, AckError, read_ack, write_ack
from bridge.hl7.client import MllpClient
from bridge.hl7.header import header_of
from bridge.hl7.listener import Handle, ListenerLimits, MllpListener, PeerInfo
from bridge.hl7.mllp import FaultKind, Frame, FrameFault, FrameReader, write_frame

CLOCK = SystemClock()
LIMITS = ListenerLimits(message_seconds=10, idle_seconds=10, end_seconds=0.2, linger_seconds=5)


def order(control: str, pad: int = 0) -> bytes:
    return b"MSH|^~\\&|RIS|HOSP|BR|IB|20260101||ORM^O01|" + control.encode() + b"|P|2.3.1\rNTE|1||" + b"x" * pad + b"\r"


def accept(raw: bytes, peer: PeerInfo) -> list[bytes]:
    return [write_ack(header_of(raw), AckCode.AA, control_id="A1", now=CLOCK.now())]


class Site:
    """A listener, what reached it, and sockets to it."""

    def __init__(
        self,
        handle: Handle,
        limits: ListenerLimits,
        admit: Callable[[str], bool] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.faults: list[FrameFault] = []
        self.listener = MllpListener("127.0.0.1", 0, limits, handle, self._fault, CLOCK, admit=admit, tls=tls)
        self.listener.start()
        self._open: list[socket.socket] = []

    def _fault(self, fault: FrameFault, peer: PeerInfo) -> bytes | None:
        self.faults.append(fault)
        if fault.kind is FaultKind.TOO_LARGE:
            return write_ack(header_of(fault.head), AckCode.AE, [AckError(104)], control_id="A1", now=CLOCK.now())
        return None

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.listener.port), 10)
        sock.settimeout(10)
        self._open.append(sock)
        return sock

    def close(self) -> None:
        for sock in self._open:
            sock.close()
        self.listener.stop()


@contextmanager
def site(
    handle: Handle = accept,
    limits: ListenerLimits = LIMITS,
    admit: Callable[[str], bool] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Site]:
    one = Site(handle, limits, admit, tls)
    try:
        yield one
    finally:
        one.close()


def receive(sock: socket.socket, number: int) -> list[str]:
    """MSA-2 of that many acknowledgements; fewer when the connection ends first."""
    reader, found = FrameReader(1_000_000), []
    while len(found) < number:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        found += [read_ack(one.data).control_id for one in reader.feed(data) if isinstance(one, Frame)]
    return found


def test_ten_messages_in_one_packet_get_ten_acks_in_order() -> None:
    with site() as s:
        sock = s.connect()
        sock.sendall(b"".join(write_frame(order(str(i))) for i in range(10)))
        assert receive(sock, 10) == [str(i) for i in range(10)]


def test_one_byte_per_packet_is_one_message() -> None:
    with site() as s:
        sock = s.connect()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in write_frame(order("slow", 500)):
            sock.sendall(bytes((byte,)))
        assert receive(sock, 1) == ["slow"]
        assert s.listener.counts["messages"] == 1


def test_a_connection_serves_many_messages_and_noise_is_counted() -> None:
    with site() as s:
        sock = s.connect()
        for i in range(20):
            sock.sendall(b"\x00\r\n" + write_frame(order(str(i))))
            assert receive(sock, 1) == [str(i)]
        assert s.listener.counts["noise"] == 60


def test_a_message_over_the_limit_gets_ae_104_with_its_own_control_id_and_little_memory() -> None:
    with site() as s:
        sock = s.connect()
        chunk = b"x" * 1_048_576
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sock.sendall(b"\x0b" + order("big"))
        for _ in range(64):
            sock.sendall(chunk)
        sock.sendall(b"\x1c\r")
        raw = b""
        while data := sock.recv(65536):
            raw += data
        (frame,) = FrameReader(100_000).feed(raw)
        assert (read_ack(frame.data).code, read_ack(frame.data).control_id) == (AckCode.AE, "big")
        assert b"104" in frame.data
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before <= 48 * 1024
        assert [one.kind for one in s.faults] == [FaultKind.TOO_LARGE]


def test_a_slow_sender_is_closed_by_the_total_deadline() -> None:
    with site(limits=replace(LIMITS, message_seconds=0.3)) as s:
        sock = s.connect()
        sock.sendall(b"\x0bMSH|")
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.05):
                try:
                    sock.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert receive(sock, 1) == []
        finally:
            stop.set()
            thread.join()
        assert (s.listener.counts["late"], s.listener.counts["messages"]) == (1, 0)


def test_noise_does_not_keep_an_idle_connection_open() -> None:
    with site(limits=replace(LIMITS, idle_seconds=0.2)) as s:
        sock = s.connect()
        sock.sendall(b"\x00")
        assert receive(sock, 1) == []
        assert s.listener.counts["late"] == 1


@pytest.mark.parametrize("more", [b"", b"\x0b"])
def test_an_end_without_carriage_return_is_closed_without_an_ack(more: bytes) -> None:
    with site() as s:
        sock = s.connect()
        sock.sendall(b"\x0b" + order("1") + b"\x1c" + more)
        assert receive(sock, 1) == []
        assert s.listener.counts["messages"] == 0


def test_a_lenient_feed_takes_an_end_without_carriage_return() -> None:
    with site(limits=replace(LIMITS, lenient=True)) as s:
        sock = s.connect()
        sock.sendall(b"\x0b" + order("1") + b"\x1c")
        assert receive(sock, 1) == ["1"]


def test_a_message_begun_anew_sets_the_first_aside_and_gets_one_ack() -> None:
    with site() as s:
        sock = s.connect()
        sock.sendall(b"\x0b" + order("half") + write_frame(order("whole")))
        assert receive(sock, 1) == ["whole"]
        assert [(one.kind, one.data) for one in s.faults] == [(FaultKind.INTERRUPTED, order("half"))]


def test_an_end_in_mid_message_accepts_nothing() -> None:
    with site() as s:
        sock = s.connect()
        sock.sendall(b"\x0b" + order("half"))
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 1) == []
        assert [one.kind for one in s.faults] == [FaultKind.UNFINISHED]
        assert s.listener.counts["messages"] == 0


def test_a_store_failure_is_silence_and_an_end() -> None:
    with site(handle=lambda raw, peer: None) as s:
        sock = s.connect()
        sock.sendall(write_frame(order("1")))
        assert receive(sock, 1) == []
        assert s.listener.counts["unanswered"] == 1


def test_an_exception_ends_its_connection_and_not_the_listener() -> None:
    def handle(raw: bytes, peer: PeerInfo) -> list[bytes]:
        if b"poison" in raw:
            raise ZeroDivisionError
        return accept(raw, peer)

    with site(handle=handle) as s:
        sock = s.connect()
        sock.sendall(write_frame(order("poison")))
        assert receive(sock, 1) == []
        sock = s.connect()
        sock.sendall(write_frame(order("well")))
        assert receive(sock, 1) == ["well"]


def test_two_answers_and_none() -> None:
    def handle(raw: bytes, peer: PeerInfo) -> list[bytes]:
        return accept(raw, peer) * (0 if b"none" in raw else 2)

    with site(handle=handle) as s:
        sock = s.connect()
        sock.sendall(write_frame(order("none")) + write_frame(order("two")))
        assert receive(sock, 2) == ["two", "two"]


@pytest.mark.parametrize("limits", [replace(LIMITS, connections=2), replace(LIMITS, connections_per_ip=2)])
def test_connections_beyond_the_cap_are_refused_and_the_others_served(limits: ListenerLimits) -> None:
    with site(limits=limits) as s:
        first, second = s.connect(), s.connect()
        for sock in (first, second):
            sock.sendall(write_frame(order("1")))
            assert receive(sock, 1) == ["1"]
        assert receive(s.connect(), 1) == []
        first.sendall(write_frame(order("2")))
        assert receive(first, 1) == ["2"]
        assert s.listener.counts["refused"] == 1


def test_a_place_is_free_again_after_a_connection_ends() -> None:
    with site(limits=replace(LIMITS, connections=1)) as s:
        for i in range(30):
            while True:
                with s.connect() as sock:
                    sock.sendall(write_frame(order(str(i))))
                    if receive(sock, 1) == [str(i)]:
                        break


def test_an_address_that_is_not_admitted_is_closed_unread() -> None:
    with site(admit=lambda host: host != "127.0.0.1") as s:
        assert receive(s.connect(), 1) == []
        assert s.listener.counts["messages"] == 0


def test_drain_answers_the_message_in_hand() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def handle(raw: bytes, peer: PeerInfo) -> list[bytes]:
        begun.set()
        go_on.wait(10)
        return accept(raw, peer)

    with site(handle=handle) as s:
        idle, sock = s.connect(), s.connect()
        sock.sendall(write_frame(order("1")))
        assert begun.wait(10)
        ended: list[bool] = []
        drain = threading.Thread(target=lambda: ended.append(s.listener.drain(10)))
        drain.start()
        assert receive(idle, 1) == []
        go_on.set()
        assert receive(sock, 2) == ["1"]
        drain.join(10)
        assert ended == [True]
        with pytest.raises(OSError):
            s.connect()


def test_drain_gives_up_on_a_message_that_never_ends() -> None:
    with site() as s:
        sock = s.connect()
        sock.sendall(write_frame(order("1")) + b"\x0bMSH|half")
        assert receive(sock, 1) == ["1"]
        assert s.listener.drain(0.2) is False


def test_the_client_gets_its_acks_over_one_connection() -> None:
    with site() as s, MllpClient("127.0.0.1", s.listener.port, 10) as client:
        for i in range(5):
            assert read_ack(client.send(order(str(i)))).control_id == str(i)
        assert s.listener.counts["connections"] == 1


def test_the_client_connects_again_when_the_peer_has_gone() -> None:
    with site(limits=replace(LIMITS, idle_seconds=0.1)) as s, MllpClient("127.0.0.1", s.listener.port, 10) as client:
        client.send(order("1"))
        while s.listener.counts["late"] == 0:
            threading.Event().wait(0.02)
        client.send(order("2"))
        assert s.listener.counts["connections"] == 2


@pytest.mark.parametrize(
    "reply",
    [
        lambda raw, peer: accept(order("other"), peer),
        lambda raw, peer: [b"MSH|^~\\&|\rMSA|ZZ|1"],
        lambda raw, peer: [b"junk"],
        lambda raw, peer: [b""],
        lambda raw, peer: [],
        lambda raw, peer: None,
    ],
)
def test_an_answer_that_is_late_or_odd_or_anothers_is_never_sent(reply: Handle) -> None:
    with site(handle=reply) as s, MllpClient("127.0.0.1", s.listener.port, 0.3) as client:
        with pytest.raises(RemoteUnavailable) as caught:
            client.send(order("1"))
        assert caught.value.retry is Retry.AMBIGUOUS


def test_a_second_answer_is_never_taken_for_the_answer_to_the_next_message() -> None:
    def handle(raw: bytes, peer: PeerInfo) -> list[bytes]:
        return accept(raw, peer) * 2

    with site(handle=handle) as s, MllpClient("127.0.0.1", s.listener.port, 10) as client:
        for i in range(20):
            assert read_ack(client.send(order(str(i)))).control_id == str(i)


def test_a_refused_connection_may_safely_be_tried_again() -> None:
    with site() as s:
        port = s.listener.port
    with MllpClient("127.0.0.1", port, 5) as client, pytest.raises(RemoteUnavailable) as caught:
        client.send(order("1"))
    assert caught.value.retry is Retry.SAFE


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of both ends in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ris.hospital")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(CLOCK.now() - timedelta(days=1))
        .not_valid_after(CLOCK.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def context(purpose: ssl.Purpose, certificate: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cafile=str(certificate))
    made.load_cert_chain(certificate)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def test_with_tls_the_names_of_the_peers_certificate_are_known(certificate: Path) -> None:
    seen: list[PeerInfo] = []

    def handle(raw: bytes, peer: PeerInfo) -> list[bytes]:
        seen.append(peer)
        return accept(raw, peer)

    with (
        site(handle, tls=context(ssl.Purpose.CLIENT_AUTH, certificate)) as s,
        MllpClient("127.0.0.1", s.listener.port, 10, tls=context(ssl.Purpose.SERVER_AUTH, certificate)) as client,
    ):
        for i in range(3):
            assert read_ack(client.send(order(str(i), 100_000))).control_id == str(i)
        assert seen[0].certificate_names == ("ris.hospital", "127.0.0.1")
        assert s.listener.counts["connections"] == 1


def test_a_handshake_that_never_ends_holds_up_nobody_and_is_closed(certificate: Path) -> None:
    limits = replace(LIMITS, handshake_seconds=0.3)
    with site(limits=limits, tls=context(ssl.Purpose.CLIENT_AUTH, certificate)) as s:
        silent = s.connect()
        with MllpClient("127.0.0.1", s.listener.port, 10, tls=context(ssl.Purpose.SERVER_AUTH, certificate)) as client:
            assert read_ack(client.send(order("1"))).control_id == "1"
        assert silent.recv(1) == b""
        # The handshake closes its socket before our own thread may count it.
        assert s.listener.drain(10)
        assert s.listener.counts["broken"] == 1


def test_plain_text_to_a_tls_listener_is_never_read(certificate: Path) -> None:
    with site(tls=context(ssl.Purpose.CLIENT_AUTH, certificate)) as s:
        sock = s.connect()
        sock.sendall(write_frame(order("1")))
        while True:
            try:
                if not sock.recv(1000):
                    break
            except OSError:
                break
        assert s.listener.counts["messages"] == 0
