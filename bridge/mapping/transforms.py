"""The closed list of transforms: each turns one path of a message into one value of ours.

A transform is made once for a row of the mapping, with its path, its table and the site's context, and then called
for every message with the repetitions found there, at least one. It answers None when they say nothing (the next path
is then tried) and raises BadValue for what cannot be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import TypeVar

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.patient import DELETED
from bridge.errors import BadValue, MissingField, TooLarge
from bridge.mapping import names, times
from bridge.mapping.context import MappingContext
from bridge.mapping.path import Path, part, parts, phrase, sentence
from bridge.mapping.source import Repetition, Segment, Source
from bridge.mapping.tables import CodeTable
from bridge.uids import is_uid

Found = tuple[Repetition, ...]
Reader = Callable[[Found], object | None]
Maker = Callable[[MappingContext, CodeTable | None, Path], Reader]
Step = Callable[[Source, Segment | None], object | None]


class Kind(Enum):
    """What a transform yields, and what a field of ours takes."""

    TEXT = "text"
    TEXTS = "texts"
    DATE = "a date"
    TIME = "a time of day"
    NAME = "a person name"
    IDENTIFIER = "an identifier"
    IDENTIFIERS = "identifiers"
    CODE = "a code"
    CODES = "codes"
    LOCAL = "a local time"
    INSTANT = "an instant"


def _first(source: Source, path: Path, _: CodeTable | None) -> Found:
    return path.repetitions(source)


def _every(source: Source, path: Path, _: CodeTable | None) -> Found:
    return path.everywhere(source)


@dataclass(frozen=True, slots=True)
class Transform:
    """`looks_up` gives the text that is looked for in the table, None when the transform takes no table; `gather`
    gives what the transform is called with: the repetitions of the first such segment, if nothing else is said."""

    kind: Kind
    make: Maker
    looks_up: Callable[[Source, Path, CodeTable], str] | None = None
    needs_table: bool = False
    gather: Callable[[Source, Path, CodeTable | None], Found] = _first

    def needs(self, path: Path) -> int:
        """The field of the path's first segment that must not be empty, or there is nothing; 0: the segment itself."""
        return path.field if self.gather is _first else 0

    def step(self, context: MappingContext, table: CodeTable | None, path: Path, *, type_1: bool = False) -> Step:
        """One path of a row, ready for any message: the value, None for nothing, `DELETED` for the HL7 null.

        Who has the first segment of the path's name at hand gives it to the step. It raises BadValue, and
        MissingField for the null where `type_1` forbids it; `where` is the path.
        """
        read, gather = self.make(context, table, path), self.gather
        field, where = path.field, str(path)
        direct = gather is _first and not path.repetition

        def step(source: Source, first: Segment | None = None) -> object | None:
            found = first.repetitions(field) if direct and first else gather(source, path, table)
            if not found:
                return None
            if DELETED in found[0].raw and path.is_null(found):
                if type_1:
                    raise MissingField(f"{where} cannot be deleted", where=where)
                return DELETED
            try:
                return read(found)
            except BadValue as fault:
                raise BadValue(f"{where} is {fault}", where=where) from None

        return step


def _text(_: MappingContext, table: CodeTable | None, path: Path) -> Reader:
    component, subcomponent = path.component or 1, path.subcomponent
    if table is None:
        if not subcomponent:
            return lambda found: phrase(found[0], component) or None
        return lambda found: part(found[0], component, subcomponent) or None

    def coded(found: Found) -> str | None:
        text = part(found[0], component, subcomponent)
        return table.get(text) if text else None

    return coded


def _any_code(_: MappingContext, table: CodeTable | None, path: Path) -> Reader:
    def read(found: Found) -> str | None:
        row = table.row(_known(found, path, table)) if table else None
        return row.ours or None if row else None

    return read


def _known(found: Found, path: Path, table: CodeTable) -> str:
    """The first of all repetitions that the table knows."""
    for one in found:
        text = path.value(one)
        if text and table.row(text):
            return text
    return ""


def _words(repetition: Repetition, at: int) -> str:
    """The text of a CE, else its code (2A.3)."""
    return phrase(repetition, at + 1) or phrase(repetition, at)


def _code_text(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
    at = path.component or 1
    return lambda found: next(filter(None, (_words(one, at) for one in found)), None)


T = TypeVar("T")


def _each_once(values: Iterable[T | None]) -> tuple[T, ...] | None:
    """What there is, in order; None when there is nothing."""
    found = tuple(filter(None, values))
    # Dataclasses hash themselves in Python: one alone need not be.
    return (tuple(dict.fromkeys(found)) if len(found) > 1 else found) or None


def _texts(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
    return lambda found: _each_once([path.value(one) for one in found])


def _code_texts(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
    at = path.component or 1
    return lambda found: _each_once([_words(one, at) for one in found])


def _joined(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
    return lambda found: " ".join(filter(None, parts(found[0].values(), 1, found[0].components))) or None


def _lines(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
    def read(found: Found) -> str | None:
        return "\n".join(["" if (text := one.whole) == DELETED else text for one in found]).strip() or None

    return read


def _free_text(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
    return lambda found: " ".join(filter(None, map(sentence, found))) or None


def _timed(read: Callable[[str, MappingContext], object | None]) -> Maker:
    def make(context: MappingContext, _: CodeTable | None, path: Path) -> Reader:
        component, subcomponent = path.component or 1, path.subcomponent

        def reader(found: Found) -> object | None:
            text = part(found[0], component, subcomponent)
            return read(text, context) if text else None

        return reader

    return make


def _uid(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
    def read(found: Found) -> str | None:
        text = path.value(found[0])
        if text and not is_uid(text):
            raise BadValue("not a UID")
        return text or None

    return read


def _person(read: Reader) -> Maker:
    return lambda context, table, path: read


def _cx(one: Repetition, context: MappingContext) -> Identifier | None:
    """CX (2A.14): value, check digit, scheme, authority HD, type."""
    value, kind = part(one, 1), part(one, 5)
    if not value:
        return None
    return Identifier(_short(value), context.issuers.canonical(*parts(one.subcomponents(4), 1, 3)), kind)


LONGEST_IDENTIFIER = 250
"""Four times what HL7 allows: what is longer is no number of anything, and no database would index it."""


def _short(value: str) -> str:
    if len(value) > LONGEST_IDENTIFIER:
        raise BadValue(f"longer than {LONGEST_IDENTIFIER} characters")
    return value


MOST_IDENTIFIERS = 500
"""Nobody has more; each is looked for and kept under the writer's lock, while every other sender waits."""


def _bounded(found: Found, path: Path) -> Found:
    if len(found) > MOST_IDENTIFIERS:
        raise TooLarge(f"more than {MOST_IDENTIFIERS} identifiers of one patient", where=str(path))
    return found


def _patient_identifiers(context: MappingContext, _: CodeTable | None, path: Path) -> Reader:
    """Who the patient is: the identifying types alone. One without an authority is the default authority's."""
    preferred, identifying, default = (
        context.preferred_patient_issuer, context.identifying_types, context.default_patient_issuer,
    )  # fmt: skip

    def rank(one: Identifier) -> int:
        if preferred and one.issuer == preferred:
            return 0
        return 1 if one.type in ("MR", "PI") else 2

    def read(found: Found) -> tuple[Identifier, ...] | None:
        every = [cx for one in _bounded(found, path) if (cx := _cx(one, context))]
        own = [one for one in every if one.type.upper() in identifying]
        if every and not own:
            raise BadValue("of no type that says who the patient is ([patients] identifying_types)")
        own = [one if one.issuer else replace(one, issuer=default) for one in own]
        own.sort(key=rank)
        return _each_once(own)

    return read


def _external_identifiers(context: MappingContext, _: CodeTable | None, path: Path) -> Reader:
    """What the person is also known by: it names nobody, and an authority that is left out stays unknown."""
    return lambda found: _each_once([_cx(one, context) for one in _bounded(found, path)])


def _other_identifiers(context: MappingContext, _: CodeTable | None, path: Path) -> Reader:
    """The rest of what `patient_identifiers` takes."""

    def read(found: Found) -> tuple[Identifier, ...] | None:
        every = [cx for one in _bounded(found, path) if (cx := _cx(one, context))]
        return _each_once([one for one in every if one.type.upper() not in context.identifying_types])

    return read


def _cx_identifier(context: MappingContext, _: CodeTable | None, __: Path) -> Reader:
    return lambda found: next(filter(None, (_cx(one, context) for one in found)), None)


def _ei(one: Repetition, context: MappingContext, default: str) -> Identifier | None:
    """EI: value, namespace, universal id and its type."""
    value, *authority = parts(one.values(), 1, 4)
    return Identifier(_short(value), context.issuers.canonical(*authority) or default) if value else None


def _entity(default_of: Callable[[MappingContext], str]) -> Maker:
    def make(context: MappingContext, _: CodeTable | None, __: Path) -> Reader:
        default = default_of(context)
        return lambda found: _ei(found[0], context, default)

    return make


def _entities(default_of: Callable[[MappingContext], str]) -> Maker:
    def make(context: MappingContext, _: CodeTable | None, __: Path) -> Reader:
        default = default_of(context)
        return lambda found: _each_once([_ei(one, context, default) for one in found])

    return make


def _read_code(one: Repetition, at: int, table: CodeTable | None) -> Code | None:
    """A triplet of a CE (2A.3) that begins at the path's component: 1, or 4 for the alternate one."""
    value, meaning, scheme = phrase(one, at), phrase(one, at + 1), part(one, at + 2)
    return Code(value, table.get(scheme) if table else scheme, meaning or value) if value else None


def _scheme(source: Source, path: Path, _: CodeTable) -> str:
    for one in path.repetitions(source)[:1]:
        return part(one, (path.component or 1) + 2)
    return ""


def _code(_: MappingContext, table: CodeTable | None, path: Path) -> Reader:
    at = path.component or 1
    return lambda found: next(filter(None, (_read_code(one, at, table) for one in found)), None)


def _codes(_: MappingContext, table: CodeTable | None, path: Path) -> Reader:
    at = path.component or 1
    return lambda found: _each_once([_read_code(one, at, table) for one in found])


_NUMBER = re.compile(r"\d{1,6}(?:[.,]\d{1,6})?", re.ASCII)
_LB, _IN, _THOUSANDTH = Decimal("0.45359237"), Decimal("0.0254"), Decimal("0.001")
_KILOGRAMS = {"kg": Decimal(1), "kgs": Decimal(1), "g": _THOUSANDTH, "lb": _LB, "lbs": _LB, "[lb_av]": _LB}
_METRES = {"m": Decimal(1), "cm": Decimal("0.01"), "mm": _THOUSANDTH, "in": _IN, "[in_i]": _IN, "[in_us]": _IN}


def _observed(source: Source, table: CodeTable | None, what: str) -> tuple[Segment, str] | None:
    """The first OBX whose identifier (OBX-3, either triplet) the table calls `what`, and the text that it meets."""
    for segment in source.segments("OBX"):
        for one in segment.repetitions(3)[:1]:
            code, text, _, other_code, other_text = parts(one.values(), 1, 5)
            for word in (code, text, other_code, other_text):
                if word and table and (row := table.row(word)) and row.ours == what:
                    return segment, word
    return None


def _measure(what: str, units: dict[str, Decimal], most: int) -> Transform:
    """OBX-5 with OBX-6 (UCUM or the usual word) in DICOM's unit, as a DS."""

    def gather(source: Source, path: Path, table: CodeTable | None) -> Found:
        found = _observed(source, table, what)
        value = found[0].repetitions(path.field)[:1] if found else ()
        return (*value, *found[0].repetitions(6)[:1]) if found and value else ()

    def make(_: MappingContext, __: CodeTable | None, path: Path) -> Reader:
        def read(found: Found) -> str | None:
            if not (text := path.value(found[0])):
                return None
            unit = part(found[1], 1).casefold() if len(found) > 1 else ""
            if not _NUMBER.fullmatch(text) or unit not in units:
                raise BadValue("not a number with a known unit")
            amount = Decimal(text.replace(",", ".")) * units[unit]
            if not 0 < amount < most:
                raise BadValue("not a possible measure")
            return f"{amount.quantize(_THOUSANDTH).normalize():f}"

        return read

    def looks_up(source: Source, _: Path, table: CodeTable) -> str:
        found = _observed(source, table, what)
        return found[1] if found else ""

    return Transform(Kind.TEXT, make, looks_up, needs_table=True, gather=gather)


TRANSFORMS: dict[str, Transform] = {
    "text": Transform(Kind.TEXT, _text, lambda source, path, _: path.text(source)),
    "any_code": Transform(
        Kind.TEXT, _any_code, lambda source, path, table: _known(path.everywhere(source), path, table), True, _every
    ),
    "code_text": Transform(Kind.TEXT, _code_text),
    "joined": Transform(Kind.TEXT, _joined),
    "free_text": Transform(Kind.TEXT, _free_text),
    "lines": Transform(Kind.TEXT, _lines, gather=_every),
    "date": Transform(Kind.DATE, _timed(lambda text, _: times.read_date(text))),
    "time": Transform(Kind.TIME, _timed(lambda text, context: times.read_time(text, context.zone))),
    "uid": Transform(Kind.TEXT, _uid),
    "weight_kg": _measure("weight", _KILOGRAMS, 1000),
    "size_m": _measure("size", _METRES, 4),
    "texts": Transform(Kind.TEXTS, _texts, gather=_every),
    "code_texts": Transform(Kind.TEXTS, _code_texts, gather=_every),
    "person_name": Transform(Kind.NAME, _person(names.read_person)),
    "provider_name": Transform(Kind.NAME, _person(names.read_provider)),
    "provider_name_without_id": Transform(Kind.NAME, _person(names.read_provider_without_id)),
    "cn_name": Transform(Kind.NAME, _person(names.read_cn)),
    "patient_identifiers": Transform(Kind.IDENTIFIERS, _patient_identifiers),
    "other_identifiers": Transform(Kind.IDENTIFIERS, _other_identifiers),
    "external_identifiers": Transform(Kind.IDENTIFIERS, _external_identifiers),
    "visit_identifier": Transform(Kind.IDENTIFIER, _cx_identifier),
    "placer_identifier": Transform(Kind.IDENTIFIER, _entity(lambda c: c.default_placer_issuer)),
    "filler_identifier": Transform(Kind.IDENTIFIER, _entity(lambda c: c.default_filler_issuer)),
    "placer_identifiers": Transform(Kind.IDENTIFIERS, _entities(lambda c: c.default_placer_issuer)),
    "filler_identifiers": Transform(Kind.IDENTIFIERS, _entities(lambda c: c.default_filler_issuer)),
    "accession_identifier": Transform(Kind.IDENTIFIER, _entity(lambda c: c.default_accession_issuer)),
    "code": Transform(Kind.CODE, _code, _scheme),
    "codes": Transform(Kind.CODES, _codes, _scheme),
    "local_time": Transform(Kind.LOCAL, _timed(lambda text, context: times.read_local(text, context.zone))),
    "instant": Transform(Kind.INSTANT, _timed(lambda text, context: times.read_instant(text, context.zone))),
}
