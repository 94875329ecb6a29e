"""The performed procedure step and its state machine (PS3.4 F.7.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.domain.coding import Code
from bridge.errors import BadValue, StateConflict


class PerformedStatus(StrEnum):
    """Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


@dataclass(frozen=True, slots=True)
class ScheduledReference:
    """An item of Scheduled Step Attributes (0040,0270), Request Attributes (0040,0275) or Referenced Request
    (0040,A370).

    In a group case the study is a new one, and `original_study_uid` is what was planned (0008,1110).
    """

    study_instance_uid: str = ""
    accession_number: str = ""
    accession_issuer: str = ""
    requested_procedure_id: str = ""
    scheduled_step_id: str = ""
    original_study_uid: str = ""


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """What a device says that it made: an item of (0008,1140) or (0040,0220)."""

    sop_instance_uid: str
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class PerformedStep:
    """What N-CREATE and N-SET tell that the workflow acts on; the whole data set is kept beside it as DICOM JSON.

    `start`, `end` are DA+TM as sent (`YYYYMMDDHHMMSS`); `discontinuation` holds the reasons given;
    `instances` are the images the device says it made.
    """

    sop_instance_uid: str
    status: PerformedStatus
    scheduled: tuple[ScheduledReference, ...] = ()
    station_ae_title: str = ""
    modality: str = ""
    start: str = ""
    end: str = ""
    discontinuation: tuple[Code, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    instances: tuple[ListedInstance, ...] = ()
    patient_id: str = ""
    patient_issuer: str = ""


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A performed step IN PROGRESS. `last_at`: the last word of its device, by MPPS or by an image of its study."""

    id: int
    sop_instance_uid: str
    calling_ae_title: str
    modality: str
    created_at: datetime
    last_at: datetime


def created(status: str) -> PerformedStatus:
    """The status an N-CREATE may carry: IN PROGRESS, nothing else."""
    if status != PerformedStatus.IN_PROGRESS:
        raise BadValue("a new performed procedure step must be IN PROGRESS", where="(0040,0252)")
    return PerformedStatus.IN_PROGRESS


def changed(current: PerformedStatus, requested: str) -> PerformedStatus:
    """The status after an N-SET that asks for `requested` ('' leaves it). A final step takes no change (0110, A710)."""
    if current is not PerformedStatus.IN_PROGRESS:
        raise StateConflict("the performed procedure step may no longer be updated", where="(0040,0252)")
    if not requested:
        return current
    try:
        return PerformedStatus(requested)
    except ValueError:
        raise BadValue("not a performed procedure step status", where="(0040,0252)") from None


DERIVED = frozenset({"AU", "DOC", "FID", "HC", "KO", "OT", "PR", "REG", "RWV", "SEG", "SR", "TEXTUREMAP"})
"""Modalities (PS3.3 C.7.3.1.1.1) of what is made from images or beside them: it says nothing of which step was done."""


class Fate(StrEnum):
    """What becomes of the scheduled step of a discontinued one, and of its study; the strongest first."""

    WRONG_ENTRY = "wrong-entry"
    AGAIN = "again"
    PROPOSE = "propose"
    END = "end"


def fate_of(reasons: Iterable[Code], known: Callable[[Code], str]) -> Fate | None:
    """The strongest fate of the reasons that were given; None without one that is known. `known` gives a fate's word,
    or '' (`mappings/codes/discontinuation.yaml`)."""
    found = {known(reason) for reason in reasons}
    return next((fate for fate in Fate if fate in found), None)
