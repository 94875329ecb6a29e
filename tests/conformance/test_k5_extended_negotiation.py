"""PS3.4 K.5.1.1: what a device and the worklist agree on when they associate, and what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from bridge.config import Worklist, WorklistView
from bridge.dicom.ae import DicomServer
from bridge.domain.patient import PersonName
from tests.unit.dicom.support import CT, MWL, FakeServices, entry, serving

ECHO = "1.2.840.10008.1.1"


def view(fuzzy: Any) -> Worklist:
    return Worklist(view=(WorklistView(peers=("*",), fuzzy=fuzzy),))


@contextmanager
def device(server: DicomServer, asked: bytes | None, sop_class: str = MWL) -> Iterator[Association]:
    scu = AE(ae_title="CT1")
    scu.add_requested_context(MWL)
    scu.add_requested_context(ECHO)
    items: list[Any] = []
    if asked is not None:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = sop_class, asked
        items.append(item)
    association = scu.associate("127.0.0.1", server.port, ae_title="BRIDGE", ext_neg=items)
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def agreed(server: DicomServer, asked: bytes | None, sop_class: str = MWL) -> dict[str, bytes]:
    with device(server, asked, sop_class) as association:
        return {str(uid): told for uid, told in association.acceptor.sop_class_extended.items()}


@pytest.fixture
def services() -> FakeServices:
    found = FakeServices()
    found.worklist.entries = [entry(patient_name=PersonName("DOE^JANE^Q"))]
    return found


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"\1\1\1", b"\1\1\1"),
        (b"\1\1\0", b"\1\1\0"),
        (b"\0\0\1", b"\1\1\1"),  # combined date and time is in force unasked
        (b"\1\1\1\1", b"\1\1\1\0"),  # no timezone query adjustment
        (b"\1\1\1\1\1\1", b"\1\1\1\0"),  # what came later is not agreed on
        (b"\1\1\2", b"\1\1\0"),
    ],
)
def test_each_byte_is_answered_by_itself(server: DicomServer, asked: bytes, answer: bytes) -> None:
    assert agreed(server, asked) == {MWL: answer}


@pytest.mark.parametrize("asked", [None, b"\1", b"\1\1"])
def test_what_was_not_asked_in_full_is_not_answered(server: DicomServer, asked: bytes | None) -> None:
    assert agreed(server, asked) == {}


def test_another_class_is_not_answered(server: DicomServer) -> None:
    assert agreed(server, b"\1\1\1", CT) == {}


def test_a_device_whose_view_never_is_fuzzy_is_turned_down(tmp_path: Path, services: FakeServices) -> None:
    with serving(tmp_path, services, worklist=view("never")) as server:
        assert agreed(server, b"\1\1\1") == {MWL: b"\1\1\0"}


def found(association: Association) -> list[int]:
    request = Dataset()
    request.PatientName = "jane doe"
    return [status.Status for status, _ in association.send_c_find(request, MWL)]


@pytest.mark.parametrize(("asked", "statuses"), [(b"\1\1\1", [0xFF00, 0]), (b"\1\1\0", [0]), (None, [0])])
def test_names_that_resemble_are_found_when_it_was_agreed_on(
    server: DicomServer, asked: bytes | None, statuses: list[int]
) -> None:
    with device(server, asked) as association:
        assert found(association) == statuses


def test_the_next_association_agrees_anew(server: DicomServer) -> None:
    with device(server, b"\1\1\1") as association:
        assert found(association) == [0xFF00, 0]
    with device(server, None) as association:
        assert found(association) == [0]
