"""Before and below the association: limits that pynetdicom does not have.

Silent, dripping and lying connections end here: at most so many a peer and in all, a whole A-ASSOCIATE-RQ of sane
length within a deadline, no PDU over the negotiated size, no message over the site's limit. This is the one module
that touches names which pynetdicom does not document (3.0.4); `tests/unit/dicom/test_dicom_guard.py` holds them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from bridge.clock import Clock

REQUEST_BYTES = 60_000
REQUEST_SECONDS = 30.0
WAITING = 64
WAITING_PER_ADDRESS = 16
_ASSOCIATE_RQ = 1


class Server(ThreadedAssociationServer):
    """Takes a connection only while few are waiting to associate; `clock` is set by whoever makes it."""

    clock: Clock
    daemon_threads = True
    request_queue_size = 64

    def server_activate(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        # Room for a whole A-ASSOCIATE-RQ to lie in the kernel while we only look at it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212_992)  # type: ignore[union-attr]
        super().server_activate()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        address = client_address[0]
        with self._lock:
            if self._waiting.total() >= WAITING or self._waiting[address] >= WAITING_PER_ADDRESS:
                return False
            self._waiting[address] += 1
        return True

    def associated(self, address: str) -> None:
        """The connection waits no longer: it associates, or it is gone."""
        with self._lock:
            self._waiting[address] -= 1
            if self._waiting[address] <= 0:
                del self._waiting[address]


class Guarded(RequestHandler):
    """Starts the association once its whole request has arrived, else closes the connection."""

    server: Server

    def handle(self) -> None:
        try:
            whole = _whole_request(self.request, self.server.clock)
        finally:
            self.server.associated(self.client_address[0])
        if whole:
            super().handle()
        else:
            self.server.shutdown_request(self.request)


def _whole_request(connection: Any, clock: Clock) -> bool:
    """Look, without taking, until a whole A-ASSOCIATE-RQ is there; one deadline that no byte puts off."""
    until = clock.monotonic() + REQUEST_SECONDS
    wanted = 6
    pause = threading.Event()
    connection.settimeout(REQUEST_SECONDS)
    with contextlib.suppress(OSError):
        while clock.monotonic() < until:
            seen = connection.recv(wanted, socket.MSG_PEEK)
            if not seen or seen[0] != _ASSOCIATE_RQ:
                return False
            if len(seen) >= 6:
                wanted = 6 + int.from_bytes(seen[2:6], "big")
                if wanted > REQUEST_BYTES:
                    return False
            if len(seen) >= wanted:
                return True
            pause.wait(0.02)
    return False


def tune(association: Any, max_pdu_bytes: int) -> None:
    """No Nagle on our answers, no delayed acknowledgement of the peer's halves, and no PDU over the limit.

    Senders write a PDU's header alone and the rest after our ACK: without QUICKACK each costs 40 ms.
    """
    wrapped = association.dul.socket
    plain: socket.socket = wrapped.socket
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limit = max(max_pdu_bytes + 6, REQUEST_BYTES)

    def receive(count: int) -> bytearray:
        if count > limit:
            raise OSError("a PDU is longer than negotiated")
        return _read(plain, count)

    wrapped.recv = receive


def _read(plain: socket.socket, count: int) -> bytearray:
    """As `AssociationSocket.recv`: all of it, or less when the peer is gone."""
    whole = bytearray(count)
    view = memoryview(whole)
    got = 0
    quick = getattr(socket, "TCP_QUICKACK", None)
    while got < count:
        read = plain.recv_into(view[got:])
        if not read:
            break
        got += read
        if quick is not None:
            plain.setsockopt(socket.IPPROTO_TCP, quick, 1)
    view.release()
    del whole[got:]
    return whole


class Meter:
    """Bytes of the message that an association is receiving, so that an endless one ends."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sizes: dict[int, int] = {}

    def received(self, association: Any, size: int) -> bool:
        """Count; False when the message is over the limit."""
        total = self._sizes.get(id(association), 0) + size
        self._sizes[id(association)] = total
        return total <= self.limit

    def whole(self, association: Any) -> None:
        self._sizes.pop(id(association), None)


def discard(association: Any) -> None:
    """Remove the file of an object whose sender is gone in the middle of it.

    It is not closed: the thread that receives may still be writing what lay in its buffer.
    """
    path = getattr(getattr(association.dimse, "message", None), "_data_set_path", None)
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
