"""Storage Commitment (PS3.4 Annex J): what was asked to be safe, and which of it is."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from bridge.domain.study import FileCondition, StoredFile


class CommitmentState(StrEnum):
    """ASKED: to be checked; DUE: to be told; WAITING: its device cannot be reached, for want of an address.

    DELIVERED: the device has confirmed our word. DROPPED: a person gave it up.
    """

    ASKED = "asked"
    DUE = "due"
    WAITING = "waiting"
    DELIVERED = "delivered"
    DROPPED = "dropped"


class FailureReason(IntEnum):
    """Failure Reason (0008,1197) of an instance that is not safe here (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT = 0x0112
    CLASS_CONFLICT = 0x0119
    CLASS_NOT_SUPPORTED = 0x0122


class Reference(NamedTuple):
    """An item of the Referenced SOP Sequence (0008,1199)."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """Of an N-ACTION: each instance once, in the device's order."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Holding:
    """What our rows say of an instance. `rejected`: taken out of use by a rejection note (IOCM)."""

    sop_class_uid: str
    file: StoredFile
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """What the device is told, once and of all that it asked: each instance stands in one of the two lists."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, FailureReason], ...]

    @property
    def event_type(self) -> int:
        """Event Type ID (J.3.3): 1 all are safe, 2 failures exist."""
        return 2 if self.failed else 1


@dataclass(frozen=True, slots=True)
class ClaimedReport:
    """A result in the hands of whoever tells it; `claim` is the workflow's own."""

    result: CommitmentResult
    claim: object


def fault_of_row(reference: Reference, holding: Holding | None, stored: Set[str]) -> FailureReason | None:
    """Why an instance is not safe, as far as our rows tell; None = its file decides. `stored`: the classes we take."""
    if holding is None:
        known = reference.sop_class_uid in stored
        return FailureReason.NO_SUCH_OBJECT if known else FailureReason.CLASS_NOT_SUPPORTED
    if holding.rejected:
        return FailureReason.NO_SUCH_OBJECT
    return FailureReason.CLASS_CONFLICT if holding.sop_class_uid != reference.sop_class_uid else None


FAULT_OF_FILE: dict[FileCondition, FailureReason | None] = {
    FileCondition.WHOLE: None,
    FileCondition.DAMAGED: FailureReason.PROCESSING_FAILURE,
    FileCondition.GONE: FailureReason.NO_SUCH_OBJECT,
}
"""What the disk says of an instance whose row is in order: its word is the last."""


def result_of(request: CommitmentRequest, failures: dict[str, int]) -> CommitmentResult:
    """`failures`: Failure Reason by SOP Instance UID of those that are not safe."""
    return CommitmentResult(
        request.transaction_uid,
        tuple(one for one in request.references if one.sop_instance_uid not in failures),
        tuple(
            (one, FailureReason(failures[one.sop_instance_uid]))
            for one in request.references
            if one.sop_instance_uid in failures
        ),
    )
