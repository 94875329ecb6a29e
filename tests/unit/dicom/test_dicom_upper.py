"""The upper layer's states and PDUs (PS3.8 9.2, 9.3), every state with every PDU."""

from __future__ import annotations

import struct

import pytest

from bridge.dicom.upper import (
    HEADER,
    RELEASE_RP,
    REQUEST_BYTES,
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

MOST = 16_384
EXPECTED = {
    (State.AWAITING_REQUEST, Pdu.ASSOCIATE_RQ): State.DECIDING,
    (State.DECIDING, Pdu.ABORT): State.CLOSING,
    (State.TRANSFER, Pdu.P_DATA): State.TRANSFER,
    (State.TRANSFER, Pdu.RELEASE_RQ): State.RELEASING,
    (State.TRANSFER, Pdu.ABORT): State.CLOSING,
    (State.RELEASING, Pdu.ABORT): State.CLOSING,
}


def upper(state: State) -> Upper:
    one = Upper(MOST)
    one.state = state
    return one


def header(kind: int, length: int = 4) -> bytes:
    return struct.pack(">BBL", kind, 0, length)


@pytest.mark.parametrize("kind", Pdu)
@pytest.mark.parametrize("state", State)
def test_each_pdu_in_each_state(state: State, kind: Pdu) -> None:
    one = upper(state)
    if (state, kind) in EXPECTED:
        assert one.header(header(kind)) == (kind, 4)
        assert one.state is EXPECTED[state, kind]
    else:
        with pytest.raises(Violation) as fault:
            one.header(header(kind))
        assert fault.value.reason is Reason.UNEXPECTED_PDU and one.state is state


@pytest.mark.parametrize("kind", [0, 8, 0x16, 0x47, 255])
@pytest.mark.parametrize("state", State)
def test_what_is_no_pdu_is_unrecognized_in_every_state(state: State, kind: int) -> None:
    with pytest.raises(Violation) as fault:
        upper(state).header(header(kind))
    assert fault.value.reason is Reason.UNRECOGNIZED_PDU


@pytest.mark.parametrize(
    ("state", "kind", "longest"),
    [
        (State.AWAITING_REQUEST, Pdu.ASSOCIATE_RQ, REQUEST_BYTES - HEADER),
        (State.TRANSFER, Pdu.P_DATA, MOST),
        (State.TRANSFER, Pdu.RELEASE_RQ, 4),
        (State.TRANSFER, Pdu.ABORT, 4),
    ],
)
def test_a_length_is_believed_up_to_its_limit(state: State, kind: Pdu, longest: int) -> None:
    assert upper(state).header(header(kind, longest)) == (kind, longest)
    for more in (longest + 1, 0xFFFFFFFF):
        with pytest.raises(Violation) as fault:
            upper(state).header(header(kind, more))
        assert fault.value.reason is Reason.INVALID_VALUE


def test_the_acceptor_s_own_acts_move_the_state() -> None:
    one = upper(State.DECIDING)
    one.accept()
    assert one.state is State.TRANSFER
    one.header(header(Pdu.RELEASE_RQ))
    one.released()
    assert one.state is State.CLOSING


@pytest.mark.parametrize("state", set(State) - {State.DECIDING})
def test_nothing_is_accepted_that_was_not_asked_for(state: State) -> None:
    with pytest.raises(RuntimeError):
        upper(state).accept()


def value(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">LBB", len(data) + 2, context_id, control) + data


def test_the_values_of_a_pdu_come_in_their_order() -> None:
    body = value(1, 3, b"command") + value(1, 0, b"") + value(3, 2, b"data")
    assert [(c, h, bytes(d)) for c, h, d in values(memoryview(body))] == [
        (1, 3, b"command"),
        (1, 0, b""),
        (3, 2, b"data"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"\0",
        b"\0\0\0\2\1",
        struct.pack(">LBB", 1, 1, 3),
        struct.pack(">LBB", 0, 1, 3),
        struct.pack(">LBB", 0xFFFFFFFF, 1, 3),
        value(1, 3, b"whole") + b"\0\0\0",
    ],
)
def test_values_whose_lengths_do_not_add_up_are_refused(body: bytes) -> None:
    with pytest.raises(Violation) as fault:
        list(values(memoryview(body)))
    assert fault.value.reason is Reason.INVALID_VALUE


@pytest.mark.parametrize("most", [0, 7, 100, 4096])
def test_what_we_send_fits_the_peer_and_is_whole_again(most: int) -> None:
    data = bytes(range(256)) * 3
    sent, at, found = write_values(5, 1, data, most), 0, []
    while at < len(sent):
        kind, length = sent[at], int.from_bytes(sent[at + 2 : at + 6], "big")
        assert kind == Pdu.P_DATA and (most == 0 or length <= most)
        found += [(c, h, bytes(d)) for c, h, d in values(memoryview(sent)[at + 6 : at + 6 + length])]
        at += 6 + length
    assert b"".join(piece for _, _, piece in found) == data
    assert [h for _, h, _ in found] == [1] * (len(found) - 1) + [3] and {c for c, _, _ in found} == {5}


def test_a_peer_that_takes_no_data_is_sent_none() -> None:
    with pytest.raises(Violation):
        write_values(1, 1, b"command", 6)


def test_the_short_pdus_are_as_the_standard_draws_them() -> None:
    assert write_reject(1, 1, 7) == bytes.fromhex("03 00 00000004 00 01 01 07")
    assert write_abort(2, 6) == bytes.fromhex("07 00 00000004 00 00 02 06")
    assert bytes.fromhex("06 00 00000004 00000000") == RELEASE_RP
