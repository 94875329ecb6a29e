"""Where each frame's bytes lie in a stored file: native (PS3.5 8.1) and encapsulated (PS3.5 A.4) pixel data."""

from __future__ import annotations

import mmap
import struct
from typing import TypeAlias

from bridge.dicom.header import Opened, number, text
from bridge.dicom.walk import PIXEL_DATA, Place

Pairs: TypeAlias = tuple[tuple[int, int], ...]
_FLOAT = {0x7FE00008: 32, 0x7FE00009: 64}
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ", b"\x00\x00\x00\x0cJXL ", b"\xff\x0a")


def frame_places(opened: Opened, buffer: mmap.mmap | bytes) -> tuple[Pairs, ...]:
    """(offset, length) pairs into the file, a tuple of pairs a frame; () when there are none or they cannot be told."""
    for tag in (PIXEL_DATA, *_FLOAT):
        if tag in opened.places:
            place = opened.places[tag]
            if place.length < 0:
                return _encapsulated(opened, place, buffer)
            return _native(opened, place, tag)
    return ()


def _native(opened: Opened, place: Place, tag: int) -> tuple[Pairs, ...]:
    data = opened.data
    count = max(1, number(data, 0x00280008))
    bits = _FLOAT.get(tag) or number(data, 0x00280100)
    samples = max(1, number(data, 0x00280002))
    total = number(data, 0x00280010) * number(data, 0x00280011) * samples * bits
    if text(data, 0x00280004) == "YBR_FULL_422":
        total = total * 2 // 3
    if total == 0 or (total % 8 and count > 1):
        # One-bit frames may share a byte: such a frame has no place of its own.
        return ()
    size = (total + 7) // 8
    if size * count > place.length:
        return ()
    return tuple(((place.offset + index * size, size),) for index in range(count))


def _encapsulated(opened: Opened, place: Place, buffer: mmap.mmap | bytes) -> tuple[Pairs, ...]:
    if len(place.fragments) < 2:
        return ()
    table, fragments = place.fragments[0], place.fragments[1:]
    count = max(1, number(opened.data, 0x00280008))
    if count == 1:
        return (fragments,)
    if len(fragments) == count:
        return tuple((fragment,) for fragment in fragments)
    offsets = _extended_offsets(opened) or _basic_offsets(buffer, table)
    return _by_offsets(fragments, offsets, count) or _by_starts(fragments, buffer, count)


def _extended_offsets(opened: Opened) -> list[int]:
    """Extended Offset Table (7FE0,0001): 64-bit offsets from the first item after the basic table."""
    element = opened.data.get(0x7FE00001)
    value = element.value if element is not None else b""
    if not isinstance(value, bytes) or not value or len(value) % 8:
        return []
    return list(struct.unpack(f"<{len(value) // 8}Q", value))


def _basic_offsets(buffer: mmap.mmap | bytes, table: tuple[int, int]) -> list[int]:
    offset, length = table
    if length % 4:
        return []
    return list(struct.unpack(f"<{length // 4}I", buffer[offset : offset + length]))


def _by_offsets(fragments: Pairs, offsets: list[int], count: int) -> tuple[Pairs, ...]:
    base = fragments[0][0] - 8
    at = {offset - 8 - base: index for index, (offset, _) in enumerate(fragments)}
    starts = [at.get(offset, -1) for offset in offsets]
    if len(starts) != count or -1 in starts or starts[0] != 0 or starts != sorted(set(starts)):
        return ()
    return _cut(fragments, starts)


def _by_starts(fragments: Pairs, buffer: mmap.mmap | bytes, count: int) -> tuple[Pairs, ...]:
    """No usable table: a frame starts where an image's first bytes stand, if that gives as many as there must be."""
    starts = [i for i, (offset, _) in enumerate(fragments) if buffer[offset : offset + 12].startswith(_STARTS)]
    return _cut(fragments, starts) if len(starts) == count and starts[0] == 0 else ()


def _cut(fragments: Pairs, starts: list[int]) -> tuple[Pairs, ...]:
    ends = [*starts[1:], len(fragments)]
    return tuple(fragments[start:end] for start, end in zip(starts, ends, strict=True))
