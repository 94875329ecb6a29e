"""Senders that work until they are told to pause, and write down in a ledger what they sent and what they were told."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from bridge.errors import RemoteError, RemoteUnavailable
from bridge.hl7.ack import read_ack
from bridge.hl7.client import MllpClient
from bridge.sandbox import ris as messages
from bridge.sandbox.hospital import Hospital
from bridge.sandbox.modality import performed_series
from bridge.uids import new_uid
from tests.e2e.story import pictures
from tests.faults.ledger import Ledger
from tests.faults.stories import make_order


class Load:
    """A RIS (50 orders a second at most) and a scanner (exam after exam: N-CREATE, images, N-SET)."""

    def __init__(self, hospital: Hospital, ledger: Ledger, *, images: bool = True, pause: float = 0.02) -> None:
        self._hospital, self._ledger, self._pause = hospital, ledger, pause
        self._go, self._ending = threading.Event(), threading.Event()
        self._idle = threading.Condition()
        self._busy = 0
        self.acknowledged = 0
        self._numbers = itertools.count(1)
        self._order = make_order(0, datetime.now(), run="L")
        hospital.ris().send(messages.omi_o23, self._order)
        self._item = hospital.scanner("CT1").worklist(AccessionNumber=self._order.accession)[0]
        self._threads = [threading.Thread(target=self._play, args=(self._orders,), daemon=True)]
        if images:
            self._threads.append(threading.Thread(target=self._play, args=(self._exams,), daemon=True))

    @contextmanager
    def working(self) -> Iterator[None]:
        """All senders send; at the end of the block each stops after what it has in hand."""
        self._go.set()
        try:
            yield
        finally:
            self._go.clear()
            with self._idle:
                self._idle.wait_for(lambda: not self._busy, 30)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._go.set()
        for thread in self._threads:
            thread.join(30)

    def _play(self, acts: Callable[[], Iterator[None]]) -> None:
        playing = acts()
        while True:
            self._go.wait()
            if self._ending.is_set():
                return
            with self._idle:
                self._busy += 1
            try:
                next(playing)
            except RemoteError:  # no answer: nothing is owed
                playing = acts()
            finally:
                with self._idle:
                    self._busy -= 1
                    self._idle.notify_all()
            self._ending.wait(self._pause)

    def _orders(self) -> Iterator[None]:
        with MllpClient("127.0.0.1", self._hospital.ports.hl7, 20) as client:
            while True:
                order = make_order(next(self._numbers), datetime.now(), run="L")
                control_id = f"L{order.placer}"
                self._ledger.sent("hl7", control_id, order=order.placer)
                raw = messages.omi_o23(order, datetime.now(UTC), control_id)
                self._answered("hl7", control_id, str(read_ack(client.send(raw)).code))
                yield

    def _exams(self) -> Iterator[None]:
        scanner = self._hospital.scanner("CT1")
        while True:
            step, created = new_uid(), scanner._created(self._item)
            images = pictures(self._item, 3, step)
            ae = AE("CT1")
            for uid in (ModalityPerformedProcedureStep, images[0].SOPClassUID):
                ae.add_requested_context(uid, ExplicitVRLittleEndian)
            peer = ae.associate("127.0.0.1", self._hospital.ports.dicom, ae_title="BRIDGE")
            if not peer.is_established:
                raise RemoteUnavailable("no association")
            try:
                self._ledger.sent("n-create", step)
                self._told("n-create", step, peer.send_n_create(created, ModalityPerformedProcedureStep, step)[0])
                yield
                for image in images:
                    self._ledger.sent("store", str(image.SOPInstanceUID))
                    self._told("store", str(image.SOPInstanceUID), peer.send_c_store(image))
                    yield
                final = Dataset()
                final.PerformedProcedureStepStatus = "COMPLETED"
                final.PerformedProcedureStepEndDate = f"{datetime.now():%Y%m%d}"
                final.PerformedProcedureStepEndTime = f"{datetime.now():%H%M%S}"
                final.PerformedSeriesSequence = performed_series(images)
                self._ledger.sent("n-set", step, status="COMPLETED")
                self._told("n-set", step, peer.send_n_set(final, ModalityPerformedProcedureStep, step)[0])
                yield
            except RuntimeError:  # what pynetdicom says when the peer has gone
                raise RemoteUnavailable("the association was lost") from None
            finally:
                peer.release()

    def _told(self, kind: str, uid: str, status: Dataset) -> None:
        if "Status" not in status:
            raise RemoteUnavailable("no answer")
        self._answered(kind, uid, int(status.Status))

    def _answered(self, kind: str, identity: str, answer: str | int) -> None:
        self._ledger.answered(kind, identity, answer)
        self.acknowledged += 1
