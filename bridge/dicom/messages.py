"""DIMSE messages without IO: fragments become messages under limits, and frequent answers bytes (PS3.7 6.3, 9.3, E.1).

An object goes to its file as it comes. All else lies in memory until it is whole, and is bounded for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bridge.dicom.upper import Violation

COMMAND_BYTES = 64 * 1024
C_STORE_RQ, C_ECHO_RQ, C_FIND_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0020, 0x0FFF
_ANSWER = 0x8000
_REQUESTS = {0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150}
_FIELDS = _REQUESTS | {field | _ANSWER for field in _REQUESTS} | {C_CANCEL_RQ}
"""Every command there is (PS3.7 E.1-1)."""
NO_DATA_SET, _DATA_SET = 0x0101, 0x0001
CLASS, FIELD, MESSAGE_ID, RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
PRIORITY, DATA_SET_TYPE, STATUS, INSTANCE = 0x0700, 0x0800, 0x0900, 0x1000
"""Element numbers of group 0000 (PS3.7 E.1)."""
_COMMAND, _LAST = 1, 2  # of a message control header (PS3.8 E.2)


class Sink(Protocol):
    """Where an object's data set goes."""

    @property
    def name(self) -> str: ...

    def write(self, data: bytes | memoryview) -> int: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Message:
    """A whole message: its command set, and its data set in memory or in `file`."""

    context_id: int
    command: bytes
    elements: dict[int, bytes]
    data: bytes | None = None
    file: Sink | None = None

    @property
    def field(self) -> int:
        return number(self.elements, FIELD)

    @property
    def message_id(self) -> int:
        return number(self.elements, MESSAGE_ID)

    @property
    def held(self) -> int:
        """Bytes that it holds in memory."""
        return len(self.command) + len(self.data or b"")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of an object, and of the data set of any other message."""

    object_bytes: int
    message_bytes: int


class Assembler:
    """Fragments in, messages out.

    `open_object` is asked for a file when a C-STORE announces a data set; None = the object is in no place here.
    """

    def __init__(self, limits: Limits, open_object: Callable[[Message], Sink | None]) -> None:
        self._limits = limits
        self._open = open_object
        self._context_id = 0
        self._command = bytearray()
        self._message: Message | None = None
        self._data = bytearray()
        self._count = 0

    @property
    def held(self) -> int:
        """Bytes of an unfinished message that lie in memory."""
        return len(self._command) + len(self._data)

    @property
    def file(self) -> Sink | None:
        """Of the object that is coming in."""
        return self._message.file if self._message is not None else None

    def take(self, context_id: int, header: int, fragment: memoryview) -> Message | None:
        """The message that this fragment ends, if it does. Raises `Violation`."""
        if (self._command or self._message) and context_id != self._context_id:
            raise Violation("fragments of two messages mixed")
        self._context_id = context_id
        if not header & _COMMAND:
            return self._data_fragment(fragment, bool(header & _LAST))
        if self._message is not None:
            raise Violation("a command where a data set was announced")
        self._command += fragment
        if len(self._command) > COMMAND_BYTES:
            raise Violation("command set too long")
        return self._whole_command() if header & _LAST else None

    def _whole_command(self) -> Message | None:
        command = bytes(self._command)
        self._command.clear()
        message = Message(self._context_id, command, read_command(command))
        if number(message.elements, DATA_SET_TYPE) == NO_DATA_SET:
            return message
        if message.field == C_STORE_RQ:
            message.file = self._open(message)
            if message.file is None:
                raise Violation("an object under the context of something else")
        self._message = message
        return None

    def _data_fragment(self, fragment: memoryview, last: bool) -> Message | None:
        message = self._message
        if message is None:
            raise Violation("a data set without a command")
        self._count += len(fragment)
        if message.file is None:
            if self._count > self._limits.message_bytes:
                raise Violation("message too long")
            self._data += fragment
        else:
            if self._count > self._limits.object_bytes:
                raise Violation("object too long")
            message.file.write(fragment)
        if not last:
            return None
        if message.file is None:
            message.data = bytes(self._data)
            self._data = bytearray()
        self._message, self._count = None, 0
        return message


def read_command(data: bytes) -> dict[int, bytes]:
    """The elements of a command set by their numbers (always implicit VR little endian, PS3.7 6.3.1).

    Raises `Violation` for what is none, or says neither what it is nor whether a data set follows.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 2] != b"\0\0" or end > len(data) or at + 8 > len(data):
            raise Violation("not a command set")
        found[int.from_bytes(data[at + 2 : at + 4], "little")] = data[at + 8 : end]
        at = end
    if number(found, FIELD) not in _FIELDS or number(found, DATA_SET_TYPE) < 0:
        raise Violation("not a command set")
    return found


def number(elements: dict[int, bytes], element: int) -> int:
    """A US value; -1 when it is not there."""
    value = elements.get(element)
    return int.from_bytes(value, "little") if value is not None and len(value) == 2 else -1


def uid(elements: dict[int, bytes], element: int) -> str:
    """A UI value without its padding; '' when it is not there."""
    return elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def write_answer(request: Message, status: int, *, data_set: bool = False) -> bytes:
    """The command set of a C-ECHO, C-STORE or C-FIND response without comment (PS3.7 9.3.1 to 9.3.5)."""
    elements = request.elements
    parts = [
        _element(CLASS, _even(elements.get(CLASS, b""))),
        _element(FIELD, (request.field | _ANSWER).to_bytes(2, "little")),
        _element(RESPONDED_TO, elements[MESSAGE_ID]),
        _element(DATA_SET_TYPE, (_DATA_SET if data_set else NO_DATA_SET).to_bytes(2, "little")),
        _element(STATUS, status.to_bytes(2, "little")),
    ]
    if request.field == C_STORE_RQ:
        parts.append(_element(INSTANCE, _even(elements.get(INSTANCE, b""))))
    body = b"".join(parts)
    return _element(0, len(body).to_bytes(4, "little")) + body


def _even(value: bytes) -> bytes:
    plain = value.rstrip(b"\0 ")
    return plain + b"\0" * (len(plain) % 2)


def _element(element: int, value: bytes) -> bytes:
    return b"\0\0" + element.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value
