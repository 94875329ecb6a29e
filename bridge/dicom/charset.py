"""Answers that a device can read, never with question marks (PS3.3 C.12.1.1.2; PS3.5 6.1.2, 6.2).

Each text as it is, when the device's character set holds it; else, of a name, the alphabetic group alone; else spelt
by the declared table; else the whole answer in UTF-8 where the device may be sent that; else no answer at all, for an
answer that lacks a part would be read as if there were none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

from bridge.config import DicomPeer, writable
from bridge.dicom.fitting import EXACT, MOST, PN_GROUP
from bridge.dicom.header import text
from bridge.domain.told import shortened
from bridge.errors import BadValue
from bridge.mapping.transliteration import NONE, Transliteration

CHARACTER_SET = 0x00080005
UTF8 = "ISO_IR 192"
NOT_READABLE = "not-readable"
"""The code of the `BadValue` of an answer that the device cannot be given."""
_DEFAULT = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
_DEFAULT_CODEC = "iso8859"
_MULTI_BYTE = frozenset({"iso2022_jp", "iso2022_jp_2", "euc_kr"})
"""Never the first value (PS3.3 C.12.1.1.2)."""
Knows = Callable[[str], bool]


def chosen(peer: DicomPeer, request: Dataset) -> str:
    """The character set of the answers to a query (values joined by a backslash): the one that the device's row names,
    else the query's own (0008,0005) when it can be written, else the site's.

    The default repertoire says what a query is written in, not that its device reads nothing else.
    """
    asked = "\\".join(term.strip() for term in text(request, CHARACTER_SET).split("\\"))
    if peer.names_character_set or not writable(asked) or _DEFAULT.issuperset(asked.split("\\")):
        return peer.character_set
    return asked


def settle(data: Dataset, character_set: str, *, asked: bool, utf8: bool = True, table: Transliteration = NONE) -> None:
    """Set (0008,0005), and change in place what `character_set` (values joined by a backslash) cannot hold.

    Plain ASCII needs none and gets one only when `asked`. Raises `BadValue` (code `NOT_READABLE`, `where` the tag)
    when something cannot be told and `utf8` is false; nothing is changed then.
    """
    knows, wanted = _repertoire(character_set)
    odd = [(element, values) for element, values in _texts(data) if not all(map(str.isascii, values))]
    answers = [_told(element, values, knows, table) for element, values in odd]
    if None in answers:
        if not utf8:
            where = _where(odd[answers.index(None)][0])
            raise BadValue("not to be told in the device's character set", where=where, code=NOT_READABLE)
        answers, wanted = [values for _, values in odd], [UTF8]
    for (element, values), told in zip(odd, answers, strict=True):
        if told is not None and told != values:
            element.value = told if len(told) > 1 else told[0]
    if wanted and (asked or not all(part.isascii() for told in answers for part in told or ())):
        data.SpecificCharacterSet = wanted if len(wanted) > 1 else wanted[0]


def _told(element: DataElement, values: list[str], knows: Knows, table: Transliteration) -> list[str] | None:
    """The values as the device can be told them, None when it cannot."""
    told: list[str] = []
    for value in values:
        if _holds(knows, value, element.VR):
            told.append(value)
            continue
        if element.VR == "PN":
            value = value.partition("=")[0]
            if not value.strip("^ "):
                return None  # nobody's name would be left
            if _holds(knows, value, "PN"):
                told.append(value)
                continue
        spelt = None if element.tag in EXACT else table.spell(value, knows)
        if not spelt or not _holds(knows, spelt, element.VR):
            return None
        if element.VR == "PN" and len(spelt) > PN_GROUP >= len(value):
            return None
        told.append(shortened(spelt, MOST.get(element.VR, len(spelt))).rstrip())
    return told


def _holds(knows: Knows, text: str, vr: str) -> bool:
    """Component by component for names: every delimiter returns to the first character set (PS3.5 6.1.2.5.3)."""
    if vr != "PN":
        return knows(text)
    return all(knows(part) for group in text.split("=") for part in group.split("^"))


def _texts(data: Dataset) -> Iterator[tuple[DataElement, list[str]]]:
    for element in data:
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _texts(item)
            continue
        values = list(element.value) if isinstance(element.value, MultiValue) else [element.value]
        if any(isinstance(value, str | PersonName) for value in values):
            yield element, [str(value) for value in values]


@lru_cache(maxsize=64)
def _repertoire(character_set: str) -> tuple[Knows, list[str]]:
    """Whether a text is told by a character set and comes back the same; and the values of (0008,0005)."""
    wanted = character_set.split("\\") if character_set else []
    plain = not wanted or wanted[0] in _DEFAULT
    try:
        encodings = convert_encodings(list(wanted))
    except LookupError:
        return str.isascii, []
    if len(wanted) < 2 and plain:
        return str.isascii, wanted
    # pydicom takes a name that it does not know for the default repertoire, and writes that as Latin-1.
    unknown = len(encodings) != len(wanted) or (encodings[0] == _DEFAULT_CODEC and not plain)
    if unknown or encodings[0] in _MULTI_BYTE:
        return str.isascii, []

    @lru_cache(maxsize=4096)
    def knows(text: str) -> bool:
        if text.isascii():
            return True
        if plain and any("\x80" <= letter <= "\xff" for letter in text):
            return False
        if not all(any(_holds_letter(codec, letter) for codec in encodings) for letter in text):
            return False  # as pydicom would find too, with a warning each time
        try:
            # What does not come back the same would have been replaced.
            return decode_bytes(encode_string(text, encodings), encodings, set()) == text
        except (UnicodeError, LookupError, ValueError):
            return False

    return knows, wanted


def _holds_letter(codec: str, letter: str) -> bool:
    try:
        return len(letter.encode(codec)) == 1 or codec != "shift_jis"  # JIS X 0201 is its single bytes
    except UnicodeError:
        return False


def _where(element: DataElement) -> str:
    return f"({element.tag.group:04X},{element.tag.element:04X})"
