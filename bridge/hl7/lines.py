"""Lines that are not what they should be: indented, in small letters, wrapped, or glued to the one before.

A lost line end is never made good by guess: what is glued may be another order, and cutting at what only looks like a
segment would invent one. Such a message is refused with the number of the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from bridge.errors import NotReadable
from bridge.hl7.delimiters import Delimiters
from bridge.hl7.segment import Segment

SEQUENCE = "hl7-segment-sequence"
"""The error code of segments that stand where they must not (AE, 100)."""

_JUNK = "\x00\x0b\x1a\x1c\t \ufeff"
_KNOWN = frozenset(
    {
        *("AIS", "AL1", "DG1", "EVN", "GT1", "IN1", "IPC", "MRG", "NK1", "NTE", "OBR", "OBX", "ORC", "PD1", "PID"),
        *("PV1", "PV2", "SCH", "TQ1", "ZDS"),
    }
)
# How a segment goes on behind its name, sharp enough that no value looks so by chance. Without the first six an order
# is lost or becomes another; the others are only missed.
_GLUED = {
    "ORC": r"[A-Z]{2}\|",
    "OBR": r"\d{0,4}\|",
    "ZDS": r"\d+\.\d",
    "IPC": r"[^|]+\|[^|]*\|\d+\.\d",
    "TQ1": r"\d{0,4}\|",
    "PID": r"\d{0,4}\|[^|]*\|[^|^~]+\^",
    "MRG": r"[^|^~]+\^",
    "PV1": r"\d{0,4}\|[A-Z]\b",
    "OBX": r"\d{1,4}\|[A-Z]{2,3}\|",
    "NTE": r"\d{1,4}\|",
    "AL1": r"\d{1,4}\|",
}
_ONLY_MISSED = frozenset({"PV1", "OBX", "NTE", "AL1"})


def mended(line: str, separator: str) -> str:
    """A line whose segment name is indented or in small letters, as it should be; '' when it is no such line."""
    bare = line.lstrip(_JUNK)
    return bare[:3].upper() + bare[3:] if bare[3:4] == separator and bare[:3].upper() in _KNOWN else ""


def continues(name: str, before: str, line: str, delimiters: Delimiters) -> bool:
    """Whether a line may be the rest of a segment. To what ends in a UID or an AE title no junk is added: it would be
    another one."""
    marks = delimiters.field + delimiters.component + delimiters.repetition + delimiters.subcomponent
    if name == "ZDS":
        return before[-1:] in marks or line[0] in f"{marks}.0123456789"
    if name == "IPC":
        return before[-1:] in marks or any(mark in line for mark in marks)
    return True


def check_glued(text: str, begun: Mapping[str, int], segments: Iterable[Segment], separator: str) -> list[str]:
    """A warning for each segment that stands inside another one and is only missed. Raises NotReadable (`where` its
    name and line) for one without which an order would be lost; `begun` counts the lines that begin with each name."""
    # Counting is quick, and nearly always all there is to do.
    for name, begins in _beginnings(separator):
        if text.count(begins) > begun.get(name, 0):
            return _look_inside(segments, separator)
    return []


def _look_inside(segments: Iterable[Segment], separator: str) -> list[str]:
    pattern, warnings = _pattern(separator), []
    for segment in segments:
        for found in pattern.finditer(segment.text, 4):
            name = next(key for key in _GLUED if found[0].startswith(key))
            told = f"line {segment.number}: it looks as if a segment {name} were glued to the {segment.name}"
            if name not in _ONLY_MISSED:
                raise NotReadable(told, where=f"{name} line {segment.number}", code=SEQUENCE)
            warnings.append(told)
    return warnings


@lru_cache(maxsize=64)
def _beginnings(separator: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name + separator) for name in _GLUED)


@lru_cache(maxsize=64)
def _pattern(separator: str) -> re.Pattern[str]:
    # `|` stands for the separator in the table; inside brackets it is itself.
    escaped = re.escape(separator)
    forms = (f"{name}\\|{rest}" for name, rest in _GLUED.items())
    return re.compile("|".join(form.replace("\\|", escaped).replace("[^|", f"[^{escaped}") for form in forms))
