"""A publication's life: one row per (connection, study, target), delivered at least once, never dropped."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier


class PublicationState(StrEnum):
    """WAITING: the EHR lacks something (its Patient); DEAD: a person must act; both keep the reason."""

    DUE = "due"
    CLAIMED = "claimed"
    WAITING = "waiting"
    DONE = "done"
    DEAD = "dead"


class Target(StrEnum):
    IMAGING_STUDY = "ImagingStudy"


@dataclass(frozen=True, slots=True)
class SeriesContent:
    """`started` is a FHIR dateTime or ''; `number` None when the device gave none or a bad one."""

    uid: str
    modality: str
    description: str
    number: int | None
    started: str
    instances: int
    body_part: str = ""
    laterality: str = ""


@dataclass(frozen=True, slots=True)
class OrderContent:
    """What of a linked order the EHR is told or asked for."""

    order_id: int
    placer: Identifier | None
    filler: Identifier | None
    accession: Identifier | None
    code: Code | None
    description: str
    priority: str
    status: str
    authored: datetime | None
    scheduled: str = ""
    """The first scheduled step's start as a FHIR dateTime, '' when the order named none."""


@dataclass(frozen=True, slots=True)
class StudyContent:
    """All that one publication says, gathered in one read: plain values, no FHIR, no DICOM."""

    study_id: int
    version: int
    study_instance_uid: str
    patient: tuple[Identifier, ...]
    accessions: tuple[Identifier, ...]
    started: str
    description: str
    modalities: tuple[str, ...]
    series: tuple[SeriesContent, ...]
    orders: tuple[OrderContent, ...]
    status: str = "available"


def backoff(attempt: int, *, base: float = 1.0, cap: float = 900.0) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): full jitter between 0.5 and 1 of min(cap, base*2^n)."""
    return min(cap, base * 2.0 ** min(attempt, 30)) * random.uniform(0.5, 1.0)  # noqa: S311
