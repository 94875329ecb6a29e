"""The attributes that searches know (PS3.18 Tables 10.6.1-5 and 10.6.3-3 to -5): one table to match and to answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

from bridge.domain.patient import PersonName
from bridge.domain.viewing import InstanceRow, SeriesRow, StudyRow

Value = str | int | PersonName | tuple[str, ...]
Row = TypeVar("Row")
Json = dict[str, dict[str, Any]]
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")


class Level(IntEnum):
    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, slots=True)
class Attribute(Generic[Row]):
    """`value` takes it from a row; '' and () are known and empty, 0 of a US is absent. What is not `told` can be asked
    for and is answered empty."""

    level: Level
    tag: str
    keyword: str
    vr: str
    value: Callable[[Row], Value]
    told: bool = True


STUDY: tuple[Attribute[StudyRow], ...] = (
    Attribute(Level.STUDY, "00080020", "StudyDate", "DA", lambda r: r.study_date),
    Attribute(Level.STUDY, "00080030", "StudyTime", "TM", lambda r: r.study_time),
    Attribute(Level.STUDY, "00080050", "AccessionNumber", "SH", lambda r: r.accession_number),
    Attribute(Level.STUDY, "00080061", "ModalitiesInStudy", "CS", lambda r: r.modalities),
    Attribute(Level.STUDY, "00080090", "ReferringPhysicianName", "PN", lambda r: r.referring_physician),
    Attribute(Level.STUDY, "00081030", "StudyDescription", "LO", lambda r: r.description),
    Attribute(Level.STUDY, "00100010", "PatientName", "PN", lambda r: r.patient_name),
    # OHIF would ask for the patient's other studies by this value, in a URL. The objects' own metadata holds it.
    Attribute(Level.STUDY, "00100020", "PatientID", "LO", lambda r: r.patient_id, told=False),
    Attribute(Level.STUDY, "00100021", "IssuerOfPatientID", "LO", lambda r: r.patient_issuer),
    Attribute(Level.STUDY, "00100030", "PatientBirthDate", "DA", lambda r: r.birth_date),
    Attribute(Level.STUDY, "00100040", "PatientSex", "CS", lambda r: r.sex),
    Attribute(Level.STUDY, "0020000D", "StudyInstanceUID", "UI", lambda r: r.study_instance_uid),
    Attribute(Level.STUDY, "00200010", "StudyID", "SH", lambda r: r.study_id),
    Attribute(Level.STUDY, "00201206", "NumberOfStudyRelatedSeries", "IS", lambda r: r.series),
    Attribute(Level.STUDY, "00201208", "NumberOfStudyRelatedInstances", "IS", lambda r: r.instances),
)
SERIES: tuple[Attribute[SeriesRow], ...] = (
    Attribute(Level.SERIES, "00080021", "SeriesDate", "DA", lambda r: r.date),
    Attribute(Level.SERIES, "00080031", "SeriesTime", "TM", lambda r: r.time),
    Attribute(Level.SERIES, "00080060", "Modality", "CS", lambda r: r.modality),
    Attribute(Level.SERIES, "0008103E", "SeriesDescription", "LO", lambda r: r.description),
    Attribute(Level.SERIES, "00180015", "BodyPartExamined", "CS", lambda r: r.body_part),
    Attribute(Level.SERIES, "0020000E", "SeriesInstanceUID", "UI", lambda r: r.series_instance_uid),
    Attribute(Level.SERIES, "00200011", "SeriesNumber", "IS", lambda r: r.number),
    Attribute(Level.SERIES, "00201209", "NumberOfSeriesRelatedInstances", "IS", lambda r: r.instances),
)
INSTANCE: tuple[Attribute[InstanceRow], ...] = (
    Attribute(Level.INSTANCE, "00080016", "SOPClassUID", "UI", lambda r: r.sop_class_uid),
    Attribute(Level.INSTANCE, "00080018", "SOPInstanceUID", "UI", lambda r: r.sop_instance_uid),
    Attribute(Level.INSTANCE, "00083002", "AvailableTransferSyntaxUID", "UI", lambda r: r.transfer_syntax_uid),
    Attribute(Level.INSTANCE, "00200013", "InstanceNumber", "IS", lambda r: r.number),
    Attribute(Level.INSTANCE, "00280008", "NumberOfFrames", "IS", lambda r: r.frames or ""),
    Attribute(Level.INSTANCE, "00280010", "Rows", "US", lambda r: r.rows),
    Attribute(Level.INSTANCE, "00280011", "Columns", "US", lambda r: r.columns),
)
_ALL: tuple[Attribute[Any], ...] = STUDY + SERIES + INSTANCE
KNOWN: dict[str, Attribute[Any]] = {name: a for a in _ALL for name in (a.tag, a.keyword)}


def write_attributes(attributes: Iterable[Attribute[Row]], row: Row) -> Json:
    """The row as DICOM JSON (PS3.18 F.2); an empty value keeps its tag and VR."""
    told = ((a, a.value(row) if a.told else "") for a in attributes)
    return {a.tag: element(a.vr, value) for a, value in told if not (a.vr == "US" and value == 0)}


def element(vr: str, value: Value) -> dict[str, Any]:
    """One element of the DICOM JSON model; an IS that is no integer stays text (F.2.3)."""
    if isinstance(value, PersonName):
        groups = (("Alphabetic", value.alphabetic), ("Ideographic", value.ideographic), ("Phonetic", value.phonetic))
        return {"vr": vr, "Value": [{k: v for k, v in groups if v}]} if value else {"vr": vr}
    values = [v for v in (value if isinstance(value, tuple) else (value,)) if v != ""]
    if vr == "IS":
        return {"vr": vr, "Value": [_integer(v) for v in values]} if values else {"vr": vr}
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _integer(value: str | int) -> str | int:
    return int(value) if isinstance(value, int) or _INTEGER.fullmatch(value.strip()) else value
