"""What the bridge uses of pynetdicom's insides: names of 3.0.4 that it does not document, all of them in this file.

For its own listener (`stock`): limits below the association, and files of ours for objects. For ours (`acceptor`): its
association without its threads, so that negotiation, services and messages are one and the same on both paths.
`tests/unit/dicom/test_dicom_insides.py` holds the names.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filewriter import write_file_meta_info
from pynetdicom import AE, dimse_messages, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_STORE
from pynetdicom.dsutils import create_file_meta, decode, encode
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import uid_to_service_class
from pynetdicom.transport import AddressInformation

from bridge.dicom import messages
from bridge.dicom.files import Incoming
from bridge.dicom.upper import REQUEST_BYTES
from bridge.errors import BridgeError
from bridge.uids import is_uid

_INVALID_PDU = "Evt19"


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


def context_of(association: Any, context_id: int | None) -> str:
    """The abstract syntax of a presentation context; '' for one that was not accepted."""
    found = (c.abstract_syntax for c in association.accepted_contexts if c.context_id == context_id)
    return str(next(found, ""))


def queued(association: Any) -> int:
    """Whole messages of the association that wait for their turn."""
    return int(association.dimse.msg_queue.qsize())


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


class _Delivery:
    """Stands in for pynetdicom's DUL provider and its thread: what is to be sent is encoded and written."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def send_pdu(self, primitive: Any) -> None:
        pdu: Any
        if isinstance(primitive, P_DATA):
            pdu = P_DATA_TF(primitive)
        elif isinstance(primitive, A_ASSOCIATE):
            pdu = A_ASSOCIATE_AC(primitive)
        else:
            raise NotImplementedError(type(primitive).__name__)
        self._write(pdu.encode())

    def is_alive(self) -> bool:
        return False


class Served(Association):
    """pynetdicom's association as acceptor, without its threads: negotiation, services, and the messages they send.

    `write` takes encoded PDUs. Whoever has the socket reads, calls, and looks at `is_established`: `abort` only says
    that the association is to end.
    """

    def __init__(
        self, entity: AE, handlers: Iterable[tuple[Any, Any]], write: Callable[[bytes], None], peer: tuple[str, int]
    ) -> None:
        super().__init__(entity, "acceptor")
        self.dul = _Delivery(write)  # type: ignore[assignment]
        self.certificate_names: tuple[str, ...] = ()
        self.acceptor.maximum_length = entity.maximum_pdu_size
        self.acceptor.ae_title = entity.ae_title
        self.acceptor.implementation_class_uid = entity.implementation_class_uid
        self.acceptor.implementation_version_name = entity.implementation_version_name
        self.requestor.address_info = AddressInformation.from_addr_port(*peer)
        for event, handler in handlers:
            self.bind(event, handler)

    def _abort_blocking(self, block: bool = True) -> None:
        self.is_aborted, self.is_established = True, False

    def _abort_nonblocking(self, block: bool = False) -> None:
        self._abort_blocking(block)

    def take_request(self, data: bytes) -> A_ASSOCIATE | None:
        """Take an A-ASSOCIATE-RQ; None for another version of the protocol. Raises whatever, for what is none."""
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(data)
        primitive = pdu.to_primitive()
        if pdu.protocol_version != 0x0001:
            return None
        self.requestor.primitive = primitive
        self.requestor.ae_title = primitive.calling_ae_title
        evt.trigger(self, evt.EVT_REQUESTED, {})
        return primitive

    def negotiate(self, supported: Sequence[PresentationContext]) -> dict[int, PresentationContext]:
        """Answer with A-ASSOCIATE-AC; the accepted contexts by their ids."""
        self.acceptor.supported_contexts = list(supported)
        self.acse.negotiate_association()
        return dict(self._accepted_cx)

    @property
    def peer_pdu_bytes(self) -> int:
        """What the peer takes at most; 0 = no limit."""
        return int(self.dimse.maximum_pdu_size or 0)

    def serve(self, request: Any, context_id: int) -> None:
        """Answer any request by pynetdicom's service classes."""
        self._serve_request(request, context_id)

    def operate(self, event: Any, request: Any, context: Any, **more: Any) -> Any:
        """What the operation behind an event returns."""
        return evt.trigger(self, event, {"request": request, "context": context, **more})

    def tell(self, request: Any, context_id: int, status: int | Dataset, identifier: bytes | None = None) -> None:
        """Answer a C-ECHO, C-FIND or C-STORE as pynetdicom would."""
        answer: Any = type(request)()
        answer.MessageID = answer.MessageIDBeingRespondedTo = request.MessageID
        answer.AffectedSOPClassUID = request.AffectedSOPClassUID
        if isinstance(request, C_STORE):
            answer.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        service = uid_to_service_class(request.AffectedSOPClassUID)(self)
        answer = service.validate_status(status, answer)
        if identifier is not None:
            answer.Identifier = BytesIO(identifier)
        self.dimse.send_msg(answer, context_id)


def encode_identifier(data: Dataset, transfer_syntax: Any) -> bytes:
    """An identifier as pynetdicom sends it; b'' when it cannot be written."""
    syntax = transfer_syntax
    return encode(data, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated) or b""


def object_head(command: bytes, transfer_syntax: Any) -> bytes:
    """Preamble and file meta information of a C-STORE's object, whatever its UIDs are. Raises whatever."""
    elements = decode(BytesIO(command), True, True)
    meta = create_file_meta(
        sop_class_uid=elements.AffectedSOPClassUID,
        sop_instance_uid=elements.AffectedSOPInstanceUID,
        transfer_syntax=transfer_syntax,
    )
    file = BytesIO()
    write_file_meta_info(file, meta)  # type: ignore[arg-type]
    return bytes(128) + b"DICM" + file.getvalue()


def store_request(command: bytes, context_id: int, file: Any) -> C_STORE:
    """The request of a C-STORE whose object is in `file`. Raises whatever, for a command set that is none."""
    message: Any = C_STORE_RQ()
    message.command_set = decode(BytesIO(command), True, True)
    message.context_id = context_id
    return with_file(message.message_to_primitive(), file)


def with_file(request: C_STORE, file: Any) -> C_STORE:
    """Tell pynetdicom's events where the object is."""
    request.DataSet = BytesIO()  # without one it is no valid request
    request._dataset_file, request._dataset_path = file, Path(file.name)
    return request


def any_request(command: bytes, data: bytes | None, context_id: int) -> Any:
    """The request of a message in memory. Raises whatever, for a command set that is none."""
    message = DIMSEMessage()
    values = P_DATA()
    values.presentation_data_value_list.append((context_id, b"\x03" + command))
    message.decode_msg(values)
    if data is not None:
        message.data_set = BytesIO(data)
    return message.message_to_primitive()


_USUAL = {
    messages.C_ECHO_RQ: (C_ECHO, frozenset({0, 0x0002, 0x0100, 0x0110, 0x0800})),
    messages.C_FIND_RQ: (C_FIND, frozenset({0, 0x0002, 0x0100, 0x0110, 0x0700, 0x0800})),
    messages.C_STORE_RQ: (C_STORE, frozenset({0, 0x0002, 0x0100, 0x0110, 0x0700, 0x0800, 0x1000})),
}


def usual_request(message: messages.Message) -> Any:
    """The request of a frequent message, without pydicom's way over a data set; None for what is not as usual."""
    elements = message.elements
    kind, known = _USUAL.get(message.field, (None, frozenset()))
    sop_class, instance = messages.uid(elements, messages.CLASS), messages.uid(elements, messages.INSTANCE)
    if kind is None or not elements.keys() <= known or not is_uid(sop_class) or not message.message_id >= 0:
        return None
    request: Any = kind()
    request.MessageID, request.AffectedSOPClassUID = message.message_id, sop_class
    request._context_id = message.context_id
    if kind is C_ECHO:
        return request if message.data is None else None
    if not 0 <= messages.number(elements, messages.PRIORITY) <= 2:
        return None
    request.Priority = messages.number(elements, messages.PRIORITY)
    if kind is C_FIND:
        if not message.data:
            return None
        request.Identifier = BytesIO(message.data)
        return request
    if message.file is None or not is_uid(instance):
        return None
    request.AffectedSOPInstanceUID = instance
    return with_file(request, message.file)
