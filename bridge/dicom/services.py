"""What the DICOM side asks of the workflow: small protocols, so that it can be tried with fakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, Protocol

from bridge.config import DicomPeer
from bridge.domain.availability import AvailabilityNotice
from bridge.domain.commitment import ClaimedReport, CommitmentRequest
from bridge.domain.performed import PerformedStatus, PerformedStep
from bridge.domain.study import InstanceHeader, StoredFile
from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import Listing

Change = Callable[[PerformedStatus, dict[str, Any]], tuple[PerformedStep, dict[str, Any]]]
"""Called inside the transaction with the current status and attributes (DICOM JSON); returns the changed ones."""


class WorklistService(Protocol):
    def find(self, keys: WorklistKeys, peer: DicomPeer) -> Listing:
        """Matching entries, visible to this peer; `TooLarge` over a limit that cuts nothing, `StoreUnavailable`."""
        ...

    def note_asked(self, title: str, keys: WorklistKeys) -> None:
        """How a device asks for its list."""
        ...

    def note_unreadable(self, peer: DicomPeer, withheld: Mapping[int, str], shown: Set[int]) -> None:
        """Steps (their keys) that the peer could not be told, each with the tag to blame, and those that it was."""
        ...

    def note_issuers(self, peer: DicomPeer, told: Set[str]) -> None:
        """The authorities of the Patient IDs that the peer was told without their names."""
        ...


class PerformingService(Protocol):
    def take_create(self, step: PerformedStep, attributes: dict[str, Any], calling_ae: str) -> None:
        """Raises `StateConflict(code="duplicate")` for a known UID."""
        ...

    def take_set(self, sop_instance_uid: str, read: Change, calling_ae: str) -> None:
        """Raises `NotFound`, `StateConflict` when final, and what `read` raises."""
        ...

    def find(self, sop_instance_uid: str) -> tuple[PerformedStatus, dict[str, Any]]:
        """The status of a step, and what its device told (DICOM JSON). Raises `NotFound`."""
        ...


class AcquiringService(Protocol):
    def take_instance(self, header: InstanceHeader, file: StoredFile, calling_ae: str) -> bool:
        """After its commit: True = new, False = known with the same bytes.

        `StateConflict(code="different-bytes")`: known with other bytes, flagged for a person, the file is kept.
        """
        ...

    def heal_instance(
        self, header: InstanceHeader, file: StoredFile, calling_ae: str, intact: Callable[[StoredFile], bool]
    ) -> bool:
        """Of a known one: True = the file that was kept is gone or damaged, and this one took its place."""
        ...

    def note_query(self, calling_ae: str) -> None: ...

    def note_refused(self, address: str, calling_ae: str, code: str) -> None:
        """An association or operation of a caller was refused: A-ASSOCIATE-RJ `1/1/3`, or a status and operation."""
        ...


class CommittingService(Protocol):
    def take_request(self, request: CommitmentRequest, calling_ae: str) -> None:
        """Kept when this returns. Raises `StateConflict` for a Transaction UID of another list."""
        ...

    def claim_report(self, calling_ae: str, transaction_uid: str) -> ClaimedReport | None:
        """What was found, if it is known and nobody else tells it: the caller does, then settles it."""
        ...

    def settle_report(self, report: ClaimedReport, status: int | None) -> None:
        """What the device answered; None = nothing."""
        ...


class NoticingService(Protocol):
    def take_notice(self, notice: AvailabilityNotice, calling_ae: str) -> None:
        """Kept when this returns. Raises `StateConflict(code="duplicate")` for a known UID."""
        ...


class Services(Protocol):
    @property
    def worklist(self) -> WorklistService: ...

    @property
    def performing(self) -> PerformingService: ...

    @property
    def acquiring(self) -> AcquiringService: ...

    @property
    def committing(self) -> CommittingService: ...

    @property
    def noticing(self) -> NoticingService: ...

    def broken(self) -> None:
        """A sync failed: stop answering and end the process (durability contract 4)."""
        ...
