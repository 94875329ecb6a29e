"""Whatever a peer sends: a message, or an error of ours; never another exception, never a hang."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import BadInput
from bridge.hl7.ack import AckCode, AckError, write_ack
from bridge.hl7.header import header_of
from bridge.hl7.message import Message, split_batch
from bridge.hl7.mllp import Frame, FrameReader, write_frame

pieces = st.sampled_from(
    [b"MSH|^~\\&|", b"MSH", b"\rPID|", b"\rORC|NW", b"\rOBR|", b"\rZDS|", b"\r", b"\n", b"|", b"^", b"~", b"&", b"\\",
     b"\\X41\\", b"\\.sp3\\", b"\x1b$B", b"\x1b(B", b"\x1b$)C", b"UNICODE UTF-8", b"ISO IR87", b"\xef\xbb\xbf", b"\x0b",
     b"\x1c", b"\x1c\r", b"\x0bMSH", b"\x00", b"\xff", b"|||||||||||||||ISO IR6~ISO IR87", b"FHS|", b"BHS|^~\\&|\r"]
)  # fmt: skip
noise = st.one_of(st.binary(max_size=200), st.lists(pieces | st.binary(max_size=4), max_size=40).map(b"".join))
hostile = st.one_of(noise, noise.map(lambda tail: b"MSH|^~\\&|RIS|" + tail), noise.map(lambda tail: b"MSH" + tail))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@given(hostile, st.sampled_from(["", "8859/1", "UNICODE UTF-8", "ISO IR87", "GB 18030-2000"]))
@example(b"MSH|^~\\&|\xff", "")
def test_reading_gives_a_message_or_bad_input(raw: bytes, override: str) -> None:
    try:
        message = Message.read(raw, charset_override=override)
        assert message.raw == raw
        for scope in (message, *message.order_groups()):
            for segment in scope.all_segments:
                for number in range(4):
                    for one in segment.repetitions(number):
                        one.get(1)
                        one.get(2, 2)
    except BadInput:
        pass


@given(hostile)
def test_the_header_and_the_batch_never_raise(raw: bytes) -> None:
    header_of(raw)
    split_batch(raw)


@given(hostile, st.sampled_from(list(AckCode)), st.text(max_size=20), st.text(max_size=12))
def test_an_answer_to_anything_is_one_well_formed_frame(raw: bytes, code: AckCode, text: str, location: str) -> None:
    ack = write_ack(header_of(raw), code, [AckError(101, "E", location, text)], control_id="1", now=NOW)
    assert FrameReader(100_000).feed(write_frame(ack)) == [Frame(ack)]
    assert Message.read(ack).get("MSA", 1) == code.value


@given(hostile, st.integers(0, 100), st.booleans(), st.integers(1, 7))
def test_framing_never_raises(raw: bytes, limit: int, lenient: bool, step: int) -> None:
    reader = FrameReader(limit, lenient)
    for at in range(0, len(raw), step):
        for event in reader.feed(raw[at : at + step]):
            assert len(event.data) <= max(limit, 4096)
    reader.close()
