"""A segment, its fields and their repetitions: cut when somebody asks, decoded last (HL7 v2.5.1 2.7)."""

from __future__ import annotations

from bridge.hl7.delimiters import PLAIN, Delimiters


class Repetition:
    """One repetition of a field: components count from 1, `raw` still carries its escapes."""

    __slots__ = ("_delimiters", "_parts", "_plain", "raw")

    def __init__(self, raw: str, delimiters: Delimiters) -> None:
        self.raw = raw
        self._delimiters = delimiters
        self._parts = raw.split(delimiters.component) if delimiters.component else [raw]
        # Without escapes and subcomponents, as most are, what is cut is already the value.
        self._plain = delimiters.escape not in raw and delimiters.subcomponent not in raw

    @property
    def components(self) -> int:
        """How many components there are, empty ones included."""
        return len(self._parts)

    @property
    def text(self) -> str:
        """The first component, decoded."""
        return self.get(1)

    def values(self) -> list[str]:
        """All components as `get` gives them; not to be changed."""
        parts = self._parts
        if self._plain:
            return parts
        escape, mark = self._delimiters.escape, self._delimiters.subcomponent
        return [self.get(n) if escape in value or mark in value else value for n, value in enumerate(parts, 1)]

    @property
    def whole(self) -> str:
        """All of it, decoded: a free text, in which senders leave `^` and `&` unescaped."""
        return self._delimiters.unescape(self.raw)

    def joined(self, component: int) -> str:
        """A component with the subcomponents that an unescaped `&` made of it, decoded; '' when absent."""
        parts = self._parts
        if not 0 < component <= len(parts):
            return ""
        return parts[component - 1] if self._plain else self._delimiters.unescape(parts[component - 1])

    def subcomponents(self, component: int) -> list[str]:
        """All subcomponents of a component, decoded; [] when it is absent."""
        parts = self._parts
        if not 0 < component <= len(parts):
            return []
        value, marks = parts[component - 1], self._delimiters
        if self._plain:
            return [value]
        cut = value.split(marks.subcomponent) if marks.subcomponent else [value]
        return [marks.unescape(one) for one in cut] if marks.escape in value else cut

    def get(self, component: int, subcomponent: int = 0) -> str:
        """Decoded text, '' when absent. Subcomponent 0 is the first one, which is the whole of a simple component."""
        parts = self._parts
        if not 0 < component <= len(parts):
            return ""
        value = parts[component - 1]
        if self._plain and subcomponent < 2:
            return value
        mark = self._delimiters.subcomponent
        if mark and mark in value:
            subs = value.split(mark)
            if subcomponent > len(subs):
                return ""
            value = subs[max(subcomponent, 1) - 1]
        elif subcomponent > 1:
            return ""
        return self._delimiters.unescape(value)

    def __repr__(self) -> str:
        return f"Repetition({len(self.raw)} characters)"


class Segment:
    """One segment: `name`, `number`, the line of the message where it begins (from 1), and its `text`."""

    __slots__ = ("_delimiters", "_fields", "_repetitions", "name", "number", "text")

    def __init__(self, name: str, number: int, text: str, delimiters: Delimiters) -> None:
        self.name = name
        self.number = number
        self.text = text
        self._delimiters = delimiters
        self._fields: list[str] | None = None
        self._repetitions: dict[int, tuple[Repetition, ...]] = {}

    def _cut(self) -> list[str]:
        marks = self._delimiters
        fields = self._fields = self.text.split(marks.field)
        if self.name == "MSH":
            # MSH-1 is the separator itself, so that all others count one higher (2.14.9.1); it and MSH-2 stay whole.
            fields.insert(1, marks.field)
            self._repetitions = {number: (Repetition(fields[number], PLAIN),) for number in (1, 2) if fields[number]}
        return fields

    @property
    def fields(self) -> list[str]:
        """All fields as they were sent, by number (0 is the segment's name); not to be changed."""
        return self._fields or self._cut()

    def raw_field(self, field: int) -> str:
        """The field as it was sent, escapes and repetitions included; '' when absent."""
        fields = self._fields or self._cut()
        return fields[field] if 0 < field < len(fields) else ""

    def repetitions(self, field: int) -> tuple[Repetition, ...]:
        """All repetitions of a field, empty ones kept in their place; () when the field is absent or empty."""
        known = self._repetitions.get(field)
        if known is None:
            fields = self._fields or self._cut()
            if field in self._repetitions:  # MSH-1 and MSH-2, as cutting leaves them
                return self._repetitions[field]
            raw = fields[field] if 0 < field < len(fields) else ""
            marks = self._delimiters
            if not raw:
                known = ()
            elif marks.repetition in raw:
                cut = raw.split(marks.repetition) if marks.repetition else [raw]
                known = tuple([Repetition(one, marks) for one in cut])
            else:
                known = (Repetition(raw, marks),)
            self._repetitions[field] = known
        return known

    def get(self, field: int, component: int = 1, subcomponent: int = 0) -> str:
        """The text of the first repetition; '' when absent."""
        repetitions = self.repetitions(field)
        return repetitions[0].get(component, subcomponent) if repetitions else ""

    def __repr__(self) -> str:
        return f"Segment({self.name}, line {self.number})"
