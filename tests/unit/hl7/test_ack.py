"""Which acknowledgements go out and what they say (hl7-acks.md section 3)."""

from datetime import UTC, datetime
from itertools import count, product

import pytest

from bridge import errors
from bridge.errors import BadInput, BadValue, BridgeError, NotReadable
from bridge.hl7.ack import (
    BY_CLASS,
    BY_CODE,
    MEANINGS,
    AckCode,
    AckError,
    Level,
    answers,
    location_of,
    read_ack,
    verdict,
    write_ack,
    write_answers,
)
from bridge.hl7.header import header_of
from bridge.hl7.message import Message
from bridge.hl7.mllp import Frame, FrameReader, write_frame

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def request(version: str = "2.5.1", control: str = "C-1", app: str = "RIS", more: str = "") -> bytes:
    head = f"MSH|^~\\&|{app}|HOSP|BRIDGE|IB|20260102||ORM^O01|{control}|P|{version}{more}"
    return f"{head}\rPID|1||P1^^^HOSP||Doe^Jane".encode()


def ack(raw: bytes, code: AckCode = AckCode.AA, *faults: AckError) -> Message:
    return Message.read(write_ack(header_of(raw), code, faults, control_id="A1", now=NOW))


def subclasses(kind: type[BridgeError]) -> list[type[BridgeError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in subclasses(one))]


@pytest.mark.parametrize("kind", [one for one in subclasses(BadInput) if one.__module__ == errors.__name__])
def test_every_bad_input_has_a_row_of_its_own(kind: type[BridgeError]) -> None:
    assert kind in BY_CLASS
    code, fault = verdict(kind("x", where="PID-3"))
    assert (code, fault.code) == BY_CLASS[kind]
    assert not code.positive and fault.code in MEANINGS


@pytest.mark.parametrize("word", BY_CODE)
def test_an_error_with_a_code_of_its_own_says_more_than_its_class(word: str) -> None:
    code, fault = verdict(BadInput("x", code=word))
    assert (code, fault.code) == BY_CODE[word]
    assert fault.code in MEANINGS


@pytest.mark.parametrize(
    ("fault", "code", "number"),
    [
        (errors.NotReadable("x", where="MSH"), "AR", 100), (errors.NotReadable("x", code="hl7-charset"), "AE", 102),
        (errors.MissingField("x"), "AE", 101), (errors.BadValue("x"), "AE", 102), (errors.TooLarge("x"), "AE", 104),
        (errors.Unsupported("x"), "AR", 200), (errors.Unsupported("x", code="unsupported-processing-id"), "AR", 202),
        (errors.StoreUnavailable("x"), "AR", 207), (errors.NotFound("x"), "AE", 204),
        (errors.BridgeError("x"), "AE", 207),
    ],
)  # fmt: skip
def test_the_table(fault: BridgeError, code: str, number: int) -> None:
    answer, error = verdict(fault)
    assert (answer.value, error.code) == (code, number)


def test_an_answer_names_the_field_and_never_repeats_the_text_of_an_error() -> None:
    _, fault = verdict(BadValue("Doe is no date", where="PID-7"))
    assert fault == AckError(102, "E", "PID^1^7", "Data type error")


@pytest.mark.parametrize(
    ("where", "location"),
    [
        ("PID-3", "PID^1^3"),
        ("PID-3.1", "PID^1^3^1^1"),
        ("PID-3.4.2", "PID^1^3^1^4^2"),
        ("PID", "PID^1"),
        ("message", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_field_becomes_a_location(where: str, location: str) -> None:
    assert location_of(where) == location


def test_sender_and_receiver_change_places() -> None:
    m = ack(request())
    assert [m.get("MSH", i) for i in (3, 4, 5, 6, 7, 10, 11, 12)] == [
        "BRIDGE", "IB", "RIS", "HOSP", "20260102030405+0000", "A1", "P", "2.5.1",
    ]  # fmt: skip
    assert (m.message_code, m.trigger_event, m.structure) == ("ACK", "O01", "ACK")
    assert (m.get("MSA", 1), m.get("MSA", 2)) == ("AA", "C-1")


def test_components_of_the_sender_are_echoed_as_they_were() -> None:
    assert ack(request(app="RIS^1.2.3^ISO")).repetitions("MSH", 5)[0].raw == "RIS^1.2.3^ISO"


def test_the_senders_delimiters_are_used() -> None:
    raw = write_ack(header_of(b"MSH#*!?@#A*1#B###20260101##ORM*O01#C|1#P#2.3"), AckCode.AA, control_id="A1", now=NOW)
    assert raw.startswith(b"MSH#*!?@###A*1#B#")
    assert b"MSA#AA#C|1\r" in raw


@pytest.mark.parametrize("version", ["2.1", "2.3", "2.3.1", "2.4"])
def test_before_2_5_errors_stand_in_err_1(version: str) -> None:
    m = ack(request(version), AckCode.AE, AckError(101, "E", "PID^1^3"), AckError(102, "E", "OBR^1^4", "a & b"))
    first, second = m.repetitions("ERR", 1)
    assert [first.get(1), first.get(2), first.get(3), first.get(4, 1), first.get(4, 2), first.get(4, 3)] == [
        "PID", "1", "3", "101", "Required field missing", "HL70357",
    ]  # fmt: skip
    assert second.get(4, 2) == "a & b"


@pytest.mark.parametrize("version", ["2.5", "2.5.1", "2.8", "", "nonsense"])
def test_since_2_5_errors_have_a_segment_each(version: str) -> None:
    m = ack(request(version), AckCode.AE, AckError(101, "E", "PID^1^3"), AckError(204, "W", "ORC^1^2", "x|y"))
    first, second = m.segments("ERR")
    assert [first.get(1), first.get(2, 3), first.get(3), first.get(3, 2), first.get(4)] == [
        "", "3", "101", "Required field missing", "E",
    ]  # fmt: skip
    assert (second.get(4), second.get(8)) == ("W", "x|y")
    assert m.version == (version if version.startswith("2") else "2.5.1")


def test_no_patient_data_in_an_answer() -> None:
    code, fault = verdict(BadValue("Doe", where="PID-5"))
    raw = write_ack(header_of(request()), code, [fault], control_id="A1", now=NOW)
    assert b"Doe" not in raw and b"P1" not in raw


@pytest.mark.parametrize("bad", ["\x0b", "\x1c", "\x1c\r", "\r", "\n", "\x00", "é", "\x7f"])
@pytest.mark.parametrize("place", [2, 3, 4, 5, 8, 9, 10, 11])
def test_control_bytes_in_echoed_fields_never_break_the_frame(bad: str, place: int) -> None:
    fields = request().decode().split("\r")[0].split("|")
    fields[place] += bad + "x"
    raw = write_ack(header_of("|".join(fields).encode()), AckCode.AA, control_id="A1", now=NOW)
    assert FrameReader(10_000).feed(write_frame(raw)) == [Frame(raw)]
    assert Message.read(raw).get("MSA", 1) == "AA"
    assert raw.isascii()


@pytest.mark.parametrize(
    "raw", [b"", b"junk", b"MSH", b"MSHAAAA", b"MSH|^^^^|A|B", b"MSH|", b"MSH|^|A^B|C", b"MSH\xff\xff"]
)
def test_an_unreadable_header_still_gets_an_answer_that_can_be_read(raw: bytes) -> None:
    m = ack(raw, AckCode.AR, AckError(100))
    assert (m.get("MSA", 1), m.get("MSA", 2), m.version) == ("AR", "", "2.5.1")


def test_msa_4_carries_the_expected_sequence_number() -> None:
    raw = write_ack(header_of(request()), AckCode.AE, control_id="A1", now=NOW, expected_sequence="8")
    assert Message.read(raw).get("MSA", 4) == "8"


VALUES = ["", "AL", "NE", "ER", "SU"]


@pytest.mark.parametrize(("accept", "application", "ok"), list(product(VALUES, VALUES, [True, False])))
def test_msh_15_and_16_choose_the_answers(accept: str, application: str, ok: bool) -> None:
    asked = {"AL": True, "NE": False, "ER": not ok, "SU": ok, "": False}
    expected = [level for level, value in ((Level.ACCEPT, accept), (Level.APPLICATION, application)) if asked[value]]
    if accept == application == "":
        expected = [Level.APPLICATION]
    assert list(answers(accept, application, ok)) == expected


def test_a_peer_may_read_the_empty_one_as_always() -> None:
    assert answers("AL", "", True, when_empty="AL") == (Level.ACCEPT, Level.APPLICATION)


def test_a_value_outside_the_table_is_answered() -> None:
    assert answers("??", "NE", True) == (Level.ACCEPT,)


@pytest.mark.parametrize(("code", "expected"), [("AA", ["CA", "AA"]), ("AE", ["CE", "AE"]), ("AR", ["CR", "AR"])])
def test_in_enhanced_mode_the_accept_answer_comes_first(code: str, expected: list[str]) -> None:
    numbers = count(1)
    out = write_answers(
        header_of(request(more="|||AL|AL")), AckCode(code), [], new_control_id=lambda: f"A{next(numbers)}", now=NOW
    )
    assert [read_ack(one).code.value for one in out] == expected
    assert [Message.read(one).control_id for one in out] == ["A1", "A2"]


def test_an_ack_is_read_back() -> None:
    raw = write_ack(header_of(request("2.3.1")), AckCode.AE, [AckError(101)], control_id="A1", now=NOW)
    found = read_ack(raw)
    assert (found.code, found.control_id) == (AckCode.AE, "C-1")


@pytest.mark.parametrize(
    ("raw", "where"), [(b"", "MSH"), (b"MSH|^~\\&|\rERR|x", "MSA"), (b"MSH|^~\\&|\rMSA|XX|1", "MSA-1")]
)
def test_an_ack_that_says_nothing_is_not_readable(raw: bytes, where: str) -> None:
    with pytest.raises(NotReadable) as caught:
        read_ack(raw)
    assert caught.value.where == where
