"""MLLP framing: every state x input, and any cut of the same bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BadValue
from bridge.hl7.mllp import LENIENT, STRICT, FaultKind, Frame, FrameFault, FrameReader, State, write_frame

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
INPUTS = {"start": VT, "end": FS, "cr": CR, "M": b"M", "S": b"S", "H": b"H", "other": b"x"}
REACH = {
    State.BETWEEN: b"", State.BODY: VT, State.SAW_START: VT + VT, State.SAW_M: VT + VT + b"M",
    State.SAW_MS: VT + VT + b"MS", State.SAW_END: VT + FS, State.STOPPED: VT + FS + b"x",
}  # fmt: skip
NEXT = {
    State.BETWEEN: "BODY BETWEEN BETWEEN BETWEEN BETWEEN BETWEEN BETWEEN",
    State.BODY: "SAW_START SAW_END BODY BODY BODY BODY BODY",
    State.SAW_START: "SAW_START SAW_END BODY SAW_M BODY BODY BODY",
    State.SAW_M: "SAW_START SAW_END BODY BODY SAW_MS BODY BODY",
    State.SAW_MS: "SAW_START SAW_END BODY BODY BODY BODY BODY",
    State.SAW_END: "STOPPED STOPPED BETWEEN STOPPED STOPPED STOPPED STOPPED",
    State.STOPPED: "STOPPED STOPPED STOPPED STOPPED STOPPED STOPPED STOPPED",
}


@pytest.mark.parametrize("state", NEXT)
@pytest.mark.parametrize("index", range(7))
def test_every_state_and_byte_has_its_next_state(state: State, index: int) -> None:
    reader = FrameReader(100)
    reader.feed(REACH[state])
    assert reader.state is state
    reader.feed(list(INPUTS.values())[index])
    assert reader.state.name == NEXT[state].split()[index]


@pytest.mark.parametrize("index", range(7))
def test_after_a_lenient_end_only_a_carriage_return_is_no_noise(index: int) -> None:
    reader = FrameReader(100, lenient=True)
    assert reader.feed(VT + b"a" + FS) == [Frame(b"a")]
    reader.feed(list(INPUTS.values())[index])
    assert (reader.state, reader.noise) == (
        State.BODY if index == 0 else State.BETWEEN, 0 if index in (0, 2) else 1,
    )  # fmt: skip


def test_both_tables_know_every_state() -> None:
    assert set(STRICT) == set(LENIENT) == set(State)


def test_ten_messages_in_one_packet_come_in_order() -> None:
    sent = [b"MSH|%d\rPID|x\r" % i for i in range(10)]
    assert FrameReader(100).feed(b"".join(map(write_frame, sent))) == [Frame(one) for one in sent]


def test_noise_between_frames_is_skipped_and_counted() -> None:
    reader = FrameReader(100)
    assert reader.feed(b"\x00\x00\r\n" + write_frame(b"a") + b"junk" + FS + CR + write_frame(b"b")) == [
        Frame(b"a"),
        Frame(b"b"),
    ]
    assert reader.noise == 10


def test_an_end_without_carriage_return_stops_a_strict_reader() -> None:
    reader = FrameReader(100)
    assert reader.feed(VT + b"MSH|1" + FS + write_frame(b"MSH|2")) == [
        FrameFault(FaultKind.NO_CARRIAGE_RETURN, b"MSH|1")
    ]
    assert reader.feed(write_frame(b"MSH|3")) == []


def test_an_end_without_carriage_return_is_an_end_for_a_lenient_reader() -> None:
    assert FrameReader(100, lenient=True).feed(VT + b"1" + FS + write_frame(b"2")) == [Frame(b"1"), Frame(b"2")]


def test_a_new_message_inside_an_unfinished_one_sets_the_first_aside() -> None:
    assert FrameReader(100).feed(VT + b"MSH|1|half" + write_frame(b"MSH|2")) == [
        FrameFault(FaultKind.INTERRUPTED, b"MSH|1|half"),
        Frame(b"MSH|2"),
    ]


@pytest.mark.parametrize(
    "inside", [VT, VT + b"M", VT + b"MS", VT + b"MSX", VT + VT, VT + b"MS" + VT + b"MS", VT + b"PID"]
)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_start_byte_that_begins_no_message_is_kept(inside: bytes, lenient: bool) -> None:
    frame = VT + b"MSH|" + inside + FS + CR
    assert FrameReader(100, lenient).feed(frame) == [Frame(b"MSH|" + inside)]


@pytest.mark.parametrize("over", [0, 1, 5])
def test_the_limit_counts_the_bytes_of_the_message(over: int) -> None:
    event = FrameReader(100).feed(write_frame(b"x" * (100 + over)))[0]
    assert isinstance(event, FrameFault if over else Frame)


def test_of_a_message_over_the_limit_only_the_head_is_kept() -> None:
    (fault,) = FrameReader(10_000).feed(VT + b"MSH|" + b"x" * 20_000)
    assert isinstance(fault, FrameFault)
    assert (fault.kind, len(fault.head), fault.head[:4], fault.closes) == (FaultKind.TOO_LARGE, 4096, b"MSH|", True)


def test_what_is_unfinished_at_the_end_is_a_fault_and_no_message() -> None:
    reader = FrameReader(100)
    assert reader.feed(VT + b"MSH|1" + VT + b"M") == []
    assert reader.close() == FrameFault(FaultKind.UNFINISHED, b"MSH|1" + VT + b"M")
    assert reader.close() is None


def test_an_end_between_frames_is_no_fault() -> None:
    reader = FrameReader(100)
    reader.feed(write_frame(b"a") + b"\n")
    assert reader.close() is None


@pytest.mark.parametrize("byte", [VT, FS])
def test_a_message_with_framing_bytes_is_not_written(byte: bytes) -> None:
    with pytest.raises(BadValue):
        write_frame(b"MSH|" + byte)


wire = st.lists(
    st.one_of(
        st.sampled_from([VT, FS, CR, FS + CR, VT + b"MSH", b"MSH", b"M", b"S", b"H", b"\x00"]),
        st.binary(max_size=6),
        st.binary(max_size=12).map(lambda raw: VT + raw + FS + CR),
    ),
    max_size=25,
).map(b"".join)


@given(wire, st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(0, 30), st.booleans())
def test_any_cut_of_the_same_bytes_gives_the_same_events(
    raw: bytes, cuts: list[int], limit: int, lenient: bool
) -> None:
    whole = FrameReader(limit, lenient)
    expected = [*whole.feed(raw), whole.close()]
    pieces = FrameReader(limit, lenient)
    found: list[object] = []
    at = turn = 0
    while at < len(raw):
        step = cuts[turn % len(cuts)]
        found += pieces.feed(raw[at : at + step])
        at, turn = at + step, turn + 1
    assert [*found, pieces.close()] == expected
    assert pieces.noise == whole.noise


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(VT, b"").replace(FS, b"")), max_size=8), st.booleans())
def test_what_is_written_is_read(messages: list[bytes], lenient: bool) -> None:
    assert FrameReader(50, lenient).feed(b"".join(map(write_frame, messages))) == [Frame(one) for one in messages]
