"""Senders that do not give up: what was not answered is sent again, as real ones do; and an EHR that is told.

`Busy` is `load.Load` with a memory. Every exam has an order and a patient of its own, so that each is a publication.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
)

from bridge.errors import RemoteUnavailable
from bridge.hl7.ack import read_ack
from bridge.hl7.client import MllpClient
from bridge.sandbox import ris as messages
from bridge.sandbox.modality import performed_series
from bridge.uids import new_uid
from tests.e2e.story import Site, pictures, until
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.stories import make_order

IMAGES = 3
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
Act = Callable[[Association], None]


class Busy(Load):
    """At a site with an EHR. `studies` are the Study Instance UIDs of the exams that were ended."""

    def __init__(self, site: Site, ledger: Ledger, *, run: str, images: bool = True, pause: float = 0.02) -> None:
        super().__init__(site.hospital, ledger, images=images, pause=pause)
        self._site, self._run = site, run
        self._unanswered: tuple[str, bytes] | None = None
        self._acts: list[Act] = []
        self._finishing = False
        self.studies: list[str] = []

    def _orders(self) -> Iterator[None]:
        with MllpClient("127.0.0.1", self._hospital.ports.hl7, 5) as client:
            while True:
                if self._unanswered is None:
                    if self._finishing:
                        yield
                        continue
                    order = make_order(next(self._numbers), datetime.now(), run=self._run)
                    control_id = f"{self._run}-{order.placer}"
                    self._unanswered = control_id, messages.omi_o23(order, datetime.now(UTC), control_id)
                    self._ledger.sent("hl7", control_id, order=order.placer)
                control_id, raw = self._unanswered
                self._answered("hl7", control_id, str(read_ack(client.send(raw)).code))
                self._unanswered = None
                yield

    def _exams(self) -> Iterator[None]:
        while True:
            if not self._acts:
                if not self._finishing:
                    self._acts = self._new_exam()
                yield
                continue
            ae = AE("CT1")
            ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
            ae.add_requested_context(ModalityPerformedProcedureStep, ExplicitVRLittleEndian)
            ae.add_requested_context("1.2.840.10008.5.1.4.1.1.2", ExplicitVRLittleEndian)
            ae.add_requested_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
            peer = ae.associate("127.0.0.1", self._hospital.ports.dicom, ae_title="BRIDGE")
            if not peer.is_established:
                raise RemoteUnavailable("no association")
            try:
                while self._acts:
                    self._acts[0](peer)
                    del self._acts[0]
                    yield
            except RuntimeError:  # what pynetdicom says when the peer has gone
                raise RemoteUnavailable("the association was lost") from None
            finally:
                peer.release()

    def _new_exam(self) -> list[Act]:
        """An order, its worklist entry, and what the scanner is going to say of it."""
        order = make_order(next(self._numbers), datetime.now(), run=f"{self._run}X")
        self._site.records.put_patient(order.patient)
        self._hospital.ris().send(messages.omi_o23, order)
        scanner = self._hospital.scanner("CT1")
        (item,) = scanner.worklist(AccessionNumber=order.accession)
        step, created = new_uid(), scanner._created(item)
        images = pictures(item, IMAGES, step)
        final = Dataset()
        final.PerformedProcedureStepStatus = "COMPLETED"
        final.PerformedProcedureStepEndDate = f"{datetime.now():%Y%m%d}"
        final.PerformedProcedureStepEndTime = f"{datetime.now():%H%M%S}"
        final.PerformedSeriesSequence = performed_series(images)
        stores = [partial(self._store, image) for image in images]
        return [
            partial(self._create, step, created),
            *stores,
            partial(self._commit, new_uid(), images),
            partial(self._set, step, final, order.study_uid),
        ]

    def _create(self, step: str, created: Dataset, peer: Association) -> None:
        """Sent again after a lost answer it is 0111: it is there."""
        self._ledger.sent("n-create", step)
        self._told("n-create", step, peer.send_n_create(created, ModalityPerformedProcedureStep, step)[0])

    def _store(self, image: Dataset, peer: Association) -> None:
        uid = str(image.SOPInstanceUID)
        self._ledger.sent("store", uid)
        answer = peer.send_c_store(image)
        self._told("store", uid, answer)
        if answer.Status != 0x0000:
            raise RemoteUnavailable("not stored now")

    def _commit(self, transaction: str, images: list[Dataset], peer: Association) -> None:
        """Whether they are safe. Sent again with the same list it is taken again."""
        asked = Dataset()
        asked.TransactionUID, asked.ReferencedSOPSequence = transaction, []
        for image in images:
            one = Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
            asked.ReferencedSOPSequence.append(one)
        self._ledger.sent("commit", transaction)
        self._told("commit", transaction, peer.send_n_action(asked, 1, StorageCommitmentPushModel, WELL_KNOWN)[0])

    def _set(self, step: str, final: Dataset, study: str, peer: Association) -> None:
        """Sent again after a lost answer it is 0110 (A710): it is final."""
        self._ledger.sent("n-set", step, status="COMPLETED")
        self._told("n-set", step, peer.send_n_set(final, ModalityPerformedProcedureStep, step)[0])
        self.studies.append(study)

    def finish(self, seconds: float = 60) -> None:
        """Begin nothing new, and bring to its end what was begun: every order answered, every exam ended."""
        self._finishing = True
        with self.working():
            assert until(lambda: not self._unanswered and not self._acts, seconds), "the senders could not go on"


def wait_published(site: Site, seconds: float = 60) -> None:
    """Until every study is judged and nothing is owed to the EHR."""
    owed = "SELECT count(*) AS n FROM publication WHERE state <> 'done' OR published_version < version"
    open_ = "SELECT count(*) AS n FROM study WHERE state <> 'complete' OR judged_version IS NULL"
    end = time.monotonic() + seconds
    while site.rows(owed)[0]["n"] or site.rows(open_)[0]["n"]:
        assert time.monotonic() < end, site.rows("SELECT state, last_answer, attempts FROM publication")
        time.sleep(0.2)


def note_publications(site: Site, ledger: Ledger, studies: list[str]) -> None:
    """Write down what the EHR holds of each study, once it is owed nothing."""
    wait_published(site)
    for study in studies:
        for resource in site.studies(study):
            ledger.sent("publish", study)
            ledger.answered("publish", study, "200", resource=resource["id"])
