"""One association on our own acceptor: a thread that reads, does what was asked, answers, and reads again.

What an operation does, it has from pynetdicom's public events, as on the other path (`stock`). Frequent answers are
written here, byte for byte as pynetdicom writes them.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pynetdicom import AE, PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, evt

from bridge import log as logs
from bridge.clock import Clock
from bridge.dicom import messages
from bridge.dicom.files import object_head
from bridge.dicom.insides import Served, any_request, store_request, usual_request
from bridge.dicom.insides import object_head as any_object_head
from bridge.dicom.messages import Assembler, Limits, Message, number, uid, write_answer
from bridge.dicom.operations import Operations, title_of
from bridge.dicom.places import Memory
from bridge.dicom.policy import LIMIT, VERIFICATION, VERSION, WORKLIST, Rejection
from bridge.dicom.reports import QUIET_SECONDS, RESPONSE
from bridge.dicom.status import PENDING, PENDING_WARNING, SUCCESS
from bridge.dicom.upper import (
    HEADER,
    RELEASE_RP,
    Pdu,
    Reason,
    State,
    Upper,
    Violation,
    values,
    write_abort,
    write_reject,
    write_values,
)
from bridge.dicom.wire import Gone, Wire
from bridge.uids import is_uid

LINGER_SECONDS = 2.0
FIRST_BUNDLE = 3
"""Answers that are written at once, before there are more: each write costs as much as finding an entry."""
WAITING_REQUESTS = 16
_WRITER = (str(PYNETDICOM_IMPLEMENTATION_UID), PYNETDICOM_IMPLEMENTATION_VERSION)
_USER, _PROVIDER = 0, 2
log = logging.getLogger("bridge.dicom.ae")


class _Refused(Exception):
    """The association ends here, and was told so."""


class Conversation:
    """`associate` says whether an AE title gets a place; `idle` are the seconds in which a PDU begins, and ends."""

    def __init__(
        self,
        wire: Wire,
        operations: Operations,
        entity: AE,
        peer: tuple[str, int],
        *,
        limits: Limits,
        memory: Memory,
        clock: Clock,
        idle: float,
        associate: Callable[[str], bool],
    ) -> None:
        self._wire = wire
        self._operations = operations
        self._address = peer[0]
        self._memory = memory
        self._clock = clock
        self._idle = idle
        self._associate = associate
        self._upper = Upper(entity.maximum_pdu_size)
        self._served = Served(entity, operations.handlers(encoded=True), wire.send, peer)
        self._served.certificate_names = wire.certificate_names
        self._assembler = Assembler(limits, self._open)
        self._queue: deque[Message] = deque()
        self._contexts: dict[int, Any] = {}
        self._cancelled: set[int] = set()
        self._fault: Exception | None = None
        self._pdu_bytes = 0
        self._small = entity.maximum_pdu_size
        self._late: float | None = None
        self._held = 0
        self.ending = False
        """Set by another thread before it hangs up: the peer is told that we leave."""

    def run(self, until: float) -> None:
        """From the request, whole by `until`, to the end. Raises nothing that a peer could cause."""
        try:
            self._begin(until)
            while (message := self._next()) is not None:
                self._operate(message)
                if not self._served.is_established:
                    self._abort(_USER, Reason.NONE)
                    return
                self._wire.flush()
            self._wire.send(RELEASE_RP)
            self._upper.released()
            self._wire.linger(LINGER_SECONDS)
        except _Refused:
            self._wire.linger(LINGER_SECONDS)
        except Violation as fault:
            self._tell(fault.why)
            if self._upper.state is not State.AWAITING_REQUEST:  # who speaks no DICOM is not spoken to
                self._abort(_PROVIDER, fault.reason)
        except Gone as gone:
            # Past reading, but perhaps not past hearing.
            if self.ending or gone.why == "too slow":
                self._tell("we are stopping" if self.ending else gone.why)
                if self._upper.state is not State.AWAITING_REQUEST:
                    self._abort(_USER, Reason.NONE)
            elif self._upper.state is State.TRANSFER:
                self._tell(gone.why)
        finally:
            self._discard()

    # Association

    def _begin(self, until: float) -> None:
        kind, length = self._upper.header(self._wire.take(HEADER, until))
        head = bytes((kind, 0)) + length.to_bytes(4, "big")
        try:
            request = self._served.take_request(head + bytes(self._wire.take(length, until)))
        except Gone:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever a peer sent
            raise Violation(f"not an association request: {type(fault).__name__}") from None
        if request is None:
            raise self._refuse(VERSION, "")
        calling, called = title_of(request.calling_ae_title), title_of(request.called_ae_title)
        proposed: Any = request.presentation_context_definition_list
        names = self._served.certificate_names
        verdict = self._operations.contexts(calling, called, self._address, proposed, names)
        if isinstance(verdict, Rejection):
            raise self._refuse(verdict, calling)
        if not self._associate(calling):
            raise self._refuse(LIMIT, calling)
        self._contexts = self._served.negotiate(verdict)
        self._pdu_bytes = self._served.peer_pdu_bytes
        self._upper.accept()
        self._wire.flush()

    def _refuse(self, verdict: Rejection, calling: str) -> _Refused:
        self._wire.send(write_reject(*verdict))
        self._upper.close()
        self._operations.refused(calling, self._address, verdict)
        return _Refused()

    def _abort(self, source: int, reason: int) -> None:
        self._discard()
        with contextlib.suppress(Gone):
            self._wire.drop()
            self._wire.send(write_abort(source, reason))
            self._wire.linger(LINGER_SECONDS)
        self._upper.close()

    def _tell(self, why: str) -> None:
        title = title_of(self._served.requestor.ae_title)
        logs.work(log, "association ended", logging.WARNING, aet=title, peer=self._address, reason=why)

    def _discard(self) -> None:
        """Nothing is left of what is not whole, or was not asked for by the end."""
        for file in (self._assembler.file, *(message.file for message in self._queue)):
            if file is not None:
                _remove(file)
        self._queue.clear()
        self._memory.free(self)
        self._operations.reports.gone(self._served)

    # Reading

    def _next(self) -> Message | None:
        """The next request, or None when the peer releases."""
        while not self._queue:
            if self._upper.state is State.RELEASING:
                return None
            self._speak()
            self._read()
        return self._queue.popleft()

    def _speak(self) -> None:
        """What we owe the peer unasked (a report of commitment), while it is silent."""
        reports = self._operations.reports
        while reports.owes(self._served) and not self._wire.readable(QUIET_SECONDS):
            reports.speak(self._served)
            self._wire.flush()

    def _read(self) -> None:
        """One PDU: the messages that it ends are queued."""
        self._wire.wait(self._idle)
        until = self._clock.monotonic() + self._idle
        kind, length = self._upper.header(self._wire.take(HEADER, until))
        body = self._wire.take(length, until)
        if kind is Pdu.ABORT:
            raise Gone("aborted by the peer")
        if kind is not Pdu.P_DATA:
            return
        for context_id, header, fragment in values(body):
            if context_id not in self._contexts:
                raise Violation("a context that was not accepted")
            message = self._assembler.take(context_id, header, fragment)
            if message is not None:
                self._late = None
                self._queue.append(message)
        if len(self._queue) > WAITING_REQUESTS:
            raise Violation("too many requests wait")
        self._hold()

    def _hold(self) -> None:
        """Count what lies in memory, wait while there is too much of it, and let no message be endless in time."""
        unfinished = self._assembler.held
        if unfinished:
            now = self._clock.monotonic()
            self._late = self._late or now + self._idle
            if now > self._late:
                raise Gone("too slow")
        held = unfinished + sum(message.held for message in self._queue)
        if held <= self._small and not self._held:
            return  # no more than the buffer that each association has
        if not self._memory.hold(self, held, self._idle):
            raise Violation("no memory for the message")
        self._held = held

    def _is_cancelled(self, message_id: int) -> bool:
        """Look, without waiting, whether a C-CANCEL has come (PS3.7 9.3.2.3), or the peer has gone."""
        try:
            while not self._queue and self._upper.state is State.TRANSFER and self._wire.readable():
                self._read()
                while self._queue and self._queue[0].field == messages.C_CANCEL_RQ:
                    self._cancelled.add(number(self._queue.popleft().elements, messages.RESPONDED_TO))
        except (Gone, Violation) as fault:  # not the handler's: it would answer it
            self._fault = fault
        return self._fault is not None or message_id in self._cancelled

    def _open(self, message: Message) -> Any:
        """A file for the object of a C-STORE, its head written; None where no objects belong."""
        context = self._contexts[message.context_id]
        if str(context.abstract_syntax) not in self._operations.policy.storage:
            return None
        syntax = context.transfer_syntax[0]
        sop_class, sop_instance = uid(message.elements, messages.CLASS), uid(message.elements, messages.INSTANCE)
        if is_uid(sop_class) and is_uid(sop_instance):
            head = object_head(sop_class, sop_instance, str(syntax), _WRITER)
        else:
            try:
                head = any_object_head(message.command, syntax)
            except Exception as fault:  # noqa: BLE001 - whatever a peer sent
                raise Violation(f"not a message: {type(fault).__name__}") from None
        file = self._operations.receiver.receive()
        file.write(head)
        return file

    # Operations

    def _operate(self, message: Message) -> None:
        try:
            self._dispatch(message)
        finally:
            if message.file is not None:
                _remove(message.file)
            if self._held:
                self._memory.free(self)
                self._held = 0
                self._hold()

    def _dispatch(self, message: Message) -> None:
        if message.field == RESPONSE:
            answered = number(message.elements, messages.RESPONDED_TO), number(message.elements, messages.STATUS)
            self._operations.reports.heard(self._served, *answered)
            return
        context = self._contexts[message.context_id]
        usual = uid(message.elements, messages.CLASS) == str(context.abstract_syntax)
        request = self._request(message)
        if message.field == messages.C_CANCEL_RQ:
            return
        if message.field == messages.C_FIND_RQ and usual and str(context.abstract_syntax) == WORKLIST:
            self._find(message, request, context)
        elif message.field == messages.C_STORE_RQ and usual and message.file is not None:
            self._once(evt.EVT_C_STORE, message, request, context)
        elif message.field == messages.C_ECHO_RQ and usual and str(context.abstract_syntax) == VERIFICATION:
            self._once(evt.EVT_C_ECHO, message, request, context)
        else:
            self._served.serve(request, message.context_id)

    def _request(self, message: Message) -> Any:
        if message.file is not None:
            message.file.flush()
        try:
            usual = usual_request(message)
            if usual is not None:
                return usual
            if message.file is None:
                return any_request(message.command, message.data, message.context_id)
            return store_request(message.command, message.context_id, message.file)
        except Exception as fault:  # noqa: BLE001 - whatever a peer sent
            raise Violation(f"not a message: {type(fault).__name__}") from None

    def _once(self, event: Any, message: Message, request: Any, context: Any) -> None:
        status = self._served.operate(event, request, context.as_tuple)
        if not self._served.is_established:
            return
        if status == SUCCESS:
            self._command(message, write_answer(message, SUCCESS))
        else:
            self._served.tell(request, message.context_id, status)

    def _find(self, message: Message, request: Any, context: Any) -> None:
        """Answers in bundles that grow: the first few at once, so that a peer that has enough may cancel."""
        self._cancelled.clear()
        count, bundle = 0, FIRST_BUNDLE
        found = self._served.operate(evt.EVT_C_FIND, request, context.as_tuple, _is_cancelled=self._is_cancelled)
        with contextlib.closing(found):
            for status, identifier in found:
                if self._fault is not None:
                    raise self._fault
                if not self._served.is_established:
                    return
                if status not in (PENDING, PENDING_WARNING):
                    self._served.tell(request, message.context_id, status)
                    return
                if not identifier:  # it could not be encoded
                    self._served.tell(request, message.context_id, 0xC312)
                    return
                self._command(message, write_answer(message, status, data_set=True))
                self._wire.send(write_values(message.context_id, 0, identifier, self._pdu_bytes))
                count += 1
                if count == bundle:
                    self._wire.flush()
                    count, bundle = 0, bundle * 4
        if self._served.is_established:
            self._command(message, write_answer(message, SUCCESS))

    def _command(self, message: Message, command: bytes) -> None:
        self._wire.send(write_values(message.context_id, 1, command, self._pdu_bytes))


def _remove(file: Any) -> None:
    file.close()
    with contextlib.suppress(OSError):
        Path(file.name).unlink(missing_ok=True)
