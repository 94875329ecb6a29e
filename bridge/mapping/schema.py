"""What mapping files may say, and every fault in them at once.

A row is `field: {from: [PATH, ...], as: TRANSFORM, table: NAME, required: true, type: 1, source: "clause"}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from bridge.domain.attributes import TEXT_VRS
from bridge.mapping.load import Listing, Mapping, Mark, Node, Scalar
from bridge.mapping.path import Path
from bridge.mapping.tables import CodeTable, Row, folded_key
from bridge.mapping.transforms import TRANSFORMS, Kind

FIELDS: dict[str, dict[str, dict[str, Kind]]] = {
    "hl7/patient": {
        "patient": {
            "identifiers": Kind.IDENTIFIERS,
            "other_identifiers": Kind.IDENTIFIERS,
            "external_identifiers": Kind.IDENTIFIERS,
            "alternate_identifiers": Kind.IDENTIFIERS,
            "name": Kind.NAME,
            "birth_date": Kind.DATE,
            "sex": Kind.TEXT,
        },
        "visit": {
            "admission": Kind.IDENTIFIER,
            "account": Kind.IDENTIFIER,
            "alternate": Kind.IDENTIFIER,
            "patient_class": Kind.TEXT,
            "location": Kind.TEXT,
            "referring_physician": Kind.NAME,
        },
        "event": {"occurred": Kind.INSTANT},
        "allergies": {"known": Kind.TEXTS},
        "allergy": {"substance": Kind.TEXT, "action": Kind.TEXT},
        "merge": {"prior": Kind.IDENTIFIERS, "prior_name": Kind.NAME},
        "moved": {"account": Kind.IDENTIFIER, "visit": Kind.IDENTIFIER, "alternate": Kind.IDENTIFIER},
    },
    "hl7/order": {
        "order": {
            "control": Kind.TEXT,
            "status": Kind.TEXT,
            "placer": Kind.IDENTIFIER,
            "filler": Kind.IDENTIFIER,
            "detail_placer": Kind.IDENTIFIER,
            "detail_filler": Kind.IDENTIFIER,
            "accession": Kind.IDENTIFIER,
            "event_time": Kind.INSTANT,
            "sent_time": Kind.INSTANT,
            "requesting_physician": Kind.NAME,
            "department": Kind.TEXT,
            "patient_state": Kind.TEXT,
            "confidentiality": Kind.TEXT,
            "medical_alerts": Kind.TEXT,
            "allergies": Kind.TEXTS,
            "pregnancy_status": Kind.TEXT,
            "patient_weight_kg": Kind.TEXT,
            "patient_size_m": Kind.TEXT,
        },
        "procedure": {
            "procedure_id": Kind.TEXT,
            "study_instance_uid": Kind.TEXT,
            "description": Kind.TEXT,
            "code": Kind.CODE,
            "priority": Kind.TEXT,
            "reason": Kind.TEXT,
            "transport": Kind.TEXT,
            "comments": Kind.TEXT,
        },
        "step": {
            "step_id": Kind.TEXT,
            "modality": Kind.TEXT,
            "modality_of_procedure": Kind.TEXT,
            "not_imaging": Kind.TEXT,
            "start": Kind.LOCAL,
            "station_ae_titles": Kind.TEXTS,
            "station_name": Kind.TEXT,
            "location": Kind.TEXT,
            "description": Kind.TEXT,
            "protocol_codes": Kind.CODES,
            "performing_physician": Kind.NAME,
        },
    },
    "hl7/report": {
        "report": {
            "placer": Kind.IDENTIFIER,
            "filler": Kind.IDENTIFIER,
            "accession": Kind.IDENTIFIER,
            "study_instance_uid": Kind.TEXT,
            "status": Kind.TEXT,
            "code": Kind.CODE,
            "interpreter": Kind.NAME,
            "issued": Kind.INSTANT,
            "sent": Kind.INSTANT,
        },
        "observation": {"part": Kind.TEXT, "document_type": Kind.TEXT},
    },
    "hl7/appointment": {
        "appointment": {
            "placers": Kind.IDENTIFIERS,
            "fillers": Kind.IDENTIFIERS,
            "appointment_placers": Kind.IDENTIFIERS,
            "appointment_fillers": Kind.IDENTIFIERS,
            "start": Kind.LOCAL,
            "location": Kind.TEXT,
            "occurred": Kind.INSTANT,
        },
        "slot": {"start": Kind.LOCAL, "location": Kind.TEXT},
    },
}
"""File -> section -> field -> what it takes."""

ATTRIBUTES = "attributes"
"""The section of `hl7/order` whose fields are DICOM tags of the site's choice; each row names its `vr`."""
_TAG = re.compile(r"\(([0-9A-F]{3}[02468ACE]),([0-9A-F]{4})\)")
_KINDS_OF: dict[str, frozenset[Kind]] = {
    **dict.fromkeys(TEXT_VRS, frozenset({Kind.TEXT, Kind.TEXTS})),
    "DA": frozenset({Kind.DATE}),
    "TM": frozenset({Kind.TIME}),
    "PN": frozenset({Kind.NAME}),
    "SQ": frozenset({Kind.CODE, Kind.CODES}),
}

_ROW_KEYS = ("from", "as", "table", "required", "type", "source")
_TABLE_KEYS = ("source", "unknown", "codes")


@dataclass(frozen=True, slots=True)
class RuleText:
    """A checked row."""

    name: str
    paths: tuple[tuple[Path, Mark], ...]
    transform: str
    table: str
    required: bool
    type_1: bool
    source: str
    mark: Mark
    vr: str = ""


class Checker:
    """Reads nodes and keeps every fault as `file:line: text`."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults

    def fault(self, mark: Mark, text: str) -> None:
        self.faults.append(f"{mark}: {text}")

    def text(self, node: Node | None) -> str:
        if isinstance(node, Scalar):
            return node.text
        if node is not None:
            self.fault(node.mark, "expected a text")
        return ""

    def choice(self, row: Mapping, key: str, choices: tuple[str, ...]) -> str:
        """The text under `key`, the first choice when absent."""
        if key not in row.entries:
            return choices[0]
        text = self.text(row.entries[key])
        if text in choices:
            return text
        self.fault(row.keys[key], f"'{key}' is one of {', '.join(choices)}")
        return choices[0]

    def known_keys(self, node: Mapping, known: tuple[str, ...], what: str) -> None:
        for key, mark in node.keys.items():
            if key not in known:
                self.fault(mark, f"{what} '{key}' is not known; known are {', '.join(known)}")

    def file(self, name: str, root: Mapping, tables: dict[str, CodeTable]) -> dict[str, tuple[RuleText, ...]]:
        """The sections of `hl7/order`, `hl7/patient`, `hl7/report` or `hl7/appointment`."""
        sections = FIELDS[name]
        open_ones = (ATTRIBUTES,) if name == "hl7/order" else ()
        self.known_keys(root, (*sections, *open_ones), "the section")
        checked: dict[str, tuple[RuleText, ...]] = {}
        for section, fields in sections.items():
            node = root.entries.get(section)
            if not isinstance(node, Mapping):
                self.fault(node.mark if node else root.mark, f"the section '{section}' is missing or not a section")
                continue
            self.known_keys(node, tuple(fields), "the field")
            rows = [self.row(f, node, frozenset({kind}), tables) for f, kind in fields.items() if f in node.entries]
            checked[section] = tuple(row for row in rows if row)
        for section in open_ones:
            node = root.entries.get(section)
            if isinstance(node, Mapping):
                checked[section] = tuple(row for name in node.entries if (row := self.attribute(name, node, tables)))
            elif node is None:
                checked[section] = ()
            else:
                self.fault(node.mark, f"'{section}' is a section")
        return checked

    def attribute(self, name: str, section: Mapping, tables: dict[str, CodeTable]) -> RuleText | None:
        """A row whose field is a DICOM tag, `(gggg,eeee)`, with its VR."""
        node, mark = section.entries[name], section.keys[name]
        if not _TAG.fullmatch(name):
            self.fault(mark, f"'{name}' is no tag of the standard such as (0040,2008)")
        vr = self.text(node.entries.get("vr")) if isinstance(node, Mapping) else ""
        if vr not in _KINDS_OF:
            self.fault(mark, f"'vr' is one of {', '.join(sorted(_KINDS_OF))}")
            return None
        row = self.row(name, section, _KINDS_OF[vr], tables, ("vr",))
        return replace(row, vr=vr) if row else None

    def row(
        self,
        name: str,
        section: Mapping,
        kinds: frozenset[Kind],
        tables: dict[str, CodeTable],
        more_keys: tuple[str, ...] = (),
    ) -> RuleText | None:
        """One row; None when it is too wrong to go on."""
        node, mark = section.entries[name], section.keys[name]
        if not isinstance(node, Mapping):
            self.fault(mark, f"'{name}' needs {{from: [...], as: ..., source: ...}}")
            return None
        self.known_keys(node, (*_ROW_KEYS, *more_keys), "the key")
        paths = self.paths(node.entries.get("from"), mark)
        transform, table = self.text(node.entries.get("as")), self.text(node.entries.get("table"))
        source = self.text(node.entries.get("source"))
        if not source:
            self.fault(mark, f"'{name}' names no source")
        self.transform(transform, table, kinds, node.keys.get("as", mark), tables)
        required = self.choice(node, "required", ("false", "true")) == "true"
        type_1 = self.choice(node, "type", ("2", "1")) == "1"
        return RuleText(name, paths, transform, table, required, type_1, source, mark)

    def paths(self, node: Node | None, mark: Mark) -> tuple[tuple[Path, Mark], ...]:
        if not isinstance(node, Listing):
            self.fault(node.mark if node else mark, "'from' is a list of paths")
            return ()
        found: list[tuple[Path, Mark]] = []
        for item in node.items:
            try:
                found.append((Path.parse(self.text(item)), item.mark))
            except ValueError as fault:
                self.fault(item.mark, f"{self.text(item)!r} is {fault}")
        return tuple(found)

    def transform(
        self, name: str, table: str, kinds: frozenset[Kind], mark: Mark, tables: dict[str, CodeTable]
    ) -> None:
        transform = TRANSFORMS.get(name)
        if transform is None:
            self.fault(mark, f"no transform '{name}'; there are {', '.join(sorted(TRANSFORMS))}")
            return
        if transform.kind not in kinds:
            takes = " or ".join(sorted(kind.value for kind in kinds))
            self.fault(mark, f"'{name}' yields {transform.kind.value}, the field takes {takes}")
        if table and transform.looks_up is None:
            self.fault(mark, f"'{name}' takes no table")
        if transform.needs_table and not table:
            self.fault(mark, f"'{name}' needs a table")
        if table and table not in tables:
            self.fault(mark, f"no table '{table}' in codes/")

    def table(self, name: str, root: Mapping) -> CodeTable:
        """A file of `codes/`."""
        self.known_keys(root, _TABLE_KEYS, "the key")
        source = self.text(root.entries.get("source"))
        if not source:
            self.fault(root.mark, f"the table '{name}' names no source")
        keep = self.choice(root, "unknown", ("empty", "keep")) == "keep"
        codes = root.entries.get("codes")
        if not isinstance(codes, Mapping):
            self.fault(codes.mark if codes else root.mark, "'codes' maps what is sent to what we write")
            return CodeTable(name, source, ())
        rows: dict[str, Row] = {}
        for sent, node in codes.entries.items():
            row, key = Row(sent, self.text(node), node.mark), folded_key(sent)
            # A site's overlay may spell a key in its own case; within one file that is a slip.
            if key in rows and rows[key].mark.file == row.mark.file:
                self.fault(codes.keys[sent], f"'{sent}' differs only in case from line {rows[key].mark.line}")
            rows[key] = row
        return CodeTable(name, source, rows.values(), keep_unknown=keep)
