"""Coverage-guided fuzzing of framing and reader (F21); run as `tests.fuzz.guided` says.

Seeds are the corpus of dirty habits, bare and framed. The promises: no exception but `BadInput`; what was read gives
the same bytes again; any cut of a stream gives the same frames.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import atheris  # type: ignore[import-untyped]

from bridge.config import Feed
from bridge.domain.identity import Issuers
from bridge.errors import BadInput
from tests.fuzz.guided import Promise, run

with atheris.instrument_imports(include=["bridge.hl7", "bridge.mapping"], exclude=["bridge.store", "bridge.workflow"]):
    from bridge.hl7.ack import AckCode, write_ack
    from bridge.hl7.batch import read_batches
    from bridge.hl7.header import header_of
    from bridge.hl7.message import Message, split_batch
    from bridge.hl7.mllp import Frame, FrameReader, write_frame
    from bridge.hl7.policy import read_raw
    from bridge.hl7.segment import Segment
    from bridge.mapping import MappingContext, Mappings, default_directory

CORPUS = Path(__file__).parents[1] / "corpus" / "hl7"
LIMIT = 4096
NOW = datetime(2026, 1, 2, tzinfo=UTC)
FEED = Feed(name="fuzz", port=0)
MAPPINGS = Mappings.load(default_directory(), None, MappingContext(ZoneInfo("UTC"), Issuers(())))
PLANTED = b"\x1c\r\x0bM"
"""What the planted fault trips over: two frames one behind the other."""


def frames(data: bytes, step: int, lenient: bool) -> list[object]:
    reader = FrameReader(LIMIT, lenient)
    out: list[object] = []
    for at in range(0, len(data), step):
        out += reader.feed(data[at : at + step])
    out.append(reader.close())
    return out


def check_framing(data: bytes) -> list[bytes]:
    """The bodies of the frames in a stream."""
    for lenient in (False, True):
        whole = frames(data, len(data) or 1, lenient)
        if frames(data, 1, lenient) != whole or frames(data, 7, lenient) != whole:
            raise Promise("another cut of the same bytes gave other frames")
    bodies = [one.data for one in whole if isinstance(one, Frame)]
    for body in bodies:
        if b"\x0b" not in body and FrameReader(LIMIT).feed(write_frame(body)) != [Frame(body)]:
            raise Promise("a frame written again is not the same")
    return bodies


def check_segment(segment: Segment, field: str, repetition: str, component: str) -> None:
    """What is cut is all there, in its order and with its delimiters; and every value can be asked for."""
    count = segment.text.count(field) + (segment.name == "MSH")
    cut = [segment.raw_field(number) for number in range(1, count + 1)]
    again = field.join([segment.name, *(cut[1:] if segment.name == "MSH" else cut)])
    if again != segment.text:
        raise Promise("the fields are not the segment")
    for number, raw in enumerate(cut, 1):
        if segment.name == "MSH" and number < 3:
            continue
        found = segment.repetitions(number)
        if found and repetition.join(one.raw for one in found) != raw:
            raise Promise("the repetitions are not the field")
        for one in found:
            if component and one.raw.count(component) + 1 != one.components:
                raise Promise("the components are not the repetition")
            values = one.values()
            if values != [one.get(n) for n in range(1, one.components + 1)]:
                raise Promise("a value read in two ways")


def check_message(data: bytes) -> None:
    header = header_of(data)
    split_batch(data)
    read_batches(data)
    ack = write_ack(header, AckCode.AE, (), control_id="1", now=NOW)
    if FrameReader(100_000).feed(write_frame(ack)) != [Frame(ack)]:
        raise Promise("an answer that is not one frame")
    read_raw(data, FEED, MAPPINGS)
    try:
        message = Message.read(data)
    except BadInput:
        return
    if message.raw != data:
        raise Promise("the message is not the bytes that came")
    encoding = header.encoding_characters
    for segment in message.all_segments:
        check_segment(segment, message.get("MSH", 1), encoding[1:2], encoding[:1])


def one_input(data: bytes) -> None:
    for body in [data, *check_framing(data)]:
        check_message(body)


def seeds() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for number, path in enumerate(sorted(CORPUS.glob("*.hl7"))):
        raw = path.read_bytes()
        found[path.name] = raw
        found[f"{path.name}.framed"] = b"\x0b" + raw + b"\x1c\r" * (1 + number % 2) + b"\x0b" + raw
    return found


if __name__ == "__main__":
    run(one_input, seeds(), PLANTED, sys.argv[1:])
