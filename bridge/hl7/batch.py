"""Batches (HL7 v2.5.1 2.10.3): FHS and BHS cut into their messages, and their answers put together as one.

A batch saves frames and nothing else: each of its messages is taken, kept and answered like one that came alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bridge.hl7.ack import delimiters_of
from bridge.hl7.header import Header, header_of

_START = re.compile(rb"\A(?:\xef\xbb\xbf)?[\r\n\t \x00]*(?=[FB]HS[^A-Za-z0-9\r\n])")
_PIECES = re.compile(rb"(?:\A|(?<=[\r\n]))(?=(?:MSH|FHS|BHS|BTS|FTS)[^A-Za-z0-9\r\n])")
_COUNT = re.compile(rb"BTS.(\d+)")


@dataclass(frozen=True, slots=True)
class Batch:
    """One BHS to BTS, or what stands in a file outside of any. `control_id` of the header is BHS-11.

    `messages` are everything between, also what is no message: nothing of a batch is left out. `told` is BTS-1.
    """

    header: Header | None
    messages: tuple[bytes, ...]
    told: int | None = None


@dataclass(frozen=True, slots=True)
class BatchFile:
    """FHS to FTS, or the batches of a frame without FHS."""

    header: Header | None
    batches: tuple[Batch, ...]


def read_batches(raw: bytes) -> BatchFile | None:
    """The batches of a frame; None when it is no batch."""
    start = _START.match(raw)
    if start is None:
        return None
    file_header: Header | None = None
    batches: list[Batch] = []
    header: Header | None = None
    messages: list[bytes] = []

    def close(told: int | None = None) -> None:
        nonlocal header
        if header is not None or messages:
            batches.append(Batch(header, tuple(messages), told))
        header = None
        messages.clear()

    for piece in _PIECES.split(raw[start.end() :]):
        kind = piece[:3]
        if kind == b"MSH":
            messages.append(piece)
            continue
        line, _, rest = piece.replace(b"\n", b"\r").partition(b"\r")
        if kind == b"FHS":
            file_header = _header(line)
        elif kind == b"BHS":
            close()
            header = _header(line)
        if rest.strip():
            # A message that lost its MSH: it gets its error like any other.
            messages.append(piece[len(line) :].lstrip())
        if kind == b"BTS":
            found = _COUNT.match(line)
            close(int(found[1][:9]) if found else None)
    close()
    return BatchFile(file_header, tuple(batches))


def write_batches(
    file: BatchFile, answers: Sequence[Sequence[bytes]], *, new_control_id: Callable[[], str], now: datetime
) -> bytes:
    """The acknowledgements of each batch between BHS and BTS, unframed; BHS-12 and FHS-12 name what they answer."""
    out: list[bytes] = []
    if file.header is not None:
        out.append(_opening("FHS", file.header, new_control_id(), now))
    for batch, acks in zip(file.batches, answers, strict=True):
        if batch.header is not None:
            out.append(_opening("BHS", batch.header, new_control_id(), now))
        out += acks
        if batch.header is not None:
            out.append(_closing("BTS", batch.header, len(acks)))
    if file.header is not None:
        out.append(_closing("FTS", file.header, len(file.batches)))
    return b"".join(out)


def _header(line: bytes) -> Header:
    """BHS-3 to -7 stand where those of MSH do, and BHS-11, the control id, where MSH-11 does."""
    found = header_of(b"MSH" + line[3:])
    return replace(found, control_id=found.processing_id)


def _opening(name: str, header: Header, control_id: str, now: datetime) -> bytes:
    marks = delimiters_of(header)
    encoding = marks.component + marks.repetition + marks.escape + marks.subcomponent + marks.truncation
    fields = [
        name, encoding, header.receiving_application, header.receiving_facility, header.sending_application,
        header.sending_facility, now.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000"), "", "", "", control_id,
        header.control_id,
    ]  # fmt: skip
    return _line(marks.field.join(fields))


def _closing(name: str, header: Header, count: int) -> bytes:
    return _line(f"{name}{delimiters_of(header).field}{count}")


def _line(text: str) -> bytes:
    return text.encode("ascii", "replace") + b"\r"
