"""The MPPS services: N-CREATE, N-SET and N-GET between the wire and the workflow (PS3.4 F.7.2, F.8; RAD-6, RAD-7)."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from bridge import config
from bridge import log as logs
from bridge.config import DicomPeer, Performed
from bridge.dicom import mpps, status
from bridge.dicom.charset import settle
from bridge.dicom.document import to_json
from bridge.dicom.header import read_data_set
from bridge.dicom.policy import MPPS, MPPS_RETRIEVE
from bridge.dicom.services import PerformingService
from bridge.domain.identity import Issuers
from bridge.domain.performed import PerformedStatus, PerformedStep
from bridge.errors import NotFound, Unsupported
from bridge.mapping.transliteration import NONE, Transliteration
from bridge.uids import new_uid

MOST_TOLD = 10
log = logging.getLogger(__name__)


class Created(NamedTuple):
    """`attributes` holds our UID when the device left the choice to us (PS3.7 10.1.5.1.4), else nothing."""

    status: Dataset | int
    attributes: list[Dataset]


class Told(NamedTuple):
    status: Dataset | int
    attributes: Dataset


class Steps:
    def __init__(
        self,
        performing: PerformingService,
        defaults: config.Defaults,
        issuers: Issuers,
        rules: Performed,
        table: Transliteration = NONE,
    ) -> None:
        self.performing = performing
        self.table = table
        self.defaults = defaults
        self.issuers = issuers
        self.strict = rules.strict

    def create(self, event: Event, peer: DicomPeer) -> Created:
        """Take an N-CREATE; raises what is wrong with it."""
        _of_the_class(event, MPPS)
        request: Any = event.request
        named = str(request.AffectedSOPInstanceUID or "").strip(" \0")
        uid = named or new_uid()
        attributes = _attributes(request.AttributeList, event)
        taken = mpps.create(uid, attributes, self._defaults(peer))
        self.performing.take_create(taken.step, attributes, peer.ae_title)
        _log_deviations(taken, peer)
        if named:
            return Created(status.SUCCESS, [])
        given = Dataset()
        given.AffectedSOPInstanceUID = uid
        return Created(status.SUCCESS, [given])

    def change(self, event: Event, peer: DicomPeer) -> Dataset | int:
        """Take an N-SET; 0107 when it held attributes that may not be set. Raises what is wrong with it."""
        _of_the_class(event, MPPS)
        request: Any = event.request
        uid = _requested(request)
        asked = _attributes(request.ModificationList, event)
        defaults = self._defaults(peer)
        done: list[mpps.Change] = []

        def read(current: PerformedStatus, stored: dict[str, Any]) -> tuple[PerformedStep, dict[str, Any]]:
            done[:] = [mpps.change(uid, current, stored, asked, defaults)]
            return done[0].step, done[0].attributes

        self.performing.take_set(uid, read, peer.ae_title)
        _log_deviations(done[0], peer)
        return status.attributes_ignored(done[0].ignored) if done[0].ignored else status.SUCCESS

    def tell(self, event: Event, peer: DicomPeer) -> Told:
        """Answer an N-GET with the attributes asked for, all when none is named (F.8): 0001 when some are not there."""
        _of_the_class(event, MPPS_RETRIEVE)
        current, stored = self.performing.find(_requested(event.request))
        # A person may have ended what its device did not.
        known = stored | {mpps.STATUS: {"vr": "CS", "Value": [current.value]}}
        asked = {f"{tag:08X}" for tag in event.attribute_identifiers} - {"00080005"}
        chosen = {tag: known[tag] for tag in known if tag != "00080005" and (not asked or tag in asked)}
        data = Dataset.from_json(chosen)
        settle(data, peer.character_set, asked=False, utf8=peer.utf8, table=self.table)
        return Told(status.attributes_missing() if asked - known.keys() else status.SUCCESS, data)

    def _defaults(self, peer: DicomPeer) -> mpps.Defaults:
        return mpps.Defaults(
            peer.patient_issuer or self.defaults.patient_issuer,
            peer.accession_issuer or self.defaults.accession_issuer,
            self.issuers,
            self.strict,
        )


def _log_deviations(taken: mpps.Change, peer: DicomPeer) -> None:
    """One line: what a device leaves out it leaves out each time."""
    if taken.deviates:
        told = " ".join(f"{one.where} {one.what}" for one in taken.deviates[:MOST_TOLD])
        logs.work(log, "step deviates", aet=peer.ae_title, where=told, count=len(taken.deviates))


def _of_the_class(event: Event, wanted: str) -> None:
    """N-CREATE and N-SET are of the one class, N-GET is of the other (F.7.1, F.8.1)."""
    if str(event.context.abstract_syntax) != wanted:
        raise Unsupported("not an operation of this SOP class", where="(0000,0100)")


def _requested(request: Any) -> str:
    uid = str(request.RequestedSOPInstanceUID or "").strip(" \0")
    if not uid:
        raise NotFound("no SOP Instance UID", where="(0000,1001)")
    return uid


def _attributes(encoded: Any, event: Event) -> dict[str, Any]:
    """The attribute list in the DICOM JSON model; empty when there was none."""
    if encoded is None:
        return {}
    return to_json(read_data_set(encoded.getvalue(), str(event.context.transfer_syntax)))
