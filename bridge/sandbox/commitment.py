"""The pretend scanner asks whether its images are safe (RAD-10), and listens for the answer as real ones do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.sandbox.modality import Scanner
from bridge.uids import new_uid

_INSTANCE = "1.2.840.10008.1.20.1.1"
_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the archive has said of a request: `failed` holds (SOP Instance UID, Failure Reason)."""

    committed: tuple[str, ...]
    failed: tuple[tuple[str, int], ...]


class Inquiry:
    """One request of `scanner`, which listens at `port` on loopback as long as this is entered."""

    def __init__(self, scanner: Scanner, images: Sequence[Dataset], port: int) -> None:
        self._scanner = scanner
        self._images = images
        self._transaction = new_uid()
        self._answer: Kept | None = None
        self._come = threading.Event()
        self._port = port
        self._entity = AE(ae_title=scanner.ae_title)
        self._entity.add_supported_context(StorageCommitmentPushModel, _SYNTAXES, scu_role=True, scp_role=True)

    def __enter__(self) -> Self:
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self._told)]
        self._entity.start_server(("127.0.0.1", self._port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._entity.shutdown()

    def ask(self) -> None:
        """N-ACTION (PS3.4 J.3.2); RemoteUnavailable or RemoteRefused when it is not taken."""
        asked = Dataset()
        asked.TransactionUID = self._transaction
        asked.ReferencedSOPSequence = [_reference(image) for image in self._images]
        with self._scanner.association([(StorageCommitmentPushModel, _SYNTAXES)]) as assoc:
            answer, _ = assoc.send_n_action(asked, 1, StorageCommitmentPushModel, _INSTANCE)
        if "Status" not in answer:
            raise RemoteUnavailable("N-ACTION: no answer", where="N-ACTION")
        if answer.Status != 0x0000:
            raise RemoteRefused(f"N-ACTION: status {answer.Status:04X}", where="N-ACTION", status=int(answer.Status))

    def answer(self, seconds: float) -> Kept:
        """What the archive says; RemoteUnavailable when it says nothing in time."""
        if not self._come.wait(seconds) or self._answer is None:
            raise RemoteUnavailable("the archive never said what became of the images", where="N-EVENT-REPORT")
        return self._answer

    def _told(self, event: evt.Event) -> tuple[int, None]:
        told = event.event_information
        if str(told.TransactionUID) != self._transaction:
            return 0x0110, None
        self._answer = Kept(
            tuple(str(item.ReferencedSOPInstanceUID) for item in told.get("ReferencedSOPSequence", [])),
            tuple((str(i.ReferencedSOPInstanceUID), int(i.FailureReason)) for i in told.get("FailedSOPSequence", [])),
        )
        self._come.set()
        return 0x0000, None


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item
