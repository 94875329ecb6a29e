"""MPPS N-CREATE and N-SET as data: checks of PS3.4 Table F.7.2-1 over the DICOM JSON model (PS3.18 F).

Nothing here parses DICOM, so `changed` may run inside a transaction. Strict where the schedule hangs on it (UIDs,
status, type 1), tolerant where devices are known to be careless: absent type 2 attributes, and a final status without
end time or series, are taken and logged. Attributes that N-SET must not touch are never applied: the answer is then
0107 (a warning) and the rest of the change holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from bridge.domain import performed
from bridge.domain.coding import Code
from bridge.domain.identity import Issuers
from bridge.domain.performed import ListedInstance, PerformedStatus, PerformedStep, ScheduledReference
from bridge.errors import BadValue, MissingField
from bridge.uids import is_uid

Attributes: TypeAlias = dict[str, Any]
SCHEDULED, SERIES, STATUS, DISCONTINUATION = "00400270", "00400340", "00400252", "00400281"
_TYPE_1 = ("00400253", "00400241", "00400244", "00400245", STATUS, "00080060")
_FIXED = frozenset(
    {
        *(SCHEDULED, "00100010", "00100020", "00100021", "00100024", "00100030", "00100040", "00081120", "00380010"),
        *("00400253", "00400241", "00400242", "00400243", "00400244", "00400245", "00080060", "00200010"),
    }
)
"""Marked as not allowed in N-SET (Table F.7.2-1), with the patient's issuers."""


class Defaults(NamedTuple):
    """Canonical names of the issuers meant by a sender that names none."""

    patient_issuer: str
    accession_issuer: str
    issuers: Issuers


class Change(NamedTuple):
    """An applied N-SET: `ignored` names attributes that may not be set, `missing` what a final step lacks."""

    step: PerformedStep
    attributes: Attributes
    ignored: tuple[str, ...]
    missing: tuple[str, ...]


def create(sop_instance_uid: str, attributes: Attributes, defaults: Defaults) -> PerformedStep:
    """Check a new step: `MissingField` (0120; code `missing-value`: 0121), `BadValue` (0106; `bad-uid`: 0117)."""
    if not is_uid(sop_instance_uid):
        raise BadValue("not a UID", where="(0000,1000)", code="bad-uid")
    for tag in (SCHEDULED, *_TYPE_1):
        _required(attributes, tag)
    for item in items(attributes, SCHEDULED):
        _required(item, "0020000D")
        if not is_uid(text(item, "0020000D")):
            raise BadValue("not a UID", where="(0020,000D)")
    _series(attributes)
    performed.created(text(attributes, STATUS))
    return step_of(sop_instance_uid, attributes, defaults)


def change(
    sop_instance_uid: str, current: PerformedStatus, stored: Attributes, asked: Attributes, defaults: Defaults
) -> Change:
    """Apply an N-SET: a sequence replaces the whole sequence. `StateConflict` when final, `BadValue` for the status."""
    performed.changed(current, text(asked, STATUS))
    if STATUS in asked and not text(asked, STATUS):
        raise MissingField("an empty status", where="(0040,0252)", code="missing-value")
    _series(asked)
    ignored = tuple(tag for tag in asked if tag in _FIXED and asked[tag] != stored.get(tag))
    merged = stored | {tag: value for tag, value in asked.items() if tag not in _FIXED}
    if "00080005" in stored:
        merged["00080005"] = stored["00080005"]
    step = step_of(sop_instance_uid, merged, defaults)
    final = step.status is not PerformedStatus.IN_PROGRESS
    missing = tuple(tag for tag in ("00400250", "00400251", SERIES) if final and not _filled(merged, tag))
    return Change(step, merged, tuple(map(_where, ignored)), tuple(map(_where, missing)))


def step_of(sop_instance_uid: str, attributes: Attributes, defaults: Defaults) -> PerformedStep:
    """What the workflow acts on, read from the whole data set."""
    series = items(attributes, SERIES)
    patient_id = text(attributes, "00100020")
    return PerformedStep(
        sop_instance_uid=sop_instance_uid,
        status=PerformedStatus(text(attributes, STATUS)),
        scheduled=tuple(_scheduled(item, defaults) for item in items(attributes, SCHEDULED)),
        station_ae_title=text(attributes, "00400241"),
        modality=text(attributes, "00080060"),
        start=_moment(attributes, "00400244", "00400245"),
        end=_moment(attributes, "00400250", "00400251"),
        discontinuation=tuple(
            Code(text(item, "00080100"), text(item, "00080102"), text(item, "00080104"))
            for item in items(attributes, DISCONTINUATION)
        ),
        series_instance_uids=tuple(uid for item in series if (uid := text(item, "0020000E"))),
        instances=tuple(one for item in series for one in _listed(item)),
        patient_id=patient_id,
        patient_issuer=_patient_issuer(attributes, defaults) if patient_id else "",
    )


def text(attributes: Attributes, tag: str) -> str:
    """The first value as text; '' when absent or empty."""
    values = attributes.get(tag, {}).get("Value") or [""]
    first = values[0]
    if isinstance(first, dict):
        return str(first.get("Alphabetic", ""))
    return "" if first is None else str(first).strip()


def items(attributes: Attributes, tag: str) -> list[Attributes]:
    """The items of a sequence that hold anything; real devices send empty ones too."""
    found = attributes.get(tag, {}).get("Value") or []
    return [item for item in found if isinstance(item, dict) and item]


def _scheduled(item: Attributes, defaults: Defaults) -> ScheduledReference:
    accession = text(item, "00080050")
    return ScheduledReference(
        study_instance_uid=text(item, "0020000D"),
        accession_number=accession,
        accession_issuer=_issuer(item, "00080051", "", defaults.accession_issuer, defaults) if accession else "",
        requested_procedure_id=text(item, "00401001"),
        scheduled_step_id=text(item, "00400009"),
    )


def _listed(series: Attributes) -> list[ListedInstance]:
    """Images and others; an item without a UID names nothing that could be waited for."""
    made = items(series, "00081140") + items(series, "00400220")
    return [ListedInstance(uid, text(item, "00081150")) for item in made if (uid := text(item, "00081155"))]


def _patient_issuer(attributes: Attributes, defaults: Defaults) -> str:
    return _issuer(attributes, "00100024", text(attributes, "00100021"), defaults.patient_issuer, defaults)


def _issuer(attributes: Attributes, sequence: str, namespace: str, default: str, defaults: Defaults) -> str:
    item = next(iter(items(attributes, sequence)), {})
    found = defaults.issuers.canonical(
        namespace or text(item, "00400031"), text(item, "00400032"), text(item, "00400033")
    )
    return found or (defaults.issuers.canonical(default) if default else "")


def _moment(attributes: Attributes, date: str, time: str) -> str:
    """DA+TM as `YYYYMMDDHHMMSS`; '' without a date."""
    day = text(attributes, date).replace(".", "")
    clock = text(attributes, time).replace(":", "").partition(".")[0]
    return day + (clock + "000000")[:6] if day else ""


def _series(attributes: Attributes) -> None:
    for item in items(attributes, SERIES):
        _required(item, "0020000E")
        if not is_uid(text(item, "0020000E")):
            raise BadValue("not a UID", where="(0020,000E)")


def _filled(attributes: Attributes, tag: str) -> bool:
    return bool(items(attributes, tag) or text(attributes, tag))


def _required(attributes: Attributes, tag: str) -> None:
    if tag not in attributes:
        raise MissingField("a required attribute is missing", where=_where(tag))
    if not _filled(attributes, tag):
        raise MissingField("a required attribute is empty", where=_where(tag), code="missing-value")


def _where(tag: str) -> str:
    return f"({tag[:4]},{tag[4:]})"
