"""The upper layer as an acceptor sees it, without IO: which PDU may come when, how long, and what it holds (PS3.8 9).

Whoever has the socket asks `header` about six bytes before it reads what they announce, so that no length is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, IntEnum

HEADER = 6
REQUEST_BYTES = 60_000
"""Of an A-ASSOCIATE-RQ: 128 contexts with every transfer syntax are about 50,000."""


class Pdu(IntEnum):
    """PDU types (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class State(Enum):
    """The acceptor's states (PS3.8 9.2.1)."""

    AWAITING_REQUEST = 2
    DECIDING = 3
    TRANSFER = 6
    RELEASING = 8
    CLOSING = 13


class Reason(IntEnum):
    """Why the provider aborts (PS3.8 Table 9-26)."""

    NONE = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    INVALID_VALUE = 6


class Violation(Exception):
    """The peer breaks the protocol: the association ends. `why` is for our log; never of what the peer sent."""

    def __init__(self, why: str, reason: Reason = Reason.NONE) -> None:
        super().__init__(why)
        self.why = why
        self.reason = reason


_EXPECTED = {
    State.AWAITING_REQUEST: {Pdu.ASSOCIATE_RQ},
    State.DECIDING: {Pdu.ABORT},
    State.TRANSFER: {Pdu.P_DATA, Pdu.RELEASE_RQ, Pdu.ABORT},
    State.RELEASING: {Pdu.ABORT},
    State.CLOSING: set[Pdu](),
}
"""Of each state what may come (PS3.8 Table 9-10). The rest ends the association: actions AA-1 and AA-8."""
_AFTER = {
    Pdu.ASSOCIATE_RQ: State.DECIDING,
    Pdu.P_DATA: State.TRANSFER,
    Pdu.RELEASE_RQ: State.RELEASING,
    Pdu.ABORT: State.CLOSING,
}
_SHORT = 4
"""Bytes in an A-RELEASE and an A-ABORT."""


class Upper:
    """One association's state. `pdu_bytes` is what we told the peer to send at most (PS3.8 D.1)."""

    def __init__(self, pdu_bytes: int) -> None:
        self.state = State.AWAITING_REQUEST
        self._most = {
            Pdu.ASSOCIATE_RQ: REQUEST_BYTES - HEADER,
            Pdu.P_DATA: pdu_bytes,
            Pdu.RELEASE_RQ: _SHORT,
            Pdu.ABORT: _SHORT,
        }

    @property
    def longest(self) -> int:
        """Bytes of the longest PDU that may come, with its header."""
        return HEADER + max(self._most.values())

    def header(self, six: bytes | memoryview) -> tuple[Pdu, int]:
        """The kind of the PDU that begins, and the length of what follows. Raises `Violation`; moves the state."""
        try:
            kind = Pdu(six[0])
        except ValueError:
            raise Violation("no such PDU", Reason.UNRECOGNIZED_PDU) from None
        if kind not in _EXPECTED[self.state]:
            raise Violation("a PDU out of turn", Reason.UNEXPECTED_PDU)
        length = int.from_bytes(six[2:6], "big")
        if length > self._most[kind]:
            raise Violation("a PDU too long", Reason.INVALID_VALUE)
        self.state = _AFTER[kind]
        return kind, length

    def accept(self) -> None:
        """We have answered A-ASSOCIATE-AC."""
        self._move(State.DECIDING, State.TRANSFER)

    def released(self) -> None:
        """We have answered A-RELEASE-RP: the peer closes (Sta13)."""
        self._move(State.RELEASING, State.CLOSING)

    def close(self) -> None:
        """We have refused or aborted."""
        self.state = State.CLOSING

    def _move(self, expected: State, then: State) -> None:
        if self.state is not expected:
            raise RuntimeError(f"not in {expected.name}")
        self.state = then


def values(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """The presentation data values of a P-DATA-TF: context id, message control header, fragment (PS3.8 9.3.5, E.2).

    Raises `Violation` when their lengths do not add up to the PDU's.
    """
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 4 + length
        if length < 2 or end > len(data):
            raise Violation("a presentation data value of a wrong length", Reason.INVALID_VALUE)
        yield data[at + 4], data[at + 5], data[at + 6 : end]
        at = end


def write_reject(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return bytes((Pdu.ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, result, source, reason))


def write_abort(source: int, reason: int) -> bytes:
    """An A-ABORT: source 0 is the service user, 2 the provider (PS3.8 9.3.8)."""
    return bytes((Pdu.ABORT, 0, 0, 0, 0, 4, 0, 0, source, reason))


RELEASE_RP = bytes((Pdu.RELEASE_RP, 0, 0, 0, 0, 4, 0, 0, 0, 0))


def write_values(context_id: int, header: int, data: bytes, pdu_bytes: int) -> bytes:
    """P-DATA-TFs of one value each, none longer than the peer takes; `header`: 1 of a command, 0 of a data set.

    `pdu_bytes` 0 = no limit (PS3.8 D.1.1); a limit that leaves no room for data is the peer's `Violation`.
    """
    most = len(data) if pdu_bytes == 0 else pdu_bytes - 6
    if most < 1:
        raise Violation("a peer that takes no data")
    pieces = []
    for start in range(0, len(data), most):
        piece = data[start : start + most]
        last = 2 if start + most >= len(data) else 0
        size = len(piece)
        pieces.append(b"\x04\x00" + (size + 6).to_bytes(4, "big") + (size + 2).to_bytes(4, "big"))
        pieces.append(bytes((context_id, header | last)))
        pieces.append(piece)
    return b"".join(pieces)
