"""Before and below the association: limits that pynetdicom does not have.

Silent, dripping and lying connections end here: at most so many a peer and in all, a whole A-ASSOCIATE-RQ of sane
length within a deadline, no PDU over the negotiated size, no message over the limit of its kind. This is the one module
that touches names which pynetdicom does not document (3.0.4); `tests/unit/dicom/test_dicom_guard.py` holds them.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from weakref import WeakKeyDictionary

from pynetdicom import dimse_messages
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from bridge.clock import Clock
from bridge.dicom.files import Incoming
from bridge.errors import BridgeError

REQUEST_BYTES = 60_000
REQUEST_SECONDS = 30.0
WAITING = 64
WAITING_PER_ADDRESS = 16
WAITING_REQUESTS = 16
COMMAND_BYTES = 64 * 1024
_ASSOCIATE_RQ = 1
_INVALID_PDU = "Evt19"
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


_receiving = threading.local()


def _object_file(*arguments: Any, **options: Any) -> Any:
    """What pynetdicom opens for an object: in a thread that `contain` has prepared our file, else its own."""
    opener = getattr(_receiving, "opener", None)
    return NamedTemporaryFile(*arguments, **options) if opener is None else opener()


dimse_messages.NamedTemporaryFile = _object_file  # type: ignore[attr-defined]


def contain(association: Any, opener: Callable[[], Incoming], tell: Callable[[str], None]) -> None:
    """Objects come into files of `opener`, and what is no message ends the association, not the thread that receives.

    pynetdicom leaves a command set without its elements and an object under a context that was never accepted to
    whoever runs the thread: nobody. The peer would wait for ever, and so would its socket.
    """
    take = association.dimse.receive_primitive

    def contained(primitive: Any) -> None:
        _receiving.opener = opener
        try:
            take(primitive)
        except Exception as fault:  # noqa: BLE001 - whatever a peer sent
            tell(type(fault).__name__)
            association.dul.event_queue.put(_INVALID_PDU)

    association.dimse.receive_primitive = contained


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
        queued = association.dimse.msg_queue.qsize()
        count.waiting = (count.waiting if queued else 0) + (0 if on_disk else count.data)
        count.command = count.data = 0
        return count.end("too many requests wait" if queued >= WAITING_REQUESTS else "")


def context_of(association: Any, context_id: int | None) -> str:
    """The abstract syntax of a presentation context; '' for one that was not accepted."""
    found = (c.abstract_syntax for c in association.accepted_contexts if c.context_id == context_id)
    return str(next(found, ""))


def receiving(association: Any) -> Any | None:
    """The open file of the object that the association is receiving."""
    return getattr(association.dimse.message, "_data_set_file", None)


def refusal(request: Any) -> BridgeError | None:
    """Why the object of a C-STORE request could not be written down."""
    return getattr(request._dataset_file, "fault", None)


def discard(association: Any) -> None:
    """Remove the files of a sender that is gone: of the object in the middle of which it went, and of those that wait.

    They are not closed: the thread that receives may still be writing what lay in its buffer.
    """
    unserved = [getattr(association.dimse.message, "_data_set_file", None)]
    with contextlib.suppress(queue.Empty):
        while True:
            _, request = association.dimse.msg_queue.get_nowait()
            unserved.append(getattr(request, "_dataset_file", None))
    for file in unserved:
        if file is not None:
            with contextlib.suppress(OSError):
                Path(file.name).unlink(missing_ok=True)
