"""What a viewer is told of stored studies: dates and times are DA and TM, '' where the object says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.domain.patient import PersonName

FrameParts = tuple[tuple[int, int], ...]
"""One frame as (offset, length) pairs into its file: several when it is made of several fragments."""


@dataclass(frozen=True, slots=True)
class StudyRow:
    """`series` and `instances` count what is stored; `modalities` are those of its series, each once."""

    study_instance_uid: str
    patient_name: PersonName = PersonName()
    patient_id: str = ""
    patient_issuer: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    description: str = ""
    referring_physician: PersonName = PersonName()
    modalities: tuple[str, ...] = ()
    series: int = 0
    instances: int = 0


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """`number` is Series Number (0020,0011) as sent; `instances` counts what is stored."""

    series_instance_uid: str
    modality: str = ""
    number: str = ""
    description: str = ""
    date: str = ""
    time: str = ""
    body_part: str = ""
    instances: int = 0


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """`number` is Instance Number (0020,0013) as sent; `rows`, `columns` and `frames` are 0 for what is no image."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    number: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 0
    transfer_syntax_uid: str = ""


@dataclass(frozen=True, slots=True)
class InstanceFile:
    """A stored object: `size` in bytes of the whole file at `path`; `frames` in their order, () without pixel data."""

    path: Path
    size: int
    transfer_syntax_uid: str
    sop_class_uid: str
    frames: tuple[FrameParts, ...] = ()
