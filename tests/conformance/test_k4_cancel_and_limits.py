"""PS3.4 K.4.1.3 and Table K.4-1: a query ends once and truly: all, cancelled, or not all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from bridge.config import DicomPeer
from bridge.dicom.ae import DicomServer
from bridge.domain.patient import PersonName
from bridge.domain.worklist_view import Listing
from tests.unit.dicom.support import MWL, FakeServices, asking, entry, serving

SECONDS = 20
ANYBODY = Dataset()
ANYBODY.PatientName = ""


class Gate:
    """Holds the worklist before an entry until the device has sent its cancel."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.reached, self.opened = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(SECONDS)


class Held(Listing):
    gate: Gate

    def __iter__(self) -> Iterator[Any]:
        for number, found in enumerate(list.__iter__(self)):
            if number == self.gate.before:
                self.gate.wait()
            yield found


def asked(modality: Association, server: DicomServer, gate: Gate) -> list[int]:
    """The statuses of a query that is cancelled once the worklist has reached the gate."""

    def cancel() -> None:
        if gate.reached.wait(SECONDS):
            modality.send_c_cancel(7, query_model=MWL)
            threading.Event().wait(0.3)  # until it has been read
            gate.opened.set()

    helper = threading.Thread(target=cancel)
    helper.start()
    try:
        return [status.Status for status, _ in modality.send_c_find(ANYBODY, MWL, msg_id=7)]
    finally:
        helper.join(SECONDS)


@pytest.mark.parametrize("before", [0, 1, 5, 9])
def test_a_cancel_ends_the_answers_wherever_it_comes(
    server: DicomServer, services: FakeServices, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    held = Held([entry(step_pk=n) for n in range(10)])
    held.gate = Gate(before)
    monkeypatch.setattr(services.worklist, "find", lambda keys, peer: held)
    with asking(server) as modality:
        statuses = asked(modality, server, held.gate)
    # The entry at the gate was let out after the cancel: it is asked for before each.
    assert statuses == [0xFF00] * before + [0xFE00]


def test_a_cancel_while_the_worklist_is_looked_up_ends_it(
    server: DicomServer, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(0)

    def find(keys: Any, peer: Any) -> Listing:
        gate.wait()
        return Listing([entry()] * 3)

    monkeypatch.setattr(services.worklist, "find", find)
    with asking(server) as modality:
        assert asked(modality, server, gate) == [0xFE00]


def test_a_cancel_among_entries_that_are_withheld_ends_it(
    tmp_path: Path, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held([entry(step_pk=n, patient_name=PersonName("Иванов^Иван")) for n in range(10)])
    held.gate = Gate(4)
    monkeypatch.setattr(services.worklist, "find", lambda keys, peer: held)
    latin = DicomPeer(ae_title="CT1", character_set="ISO_IR 100", utf8=False)
    with serving(tmp_path, services, peer=(latin,)) as server, asking(server) as modality:
        assert asked(modality, server, held.gate) == [0xFE00]


def test_a_cancelled_query_leaves_the_association_for_the_next(
    server: DicomServer, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held([entry(step_pk=n) for n in range(10)])
    held.gate = Gate(2)
    with asking(server) as modality:
        with monkeypatch.context() as patched:
            patched.setattr(services.worklist, "find", lambda keys, peer: held)
            assert asked(modality, server, held.gate)[-1] == 0xFE00
        # The same message id again: the old cancel is not meant for it.
        assert [status.Status for status, _ in modality.send_c_find(ANYBODY, MWL, msg_id=7)] == [0xFF00, 0]


def test_a_cancel_of_another_query_stops_nothing(server: DicomServer, services: FakeServices) -> None:
    services.worklist.entries = [entry(step_pk=n) for n in range(3)]
    statuses = []
    with asking(server) as modality:
        for status, _ in modality.send_c_find(ANYBODY, MWL, msg_id=7):
            statuses.append(status.Status)
            if len(statuses) == 1:
                modality.send_c_cancel(9, query_model=MWL)
    assert statuses == [0xFF00] * 3 + [0]


def test_over_the_limit_there_is_no_answer_and_no_success(server: DicomServer, services: FakeServices) -> None:
    services.worklist.entries, services.worklist.limit = [entry()] * 3, 2
    with asking(server) as modality:
        answers = list(modality.send_c_find(ANYBODY, MWL))
    assert [status.Status for status, _ in answers] == [0xA700]


def test_a_list_that_is_cut_says_so_in_the_end(server: DicomServer, services: FakeServices) -> None:
    services.worklist.entries, services.worklist.limit, services.worklist.cut = [entry()] * 3, 2, True
    with asking(server) as modality:
        answers = list(modality.send_c_find(ANYBODY, MWL))
    assert [status.Status for status, _ in answers] == [0xFF00, 0xFF00, 0xA700]
    assert answers[-1][1] is None
