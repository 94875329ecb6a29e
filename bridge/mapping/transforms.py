"""The closed list of transforms: each turns one path of a message into one value of ours.

A transform answers None when there is nothing at its path (the next path is then tried) and raises BadValue for what
cannot be. It is made once, with the site's context and its table, and then called for every message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.errors import BadValue
from bridge.mapping import names, times
from bridge.mapping.context import MappingContext
from bridge.mapping.path import Path, part
from bridge.mapping.source import Repetition, Segment, Source
from bridge.mapping.tables import CodeTable
from bridge.uids import is_uid

Reader = Callable[[Source, Path], object | None]
Maker = Callable[[MappingContext, CodeTable | None], Reader]


class Kind(Enum):
    """What a transform yields, and what a field of ours takes."""

    TEXT = "text"
    TEXTS = "texts"
    NAME = "a person name"
    IDENTIFIER = "an identifier"
    IDENTIFIERS = "identifiers"
    CODE = "a code"
    CODES = "codes"
    LOCAL = "a local time"
    INSTANT = "an instant"


@dataclass(frozen=True, slots=True)
class Transform:
    """`looks_up` gives the text that is looked for in the table, None when the transform takes no table."""

    kind: Kind
    make: Maker
    looks_up: Callable[[Source, Path, CodeTable], str] | None = None
    needs_table: bool = False


def _text(_: MappingContext, table: CodeTable | None) -> Reader:
    if table is None:
        return lambda source, path: path.text(source) or None

    def coded(source: Source, path: Path) -> str | None:
        text = path.text(source)
        return table.get(text) if text else None

    return coded


def _any_code(_: MappingContext, table: CodeTable | None) -> Reader:
    def read(source: Source, path: Path) -> str | None:
        return table.get(_known(source, path, table)) or None if table else None

    return read


def _known(source: Source, path: Path, table: CodeTable) -> str:
    """The first of all repetitions that the table knows."""
    texts = (path.value(one) for one in path.everywhere(source))
    return next((text for text in texts if text and table.row(text)), "")


def _words(repetition: Repetition, path: Path) -> str:
    """The text of a CE, else its code (2A.3)."""
    at = path.component or 1
    return part(repetition, at + 1) or part(repetition, at)


def _code_text(_: MappingContext, __: CodeTable | None) -> Reader:
    return lambda source, path: next(filter(None, (_words(r, path) for r in path.repetitions(source))), None)


def _distinct(values: list[str]) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(filter(None, values))) or None


def _texts(_: MappingContext, __: CodeTable | None) -> Reader:
    return lambda source, path: _distinct([path.value(one) for one in path.everywhere(source)])


def _code_texts(_: MappingContext, __: CodeTable | None) -> Reader:
    return lambda source, path: _distinct([_words(one, path) for one in path.everywhere(source)])


def _joined(_: MappingContext, __: CodeTable | None) -> Reader:
    def read(source: Source, path: Path) -> str | None:
        for one in path.repetitions(source)[:1]:
            return " ".join(filter(None, (part(one, c) for c in range(1, one.components + 1)))) or None
        return None

    return read


def _lines(_: MappingContext, __: CodeTable | None) -> Reader:
    return lambda source, path: "\n".join(one.get(1) for one in path.everywhere(source)).strip() or None


def _date(_: MappingContext, __: CodeTable | None) -> Reader:
    def read(source: Source, path: Path) -> str | None:
        text = path.text(source)
        return times.read_date(text) if text else None

    return read


def _local_time(context: MappingContext, _: CodeTable | None) -> Reader:
    def read(source: Source, path: Path) -> object | None:
        text = path.text(source)
        return times.read_local(text, context.zone) if text else None

    return read


def _instant(context: MappingContext, _: CodeTable | None) -> Reader:
    def read(source: Source, path: Path) -> object | None:
        text = path.text(source)
        return times.read_instant(text, context.zone) if text else None

    return read


def _uid(_: MappingContext, __: CodeTable | None) -> Reader:
    def read(source: Source, path: Path) -> str | None:
        text = path.text(source)
        if text and not is_uid(text):
            raise BadValue("not a UID")
        return text or None

    return read


def _person_name(_: MappingContext, __: CodeTable | None) -> Reader:
    return lambda source, path: names.read_person(path.repetitions(source))


def _provider_name(_: MappingContext, __: CodeTable | None) -> Reader:
    return lambda source, path: names.read_provider(path.repetitions(source))


def _cn_name(_: MappingContext, __: CodeTable | None) -> Reader:
    return lambda source, path: names.read_cn(path.repetitions(source))


# An identifier of these types (table 0203) without an authority is taken for one of the default authority.
_OWN_TYPES = frozenset({"", "MR", "PI", "PT", "PN", "ANON"})


def _cx(one: Repetition, context: MappingContext, default: str) -> Identifier | None:
    """CX (2A.14): value, check digit, scheme, authority HD, type."""
    value, kind = part(one, 1), part(one, 5)
    if not value:
        return None
    issuer = context.issuers.canonical(part(one, 4, 1), part(one, 4, 2), part(one, 4, 3))
    return Identifier(value, issuer or (default if kind in _OWN_TYPES else ""), kind)


def _patient_identifiers(context: MappingContext, _: CodeTable | None) -> Reader:
    preferred = context.preferred_patient_issuer

    def rank(one: Identifier) -> int:
        if preferred and one.issuer == preferred:
            return 0
        return 1 if one.type in ("MR", "PI") else 2

    def read(source: Source, path: Path) -> tuple[Identifier, ...] | None:
        found = (_cx(one, context, context.default_patient_issuer) for one in path.repetitions(source))
        return tuple(dict.fromkeys(sorted(filter(None, found), key=rank))) or None

    return read


def _cx_identifier(context: MappingContext, _: CodeTable | None) -> Reader:
    return lambda source, path: next(filter(None, (_cx(one, context, "") for one in path.repetitions(source))), None)


def _entity(default_of: Callable[[MappingContext], str]) -> Maker:
    """EI: value, namespace, universal id and its type."""

    def make(context: MappingContext, _: CodeTable | None) -> Reader:
        default = default_of(context)

        def read(source: Source, path: Path) -> Identifier | None:
            for one in path.repetitions(source)[:1]:
                if value := part(one, 1):
                    issuer = context.issuers.canonical(part(one, 2), part(one, 3), part(one, 4))
                    return Identifier(value, issuer or default)
            return None

        return read

    return make


def _read_code(one: Repetition, path: Path, table: CodeTable | None) -> Code | None:
    """A triplet of a CE (2A.3) that begins at the path's component: 1, or 4 for the alternate one."""
    at = path.component or 1
    value, meaning, scheme = part(one, at), part(one, at + 1), part(one, at + 2)
    return Code(value, table.get(scheme) if table else scheme, meaning or value) if value else None


def _scheme(source: Source, path: Path, _: CodeTable) -> str:
    for one in path.repetitions(source)[:1]:
        return part(one, (path.component or 1) + 2)
    return ""


def _code(_: MappingContext, table: CodeTable | None) -> Reader:
    return lambda source, path: next(
        filter(None, (_read_code(one, path, table) for one in path.repetitions(source))), None
    )


def _codes(_: MappingContext, table: CodeTable | None) -> Reader:
    def read(source: Source, path: Path) -> tuple[Code, ...] | None:
        found = (_read_code(one, path, table) for one in path.repetitions(source))
        return tuple(dict.fromkeys(filter(None, found))) or None

    return read


_NUMBER = re.compile(r"\d{1,6}(?:[.,]\d{1,6})?", re.ASCII)
_KILOGRAMS = {"kg": "1", "kgs": "1", "g": "0.001", "lb": "0.45359237", "lbs": "0.45359237", "[lb_av]": "0.45359237"}
_METRES = {"m": "1", "cm": "0.01", "mm": "0.001", "in": "0.0254", "[in_i]": "0.0254", "[in_us]": "0.0254"}


def _observed(source: Source, table: CodeTable | None, what: str) -> tuple[Segment, str] | None:
    """The first OBX whose identifier (OBX-3, either triplet) the table calls `what`, and the text that it meets."""
    for segment in source.segments("OBX"):
        for one in segment.repetitions(3)[:1]:
            for component in (1, 2, 4, 5):
                text = part(one, component)
                if text and table and table.get(text) == what:
                    return segment, text
    return None


def _measure(what: str, units: dict[str, str], most: int) -> Transform:
    """OBX-5 with OBX-6 (UCUM or the usual word) in DICOM's unit, as a DS."""

    def make(_: MappingContext, table: CodeTable | None) -> Reader:
        def read(source: Source, path: Path) -> str | None:
            found = _observed(source, table, what)
            values = found[0].repetitions(path.field) if found else ()
            if not found or not values or not (text := path.value(values[0])):
                return None
            unit = next((part(one, 1) for one in found[0].repetitions(6)), "").casefold()
            if not _NUMBER.fullmatch(text) or unit not in units:
                raise BadValue("not a number with a known unit")
            amount = Decimal(text.replace(",", ".")) * Decimal(units[unit])
            if not 0 < amount < most:
                raise BadValue("not a possible measure")
            return f"{amount.quantize(Decimal('0.001')).normalize():f}"

        return read

    def looks_up(source: Source, _: Path, table: CodeTable) -> str:
        found = _observed(source, table, what)
        return found[1] if found else ""

    return Transform(Kind.TEXT, make, looks_up, needs_table=True)


TRANSFORMS: dict[str, Transform] = {
    "text": Transform(Kind.TEXT, _text, lambda source, path, _: path.text(source)),
    "any_code": Transform(Kind.TEXT, _any_code, _known, needs_table=True),
    "code_text": Transform(Kind.TEXT, _code_text),
    "joined": Transform(Kind.TEXT, _joined),
    "lines": Transform(Kind.TEXT, _lines),
    "date": Transform(Kind.TEXT, _date),
    "uid": Transform(Kind.TEXT, _uid),
    "weight_kg": _measure("weight", _KILOGRAMS, 1000),
    "size_m": _measure("size", _METRES, 4),
    "texts": Transform(Kind.TEXTS, _texts),
    "code_texts": Transform(Kind.TEXTS, _code_texts),
    "person_name": Transform(Kind.NAME, _person_name),
    "provider_name": Transform(Kind.NAME, _provider_name),
    "cn_name": Transform(Kind.NAME, _cn_name),
    "patient_identifiers": Transform(Kind.IDENTIFIERS, _patient_identifiers),
    "visit_identifier": Transform(Kind.IDENTIFIER, _cx_identifier),
    "placer_identifier": Transform(Kind.IDENTIFIER, _entity(lambda c: c.default_placer_issuer)),
    "filler_identifier": Transform(Kind.IDENTIFIER, _entity(lambda c: c.default_filler_issuer)),
    "accession_identifier": Transform(Kind.IDENTIFIER, _entity(lambda c: c.default_accession_issuer)),
    "code": Transform(Kind.CODE, _code, _scheme),
    "codes": Transform(Kind.CODES, _codes, _scheme),
    "local_time": Transform(Kind.LOCAL, _local_time),
    "instant": Transform(Kind.INSTANT, _instant),
}
