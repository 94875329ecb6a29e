"""The MPPS service: N-CREATE and N-SET between the wire and the workflow (PS3.4 F.7.2; RAD-6, RAD-7)."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from bridge import config
from bridge import log as logs
from bridge.config import DicomPeer
from bridge.dicom import mpps, status
from bridge.dicom.document import to_json
from bridge.dicom.header import read_data_set
from bridge.dicom.services import PerformingService
from bridge.domain.identity import Issuers
from bridge.domain.performed import PerformedStatus, PerformedStep
from bridge.errors import NotFound
from bridge.uids import new_uid

log = logging.getLogger(__name__)


class Created(NamedTuple):
    """`attributes` holds our UID when the device left the choice to us (PS3.7 10.1.5.1.4), else nothing."""

    status: Dataset | int
    attributes: list[Dataset]


class Steps:
    def __init__(self, performing: PerformingService, defaults: config.Defaults, issuers: Issuers) -> None:
        self.performing = performing
        self.defaults = defaults
        self.issuers = issuers

    def create(self, event: Event, peer: DicomPeer) -> Created:
        """Take an N-CREATE; raises what is wrong with it."""
        request: Any = event.request
        named = str(request.AffectedSOPInstanceUID or "").strip(" \0")
        uid = named or new_uid()
        attributes = _attributes(request.AttributeList, event)
        step = mpps.create(uid, attributes, self._defaults(peer))
        self.performing.take_create(step, attributes, peer.ae_title)
        if named:
            return Created(status.SUCCESS, [])
        given = Dataset()
        given.AffectedSOPInstanceUID = uid
        return Created(status.SUCCESS, [given])

    def change(self, event: Event, peer: DicomPeer) -> Dataset | int:
        """Take an N-SET; 0107 when it held attributes that may not be set. Raises what is wrong with it."""
        request: Any = event.request
        uid = str(request.RequestedSOPInstanceUID or "").strip(" \0")
        if not uid:
            raise NotFound("no SOP Instance UID", where="(0000,1001)")
        asked = _attributes(request.ModificationList, event)
        defaults = self._defaults(peer)
        done: list[mpps.Change] = []

        def read(current: PerformedStatus, stored: dict[str, Any]) -> tuple[PerformedStep, dict[str, Any]]:
            done[:] = [mpps.change(uid, current, stored, asked, defaults)]
            return done[0].step, done[0].attributes

        self.performing.take_set(uid, read, peer.ae_title)
        for where in done[0].missing if done else ():
            logs.work(log, "final step is incomplete", logging.WARNING, aet=peer.ae_title, where=where)
        if done and done[0].ignored:
            return status.attributes_ignored(done[0].ignored)
        return status.SUCCESS

    def _defaults(self, peer: DicomPeer) -> mpps.Defaults:
        return mpps.Defaults(
            peer.patient_issuer or self.defaults.patient_issuer,
            peer.accession_issuer or self.defaults.accession_issuer,
            self.issuers,
        )


def _attributes(encoded: Any, event: Event) -> dict[str, Any]:
    """The attribute list in the DICOM JSON model; empty when there was none."""
    if encoded is None:
        return {}
    return to_json(read_data_set(encoded.getvalue(), str(event.context.transfer_syntax)))
