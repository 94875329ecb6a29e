"""Fragments into messages, under limits; and our answers byte for byte pynetdicom's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom import AE, PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from bridge.dicom import files, insides
from bridge.dicom.messages import (
    C_STORE_RQ,
    COMMAND_BYTES,
    MESSAGE_ID,
    Assembler,
    Limits,
    Message,
    number,
    read_command,
    write_answer,
)
from bridge.dicom.upper import Violation, write_values
from tests.unit.dicom.support import CT, MWL, command

FIND, ECHO = 0x0020, 0x0030
LIMITS = Limits(object_bytes=1000, message_bytes=100)


@dataclass
class Sink:
    name: str = "object"
    data: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes | memoryview) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def assembler(sink: Sink | None = None) -> Assembler:
    return Assembler(LIMITS, lambda _: sink)


def take(one: Assembler, header: int, data: bytes, context_id: int = 1) -> Message | None:
    return one.take(context_id, header, memoryview(data))


def test_a_command_without_a_data_set_is_a_message() -> None:
    message = take(assembler(), 3, command(CT, ECHO, CommandDataSetType=0x0101))
    assert message is not None and (message.field, message.data, message.file) == (ECHO, None, None)


def test_a_message_in_many_fragments_is_whole() -> None:
    one, encoded = assembler(), command(MWL, FIND)
    assert take(one, 1, encoded[:10]) is None and take(one, 3, encoded[10:]) is None
    assert take(one, 0, b"iden") is None
    message = take(one, 2, b"tifier")
    assert message is not None and message.data == b"identifier" and message.command == encoded
    assert one.held == 0


def test_an_object_goes_to_its_file_and_not_to_memory() -> None:
    sink = Sink()
    one = assembler(sink)
    take(one, 3, command(CT, C_STORE_RQ))
    take(one, 0, bytes(600))
    assert one.held == 0 and one.file is sink
    message = take(one, 2, bytes(100))
    assert message is not None and message.file is sink and len(sink.data) == 700 and message.data is None


def test_one_message_leaves_nothing_to_the_next() -> None:
    one = assembler()
    for _ in range(3):
        take(one, 3, command(MWL, FIND))
        message = take(one, 2, bytes(90))
        assert message is not None and message.data == bytes(90)


@pytest.mark.parametrize(
    ("sink", "pieces", "why"),
    [
        (None, [(1, bytes(COMMAND_BYTES)), (1, b"\0")], "command set too long"),
        (None, [(3, command(MWL, FIND)), (0, bytes(100)), (0, b"\0")], "message too long"),
        (Sink(), [(3, command(CT, C_STORE_RQ)), (0, bytes(1000)), (2, b"\0")], "object too long"),
        (None, [(3, command(CT, C_STORE_RQ))], "an object under the context of something else"),
        (None, [(2, b"data")], "a data set without a command"),
        (None, [(3, command(MWL, FIND)), (3, command(MWL, FIND))], "a command where a data set was announced"),
        (None, [(3, b"")], "not a command set"),
        (None, [(3, b"\xff" * 20)], "not a command set"),
        (None, [(3, command(CT, 0x7FFF))], "not a command set"),
    ],
)
def test_what_is_no_message_is_told_by_its_fault(sink: Sink | None, pieces: list[Any], why: str) -> None:
    one = assembler(sink)
    with pytest.raises(Violation) as fault:
        for header, data in pieces:
            take(one, header, data)
    assert fault.value.why == why


def test_fragments_of_two_contexts_are_never_one_message() -> None:
    one = assembler()
    take(one, 3, command(MWL, FIND))
    with pytest.raises(Violation):
        take(one, 2, b"identifier", context_id=3)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_set_or_refused(data: bytes) -> None:
    try:
        found = read_command(data)
    except Violation:
        return
    assert number(found, MESSAGE_ID) >= -1


class Heard:
    """pynetdicom's own answers, as bytes."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.served = insides.Served(AE(), [], self.sent.append, ("127.0.0.1", 1))
        self.served.requestor.maximum_length = 16_382


@pytest.mark.parametrize("field", [C_STORE_RQ, FIND, ECHO])
@pytest.mark.parametrize("sop_class", [CT, "1.2.840.10008.5.1.4.31", "1.2.840.10008.1.1", "1.2.3"])
def test_our_answers_are_pynetdicom_s_to_the_byte(field: int, sop_class: str) -> None:
    encoded = command(sop_class, field, CommandDataSetType=0x0101, MessageID=77)
    heard = Heard()
    request = insides.any_request(encoded, None, 1)
    heard.served.tell(request, 1, 0x0000)
    ours = write_answer(Message(1, encoded, read_command(encoded)), 0x0000)
    assert heard.sent == [write_values(1, 1, ours, 16_382)]


def test_a_pending_answer_is_pynetdicom_s_to_the_byte() -> None:
    encoded = command(MWL, FIND)
    heard = Heard()
    heard.served.tell(insides.any_request(encoded, b"", 1), 1, 0xFF00, b"identifier")
    ours = write_answer(Message(1, encoded, read_command(encoded)), 0xFF00, data_set=True)
    assert heard.sent[0] == write_values(1, 1, ours, 16_382)


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.3.4"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"])
def test_our_file_meta_information_is_pynetdicom_s_to_the_byte(instance: str, syntax: str) -> None:
    writer = (str(PYNETDICOM_IMPLEMENTATION_UID), PYNETDICOM_IMPLEMENTATION_VERSION)
    theirs = insides.object_head(command(CT, C_STORE_RQ, AffectedSOPInstanceUID=instance), UID(syntax))
    assert files.object_head(CT, instance, syntax, writer) == theirs
