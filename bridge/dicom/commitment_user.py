"""Telling a device what became of its images: N-EVENT-REPORT on an association of our own (PS3.4 J.3.3; RAD-10)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pynetdicom import AE, build_role
from pynetdicom.association import Association

from bridge.config import Dicom, DicomPeer
from bridge.dicom.commitment import INSTANCE, event_information
from bridge.dicom.policy import COMMITMENT
from bridge.domain.commitment import CommitmentResult
from bridge.errors import RemoteRefused, RemoteUnavailable

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 20.0
_SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


class CommitmentUser:
    """We propose the SOP class with the roles turned round: the device is its SCU, also where we call (PS3.7 D.3.3.4).

    A device that says nothing of roles, as some do, is told all the same: it has accepted the class.
    """

    def __init__(self, settings: Dicom) -> None:
        self._settings = settings

    def reach(self, peer: DicomPeer) -> None:
        with self._association(peer):
            return

    def report(self, peer: DicomPeer, result: CommitmentResult) -> None:
        with self._association(peer) as association:
            try:
                answer, _ = association.send_n_event_report(
                    event_information(result), result.event_type, COMMITMENT, INSTANCE
                )
            except (RuntimeError, ValueError):  # it ended under our hands, or accepted the class under no syntax
                raise RemoteUnavailable("the association ended", where=peer.ae_title) from None
        if "Status" not in answer:
            raise RemoteUnavailable("no answer to the report", where=peer.ae_title, code="no-answer")
        if answer.Status != 0x0000:
            code = int(answer.Status)
            raise RemoteRefused("the report was refused", where=peer.ae_title, code=f"answered-{code:04X}", status=code)

    @contextmanager
    def _association(self, peer: DicomPeer) -> Iterator[Association]:
        assert peer.address is not None
        entity = AE(ae_title=self._settings.ae_title)
        entity.connection_timeout = entity.acse_timeout = CONNECT_SECONDS
        entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
        entity.add_requested_context(COMMITMENT, _SYNTAXES)
        association = entity.associate(
            *peer.address, ae_title=peer.ae_title, ext_neg=[build_role(COMMITMENT, scp_role=True)]
        )
        if association.is_rejected:
            raise RemoteUnavailable("the association was rejected", where=peer.ae_title, code="rejected")
        if not association.is_established:
            code = "class-not-accepted" if association.rejected_contexts else ""
            raise RemoteUnavailable("no association", where=peer.ae_title, code=code)
        try:
            yield association
        finally:
            if association.is_established:
                association.release()
