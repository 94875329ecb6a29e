"""RAD-5 Query Modality Worklist, over the wire (IHE RAD TF-2 4.5; PS3.4 K)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND

from bridge.config import DicomPeer
from bridge.dicom.ae import DicomServer
from bridge.domain.patient import PersonName
from bridge.domain.worklist import WorklistEntry
from bridge.domain.worklist_view import Listing
from bridge.errors import StoreBroken, StoreUnavailable
from tests.unit.dicom.support import MWL, FakeServices, associated, entry, serving

pytestmark = pytest.mark.usefixtures("transport")

IMPLICIT = "1.2.840.10008.1.2"


@pytest.fixture
def modality(server: DicomServer) -> Iterator[Association]:
    with associated(server, (MWL, IMPLICIT)) as association:
        yield association


def query(step: dict[str, Any] | None = None, **top: Any) -> Dataset:
    data, item = Dataset(), Dataset()
    for keyword, value in top.items():
        setattr(data, keyword, value)
    for keyword, value in (step or {}).items():
        setattr(item, keyword, value)
    data.ScheduledProcedureStepSequence = [item]
    return data


def find(modality: Association, request: Dataset) -> tuple[list[int], list[Dataset]]:
    answers = list(modality.send_c_find(request, MWL))
    return [status.Status for status, _ in answers], [data for _, data in answers if data is not None]


def test_a_match_is_ff00_and_the_end_is_0000(modality: Association) -> None:
    assert find(modality, query(PatientName=""))[0] == [0xFF00, 0x0000]


def test_no_match_is_just_0000(modality: Association) -> None:
    assert find(modality, query(PatientID="NOBODY")) == ([0x0000], [])


def test_a_patient_based_query(modality: Association) -> None:
    _, (found,) = find(modality, query(PatientName="DOE*", PatientID="P100", AccessionNumber=""))
    assert found.AccessionNumber == "ACC1"


def test_a_broad_query_by_date_modality_and_station(modality: Association) -> None:
    step = {
        "ScheduledProcedureStepStartDate": "20250301",
        "Modality": "CT",
        "ScheduledStationAETitle": "CT1",
        "ScheduledProcedureStepID": "",
    }
    _, (found,) = find(modality, query(step))
    assert found.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == "SPS1"


def test_a_step_each_answer_with_the_same_study(modality: Association, services: FakeServices) -> None:
    services.worklist.entries = [entry(step_id=f"SPS{n}") for n in range(3)]
    _, found = find(modality, query({"ScheduledProcedureStepID": ""}, StudyInstanceUID=""))
    assert len(found) == 3 and {data.StudyInstanceUID for data in found} == {"1.2.3.1"}


def test_an_unmatched_optional_key_makes_the_answers_ff01(modality: Association) -> None:
    assert find(modality, query(SpecialNeeds="WHEELCHAIR"))[0] == [0xFF01, 0x0000]


def test_two_step_items_are_refused_with_a900(modality: Association) -> None:
    request = query()
    request.ScheduledProcedureStepSequence = [Dataset(), Dataset()]
    assert find(modality, request)[0] == [0xA900]


def test_a_malformed_date_is_refused_and_the_next_query_answered(modality: Association) -> None:
    assert find(modality, query({"ScheduledProcedureStepStartDate": "-"}))[0] == [0xA900]
    assert find(modality, query())[0] == [0xFF00, 0x0000]


def test_more_matches_than_the_limit_are_refused_with_a700(modality: Association, services: FakeServices) -> None:
    services.worklist.entries, services.worklist.limit = [entry()] * 3, 2
    assert find(modality, query()) == ([0xA700], [])


def test_a_list_that_is_cut_ends_with_a700_and_never_with_0000(modality: Association, services: FakeServices) -> None:
    services.worklist.entries, services.worklist.limit, services.worklist.cut = [entry()] * 3, 2, True
    statuses, found = find(modality, query())
    assert (statuses, len(found)) == ([0xFF00, 0xFF00, 0xA700], 2)


def test_a_store_that_is_away_is_a700(modality: Association, services: FakeServices) -> None:
    services.worklist.fault = StoreUnavailable("locked")
    assert find(modality, query())[0] == [0xA700]


def test_an_internal_error_is_a_status_without_its_text(modality: Association, services: FakeServices) -> None:
    services.worklist.fault = RuntimeError("DOE^JANE")
    ((status, _),) = list(modality.send_c_find(query(), MWL))
    assert (status.Status, status.ErrorComment) == (0xC001, "internal error")


def test_a_broken_store_answers_nothing_and_ends_the_process(modality: Association, services: FakeServices) -> None:
    services.worklist.fault = StoreBroken("fsync")
    ((status, _),) = list(modality.send_c_find(query(), MWL))
    assert "Status" not in status and services.was_broken


def test_a_hostile_wildcard_is_answered(modality: Association, services: FakeServices) -> None:
    services.worklist.entries = [entry(patient_id="a" * 64)]
    assert find(modality, query(PatientID="*a" * 20 + "b"))[0] == [0x0000]


def test_regex_characters_are_ordinary(modality: Association, services: FakeServices) -> None:
    services.worklist.entries = [entry(accession_number="A.1")]
    assert find(modality, query(AccessionNumber="A(1"))[0] == [0x0000]
    assert find(modality, query(AccessionNumber="A.*"))[0] == [0xFF00, 0x0000]


class Paused(Listing):
    """Entries of which all but three wait until the cancel has gone out."""

    cancelled = threading.Event()

    def __iter__(self) -> Iterator[WorklistEntry]:
        for index, found in enumerate(list.__iter__(self)):
            if index == 3:
                self.cancelled.wait(10)
                time.sleep(0.2)
            yield found


def test_a_cancelled_query_ends_with_fe00(
    modality: Association, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = Paused([entry()] * 10)
    monkeypatch.setattr(services.worklist, "find", lambda keys, peer: entries)
    statuses = []
    for status, _ in modality.send_c_find(query(PatientName=""), MWL, msg_id=7):
        statuses.append(status.Status)
        if len(statuses) == 1:
            modality.send_c_cancel(7, query_model=MWL)
            entries.cancelled.set()
    assert statuses == [0xFF00, 0xFF00, 0xFF00, 0xFE00]


def test_the_workflow_learns_which_device_asked(
    modality: Association, services: FakeServices, server: DicomServer
) -> None:
    find(modality, query())
    server.stop()
    assert services.acquiring.queries == ["CT1"]


def test_a_device_that_is_not_told_whose_number_it_gets_is_noted(
    modality: Association, services: FakeServices, server: DicomServer
) -> None:
    find(modality, query(PatientID=""))
    server.stop()
    assert services.worklist.unnamed == [{"hospital"}]


@pytest.mark.parametrize(
    "asked", [{"PatientName": ""}, {"PatientID": "", "IssuerOfPatientID": ""}], ids=["no number", "its issuer too"]
)
def test_a_device_that_gets_no_number_or_its_issuer_too_is_not_noted(
    modality: Association, services: FakeServices, server: DicomServer, asked: dict[str, str]
) -> None:
    find(modality, query(**asked))
    server.stop()
    assert services.worklist.unnamed == []


def test_a_database_that_is_full_shows_the_worklist(
    modality: Association, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(calling_ae: str) -> None:
        raise StoreUnavailable("the database did not take the change", where="SQLITE_FULL")

    monkeypatch.setattr(services.acquiring, "note_query", full)
    assert find(modality, query())[0] == [0xFF00, 0x0000]


def test_a_database_that_another_program_holds_locked_delays_no_scanner(
    modality: Association, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked = threading.Event()
    monkeypatch.setattr(services.acquiring, "note_query", lambda calling_ae: unlocked.wait(30))
    began = time.monotonic()
    try:
        assert [find(modality, query())[0] for _ in range(3)] == [[0xFF00, 0x0000]] * 3
        assert time.monotonic() - began < 5
    finally:
        unlocked.set()


def test_a_sync_that_fails_under_a_note_ends_the_process(
    modality: Association, services: FakeServices, server: DicomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(calling_ae: str) -> None:
        raise StoreBroken("fsync")

    monkeypatch.setattr(services.acquiring, "note_query", broken)
    find(modality, query())
    server.stop()
    assert services.was_broken


def test_an_identifier_that_is_not_dicom_is_refused(server: DicomServer) -> None:
    with associated(server, (MWL, IMPLICIT)) as modality:
        request = C_FIND()
        request.MessageID, request.AffectedSOPClassUID, request.Priority = 1, MWL, 2
        request.Identifier = BytesIO(b"%PDF-1.7 this is no data set")
        modality._reactor_checkpoint.clear()
        modality.dimse.send_msg(request, modality.accepted_contexts[0].context_id or 1)
        answer: Any = modality.dimse.get_msg(block=True)[1]
        modality._reactor_checkpoint.set()
        assert answer.Status == 0xA900


def test_a_japanese_modality_gets_its_answer_in_its_own_character_set(tmp_path: Path, services: FakeServices) -> None:
    services.worklist.entries = [entry(patient_name=PersonName("Yamada^Tarou", "山田^太郎"))]
    peer = DicomPeer(ae_title="CT1", character_set="\\ISO 2022 IR 87")
    with serving(tmp_path, services, peer=(peer,)) as server, associated(server, (MWL, IMPLICIT)) as modality:
        _, (found,) = find(modality, query(PatientName="Yamada*"))
    assert (str(found.PatientName), list(found.SpecificCharacterSet)) == (
        *("Yamada^Tarou=山田^太郎", ["", "ISO 2022 IR 87"]),
    )
