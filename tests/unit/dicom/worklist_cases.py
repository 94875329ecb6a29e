"""Keys of every kind for every attribute of the worklist's table, each with whether it finds the entry that is full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from bridge.dicom.model import STEP, STEP_SEQUENCE, TOP, Row
from bridge.domain.identity import Identifier
from bridge.domain.keys import Items, Kind
from bridge.domain.patient import PersonName
from bridge.domain.worklist import WorklistEntry
from tests.unit.dicom.support import TELLING, entry

ISSUERS = TELLING.issuers
FULL = entry(
    patient_name=PersonName("Doe^Jane^Q", "山田^花子", "やまだ^はなこ"),
    performing_physician=PersonName("Curie^Marie"),
    referring_physician=PersonName("Hippocrates^H"),
    patient_state="ISOLATED", medical_alerts="PACEMAKER", confidentiality="VIP", transport="WHEELCHAIR",
    comments="first line\r\nsecond", department="NEURO", patient_class="I", placer_issuer="hospital",
    filler_issuer="hospital", start_time="103000", other_patient_ids=(Identifier("N77", "hospital"),),
)  # fmt: skip
"""An entry that has a value for every attribute that the bridge holds."""
Path = tuple[int, ...]


class KeyCase(NamedTuple):
    """A key at a path of tags, `finds` whether it finds `FULL`; `kind` how it is compared."""

    path: Path
    kind: Kind
    value: str
    finds: bool

    @property
    def findscu(self) -> str:
        """As findscu is given it."""
        names = [keyword_for_tag(tag) for tag in self.path]
        return f"{'[0].'.join(names)}={self.value}"


def held() -> Iterator[tuple[Path, Row, Kind | Items, Any]]:
    """Every row that is a key, also inside of sequences: its path, kind and what the full entry has of it."""
    for before, rows in (((STEP_SEQUENCE,), STEP), ((), TOP)):
        for tag, row in rows.items():
            if row.name and row.match in ("R", "O"):
                attribute = row.attribute
                kind = attribute.items if attribute.kind is Kind.ITEMS else attribute.kind
                assert kind is not None
                yield from _held((*before, tag), row, kind, attribute.told(FULL, ISSUERS))


def _held(path: Path, row: Row, kind: Kind | Items, told: Any) -> Iterator[tuple[Path, Row, Kind | Items, Any]]:
    yield path, row, kind, told
    if not isinstance(kind, Kind):
        for tag, inner in row.items.items():
            if inner.name in kind and inner.name in told[0]:
                yield from _held((*path, tag), inner, kind[inner.name], told[0][inner.name])


def key_cases() -> Iterator[KeyCase]:
    for path, _, kind, told in held():
        if isinstance(kind, Kind):
            for value, finds in _VALUES[kind](told):
                yield KeyCase(path, kind, value, finds)


def query_of(*keys: tuple[Path, str]) -> Dataset:
    """An identifier with these keys, those of one sequence in one item."""
    data = Dataset()
    for path, value in keys:
        item = data
        for tag in path[:-1]:
            if tag not in item:
                item.add_new(tag, "SQ", [Dataset()])
            item = item[tag].value[0]
        # Any text, also in numbers: written as it is, as some devices do.
        vr = "US" if path[-1] == 0x001021C0 and value.isdigit() else "LO"
        item.add_new(path[-1], vr, int(value) if vr == "US" else value.split("\\"))
    return data


def empty(name: str) -> WorklistEntry:
    """The full entry without one attribute, which is told by the name of its key."""
    fields: dict[str, dict[str, Any]] = {
        "study_instance_uids": {"study_instance_uid": ""},
        "station_ae_title": {"station_ae_titles": ()},
        "requested_procedure_description": dict.fromkeys(
            ("requested_procedure_description", "step_description", "requested_procedure_id"), ""
        )
        | {"requested_procedure_code": None},
        "patient_issuer_qualifiers": {"patient_issuer": ""},
        "other_patient_ids": {"other_patient_ids": (), "patient_id": ""},
        "protocol_codes": {"protocol_codes": ()},
        "requested_procedure_code": {"requested_procedure_code": None},
        "allergies": {"allergies": ()},
        **{f"{who}_{what}": {f"{who}_{what}": PersonName()} for who, what in _PEOPLE},
    }
    fields["step_description"] = fields["requested_procedure_description"] | {"protocol_codes": ()}
    from dataclasses import replace

    return replace(FULL, **fields.get(name, {name: ""}))


_PEOPLE = [("patient", "name"), ("performing", "physician"), ("requesting", "physician"), ("referring", "physician")]


def _texts(told: Any) -> Iterator[tuple[str, bool]]:
    one = str(told[-1] if isinstance(told, tuple) else told).replace("\r\n", "*")
    plain = "*" not in one
    yield one, True
    yield f" {one} ", True
    yield f"{one[:2]}*", True
    yield f"*{one[-1]}", True
    yield f"{one[:-1]}?", True
    yield "*", True
    yield "**", True
    yield f"{one}?", False
    yield f"{one}X", False
    yield f"X{one}", False
    yield f"*X*{one}", False
    yield f"NONE\\{one}", True
    yield "NONE\\NADA", False
    if one.upper() != one.lower() and plain:
        yield one.swapcase(), False


def _names(told: PersonName) -> Iterator[tuple[str, bool]]:
    family, _, given = told.alphabetic.partition("^")
    for key in (told.alphabetic, told.alphabetic.upper(), f"{family}^*", f"{family[:2]}*", f"{told.alphabetic}^^"):
        yield key, True
    for key in ("*", "**", "*^*", "^", "*=*=*", f"*{given[-1]}", f"{family[:-1]}?^{given}"):
        yield key, True
    for key in (family[:-1], f"X{family}*", f"{given}^{family}", f"={family}*", "Ptolemy*"):
        yield key, False


def _dates(told: str) -> Iterator[tuple[str, bool]]:
    year = int(told[:4])
    acr = f"{told[:4]}.{told[4:6]}.{told[6:]}"
    for key in (told, f"{told}-", f"-{told}", f"{year - 1}0101-{year + 1}1231", acr, "*", "**", f" {told} "):
        yield key, True
    for key in (f"{year + 1}0101", f"{year + 1}0101-", f"-{year - 1}1231", f"{year + 1}0101-{year + 2}0101"):
        yield key, False


def _times(told: str) -> Iterator[tuple[str, bool]]:
    for key in (told, told[:4], f"{told[:4]}-", f"-{told[:4]}", "0000-2400", f"{told[:2]}:{told[2:4]}", "*", "**"):
        yield key, True
    for key in ("0001", "2359-", "-0001", "0001-0002"):
        yield key, False


def _numbers(told: str) -> Iterator[tuple[str, bool]]:
    if "." in told:
        for key in (told, f" {told} ", f"{told}0", f"+{told}", f"0{told}", "*", "**"):
            yield key, True
        yield f"{told}1", False
    else:  # a binary number (US)
        yield from ((told, True), ("7", False))


def _uids(told: str) -> Iterator[tuple[str, bool]]:
    yield from ((told, True), (f"1.9.9\\{told}", True), ("*", True), ("**", True), (f"*\\{told}", True))
    yield from (("1.9.9", False), ("1.9.8\\1.9.9", False), (f"{told}.1", False), (told[:-1], False))


_VALUES: dict[Kind, Any] = {
    Kind.TEXT: _texts, Kind.NAME: _names, Kind.DATE: _dates, Kind.TIME: _times, Kind.NUMBER: _numbers,
    Kind.UIDS: _uids,
}  # fmt: skip
