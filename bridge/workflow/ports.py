"""How the workflow reaches the outside: small protocols that it owns and the standards' folders fulfil."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bridge.config import DicomPeer
from bridge.domain.commitment import CommitmentResult
from bridge.domain.identity import Identifier
from bridge.domain.publication import OrderContent, StudyContent


@dataclass(frozen=True, slots=True)
class Reference:
    """A resource in an EHR: its `id` there, and `version` (ETag or meta.versionId) as an opaque string."""

    type: str
    id: str
    version: str = ""

    @property
    def relative(self) -> str:
        return f"{self.type}/{self.id}"


class EhrPort(Protocol):
    """One EHR's FHIR server. Every call may raise `RemoteUnavailable` or `RemoteRefused` (see errors.py).

    `find_*` return None when there is none, and raise `RemoteRefused(code="several-matches")` when there is more
    than one: nobody picks.
    """

    def find_patient(self, identifiers: tuple[Identifier, ...]) -> Reference | None: ...

    def find_service_request(self, order: OrderContent) -> Reference | None: ...

    def create_service_request(self, order: OrderContent, patient: Reference) -> Reference: ...

    def ensure_endpoint(self, known: Reference | None) -> Reference:
        """The one shared Endpoint (WADO-RS) of this bridge: found, else created; `known` saves the search."""
        ...

    def write_imaging_study(
        self,
        content: StudyContent,
        *,
        patient: Reference,
        based_on: tuple[Reference | None, ...],
        endpoint: Reference,
        known: Reference | None,
    ) -> Reference:
        """Create, or update the `known` one; a version conflict is read, merged and tried again a few times.

        `based_on` goes with `content.orders` one to one, None where the EHR has no such order."""
        ...

    def withdraw_imaging_study(
        self,
        study_instance_uid: str,
        *,
        endpoint: Reference | None,
        known: Reference | None,
        status: str = "entered-in-error",
        emptied: bool = False,
    ) -> Reference | None:
        """Mark the published study `status`, whoever its subject is; nothing to do when it is gone.

        What is entered-in-error is not made anything milder. `emptied`: nothing of it can be fetched any more, so that
        its series, counts and our `endpoint` go too.
        Without `known` the one is looked for that a write with a lost answer may have left under our `endpoint`;
        None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class InstanceDocument:
    """What is derived from a stored file, never part of an answer to C-STORE.

    `json` is the DICOM JSON of the header without bulk data (PS3.18 F), with BulkDataURI relative to the studies
    root for pixel and other large values. `frames` are (offset, length) pairs into the file, one tuple of pairs a
    frame: more than one pair when an encapsulated frame is made of several fragments.
    """

    json: bytes
    frames: tuple[tuple[tuple[int, int], ...], ...]


class Describer(Protocol):
    """Reads a stored file's header and frame places; raises `NotReadable`."""

    def __call__(self, path: Path) -> InstanceDocument: ...


class CommitmentReporter(Protocol):
    """A device that is told what became of its images; its `address` is known.

    Both raise `RemoteUnavailable` (no association, no answer) and `RemoteRefused` (it answers, and does not take it).
    """

    def reach(self, peer: DicomPeer) -> None:
        """Whether it could be told now, without telling anything."""
        ...

    def report(self, peer: DicomPeer, result: CommitmentResult) -> None:
        """It has confirmed the report when this returns."""
        ...
