"""Reports of imaging orders (ORU^R01; HL7 v2.5.1 7.3.1, 7.4.1; table 0123 Result Status)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.patient import PatientData, PersonName

STATUSES = ("O", "I", "S", "N", "R", "M", "P", "A", "F", "C", "X")
"""OBR-25, from the least to the most final; Y and Z answer queries and are no reports."""
COMPLETING = frozenset({"F", "C"})
"""A report that is final says that the exam was done."""


def rank(status: str) -> int:
    """Which of two reports of the same moment holds: the more final one."""
    return STATUSES.index(status) if status in STATUSES else -1


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """One report as a message tells it. At least one of `placer`, `filler` is present.

    `issued` is OBR-22 and `sent` MSH-7 (aware UTC): a report with an older `issued`, else an older `sent`, never
    replaces a newer one. `document` is one embedded file, b'' when there is none. What is not `of_imaging` shows no
    sign of images: it is a report of ours only if we know its order or study.
    """

    status: str
    placer: Identifier | None
    filler: Identifier | None
    patient: PatientData
    accession: Identifier | None = None
    study_instance_uid: str = ""
    code: Code | None = None
    text: str = ""
    impression: str = ""
    document: bytes = b""
    document_type: str = ""
    interpreter: PersonName = PersonName()
    issued: datetime | None = None
    sent: datetime | None = None
    of_imaging: bool = True

    @property
    def number(self) -> Identifier:
        """OBR-3, else OBR-2: there is one report for each."""
        number = self.filler or self.placer
        assert number is not None, "a report has a number"
        return number
