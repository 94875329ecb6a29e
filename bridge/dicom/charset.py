"""Answers in a peer's character set, never with question marks (PS3.5 6.1.2, 6.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

UTF8 = "ISO_IR 192"
_DEFAULT = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
_DEFAULT_CODEC = "iso8859"


def settle(data: Dataset, character_set: str, *, asked: bool) -> None:
    """Set (0008,0005) so that every text can be told: the peer's set; else it with alphabetic names only; else UTF-8.

    Plain ASCII needs none and gets one only when `asked`. Changes names in place when they are cut.
    """
    wanted = character_set.split("\\") if character_set else []
    if all(part.isascii() for part in _texts(data)):
        if asked and wanted:
            _set(data, wanted)
        return
    if wanted and _encodable(_texts(data), wanted):
        _set(data, wanted)
        return
    if wanted and _encodable(_texts(data, alphabetic_only=True), wanted):
        _cut_names(data)
        _set(data, wanted)
        return
    _set(data, [UTF8])


def _set(data: Dataset, wanted: list[str]) -> None:
    data.SpecificCharacterSet = wanted if len(wanted) > 1 else wanted[0]


def _encodable(texts: Iterable[str], wanted: list[str]) -> bool:
    try:
        encodings = convert_encodings(list(wanted))
    except LookupError:
        return False
    # pydicom writes the default repertoire as Latin-1, and takes a name that it does not know for it.
    plain = wanted[0] in _DEFAULT
    known = plain or encodings[0] != _DEFAULT_CODEC or wanted[0].endswith("IR 100")
    if not known or len(encodings) != len(wanted):
        return False
    return all(_survives(part, encodings, plain) for part in texts)


def _survives(part: str, encodings: list[str], plain: bool) -> bool:
    if part.isascii():
        return True
    if plain and any("\x80" <= letter <= "\xff" for letter in part):
        return False
    try:
        if len(encodings) == 1:
            part.encode(encodings[0])
            return True
        # What does not come back the same would have been replaced.
        return decode_bytes(encode_string(part, encodings), encodings, set()) == part
    except (UnicodeError, LookupError, ValueError):
        return False


def _texts(data: Dataset, *, alphabetic_only: bool = False) -> Iterator[str]:
    for element in data:
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _texts(item, alphabetic_only=alphabetic_only)
            continue
        for value in element.value if isinstance(element.value, MultiValue) else [element.value]:
            if isinstance(value, PersonName):
                groups = str(value).split("=")
                yield from groups[:1] if alphabetic_only else groups
            elif isinstance(value, str):
                yield value


def _cut_names(data: Dataset) -> None:
    for element in data:
        if element.VR == "SQ":
            for item in element.value or ():
                _cut_names(item)
        elif element.VR == "PN" and element.value:
            element.value = str(element.value).partition("=")[0]
