"""MLLP framing (HL7 v2 transport, release 1) without IO: bytes in, frames and faults out.

A frame is 0x0B, the message, 0x1C 0x0D. What happens is one table, state x byte; any cut of the same bytes gives the
same frames. Nothing that is unfinished is ever handed on as a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from bridge.errors import BadValue

START, END, CR = 0x0B, 0x1C, 0x0D
HEAD = 4096
"""How much of a message that is too large is kept: enough for its header."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message, without its framing bytes."""

    data: bytes


class FaultKind(Enum):
    """What was wrong with a frame."""

    TOO_LARGE = "too-large"
    NO_CARRIAGE_RETURN = "no-carriage-return"
    INTERRUPTED = "interrupted"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class FrameFault:
    """A frame that is no message. `data` is what came of it; of one that is TOO_LARGE the first 4 KiB only."""

    kind: FaultKind
    data: bytes

    @property
    def head(self) -> bytes:
        """The first 4 KiB, for the header."""
        return self.data[:HEAD]

    @property
    def closes(self) -> bool:
        """Whether the connection cannot go on."""
        return self.kind is not FaultKind.INTERRUPTED


class State(Enum):
    """Where in a frame the next byte falls."""

    BETWEEN = auto()
    BODY = auto()
    SAW_START = auto()
    SAW_M = auto()
    SAW_MS = auto()
    SAW_END = auto()
    ENDED = auto()
    STOPPED = auto()


class Act(Enum):
    """What a byte does."""

    SKIP = auto()
    COUNT = auto()
    OPEN = auto()
    KEEP = auto()
    HOLD = auto()
    RELEASE_AND_HOLD = auto()
    RELEASE = auto()
    EMIT = auto()
    REOPEN = auto()
    FAIL = auto()


_Step = tuple[State, Act]
_Row = tuple[dict[int, _Step], _Step]
_S, _A = State, Act
_M, _MS, _MSH = b"MSH"

# A start inside a body is data, unless MSH follows: then the sender has begun again.
_AGAIN: dict[int, _Step] = {START: (_S.SAW_START, _A.RELEASE_AND_HOLD), END: (_S.SAW_END, _A.RELEASE)}
_KEEP: _Step = (_S.BODY, _A.KEEP)
STRICT: dict[State, _Row] = {
    _S.BETWEEN: ({START: (_S.BODY, _A.OPEN)}, (_S.BETWEEN, _A.COUNT)),
    _S.BODY: (_AGAIN, _KEEP),
    _S.SAW_START: (_AGAIN | {_M: (_S.SAW_M, _A.HOLD)}, _KEEP),
    _S.SAW_M: (_AGAIN | {_MS: (_S.SAW_MS, _A.HOLD)}, _KEEP),
    _S.SAW_MS: (_AGAIN | {_MSH: (_S.BODY, _A.REOPEN)}, _KEEP),
    _S.SAW_END: ({CR: (_S.BETWEEN, _A.EMIT)}, (_S.STOPPED, _A.FAIL)),
    _S.ENDED: ({START: (_S.BODY, _A.OPEN), CR: (_S.BETWEEN, _A.SKIP)}, (_S.BETWEEN, _A.COUNT)),
    _S.STOPPED: ({}, (_S.STOPPED, _A.SKIP)),
}
# A lenient peer's 0x1C ends the message at once: it may be waiting for our answer before it sends anything more.
LENIENT: dict[State, _Row] = {
    state: ({byte: (_S.ENDED, _A.EMIT) if step[0] is _S.SAW_END else step for byte, step in row.items()}, other)
    for state, (row, other) in STRICT.items()
}
_BODY_STOPS = re.compile(rb"[\x0b\x1c]")


class FrameReader:
    """Feed it what the socket gives. `noise` counts the bytes skipped between frames.

    `limit` is the largest message in bytes. After a fault that `closes`, everything further is ignored.
    """

    def __init__(self, limit: int, lenient: bool = False) -> None:
        self.noise = 0
        self.state = State.BETWEEN
        self._limit = limit
        self._table = LENIENT if lenient else STRICT
        self._body = bytearray()
        self._held = b""

    @property
    def in_frame(self) -> bool:
        """A frame has begun and has not ended."""
        return self.state not in (State.BETWEEN, State.ENDED, State.STOPPED)

    @property
    def stopped(self) -> bool:
        """Nothing more will come of this connection."""
        return self.state is State.STOPPED

    def feed(self, data: bytes) -> list[Frame | FrameFault]:
        """The frames and faults that these bytes complete, in order; never raises."""
        out: list[Frame | FrameFault] = []
        at, size = 0, len(data)
        while at < size and not self.stopped:
            if self.state is State.BETWEEN:
                start = data.find(START, at)
                run = (start if start >= 0 else size) - at
                self.noise += run
            elif self.state is State.BODY:
                stop = _BODY_STOPS.search(data, at)
                run = (stop.start() if stop else size) - at
                if run and not self._keep(data[at : at + run]):
                    out.append(self._too_large())
            else:
                run = 0
            at += run
            if at < size and not self.stopped:
                self._step(data[at], out)
                at += 1
        return out

    def close(self) -> FrameFault | None:
        """The peer is gone: what was begun and not ended, never a message."""
        unfinished = self.in_frame
        data = bytes(self._body) + self._held
        self._clear()
        self.state = State.STOPPED
        return FrameFault(FaultKind.UNFINISHED, data) if unfinished else None

    def _step(self, byte: int, out: list[Frame | FrameFault]) -> None:
        row, otherwise = self._table[self.state]
        self.state, act = row.get(byte, otherwise)
        if act is Act.COUNT:
            self.noise += 1
        elif act is Act.OPEN:
            self._clear()
        elif act is Act.HOLD:
            self._held += bytes((byte,))
        elif act is Act.KEEP:
            if not self._keep(self._held + bytes((byte,))):
                out.append(self._too_large())
        elif act in (Act.RELEASE, Act.RELEASE_AND_HOLD, Act.EMIT):
            if self._held and not self._keep(self._held):
                out.append(self._too_large())
            elif act is Act.RELEASE_AND_HOLD:
                self._held = bytes((byte,))
            elif act is Act.EMIT:
                out.append(Frame(bytes(self._body)))
                self._clear()
        elif act is Act.REOPEN:
            out.append(FrameFault(FaultKind.INTERRUPTED, bytes(self._body)))
            self._clear()
            self._body += b"MSH"
        elif act is Act.FAIL:
            out.append(FrameFault(FaultKind.NO_CARRIAGE_RETURN, bytes(self._body)))
            self._clear()

    def _keep(self, data: bytes) -> bool:
        self._held = b""
        room = self._limit - len(self._body)
        # One byte more than the limit proves the excess; no more of it is worth its memory.
        self._body += data if len(data) <= room else data[: room + 1]
        return len(data) <= room

    def _too_large(self) -> FrameFault:
        fault = FrameFault(FaultKind.TOO_LARGE, bytes(self._body[:HEAD]))
        self._clear()
        self.state = State.STOPPED
        return fault

    def _clear(self) -> None:
        self._body = bytearray()
        self._held = b""


def write_frame(message: bytes) -> bytes:
    """The message in its frame. Raises BadValue when it holds framing bytes, which would cut it for the receiver."""
    if _BODY_STOPS.search(message):
        raise BadValue("framing bytes inside a message", where="message")
    return b"\x0b" + message + b"\x1c\x0d"
