"""Who may associate: title, address, operation."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.presentation import PresentationContext, build_context

from bridge.config import Dicom, DicomPeer
from bridge.dicom.policy import CALLED_UNKNOWN, CALLING_UNKNOWN, MPPS, VERIFICATION, WORKLIST, Policy, Rejection
from bridge.errors import ConfigurationError
from tests.unit.dicom.support import (
    CT,
    MWL,
    FakeServices,
    associated,
    command,
    encoded,
    files_under,
    image,
    pdu,
    sends,
    serving,
)

IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
DEFLATED = "1.2.840.10008.1.2.1.99"
PEERS = (
    DicomPeer(ae_title="CT1", addresses=("10.0.0.0/24", "192.168.1.7")),
    DicomPeer(ae_title="US1", may=frozenset({"worklist"})),
    DicomPeer(ae_title="NONE", may=frozenset()),
)


def judge(calling: str, *asked: str, called: str = "BRIDGE", address: str = "10.0.0.5") -> set[str] | Rejection:
    found = Policy(Dicom(peer=PEERS)).contexts(calling, called, address, [build_context(uid) for uid in asked])
    return found if isinstance(found, Rejection) else {str(context.abstract_syntax) for context in found}


def test_a_known_peer_gets_what_it_asks() -> None:
    assert judge("CT1", WORKLIST, MPPS, CT, VERIFICATION) == {WORKLIST, MPPS, CT, VERIFICATION}


def test_another_called_title_is_refused_with_1_1_7() -> None:
    assert judge("CT1", WORKLIST, called="ANY") == CALLED_UNKNOWN


@pytest.mark.parametrize("address", ["10.0.0.255", "192.168.1.7", "::ffff:10.0.0.9"])
def test_a_peer_may_come_from_its_addresses(address: str) -> None:
    assert judge("CT1", WORKLIST, address=address) == {WORKLIST}


@pytest.mark.parametrize("address", ["10.0.1.5", "192.168.1.8", "::1", "no address"])
def test_a_known_title_from_elsewhere_is_refused_with_1_1_3(address: str) -> None:
    assert judge("CT1", WORKLIST, address=address) == CALLING_UNKNOWN


def test_an_unknown_title_may_only_echo() -> None:
    assert judge("NEW", VERIFICATION, WORKLIST) == {VERIFICATION}


def test_an_unknown_title_that_asks_for_the_worklist_is_refused() -> None:
    assert judge("NEW", WORKLIST) == CALLING_UNKNOWN


def test_a_forbidden_operation_is_not_among_the_contexts() -> None:
    assert judge("US1", WORKLIST, CT) == {WORKLIST}


def test_a_peer_that_may_nothing_is_refused() -> None:
    assert judge("NONE", VERIFICATION) == CALLING_UNKNOWN


def test_titles_are_case_sensitive() -> None:
    assert judge("ct1", WORKLIST) == CALLING_UNKNOWN


def test_objects_are_taken_in_the_senders_order_of_transfer_syntaxes() -> None:
    found = Policy(Dicom(peer=PEERS)).contexts("CT1", "BRIDGE", "10.0.0.5", [build_context(CT, [JPEG, IMPLICIT])])
    assert not isinstance(found, Rejection)
    assert list(map(str, found[0].transfer_syntax)) == [JPEG, IMPLICIT]


def test_a_deflated_transfer_syntax_is_not_taken() -> None:
    proposed: list[PresentationContext] = [build_context(CT, [DEFLATED])]
    assert Policy(Dicom(peer=PEERS)).contexts("CT1", "BRIDGE", "10.0.0.5", proposed) == []


def test_an_address_that_is_none_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError):
        Policy(Dicom(peer=(DicomPeer(ae_title="X", addresses=("ct1.example",)),)))


@pytest.mark.parametrize(("sop_class", "field"), [(CT, 0x0001), (MWL, 0x0020)])
def test_an_operation_under_the_context_of_another_does_nothing(tmp_path: Path, sop_class: str, field: int) -> None:
    query = Dataset()
    query.PatientName = ""
    services, only_echo = FakeServices(), DicomPeer(ae_title="CT1", may=frozenset({"echo"}))
    data = encoded(image() if sop_class == CT else query)
    with (
        serving(tmp_path, services, peer=(only_echo,)) as server,
        associated(server, (VERIFICATION, EXPLICIT)) as modality,
    ):
        sends(modality, [pdu(1, 3, command(sop_class, field)), pdu(1, 2, data)], 1)
        assert (services.acquiring.stored, services.worklist.asked) == ({}, [])


@pytest.mark.parametrize("context", [VERIFICATION, MWL, MPPS])
def test_an_object_under_the_context_of_something_else_leaves_no_file(tmp_path: Path, context: str) -> None:
    with serving(tmp_path, FakeServices()) as server, associated(server, (context, EXPLICIT)) as modality:
        sends(modality, [pdu(1, 3, command(context, 0x0001)), pdu(1, 2, encoded(image()))], 1)
        assert files_under(server) == []
