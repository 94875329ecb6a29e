"""Studies as they arrive: what headers say, before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bridge.domain.patient import PersonName
from bridge.domain.performed import ScheduledReference
from bridge.domain.rejection import RejectionNote


class StudyState(StrEnum):
    RECEIVING = "receiving"
    COMPLETE = "complete"
    RETIRED = "retired"
    """All of it was deleted by rule. Its row stays: what an EHR holds of it is known by that."""


class MatchState(StrEnum):
    """`pending` until the study is first judged."""

    PENDING = "pending"
    MATCHED = "matched"
    AMBIGUOUS = "ambiguous"
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """The few tags that index an instance: read without decoding pixels, part of the answer to C-STORE.

    Dates and times are DA and TM as sent. `patient_issuer` and `accession_issuer` are canonical names, with the
    sender's default where the object names none. `rejection`: the object is a note that rejects others.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str = ""
    patient_issuer: str = ""
    patient_name: PersonName = PersonName()
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    accession_issuer: str = ""
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    timezone_offset: str = ""
    study_description: str = ""
    referring_physician: PersonName = PersonName()
    modality: str = ""
    series_number: str = ""
    series_description: str = ""
    series_date: str = ""
    series_time: str = ""
    body_part: str = ""
    laterality: str = ""
    instance_number: str = ""
    number_of_frames: int = 1
    rows: int = 0
    columns: int = 0
    requests: tuple[ScheduledReference, ...] = ()
    performed_step_uid: str = ""
    rejection: RejectionNote | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the archive: `name` is of our own making, relative to the archive; `size` in bytes of all of it.

    `sha256` (hex) is that of the data set, `head_sha256` that of what stands before it: the same object may come again
    under other file meta information. '' = not known, and not compared.
    """

    name: str
    size: int
    sha256: str
    head_sha256: str = ""


class FileCondition(StrEnum):
    """What the disk has of a stored file: DAMAGED is another size, or other bytes, than were stored."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A study as matching sees it: every value that its instances and performed steps carry."""

    study_id: int
    study_instance_uid: str
    patient_id: str
    patient_issuer: str
    patient_name: PersonName
    birth_date: str
    sex: str
    accession_number: str
    accession_issuer: str
    study_date: str
    modalities: tuple[str, ...]
    requests: tuple[ScheduledReference, ...] = field(default=())
