"""A linear walk over an encoded data set, before anything parses it (PS3.5 7).

pydicom parses sequences by recursion: 200 levels in 10 kB end it. This loop keeps its own stack, so it can refuse
depth, truncation and stray delimiters first, and it tells where the pixel data lies without reading them.
"""

from __future__ import annotations

import mmap
import struct
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from pydicom import config
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, AllTransferSyntaxes

from bridge.errors import NotReadable, Unsupported

# pydicom warns about a bad value by printing it, which is patient data on standard error. What a value must be is
# checked where it is used. (Here, because everything that parses comes through this module.)
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom(\.|$)")

MAX_DEPTH = 64
OBJECT_ELEMENTS = 2_000_000
"""Elements and items of an object: an enhanced multi-frame of 10,000 frames has some 600,000."""
MESSAGE_ELEMENTS = 100_000
"""Those of a data set that is parsed whole: a performed step lists some 30,000 images with as many."""
QUERY_ELEMENTS = 10_000
"""Those of a query's identifier: Table K.6-1 has some 150."""
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_REFUSED = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # deflated: 1 MiB may become 2 GiB
        "1.2.840.10008.1.2.4.94",  # JPIP: the pixels are elsewhere
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.204",
        "1.2.840.10008.1.2.4.205",
        "1.2.840.10008.1.2.6.1",
        "1.2.840.10008.1.2.6.2",
        "1.2.840.10008.1.2.7.1",  # SMPTE ST 2110: streams, not files
        "1.2.840.10008.1.2.7.2",
        "1.2.840.10008.1.2.7.3",
    }
)
TRANSFER_SYNTAXES = frozenset(str(uid) for uid in AllTransferSyntaxes) - _REFUSED
ODD = (
    *(ValueError, TypeError, LookupError, AttributeError, NotImplementedError, ArithmeticError, EOFError, struct.error),
    *(BytesLengthException, InvalidDicomError, RecursionError),
)
"""What pydicom raises on values that are not what their VR says."""


class Place(NamedTuple):
    """A top-level element: where its value lies; `length` is -1 when undefined. `fragments` are (offset, length).

    The whole element, its tag and its delimiter included, lies from `start` to `end`.
    """

    vr: str
    offset: int
    length: int
    fragments: tuple[tuple[int, int], ...] = ()
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class _Level:
    items: bool
    end: int  # -1: ends with a delimiter
    implicit: bool


@lru_cache(8192)
def _is_sequence(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"


def syntax_of(uid: str) -> UID:
    """A transfer syntax that we can read; `Unsupported` else."""
    if uid not in TRANSFER_SYNTAXES:
        raise Unsupported("transfer syntax not taken", where="(0002,0010)")
    return UID(uid)


def walk(
    buffer: bytes | mmap.mmap,
    start: int,
    syntax: UID,
    max_depth: int = MAX_DEPTH,
    most: int = OBJECT_ELEMENTS,
) -> dict[int, Place]:
    """The top-level elements by tag.

    `NotReadable` for a data set that is cut short, malformed, too deep, or of more than `most` elements and items:
    each costs a parser some twenty microseconds and half a kilobyte, however few bytes it has.
    """
    return _Walk(buffer, start, syntax.is_implicit_VR, syntax.is_little_endian, max_depth, most).run()


class _Walk:
    def __init__(
        self, buffer: bytes | mmap.mmap, start: int, implicit: bool, little: bool, max_depth: int, most: int
    ) -> None:
        self.buffer = buffer
        self.size = len(buffer)
        self.position = start
        self.max_depth = max_depth
        self.left = most
        self.began = start  # of the top-level element that is being walked
        self.last = -1  # its tag, while its end is not known
        self.tag_form = struct.Struct("<HH" if little else ">HH")
        self.short = struct.Struct("<H" if little else ">H")
        self.long = struct.Struct("<I" if little else ">I")
        self.stack = [_Level(False, self.size, implicit)]
        self.places: dict[int, Place] = {}

    def run(self) -> dict[int, Place]:
        try:
            while self.stack:
                level = self.stack[-1]
                if level.end >= 0 and self.position >= level.end:
                    if self.position > level.end:
                        raise NotReadable("an element is longer than what holds it")
                    self.stack.pop()
                elif level.items:
                    self._item(level)
                else:
                    self._element(level)
        except struct.error:
            raise NotReadable("the data set is cut short") from None
        self._close()
        return self.places

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise NotReadable("the data set has too many elements")

    def _tag(self) -> int:
        group, element = self.tag_form.unpack_from(self.buffer, self.position)
        return int(group << 16 | element)

    def _length(self, at: int) -> int:
        return int(self.long.unpack_from(self.buffer, at)[0])

    def _item(self, level: _Level) -> None:
        self._count()
        tag, length = self._tag(), self._length(self.position + 4)
        self.position += 8
        if tag == ITEM:
            end = -1 if length == UNDEFINED else self._bounded(self.position, length)
            self.stack.append(_Level(False, end, level.implicit))
        elif tag == SEQUENCE_END and level.end < 0:
            self.stack.pop()
        elif tag != SEQUENCE_END:
            raise NotReadable("a sequence holds something that is no item")

    def _element(self, level: _Level) -> None:
        self._count()
        if len(self.stack) == 1:
            self._close()
            self.began = self.position
        tag = self._tag()
        if tag == ITEM_END:
            self.position += 8
            if len(self.stack) == 1:
                raise NotReadable("an item delimiter outside of an item")
            if level.end < 0:
                self.stack.pop()
            return
        vr, offset, length = self._header(level)
        if length == UNDEFINED:
            self._undefined(level, tag, vr, offset)
            return
        end = self._bounded(offset, length)
        self._note(tag, vr, offset, length)
        if vr == b"SQ" or (vr in (b"", b"UN") and _is_sequence(tag)):
            self._descend(offset, end, level.implicit or vr == b"UN")
        else:
            self.position = end

    def _header(self, level: _Level) -> tuple[bytes, int, int]:
        at = self.position
        if level.implicit:
            return b"", at + 8, self._length(at + 4)
        vr = bytes(self.buffer[at + 4 : at + 6])
        if vr in _LONG:
            return vr, at + 12, self._length(at + 8)
        if not (vr.isalpha() and vr.isupper()):
            # Some writers slip into implicit VR; pydicom reads them the same way.
            return b"", at + 8, self._length(at + 4)
        return vr, at + 8, int(self.short.unpack_from(self.buffer, at + 6)[0])

    def _undefined(self, level: _Level, tag: int, vr: bytes, offset: int) -> None:
        if tag == PIXEL_DATA or vr in (b"OB", b"OW"):
            fragments = self._fragments(offset)
            self._note(tag, vr, offset, -1, fragments)
            return
        self._note(tag, vr, offset, -1)
        self._descend(offset, -1, level.implicit or vr == b"UN")

    def _fragments(self, offset: int) -> tuple[tuple[int, int], ...]:
        """Encapsulated pixel data (PS3.5 A.4): items without content of their own, then a delimiter."""
        found: list[tuple[int, int]] = []
        self.position = offset
        while True:
            self._count()
            tag, length = self._tag(), self._length(self.position + 4)
            self.position += 8
            if tag == SEQUENCE_END:
                return tuple(found)
            if tag != ITEM or length == UNDEFINED:
                raise NotReadable("encapsulated pixel data are malformed", where="(7FE0,0010)")
            found.append((self.position, length))
            self.position = self._bounded(self.position, length)

    def _descend(self, offset: int, end: int, implicit: bool) -> None:
        self.position = offset
        self.stack.append(_Level(True, end, implicit))
        if sum(level.items for level in self.stack) > self.max_depth:
            raise NotReadable("sequences are nested too deeply")

    def _bounded(self, offset: int, length: int) -> int:
        end = offset + length
        if end > self.size:
            raise NotReadable("the data set is cut short")
        return end

    def _note(self, tag: int, vr: bytes, offset: int, length: int, fragments: tuple[tuple[int, int], ...] = ()) -> None:
        if len(self.stack) == 1:
            self.places[tag] = Place(vr.decode("ascii", "replace"), offset, length, fragments, self.began)
            self.last = tag

    def _close(self) -> None:
        """The top-level element before this position ends here."""
        if self.last >= 0:
            self.places[self.last] = self.places[self.last]._replace(end=self.position)
            self.last = -1
