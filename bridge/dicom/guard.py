"""Before and below the association: limits that pynetdicom does not have.

Silent, dripping and lying connections end here: at most so many a peer and in all, a whole A-ASSOCIATE-RQ of sane
length within a deadline, no PDU over the negotiated size, no message over the limit of its kind.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from bridge.clock import Clock
from bridge.dicom.insides import queued, receiving
from bridge.dicom.messages import COMMAND_BYTES
from bridge.dicom.upper import REQUEST_BYTES

REQUEST_SECONDS = 30.0
WAITING = 64
WAITING_PER_ADDRESS = 16
WAITING_REQUESTS = 16
_ASSOCIATE_RQ = 1
_COMMAND, _LAST = 1, 2  # of a PDV's message control header (PS3.8 E.2)


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


@dataclass(slots=True)
class _Count:
    """Bytes received over one association."""

    command: int = 0
    data: int = 0
    waiting: int = 0  # of whole messages that lie in memory until their turn comes
    ended: bool = False

    def end(self, why: str) -> str:
        """`why`, the first time: what lay in the peer's buffers still comes in after the A-ABORT."""
        if self.ended or not why:
            return ""
        self.ended = True
        return why


class Meter:
    """What an association sends, counted, so that no message is endless and no queue either.

    An object goes to disk as it comes and may be large. All else lies in memory (command sets, identifiers, attribute
    lists, and whole messages that wait while an operation runs) and may not. Which of the two a message is, its command
    says and not its context: so what counts is whether pynetdicom has opened a file for it.
    """

    def __init__(self, objects: int, messages: int) -> None:
        self.objects = objects
        self.messages = messages
        self._counts: WeakKeyDictionary[Any, _Count] = WeakKeyDictionary()

    def received(self, association: Any, pdu: Any) -> str:
        """Count a P-DATA-TF before it is taken apart; why the association must end, once, or ''."""
        count = self._counts.setdefault(association, _Count())
        to_disk = receiving(association) is not None
        for item in pdu.presentation_data_value_items:
            header, size = item.data[0] if item.data else 0, len(item.data)
            if header & _COMMAND:
                count.command += size
                # Its data may follow in this very PDU, which is bounded itself: the next one tells which kind it is.
                to_disk = to_disk or bool(header & _LAST)
            else:
                count.data += size
        return count.end(self._over(count, to_disk))

    def _over(self, count: _Count, to_disk: bool) -> str:
        if count.command > COMMAND_BYTES:
            return "command set too long"
        if to_disk:
            return "object too long" if count.data > self.objects else ""
        return "message too long" if count.waiting + count.data > self.messages else ""

    def whole(self, association: Any, on_disk: bool) -> str:
        """A message is complete and about to wait for its turn; why the association must end, or ''.

        Nobody negotiates asynchronous operations with us (PS3.7 D.3.3.3), so an honest peer waits for our answers.
        """
        count = self._counts.setdefault(association, _Count())
        before = queued(association)
        count.waiting = (count.waiting if before else 0) + (0 if on_disk else count.data)
        count.command = count.data = 0
        return count.end("too many requests wait" if before >= WAITING_REQUESTS else "")
