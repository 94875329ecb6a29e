"""What a mapping reads from: segments, fields and repetitions, with nothing known of how they were parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Repetition(Protocol):
    """One repetition of a field. Values are decoded and unescaped; numbers count from 1."""

    @property
    def components(self) -> int:
        """How many components the sender wrote."""

    @property
    def text(self) -> str:
        """The first component, decoded."""

    @property
    def raw(self) -> str:
        """The whole repetition as sent, escapes and all."""

    @property
    def whole(self) -> str:
        """All of it as one text, decoded: what a sender left unescaped in a free text is text."""

    def joined(self, component: int) -> str:
        """A component with all its subcomponents as one text; '' when absent."""

    def values(self) -> list[str]:
        """Every component as `get` gives it; not to be changed."""

    def subcomponents(self, component: int) -> list[str]:
        """Every subcomponent of a component; [] when that is absent."""

    def get(self, component: int, subcomponent: int = 0) -> str:
        """'' when absent. Subcomponent 0 is the component itself, or its first subcomponent when it has several."""


class Segment(Protocol):
    """One segment, for those that repeat."""

    @property
    def name(self) -> str: ...

    @property
    def fields(self) -> Sequence[str]:
        """The fields as they were sent, by number; the name is number 0."""

    def repetitions(self, field: int) -> tuple[Repetition, ...]: ...


class Source(Protocol):
    """A whole message, or one order group of it, with a ZDS that it may share.

    A group answers with its own segments first and lends those of the message only where it has none of that name
    (MSH, PID, PV1, AL1). Notes (NTE) are never lent: those after PID say nothing of the order.
    """

    def repetitions(self, segment: str, field: int) -> tuple[Repetition, ...]:
        """The field of the first segment of that name, () when there is none or it is empty."""

    def segments(self, segment: str) -> tuple[Segment, ...]:
        """Every segment of that name, in order."""


class Focused:
    """A source in which one repeating segment (IPC, MRG) is narrowed to a single one of its kind.

    `shared`, when several views of one source are given the same one, keeps the values that do not depend on which
    segment a view is narrowed to, by section.
    """

    def __init__(self, source: Source, segment: Segment, shared: dict[str, dict[str, object]] | None = None) -> None:
        self.focus = segment.name
        self.shared = shared
        self._source = source
        self._by_name: dict[str, tuple[Segment, ...]] = {segment.name: (segment,)}

    def repetitions(self, segment: str, field: int) -> tuple[Repetition, ...]:
        found = self._by_name.get(segment)
        if found is None:
            found = self.segments(segment)
        return found[0].repetitions(field) if found else ()

    def segments(self, segment: str) -> tuple[Segment, ...]:
        found = self._by_name.get(segment)
        if found is None:
            found = self._by_name[segment] = self._source.segments(segment)
        return found
