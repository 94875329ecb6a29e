"""Paths into a message: `PID-3`, `PID-5.1`, `PID-3[2].4.2` (HL7 v2.5.1 2.5; all numbers count from 1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.domain.patient import DELETED
from bridge.mapping.source import Repetition, Source

_PATH = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9]\d?)(?:\[([1-9]\d?)\])?(?:\.([1-9]\d?)(?:\.([1-9]\d?))?)?", re.ASCII)

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Path:
    """A place in a message; 0 means unspecified: all repetitions, the first component."""

    segment: str
    field: int
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0

    @classmethod
    def parse(cls, text: str) -> Path:
        """Raises ValueError when `text` is no path."""
        found = _PATH.fullmatch(text)
        if not found:
            raise ValueError("not a path such as PID-3, PID-5.1 or PID-3[2].4.2")
        segment, *numbers = found.groups()
        return cls(segment, *(int(number or 0) for number in numbers))

    def __str__(self) -> str:
        repetition = f"[{self.repetition}]" if self.repetition else ""
        parts = "".join(f".{part}" for part in (self.component, self.subcomponent) if part)
        return f"{self.segment}-{self.field}{repetition}{parts}"

    def repetitions(self, source: Source) -> tuple[Repetition, ...]:
        """The repetitions that the path names, of the first such segment."""
        return self._named(source.repetitions(self.segment, self.field))

    def everywhere(self, source: Source) -> tuple[Repetition, ...]:
        """The repetitions that the path names, of every such segment (NTE, AL1)."""
        segments = source.segments(self.segment)
        if len(segments) == 1:
            return self._named(segments[0].repetitions(self.field))
        return tuple([one for segment in segments for one in self._named(segment.repetitions(self.field))])

    def _named(self, all_of_them: tuple[Repetition, ...]) -> tuple[Repetition, ...]:
        return all_of_them[self.repetition - 1 : self.repetition] if self.repetition else all_of_them

    def value(self, repetition: Repetition) -> str:
        """The text at the path's component, on one line, without padding; the null is no text."""
        return part(repetition, self.component or 1, self.subcomponent)

    def text(self, source: Source) -> str:
        """The value of the first named repetition, '' when absent."""
        found = self.repetitions(source)
        return self.value(found[0]) if found else ""

    def is_null(self, found: tuple[Repetition, ...]) -> bool:
        """Whether the null is all that the sender wrote in these repetitions (HL7 v2.5.1 2.5.3)."""
        if len(found) != 1:
            return False
        first = found[0]
        if self.component and first.get(self.component, self.subcomponent).strip() == DELETED:
            return True
        whole, *rest = first.values()
        return whole.strip() == DELETED and not any(rest)


def part(repetition: Repetition, component: int, subcomponent: int = 0) -> str:
    """A component on one line, without padding and control characters; '' when absent or null."""
    value = repetition.get(component, subcomponent)
    return value if not value or value.isalnum() else _cleaned(value)


def phrase(repetition: Repetition, component: int) -> str:
    """A component of words, as `part`, with what an unescaped `&` cut off: no data type of words has subcomponents."""
    value = repetition.joined(component)
    return value if not value or value.isalnum() else _cleaned(value)


def sentence(repetition: Repetition) -> str:
    """A whole repetition of a free text (ST, TX, FT) on one line."""
    return _cleaned(repetition.whole)


def parts(values: list[str], first: int, count: int) -> list[str]:
    """`count` components (or subcomponents) from the `first` on, each as `part` gives it."""
    found = [v if not v or v.isalnum() else _cleaned(v) for v in values[first - 1 : first - 1 + count]]
    while len(found) < count:
        found.append("")
    return found


def _cleaned(value: str) -> str:
    value = one_line(value)
    return "" if value == DELETED else value


def one_line(text: str) -> str:
    """A blank in place of line ends and control characters, no padding; every other character as it was sent."""
    return (text if text.isprintable() else _CONTROLS.sub(" ", text)).strip()
