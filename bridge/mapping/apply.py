"""The compiled plan: a flat list of rules, applied to each message. No YAML, no checks, no regex made here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.order import NO_CODE, NO_CODES, NO_TEXTS
from bridge.domain.patient import DELETED, NO_NAME, PersonName
from bridge.errors import BadInput, MissingField
from bridge.mapping.load import Mark
from bridge.mapping.path import Path
from bridge.mapping.source import Focused, Segment, Source
from bridge.mapping.tables import CodeTable, Row
from bridge.mapping.transforms import Step, Transform


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found: the path that gave it, the value (`DELETED` for the HL7 null), or what is wrong there."""

    path: Path
    mark: Mark
    value: object | None = None
    fault: BadInput | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One field of ours and where it comes from. `type_1`: the DICOM attribute may not be empty, so that a value that
    cannot be used, or the null, refuses the message; otherwise it is left out with a warning."""

    name: str
    paths: tuple[tuple[Path, Mark], ...]
    steps: tuple[Step, ...]
    as_name: str
    transform: Transform
    table: CodeTable | None
    required: bool
    type_1: bool
    source: str
    mark: Mark
    vr: str = ""
    """Of a row of `attributes`, whose name is a DICOM tag."""

    plan: tuple[tuple[str, int, Step], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        plan = [
            (path.segment, self.transform.needs(path), step)
            for (path, _), step in zip(self.paths, self.steps, strict=True)
        ]
        object.__setattr__(self, "plan", tuple(plan))

    def mentions(self, segment: str) -> bool:
        """Whether a path begins with that segment."""
        return any(path.segment == segment for path, _ in self.paths)

    def find(self, source: Source) -> Found | None:
        """The first path that holds something; None when none does. Never raises."""
        for (path, mark), step in zip(self.paths, self.steps, strict=True):
            try:
                value = step(source, None)
            except BadInput as fault:
                return Found(path, mark, DELETED if isinstance(fault, MissingField) else None, fault)
            if value is not None:
                return Found(path, mark, value)
        return None

    def read(
        self, source: Source, warnings: list[str], firsts: dict[str, Segment | None] | None = None
    ) -> object | None:
        """What `find` finds, or None. Raises MissingField and BadValue as the rule asks.

        `firsts` remembers the first segment of each name from rule to rule: most paths lead to an empty field, and
        then nothing else is done.
        """
        known = {} if firsts is None else firsts
        try:
            for name, number, step in self.plan:
                if name in known:
                    segment = known[name]
                else:
                    found = source.segments(name)
                    segment = known[name] = found[0] if found else None
                if segment is None:
                    continue
                fields = segment.fields
                if number >= len(fields) or not fields[number]:
                    continue
                value = step(source, segment)
                if value is not None:
                    # Not `== ""`: a dataclass compares itself in Python.
                    if isinstance(value, str) and not value:
                        self._tell_unknown(source, warnings)
                    return value
        except BadInput as fault:
            if self.type_1 or self.required:
                raise
            warnings.append(f"{fault}: left out")
            return None
        if self.required:
            where = str(self.paths[0][0]) if self.paths else self.name
            raise MissingField(f"{where} is empty", where=where)
        return None

    def _tell_unknown(self, source: Source, warnings: list[str]) -> None:
        found = self.find(source)
        if found and self.table and not self.row(source, found.path):
            warnings.append(f"{found.path} is not in the table {self.table.name}")

    def sent(self, source: Source) -> str:
        """The sender's own word, as it stood before the table."""
        return next((text for path, _ in self.paths if (text := path.text(source))), "")

    def row(self, source: Source, path: Path) -> Row | None:
        """The table row that the value at `path` met."""
        if self.table is None or self.transform.looks_up is None:
            return None
        return self.table.row(self.transform.looks_up(source, path, self.table))


class Values(dict[str, object]):
    """The values of a section by name. Each getter answers with the empty value when the message says nothing, and
    with the null of its kind when the sender deletes; an identifier and a time are never deleted."""

    def text(self, name: str) -> str:
        """The text; `DELETED` when the sender deletes it."""
        value = self.get(name)
        return value if isinstance(value, str) else ""

    def kept(self, name: str) -> str:
        """The text of a field that is never deleted: the null says nothing."""
        value = self.get(name)
        return value if isinstance(value, str) and value != DELETED else ""

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.get(name)
        return value if isinstance(value, tuple) else NO_TEXTS if value == DELETED else ()

    def name(self, name: str) -> PersonName:
        value = self.get(name)
        return value if isinstance(value, PersonName) else NO_NAME if value == DELETED else PersonName()

    def identifier(self, name: str) -> Identifier | None:
        value = self.get(name)
        return value if isinstance(value, Identifier) else None

    def identifiers(self, name: str) -> tuple[Identifier, ...]:
        value = self.get(name)
        return value if isinstance(value, tuple) else ()

    def code(self, name: str) -> Code | None:
        value = self.get(name)
        return value if isinstance(value, Code) else NO_CODE if value == DELETED else None

    def codes(self, name: str) -> tuple[Code, ...]:
        value = self.get(name)
        return value if isinstance(value, tuple) else NO_CODES if value == DELETED else ()

    def moment(self, name: str) -> datetime | None:
        value = self.get(name)
        return value if isinstance(value, datetime) else None


@dataclass(frozen=True, slots=True)
class Section:
    """The rules of one thing of ours: patient, visit, order, procedure, step, event."""

    name: str
    rules: tuple[Rule, ...]
    by_name: dict[str, Rule] = field(init=False, compare=False)
    by_segment: dict[str, tuple[Rule, ...]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {rule.name: rule for rule in self.rules})
        names = {path.segment for rule in self.rules for path, _ in rule.paths}
        by_segment = {name: tuple(rule for rule in self.rules if rule.mentions(name)) for name in names}
        object.__setattr__(self, "by_segment", by_segment)

    def apply(self, source: Source, warnings: list[str]) -> Values:
        """Raises MissingField and BadValue (`where` is the path); lesser faults are appended to `warnings`."""
        if not isinstance(source, Focused) or source.shared is None:
            return self._run(self.rules, source, warnings)
        depending = self.by_segment.get(source.focus, ())
        common = source.shared.get(self.name)
        if common is not None:
            return Values(common | self._run(depending, source, warnings))
        values = self._run(self.rules, source, warnings)
        narrowed = {rule.name for rule in depending}
        source.shared[self.name] = {name: value for name, value in values.items() if name not in narrowed}
        return values

    @staticmethod
    def _run(rules: tuple[Rule, ...], source: Source, warnings: list[str]) -> Values:
        values = Values()
        firsts: dict[str, Segment | None] = {}
        for rule in rules:
            value = rule.read(source, warnings, firsts)
            if value is not None:
                values[rule.name] = value
        return values

    def rule(self, name: str) -> Rule | None:
        return self.by_name.get(name)
