"""The MLLP listener: a thread a connection, messages answered in their order.

A connection may be kept for days. What it may not do: hold a message open past a total deadline that no byte resets,
send nothing for ever, hold more memory than one message, or take the places of others.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import logging
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bridge.clock import Clock
from bridge.hl7.mllp import FaultKind, Frame, FrameFault, FrameReader, State, write_frame
from bridge.hl7.pace import Pace
from bridge.log import work

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Bytes, seconds and numbers of connections.

    `message_seconds` runs from a message's first byte to its last, `ack_seconds` from there to its answer: a later one
    is not sent, for the peer would take it for the answer to its next message. `messages_per_second` is an address's.
    """

    message_bytes: int = 16 * 1024 * 1024
    message_seconds: float = 25.0
    idle_seconds: float = 3600.0
    end_seconds: float = 2.0
    send_seconds: float = 15.0
    handshake_seconds: float = 5.0
    linger_seconds: float = 5.0
    ack_seconds: float = 60.0
    messages_per_second: float = 0.0
    connections: int = 256
    connections_per_ip: int = 32
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Who sends: address, our number for the connection, and the names in its TLS certificate."""

    host: str
    port: int
    connection: int
    certificate_names: tuple[str, ...] = ()


Handle = Callable[[bytes, PeerInfo], Sequence[bytes] | None]
HandleFault = Callable[[FrameFault, PeerInfo], bytes | None]


@dataclass(eq=False, slots=True)
class _Connection:
    sock: socket.socket
    host: str
    port: int
    number: int
    reader: FrameReader
    quiet_since: float
    busy: bool = False
    names: tuple[str, ...] = ()
    thread: threading.Thread | None = field(default=None)

    @property
    def peer(self) -> PeerInfo:
        return PeerInfo(self.host, self.port, self.number, self.names)


class MllpListener:
    """Listens from `start` to `drain` or `stop`.

    `handle` gives the acknowledgements of a message, unframed, in order (none, one, or two in enhanced mode); None
    means no answer and an end of the connection, so that the sender tries again. An exception does the same.
    `handle_fault` may answer a fault that closes (too large); what it answers to an interrupted frame is not sent,
    for the peer would take it for the answer to its next message.
    `admit` is asked for each address before anything is read. `counts` are numbers since the start.
    """

    def __init__(
        self,
        host: str,
        port: int,
        limits: ListenerLimits,
        handle: Handle,
        handle_fault: HandleFault,
        clock: Clock,
        log_name: str = "bridge.hl7.listener",
        *,
        tls: ssl.SSLContext | None = None,
        admit: Callable[[str], bool] | None = None,
    ) -> None:
        self.port = port
        self.counts: Counter[str] = Counter()
        self._host = host
        self._limits = limits
        self._handle = handle
        self._handle_fault = handle_fault
        self._clock = clock
        self._logger = logging.getLogger(log_name)
        self._tls = tls
        self._admit = admit
        self._pace = Pace(limits.messages_per_second)
        self._socket: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: set[_Connection] = set()
        self._per_ip: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Bind and listen; with port 0 the chosen one is in `port` afterwards. Raises OSError when it is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._socket = socket.create_server((self._host, self.port), family=family, backlog=128)
        self.port = self._socket.getsockname()[1]
        # Closing a listening socket does not wake its accept everywhere; a look twice a second does.
        self._socket.settimeout(0.5)
        self._acceptor = threading.Thread(target=self._accept, name=f"mllp-{self.port}", daemon=True)
        self._acceptor.start()

    def drain(self, timeout: float) -> bool:
        """Accept no more, let messages in hand be answered, close. True when all ended within `timeout` seconds."""
        self._end_accepting()
        deadline = self._clock.monotonic() + timeout
        with self._lock:
            open_now = list(self._connections)
        for one in open_now:
            if not one.busy and not one.reader.in_frame:
                _shut(one.sock, socket.SHUT_RD)
        for one in open_now:
            if one.thread is not None:
                one.thread.join(max(0.0, deadline - self._clock.monotonic()))
        ended = not any(one.thread is not None and one.thread.is_alive() for one in open_now)
        self.stop()
        return ended

    def stop(self) -> None:
        """End now: what is unfinished stays without an answer, and its sender tries again."""
        self._end_accepting()
        with self._lock:
            open_now = list(self._connections)
        for one in open_now:
            _shut(one.sock, socket.SHUT_RDWR)
        for one in open_now:
            if one.thread is not None:
                one.thread.join(1.0)

    def _end_accepting(self) -> None:
        self._ending.set()
        if self._socket is not None:
            _shut(self._socket, socket.SHUT_RDWR)
            self._socket.close()
        if self._acceptor is not None:
            self._acceptor.join(2.0)

    def _accept(self) -> None:
        assert self._socket is not None
        while not self._ending.is_set():
            try:
                sock, address = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as fault:
                if not self._ending.is_set():
                    # Out of descriptors, or the peer has gone already: neither may end the listener or spin.
                    work(self._logger, "accept failed", logging.WARNING, error=type(fault).__name__, port=self.port)
                    self._ending.wait(0.1)
                continue
            self._take(sock, _plain_address(address[0]), address[1])

    def _take(self, sock: socket.socket, host: str, port: int) -> None:
        reader = FrameReader(self._limits.message_bytes, self._limits.lenient)
        one = _Connection(sock, host, port, next(self._numbers), reader, self._clock.monotonic())
        with self._lock:
            reason = self._no_place(host)
            if reason:
                self.counts["refused"] += 1
                work(self._logger, "connection refused", logging.WARNING, peer=host, port=self.port, reason=reason)
                sock.close()
                return
            self._connections.add(one)
            self._per_ip[host] += 1
            self.counts["connections"] += 1
        one.thread = threading.Thread(
            target=self._serve, args=(one,), name=f"mllp-{self.port}-{one.number}", daemon=True
        )
        try:
            one.thread.start()
        except RuntimeError:
            one.thread = None
            self._forget(one)

    def _no_place(self, host: str) -> str:
        """Why an address gets no connection now; '' when it gets one."""
        if self._admit is not None and not self._admit(host):
            return "not admitted"
        if self._per_ip.get(host, 0) >= self._limits.connections_per_ip:
            return "crowded"
        if len(self._connections) >= self._limits.connections and not self._make_room(host):
            return "full"
        return ""

    def _make_room(self, host: str) -> bool:
        """The address with the most connections gives its quietest to one that has fewer: each peer keeps its share."""
        crowd, most = self._per_ip.most_common(1)[0]
        waiting = [one for one in self._connections if one.host == crowd and not one.busy]
        if most <= self._per_ip.get(host, 0) + 1 or not waiting:
            return False
        quietest = min(waiting, key=lambda one: one.quiet_since)
        self._give_up_place(quietest)
        self.counts["displaced"] += 1
        _shut(quietest.sock, socket.SHUT_RDWR)
        return True

    def _serve(self, one: _Connection) -> None:
        try:
            self._secure(one)
            one.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._converse(one)
        except OSError as fault:
            self._count("broken")
            work(self._logger, "connection broken", peer=one.host, connection=one.number, error=type(fault).__name__)
        except Exception:
            self._count("errors")
            self._logger.exception("connection failed", extra={"fields": {"peer": one.host, "connection": one.number}})
        finally:
            self._forget(one)

    def _secure(self, one: _Connection) -> None:
        if self._tls is not None:
            # In this connection's own thread: a peer that never finishes its handshake holds up nobody.
            one.sock.settimeout(self._limits.handshake_seconds)
            secured = self._tls.wrap_socket(one.sock, server_side=True)
            one.sock = secured
            one.names = _certificate_names(secured)

    def _converse(self, one: _Connection) -> None:
        """Read, handle, answer until either side ends. Deadlines run from the last answer or a message's start."""
        reader, noise = one.reader, 0
        one.quiet_since = self._clock.monotonic()
        while not (self._ending.is_set() and not reader.in_frame):
            within = reader.in_frame
            data = self._receive(one)
            if data is None:
                self._count("late")
                work(
                    self._logger,
                    "too slow",
                    logging.WARNING,
                    peer=one.host,
                    connection=one.number,
                    state=reader.state.name,
                )
                return
            if not data:
                unfinished = reader.close()
                if unfinished is not None:
                    self._fault(unfinished, one)
                return
            events = reader.feed(data)
            if reader.noise > noise:
                self._count("noise", reader.noise - noise)
                noise = reader.noise
            for event in events:
                one.busy = True
                going_on = self._message(event, one) if isinstance(event, Frame) else self._fault(event, one)
                one.busy = False
                if not going_on:
                    return
            if events or (reader.in_frame and not within):
                one.quiet_since = self._clock.monotonic()

    def _receive(self, one: _Connection) -> bytes | None:
        """Bytes, b'' at the end, None at a deadline."""
        limits, reader = self._limits, one.reader
        allowed = limits.message_seconds if reader.in_frame else limits.idle_seconds
        left = one.quiet_since + allowed - self._clock.monotonic()
        if reader.state is State.SAW_END:
            left = min(left, limits.end_seconds)
        if left <= 0:
            return None
        one.sock.settimeout(left)
        try:
            return one.sock.recv(_CHUNK)
        except TimeoutError:
            return None

    def _message(self, frame: Frame, one: _Connection) -> bool:
        self._count("messages")
        delay = self._pace.delay(one.host, self._clock.monotonic())
        if delay:
            self._count("paced")
            self._ending.wait(delay)
        begun = self._clock.monotonic()
        try:
            replies = self._handle(frame.data, one.peer)
        except Exception:
            self._count("errors")
            self._logger.exception("no answer", extra={"fields": {"peer": one.host, "connection": one.number}})
            return False
        if replies is None:
            self._count("unanswered")
            return False
        if self._clock.monotonic() - begun > self._limits.ack_seconds:
            self._count("answered too late")
            return False
        self._send(one, b"".join(map(write_frame, replies)))
        return True

    def _fault(self, fault: FrameFault, one: _Connection) -> bool:
        self._count(fault.kind.value)
        work(self._logger, "bad frame", logging.WARNING, peer=one.host, connection=one.number, reason=fault.kind.value)
        reply = self._handle_fault(fault, one.peer)
        if fault.closes and fault.kind is not FaultKind.UNFINISHED:
            if reply is not None:
                self._send(one, write_frame(reply))
            self._linger(one)
        return not fault.closes

    def _send(self, one: _Connection, data: bytes) -> None:
        if data:
            one.sock.settimeout(self._limits.send_seconds)
            one.sock.sendall(data)

    def _linger(self, one: _Connection) -> None:
        """Swallow what is still coming: closing over unread bytes resets the connection and may destroy our answer."""
        _shut(one.sock, socket.SHUT_WR)
        until = self._clock.monotonic() + self._limits.linger_seconds
        with contextlib.suppress(OSError):
            while (left := until - self._clock.monotonic()) > 0 and not self._ending.is_set():
                one.sock.settimeout(left)
                if not one.sock.recv(_CHUNK):
                    return

    def _forget(self, one: _Connection) -> None:
        with contextlib.suppress(OSError):
            one.sock.close()
        with self._lock:
            self._give_up_place(one)

    def _give_up_place(self, one: _Connection) -> None:
        if one in self._connections:
            self._connections.discard(one)
            self._per_ip[one.host] -= 1
            if self._per_ip[one.host] <= 0:
                del self._per_ip[one.host]

    def _count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self.counts[name] += number


def _shut(sock: socket.socket, how: int) -> None:
    """Past SSLSocket.shutdown, which would turn the other thread's next answer into plain text."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, how)


def _plain_address(host: str) -> str:
    """One spelling an address, so that `::ffff:10.0.0.1` is counted with `10.0.0.1`."""
    address = ipaddress.ip_address(host.split("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def _certificate_names(sock: ssl.SSLSocket) -> tuple[str, ...]:
    certificate = sock.getpeercert() or {}
    subject = certificate.get("subject", ())
    common = [pair[1] for part in subject for pair in part if pair[0] == "commonName"]
    other = [name[1] for name in certificate.get("subjectAltName", ())]
    return tuple(str(name) for name in (*common, *other))
