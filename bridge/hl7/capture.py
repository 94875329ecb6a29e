"""Files of messages: one message, several one after another, MLLP frames as they were captured, or a batch."""

from __future__ import annotations

import re

from bridge.hl7.batch import read_batches
from bridge.hl7.mllp import Frame, FrameReader

_NEXT = re.compile(rb"(?:\A|(?<=[\r\n]))(?=MSH[^A-Za-z0-9\r\n])")
_NOISE = b"\xef\xbb\xbf\r\n\t \x00"
_MOST = 1 << 40


def read_capture(raw: bytes) -> list[bytes]:
    """The messages of a file in their order, without their framing; what is no message is left in as it stands,
    so that whoever takes it can say so. An empty file holds none."""
    if b"\x0b" in raw and b"\x1c" in raw:
        found = [event.data for event in FrameReader(_MOST, lenient=True).feed(raw) if isinstance(event, Frame)]
        return [one for body in found for one in _unframed(body)]
    return _unframed(raw)


def _unframed(raw: bytes) -> list[bytes]:
    file = read_batches(raw)
    if file is not None:
        return [message for batch in file.batches for message in batch.messages]
    return [piece.strip(b"\n\x00") for piece in _NEXT.split(raw.lstrip(_NOISE)) if piece.strip(_NOISE)]
