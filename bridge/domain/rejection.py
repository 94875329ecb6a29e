"""Rejected objects (IHE RAD TF-2 4.66, Imaging Object Change Management): what a rejection note says, and its effect.

A note is a Key Object Selection whose title is one of four codes of the DICOM terminology. The code and its scheme
decide, never the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from bridge.domain.coding import Code


class Hidden(StrEnum):
    """Why an instance is shown to nobody. NOTE is the rejection note itself: stored, and no image."""

    NO = ""
    QUALITY = "quality"
    SAFETY = "safety"
    WORKLIST = "worklist"
    RETENTION = "retention"
    NOTE = "note"


TITLES = {
    "113001": Hidden.QUALITY,
    "113037": Hidden.SAFETY,
    "113038": Hidden.WORKLIST,
    "113039": Hidden.RETENTION,
}
"""The document titles (PS3.16 CID 7010, scheme DCM) that reject."""
REFUSED = frozenset({Hidden.SAFETY, Hidden.WORKLIST})
"""What was rejected so is not taken again (RAD-66 4.66.4.2.3.1, 4.66.4.3.3)."""
ERRORS = REFUSED
"""What was rejected so should never have been in the record: elsewhere it is only taken out of it."""
REJECTED = frozenset(TITLES.values())
"""Every way to be hidden but that of the note itself."""
ENTERED_IN_ERROR, CANCELLED = "entered-in-error", "cancelled"
"""What an EHR is told of a study of which nothing is left (FHIR R4 imagingstudy-status)."""
_STRENGTH = (Hidden.SAFETY, Hidden.WORKLIST, Hidden.QUALITY, Hidden.RETENTION)


@dataclass(frozen=True, slots=True)
class RejectedInstance:
    """One object of a note's evidence (0040,A375), by the three UIDs that name its place."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class RejectionNote:
    """`reason` is the document title modifier (CID 7011) of a rejection for quality. `readable` is False for a note
    whose evidence could not be read whole: nobody knows then what it rejects."""

    title: Hidden
    instances: tuple[RejectedInstance, ...]
    reason: Code | None = None
    readable: bool = True


def weaker(title: Hidden) -> tuple[Hidden, ...]:
    """What a rejection takes the place of; a note stays a note."""
    return (Hidden.NO, *_STRENGTH[_STRENGTH.index(title) + 1 :])


def title_of(value: str, scheme: str) -> Hidden | None:
    """What a document title rejects for; None for every other key object selection."""
    return TITLES.get(value) if scheme == "DCM" else None


def strongest(reasons: Iterable[Hidden]) -> Hidden:
    """Of several rejections of one instance the one that counts."""
    found = set(reasons)
    return next((one for one in _STRENGTH if one in found), Hidden.NO)


def withdrawn_status(hidden: Collection[Hidden]) -> str:
    """The status of a study of which nothing is shown, by why: an error only where all of it was one; else it was real
    and is withdrawn (rejected for quality, or deleted by a rule)."""
    images = set(hidden) - {Hidden.NOTE}
    return ENTERED_IN_ERROR if images and images <= ERRORS else CANCELLED
