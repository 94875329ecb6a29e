"""Batches cut into their messages (HL7 v2.5.1 2.10.3)."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bridge.hl7.batch import read_batches, write_batches

A, B, C = (b"MSH|^~\\&|A|||||||%d|P|2.3\rPID|1\r" % n for n in range(3))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_single_message_is_no_batch() -> None:
    assert read_batches(A) is None
    assert read_batches(b"BHSX") is None


def test_each_message_stands_in_its_batch() -> None:
    file = read_batches(b"FHS|^~\\&\rBHS|^~\\&\r" + A + b"BTS|1\rBHS|^~\\&\r" + B + C + b"BTS|2\rFTS|2\r")
    assert file is not None and file.header is not None
    assert [batch.messages for batch in file.batches] == [(A,), (B, C)]
    assert [batch.told for batch in file.batches] == [1, 2]


def test_line_feeds_and_a_byte_order_mark_do_no_harm() -> None:
    raw = b"\xef\xbb\xbf\r\nBHS|^~\\&\r\n" + A.replace(b"\r", b"\r\n") + b"BTS|1\r\n"
    file = read_batches(raw)
    assert file is not None
    assert file.batches[0].messages == (A.replace(b"\r", b"\r\n"),)


def test_a_batch_that_was_cut_off_keeps_what_came() -> None:
    file = read_batches(b"BHS|^~\\&\r" + A + B[:20])
    assert file is not None
    assert file.batches[0].messages == (A, B[:20])
    assert file.batches[0].told is None


def test_what_has_no_header_is_a_message_too_and_not_left_out() -> None:
    file = read_batches(b"BHS|^~\\&\rPID|1\rOBR|1\r" + A + b"BTS|2\rORC|NW\rFTS|1\r")
    assert file is not None
    assert [m for batch in file.batches for m in batch.messages] == [b"PID|1\rOBR|1\r", A, b"ORC|NW\r"]


def test_the_answer_names_what_it_answers_in_the_senders_delimiters() -> None:
    file = read_batches(b"BHS#*!?@#RIS#HOSP#BR#IB#20260101####B 7\r" + A + b"BTS#1\r")
    assert file is not None
    raw = write_batches(file, [[b"MSA|AA\r"]], new_control_id=lambda: "N1", now=NOW)
    assert raw == b"BHS#*!?@#BR#IB#RIS#HOSP#20260102000000+0000####N1#B 7\rMSA|AA\rBTS#1\r"


def test_control_bytes_of_a_batch_header_are_not_echoed() -> None:
    file = read_batches(b"BHS|^~\\&|R\x0bIS|||||||||B\x1c7\r" + A)
    assert file is not None
    raw = write_batches(file, [[]], new_control_id=lambda: "N1", now=NOW)
    assert not {0x0B, 0x1C} & set(raw)


@given(
    st.lists(st.sampled_from([A, B, b"BTS|1\r", b"BHS|^~\\&\r", b"FTS|1\r", b"junk\r", b"\r\n", b"MSH"]), max_size=20)
)
def test_every_line_that_is_no_batch_segment_comes_back(pieces: list[bytes]) -> None:
    file = read_batches(b"FHS|^~\\&\r" + b"".join(pieces))
    assert file is not None
    found = b"".join(m for batch in file.batches for m in batch.messages)
    assert found.count(b"PID|1") == sum(piece in (A, B) for piece in pieces)
    assert found.count(b"junk") == pieces.count(b"junk\r")


@given(st.binary(max_size=200))
def test_any_bytes_are_read(raw: bytes) -> None:
    file = read_batches(b"BHS|" + raw)
    if file is not None:
        write_batches(file, [[] for _ in file.batches], new_control_id=lambda: "N", now=NOW).decode("ascii")
