"""MPPS N-CREATE and N-SET as data: the rules of PS3.4 F.7.2 over the DICOM JSON model (PS3.18 F).

Nothing here parses DICOM, so `change` may run inside a transaction. What the schedule hangs on (UIDs, status, start,
type 1) is always asked for. What else `mpps_table` wants is only told of, for many devices leave out type 2
attributes or end a step without its series; with `[performed] strict` it is refused too. Attributes that N-SET must
not touch are never applied: the answer is then 0107 (a warning) and the rest of the change holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bridge.dicom.mpps_table import (
    FIXED,
    Attributes,
    Deviation,
    Stage,
    date_of,
    deviations,
    items,
    text,
    time_of,
    where,
)
from bridge.domain import performed
from bridge.domain.coding import Code
from bridge.domain.identity import Issuers
from bridge.domain.performed import ListedInstance, PerformedStatus, PerformedStep, ScheduledReference
from bridge.errors import BadValue
from bridge.uids import is_uid

SCHEDULED, SERIES, STATUS, DISCONTINUATION = "00400270", "00400340", "00400252", "00400281"


class Defaults(NamedTuple):
    """Canonical names of the issuers meant by a sender that names none; `strict`: whatever deviates is refused."""

    patient_issuer: str
    accession_issuer: str
    issuers: Issuers
    strict: bool = False


class Change(NamedTuple):
    """A creation or an applied N-SET: `ignored` names attributes that may not be set, `deviates` what was taken though
    the table wants it otherwise."""

    step: PerformedStep
    attributes: Attributes
    ignored: tuple[str, ...]
    deviates: tuple[Deviation, ...]


def create(sop_instance_uid: str, attributes: Attributes, defaults: Defaults) -> Change:
    """Check a new step: `MissingField` (0120; code `missing-value`: 0121), `BadValue` (0106; `bad-uid`: 0117)."""
    if not is_uid(sop_instance_uid):
        raise BadValue("not a UID", where="(0000,1000)", code="bad-uid")
    deviates = _judged(deviations(attributes, Stage.CREATED), defaults)
    performed.created(text(attributes, STATUS))
    return Change(step_of(sop_instance_uid, attributes, defaults), attributes, (), deviates)


def change(
    sop_instance_uid: str, current: PerformedStatus, stored: Attributes, asked: Attributes, defaults: Defaults
) -> Change:
    """Apply an N-SET: a sequence replaces the whole sequence. `StateConflict` when final, `BadValue` for the status,
    and what `create` raises."""
    performed.changed(current, text(asked, STATUS))
    deviates = _judged(deviations(asked, Stage.CHANGED), defaults)
    ignored = tuple(tag for tag in asked if tag in FIXED and asked[tag] != stored.get(tag))
    merged = stored | {tag: value for tag, value in asked.items() if tag not in FIXED}
    if "00080005" in stored:
        merged["00080005"] = stored["00080005"]
    step = step_of(sop_instance_uid, merged, defaults)
    if step.status is not PerformedStatus.IN_PROGRESS:
        deviates += _judged(deviations(merged, Stage.ENDED), defaults)
    return Change(step, merged, tuple(map(where, ignored)), deviates)


def _judged(found: Iterable[Deviation], defaults: Defaults) -> tuple[Deviation, ...]:
    """Raises the first that is not taken."""
    known = tuple(found)
    for one in known:
        if one.vital or defaults.strict:
            raise one.fault()
    return known


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


def _scheduled(item: Attributes, defaults: Defaults) -> ScheduledReference:
    accession = text(item, "00080050")
    return ScheduledReference(
        study_instance_uid=text(item, "0020000D"),
        accession_number=accession,
        accession_issuer=_issuer(item, "00080051", "", defaults.accession_issuer, defaults) if accession else "",
        requested_procedure_id=text(item, "00401001"),
        scheduled_step_id=text(item, "00400009"),
        original_study_uid=_original(item),
    )


def _original(item: Attributes) -> str:
    """The study that was planned, which a group case names in (0008,1110) beside the one that was made (F.7.2.1)."""
    named = {text(one, "00081155") for one in items(item, "00081110")} - {text(item, "0020000D"), ""}
    return named.pop() if len(named) == 1 else ""


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
    day = date_of(text(attributes, date))
    return day + (time_of(text(attributes, time)) or "000000") if day else ""
