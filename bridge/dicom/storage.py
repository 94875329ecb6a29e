"""C-STORE: the object on disk and synced, then its row, then the answer (PS3.4 B.2.3; RAD-8)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from bridge.config import Defaults, DicomPeer, Storage
from bridge.dicom import status
from bridge.dicom.files import Archive, Incoming
from bridge.dicom.header import read_header
from bridge.dicom.insides import refusal
from bridge.dicom.rejection import KEY_OBJECTS, read_note
from bridge.dicom.services import AcquiringService
from bridge.domain.identity import Issuers
from bridge.domain.study import InstanceHeader
from bridge.errors import BadValue, BridgeError, NotReadable, StateConflict, StoreBroken, StoreUnavailable, TooLarge
from bridge.uids import is_uid


class Receiver:
    """Keeps what devices send. It raises `StoreBroken` only; everything else becomes a status."""

    def __init__(
        self, archive: Archive, acquiring: AcquiringService, storage: Storage, defaults: Defaults, issuers: Issuers
    ) -> None:
        self.archive = archive
        self.acquiring = acquiring
        self.storage = storage
        self.defaults = defaults
        self.issuers = issuers

    def receive(self) -> Incoming:
        """A file for an object that begins to come in."""
        return self.archive.receive(self._has_room)

    def take(self, event: Event, peer: DicomPeer, calling: str) -> Dataset | int:
        """The status of a C-STORE. A refused object leaves no file."""
        try:
            refused = refusal(event.request)
            if refused is not None:
                raise refused
            header = self._header(event, peer)
            if header.sop_class_uid == KEY_OBJECTS:
                header = replace(header, rejection=read_note(_received(event)))
            self._keep(header, _received(event), calling)
        except StoreBroken:
            raise
        except BridgeError as error:
            return status.store_status(error)
        return status.SUCCESS

    def _has_room(self) -> None:
        try:
            free = self.archive.free_bytes()
        except OSError:
            raise StoreUnavailable("the archive cannot be reached", where="archive") from None
        if free < self.storage.min_free_bytes:
            raise StoreUnavailable("no room in the archive", where="archive", code="archive-full")

    def _header(self, event: Event, peer: DicomPeer) -> InstanceHeader:
        request: Any = event.request
        sop_class, sop_instance = (
            str(uid or "").strip(" \0") for uid in (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
        )
        for uid, where in ((sop_class, "(0000,0002)"), (sop_instance, "(0000,1000)")):
            if not is_uid(uid):
                raise BadValue("not a UID", where=where)
        path = _received(event)
        if path.stat().st_size > self.storage.max_object_bytes:
            raise TooLarge("the object is over the limit")
        return read_header(
            path,
            transfer_syntax=str(event.context.transfer_syntax),
            sop_class=sop_class,
            sop_instance=sop_instance,
            patient_issuer=peer.patient_issuer or self.defaults.patient_issuer,
            accession_issuer=peer.accession_issuer or self.defaults.accession_issuer,
            issuers=self.issuers,
        )

    def _keep(self, header: InstanceHeader, path: Path, calling: str) -> None:
        file = self.archive.commit(path)
        try:
            wanted = self.acquiring.take_instance(header, file, calling) or self.acquiring.heal_instance(
                header, file, calling, self.archive.intact
            )
        except StoreBroken:
            # Whether the row is on disk is unknown: the next start finds out, and sweeps.
            raise
        except StateConflict as conflict:
            # Known under other bytes: the first stays, this one is kept beside it and a person told. The sender
            # has done its part (mpps-ian-storage 10).
            if conflict.code == "different-bytes":
                return
            self.archive.remove(file.name)
            raise
        except BaseException:
            self.archive.remove(file.name)
            raise
        if not wanted:
            self.archive.remove(file.name)


def _received(event: Event) -> Path:
    """The file into which pynetdicom wrote the data set as it came (`STORE_RECV_CHUNKED_DATASET`)."""
    try:
        return event.dataset_path
    except AttributeError:
        raise NotReadable("a C-STORE without a data set") from None
