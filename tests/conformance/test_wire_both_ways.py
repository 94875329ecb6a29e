"""The same bytes from both listeners: our acceptor and pynetdicom's answer every request alike, to the byte."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bridge.config import DicomPeer
from bridge.dicom.ae import DicomServer
from bridge.domain.patient import PersonName
from tests.fakes.raw_peer import RawPeer, association_request, message
from tests.unit.dicom.support import CT, MPPS, MWL, SC, FakeServices, command, encoded, entry, image, pdu, serving

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
VERIFICATION, MPPS_RETRIEVE = "1.2.840.10008.1.1", "1.2.840.10008.3.1.2.3.4"
STORE, FIND, ECHO, CREATE, SET, GET = 0x0001, 0x0020, 0x0030, 0x0140, 0x0120, 0x0110
NAMES = ["DOE^JANE", "MÜLLER^JÖRG", "山田^太郎", "SMITH^J", "DOE^JOHN"]
PEERS = (
    DicomPeer(ae_title="CT1", patient_issuer="HOSP", accession_issuer="HOSP"),
    DicomPeer(ae_title="LATIN", character_set="ISO_IR 100"),
    DicomPeer(ae_title="OLD", character_set="ISO_IR 100", utf8=False),
)
Pair = tuple[DicomServer, DicomServer]


def entries() -> list[object]:
    return [
        entry(step_pk=n, step_id=f"S{n}", accession_number=f"ACC{n % 7}", patient_name=PersonName(NAMES[n % 5]),
              patient_id=f"P{n % 11}", start_date=f"202503{1 + n % 28:02}", modality=("CT", "MR", "US")[n % 3])
        for n in range(40)
    ]  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    services = [FakeServices(), FakeServices()]
    for one in services:
        one.worklist.entries = entries()  # type: ignore[assignment]
    with (
        serving(tmp_path / "own", services[0], transport="own", peer=PEERS) as own,
        serving(tmp_path / "stock", services[1], transport="pynetdicom", peer=PEERS) as stock,
    ):
        assert type(own._listener) is not type(stock._listener)
        yield own, stock


def query(rng: random.Random) -> Dataset:
    """Random keys of every kind, some wrong."""
    item, data = Dataset(), Dataset()
    top = {
        "PatientName": ["", "*", "DOE*", "doe^ja?e", "M*", "山*", "NOBODY"],
        "PatientID": ["", "P1", "P*", "x" * 300],
        "AccessionNumber": ["", "ACC1", "ACC?"],
        "PatientBirthDate": ["", "19700102", "19700101-19701231"],
        "StudyInstanceUID": ["", "1.2.3.1", "1.2.3.1\\1.2.3.2"],
        "RequestedProcedureID": ["", "RP1"],
        "ReferringPhysicianName": [""],
        "Allergies": [""],
        "PatientComments": ["", "what"],
        "AdmissionID": ["", "V9"],
        "OtherPatientIDs": [""],
    }
    step = {
        "Modality": ["", "CT", "MR"],
        "ScheduledStationAETitle": ["", "CT1", "CT*"],
        "ScheduledProcedureStepStartDate": ["", "20250301", "20250301-20250310", "-20250305", "rubbish"],
        "ScheduledProcedureStepStartTime": ["", "0800-1200"],
        "ScheduledProcedureStepID": ["", "S1", "S?"],
        "ScheduledProcedureStepDescription": [""],
        "ScheduledPerformingPhysicianName": [""],
    }
    for target, keys in ((data, top), (item, step)):
        for keyword in rng.sample(sorted(keys), rng.randint(0, len(keys))):
            common = rng.random() < 0.7
            setattr(target, keyword, "" if common else rng.choice(keys[keyword]))
    if rng.random() < 0.5:
        data.SpecificCharacterSet = rng.choice(["ISO_IR 192", "ISO_IR 100"])
    if rng.random() < 0.85:
        data.ScheduledProcedureStepSequence = Sequence([item] if rng.random() < 0.9 else [])
    return data


def same(pair: Pair, request: bytes, messages: list[bytes]) -> list[list[int]]:
    """Both servers hear the same and must say the same; the statuses."""
    heard = []
    for server in pair:
        with RawPeer(server.port) as peer:
            said = [peer.associate(request)]
            statuses = []
            if said[0][:1] == b"\x02":
                for one in messages:
                    pdus, found = peer.ask(one)
                    said += pdus
                    statuses.append(found)
                said.append(peer.release())
            heard.append((said, statuses))
    assert heard[0][0] == heard[1][0]
    return heard[0][1]


@pytest.mark.parametrize("title", ["CT1", "LATIN", "OLD"])
def test_500_random_queries_are_answered_alike(pair: Pair, title: str, full: bool) -> None:
    rng = random.Random(title)
    seen: set[int] = set()
    for _ in range(34 if full else 4):  # associations of 5 queries each, for 3 devices: 510, or 60
        syntax = rng.choice([(IMPLICIT, False, True), (EXPLICIT, False, True), (BIG, False, False)])
        contexts = [(MWL, [syntax[0]])]
        most = rng.choice([16_382, 4_096, 300, 131_072, 0])
        queries = []
        for number in range(5):
            data = encoded(query(rng), implicit=syntax[0] == IMPLICIT, little=syntax[2])
            asked = command(MWL, FIND, MessageID=number + 1)
            queries.append(message(1, asked, data) if data else pdu(1, 3, asked) + pdu(1, 2, b""))
        for statuses in same(pair, association_request(contexts, calling=title, most=most), queries):
            seen.update(statuses)
    assert {0x0000, 0xFF00} <= seen


def test_objects_performed_steps_and_echoes_are_answered_alike(pair: Pair) -> None:
    contexts = [(CT, [EXPLICIT]), (MPPS, [EXPLICIT]), (MPPS_RETRIEVE, [EXPLICIT]), (VERIFICATION, [IMPLICIT])]
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedProcedureStepID, step.PerformedStationAETitle, step.Modality = "PPS1", "CT1", "CT"
    step.PerformedProcedureStepStartDate, step.PerformedProcedureStepStartTime = "20250301", "1030"
    reference = Dataset()
    reference.StudyInstanceUID = "1.2.3.1"
    step.ScheduledStepAttributesSequence = Sequence([reference])
    ended, empty = Dataset(), encoded(Dataset())
    ended.PerformedProcedureStepStatus, ended.PatientID = "COMPLETED", "ANOTHER"
    retrieve = {"AffectedSOPClassUID": None, "AffectedSOPInstanceUID": None, "RequestedSOPInstanceUID": "1.2.3.8"}
    changed = retrieve | {"RequestedSOPClassUID": MPPS}
    told = retrieve | {"RequestedSOPClassUID": MPPS_RETRIEVE, "CommandDataSetType": 0x0101}
    messages = [
        message(7, command(VERIFICATION, ECHO, CommandDataSetType=0x0101)),
        message(1, command(CT, STORE, MessageID=2), encoded(image()), most=1000),
        message(1, command(CT, STORE, MessageID=3), encoded(image())),
        message(1, command(CT, STORE, MessageID=4), encoded(image(PatientID="OTHER"))),
        message(1, command(CT, STORE, MessageID=5, AffectedSOPInstanceUID="1.2.3.5"), encoded(image())),
        message(1, command(CT, STORE, MessageID=6), b"\xff" * 20),
        message(1, command(CT, STORE, MessageID=7, AffectedSOPInstanceUID="../../evil"), encoded(image())),
        message(3, command(MPPS, CREATE, AffectedSOPInstanceUID="1.2.3.8"), encoded(step)),
        message(3, command(MPPS, CREATE, AffectedSOPInstanceUID="1.2.3.8"), encoded(step)),
        message(1, command(SC, STORE, MessageID=9), encoded(image())),
        message(1, command(CT, STORE, MoveOriginatorMessageID=5), encoded(image())),
        message(3, command(MPPS, CREATE, AffectedSOPInstanceUID="1.2.3.9"), encoded(ended)),
        message(3, command(MPPS, SET, **changed), encoded(ended)),
        message(3, command(MPPS, SET, **changed | {"RequestedSOPInstanceUID": "1.2.3.77"}), encoded(ended)),
        message(5, command(MPPS_RETRIEVE, GET, **told), empty),
    ]
    statuses = [one[-1] for one in same(pair, association_request(contexts), messages)]
    assert statuses[:3] == [0, 0, 0] and statuses[7] == 0 and statuses[8] == 0x0111 and statuses[-1] in (0, 1)


@pytest.mark.parametrize(
    "request_",
    [
        association_request([(CT, [EXPLICIT, IMPLICIT])], calling="STRANGER"),
        association_request([(CT, [EXPLICIT])], called="ELSEWHERE"),
        association_request([(CT, [EXPLICIT])], version=2),
        association_request([("1.2.3.4", [EXPLICIT]), (VERIFICATION, ["1.2.3.5"]), (CT, [IMPLICIT, EXPLICIT])]),
        association_request([(CT, [EXPLICIT])] * 3, most=0),
        # roles, asynchronous operations, user identity with a positive answer asked for
        association_request(
            [(CT, [EXPLICIT])],
            extra=bytes.fromhex("5400001b0017") + b"1.2.840.10008.5.1.4.1.1" + b"\1\1"
            + bytes.fromhex("530000040000 0000") + bytes.fromhex("5800000a 01 01 0004") + b"user" + b"\0\0",
        ),
    ],
)  # fmt: skip
def test_requests_for_an_association_are_answered_alike(pair: Pair, request_: bytes) -> None:
    same(pair, request_, [])
