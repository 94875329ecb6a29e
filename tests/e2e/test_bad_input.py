"""Bad input at a running bridge: a clear answer in the protocol's words, kept or logged, and the service goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from bridge.hl7.ack import AckCode
from bridge.hl7.mllp import write_frame
from bridge.sandbox import ris as messages
from bridge.sandbox.hospital import ROLES
from bridge.uids import new_uid
from tests.e2e.story import Site, Story, Viewer, run, until

PAGE = {"Accept": "text/html"}


@pytest.fixture(autouse=True)
def service_goes_on(site: Site) -> Iterator[None]:
    """Whatever came: the same processes answer as before."""
    pids = [site.hospital.role_pid(role) for role in ROLES]
    yield
    assert [site.hospital.role_pid(role) for role in ROLES] == pids
    assert site.story().send().code is AckCode.AA
    site.hospital.scanner("CT1").echo()
    assert requests.get(f"{site.hospital.public_url}/health", timeout=10).json() == {"status": "alive"}


def log_after(site: Site, act: Callable[[], Any]) -> list[dict[str, Any]]:
    """The log lines that came while `act` ran."""
    size = site.hospital.log.stat().st_size
    act()
    with site.hospital.log.open() as log:
        log.seek(size)
        return [json.loads(line) for line in log]


# HL7


def mllp(site: Site, frame: bytes) -> str:
    """One frame as it is, and what comes back, unframed."""
    with socket.create_connection(("127.0.0.1", site.hospital.ports.hl7), 20) as sock:
        sock.settimeout(20)
        sock.sendall(frame)
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            piece = sock.recv(65536)
            if not piece:
                break
            answer += piece
    return answer.strip(b"\x0b\x1c\r").decode("ascii")


def kept(site: Site, fate: str) -> dict[str, Any]:
    """The newest message: its fate, and its entry in the review list."""
    row = site.rows("SELECT id, fate, reasons, ack_code, length(raw) AS size FROM message ORDER BY id DESC LIMIT 1")[0]
    assert row["fate"] == fate
    assert [one["kind"] for one in site.reviews(f"message:{row['id']}")] == [f"message-{fate}"]
    return row


def order(site: Site) -> bytes:
    story = site.story()
    return messages.omi_o23(story.order, datetime.now(UTC), f"bad-{story.number}")


def segment(answer: str, name: str) -> list[str]:
    return next(line for line in answer.split("\r") if line.startswith(name)).split("|")


def test_a_frame_that_is_not_hl7_is_rejected_and_kept(site: Site) -> None:
    answer = mllp(site, write_frame(b"GET / HTTP/1.1\r\nHost: bridge\r\n\r\n"))
    assert segment(answer, "MSA")[1] == "AR"
    kept(site, "refused")


def test_a_frame_cut_by_its_sender_is_kept_and_not_answered(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.hospital.ports.hl7), 20) as sock:
        sock.sendall(write_frame(order(site))[:200])
    assert until(lambda: site.rows("SELECT 1 FROM message WHERE fate = 'quarantined' AND length(raw) = 199"))
    assert kept(site, "quarantined")["ack_code"] == ""


def test_an_unknown_message_type_is_rejected_with_200(site: Site) -> None:
    answer = mllp(site, write_frame(order(site).replace(b"OMI^O23^OMI_O23", b"ZZZ^Z99^ZZZ_Z99")))
    assert (segment(answer, "MSA")[1], segment(answer, "ERR")[3].split("^")[0]) == ("AR", "200")
    kept(site, "refused")


def test_an_unknown_event_is_rejected_with_201(site: Site) -> None:
    answer = mllp(site, write_frame(order(site).replace(b"OMI^O23^OMI_O23", b"OMI^O99^OMI_O99")))
    assert (segment(answer, "MSA")[1], segment(answer, "ERR")[3].split("^")[0]) == ("AR", "201")
    kept(site, "refused")


def test_a_missing_patient_identifier_is_an_error_at_pid_3(site: Site) -> None:
    raw = b"\r".join(
        b"|".join([*line.split(b"|")[:3], b"", *line.split(b"|")[4:]]) if line.startswith(b"PID|") else line
        for line in order(site).split(b"\r")
    )
    answer = mllp(site, write_frame(raw))
    error = segment(answer, "ERR")
    assert (segment(answer, "MSA")[1], error[2][:7], error[3].split("^")[0]) == ("AE", "PID^1^3", "101")
    kept(site, "refused")


def test_an_undecodable_byte_is_an_error_and_the_message_is_kept_whole(site: Site) -> None:
    raw = order(site).replace("Müller".encode(), b"M\xfcller")
    answer = mllp(site, write_frame(raw))
    assert (segment(answer, "MSA")[1], segment(answer, "ERR")[3].split("^")[0]) == ("AE", "102")
    assert kept(site, "refused")["size"] == len(raw)


def test_a_message_over_the_size_limit_is_an_error_and_its_head_is_kept(site: Site) -> None:
    raw = order(site)
    answer = mllp(site, write_frame(raw + b"OBX|1|TX|||" + b"x" * (16 * 1024 * 1024) + b"\r"))
    assert (segment(answer, "MSA")[1:3], segment(answer, "ERR")[3].split("^")[0]) == (
        ["AE", raw.split(b"|")[9].decode()],
        "104",
    )
    assert kept(site, "quarantined")["size"] <= 4096


def test_bridge_review_lists_a_refused_message_by_field_and_not_by_value(site: Site) -> None:
    raw = order(site).replace("Müller".encode(), b"M\xfcller")
    mllp(site, write_frame(raw))
    number = site.rows("SELECT max(id) AS id FROM message")[0]["id"]
    told = site.hospital.run("review").stdout
    assert f"message:{number}" in told and "ller" not in told


# DICOM


def image(site: Site, **attributes: str) -> Dataset:
    """The smallest data set that would be stored."""
    story = site.story()
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, new_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = new_uid(), new_uid()
    made.PatientID, made.PatientName, made.Modality = story.patient.mrn, "Müller^Test", "CT"
    made.SpecificCharacterSet = "ISO_IR 192"
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def raw_store(site: Site, data: bytes, instance_uid: str) -> int:
    """A C-STORE-RQ of these very bytes, past what a well-behaved SCU would refuse to send; the status."""
    ae = AE("CT1")
    ae.add_requested_context(CTImageStorage, ImplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", site.hospital.ports.dicom, ae_title="BRIDGE")
    assert association.is_established
    try:
        request = C_STORE()
        request.MessageID, request.Priority = 1, 2
        request.AffectedSOPClassUID = CTImageStorage
        request._AffectedSOPInstanceUID = instance_uid
        request.DataSet = BytesIO(data)
        # As its own send methods do, else the reactor thread takes the answer.
        association._reactor_checkpoint.clear()
        assert until(lambda: association._is_paused)
        context = association.accepted_contexts[0].context_id
        assert context is not None
        association.dimse.send_msg(request, context)
        _, answer = association.dimse.get_msg(block=True)
        assert answer is not None and answer.Status is not None
        return int(answer.Status)
    finally:
        association._reactor_checkpoint.set()
        association.release()


def bytes_of(data: Dataset) -> bytes:
    found = encode(data, is_implicit_vr=True, is_little_endian=True)
    assert found
    return found


def stored_files(site: Site) -> set[str]:
    archive = site.hospital.data / "archive"
    return {path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()}


def test_a_sound_data_set_is_stored_by_the_same_raw_request(site: Site) -> None:
    made = image(site)
    assert raw_store(site, bytes_of(made), str(made.SOPInstanceUID)) == 0x0000


@pytest.mark.parametrize("garbage", [b"\xff" * 600, b"%PDF-1.7 not a data set" * 20, b"\0" * 40])
def test_a_data_set_that_is_no_dicom_is_not_understood(site: Site, garbage: bytes) -> None:
    before = stored_files(site)
    status: list[int] = []
    lines = log_after(site, lambda: status.append(raw_store(site, garbage, new_uid())))
    # Cannot Understand C000-CFFF, or Data Set does not match SOP Class A900 (PS3.4 B.2.3)
    assert status[0] & 0xF000 == 0xC000 or status[0] == 0xA900
    assert [line["status"] for line in lines if line["msg"] == "c-store"] == [f"{status[0]:04X}"]
    assert stored_files(site) == before


@pytest.mark.peer("dcmtk")
def test_storescu_refuses_a_file_that_is_no_dicom_by_itself(site: Site, tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.7 not an image" * 100)
    before = stored_files(site)
    run("storescu", "-aet", "CT1", "-aec", "BRIDGE", "127.0.0.1", str(site.hospital.ports.dicom),
        str(tmp_path / "letter.pdf"))  # fmt: skip
    assert stored_files(site) == before


@pytest.mark.parametrize("attribute", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_uid_that_climbs_folders_is_refused_and_leaves_no_file(site: Site, attribute: str) -> None:
    bad = "1.2/../../../../evil"
    made, before = image(site), stored_files(site)
    data = bytes_of(made).replace(padded(made[attribute].value), padded(bad, len(padded(made[attribute].value))))
    status: list[int] = []
    instance = bad if attribute == "SOPInstanceUID" else str(made.SOPInstanceUID)
    lines = log_after(site, lambda: status.append(raw_store(site, data, instance)))
    assert status == [0xA900]
    assert [line["status"] for line in lines if line["msg"] == "c-store"] == ["A900"]
    assert stored_files(site) == before
    assert list(site.hospital.folder.rglob("*evil*")) == []


def padded(uid: str, length: int = 0) -> bytes:
    return (uid.encode() + b"\0" * (len(uid) % 2)).ljust(length, b"\0")


@pytest.mark.parametrize("uid", ["..%2F..%2F..%2Fetc%2Fpasswd", "../../../etc/passwd", "1.2/../3"])
def test_a_uid_that_climbs_folders_is_refused_by_dicomweb(site: Site, opened: tuple[Story, Viewer], uid: str) -> None:
    _, viewer = opened
    request = requests.Request("GET", "http://x", headers={"Accept": "application/dicom+json"})
    prepared = viewer.session.prepare_request(request)
    prepared.url = f"{site.hospital.viewer_url}/dicom-web/studies/{uid}/metadata"
    prepared.headers["Cookie"] = "; ".join(f"{one.name}={one.value}" for one in viewer.session.cookies)
    answer = viewer.session.send(prepared, timeout=20)
    assert answer.status_code in (400, 403, 404) and b"root:" not in answer.content


# Launch and links


@pytest.fixture(scope="module")
def opened(sekmet_site: Site) -> tuple[Story, Viewer]:
    """A matched study, and a browser that has opened it."""
    story = matched(sekmet_site)
    return story, sekmet_site.viewer(story.uid)


def matched(site: Site) -> Story:
    story = site.story()
    site.records.put_patient(story.patient)
    story.send()
    story.acquire()
    site.published(story.uid)
    return story


def test_a_launch_from_an_unknown_issuer_is_refused_in_words(site: Site) -> None:
    answers: list[requests.Response] = []
    query = {"iss": "https://evil.example/fhir", "launch": "x"}
    lines = log_after(
        site,
        lambda: answers.append(
            requests.get(
                f"{site.hospital.public_url}/launch", params=query, headers=PAGE, timeout=20, allow_redirects=False
            )
        ),
    )
    assert answers[0].status_code == 400 and "may not open images here" in answers[0].text
    assert [line["code"] for line in lines if line["msg"] == "refused"] == ["unknown-issuer"]


def test_a_link_used_twice_is_refused_in_words(site: Site, opened: tuple[Story, Viewer]) -> None:
    link = site.hospital.links.link(site.hospital.public_url, opened[0].uid)
    assert Viewer(site.hospital, requests.Session()).follow(link).status_code == 200
    answers: list[requests.Response] = []
    lines = log_after(site, lambda: answers.append(Viewer(site.hospital, requests.Session()).follow(link)))
    assert answers[0].status_code == 410 and "used already" in answers[0].text
    assert "link-used" in [line.get("code") for line in lines]
    assert site.rows("SELECT outcome FROM audit WHERE action = 'link-opened' ORDER BY id DESC LIMIT 1") == [
        {"outcome": "link-used"}
    ]


def test_an_expired_link_is_refused_in_words(site: Site, opened: tuple[Story, Viewer]) -> None:
    made = site.hospital.run("link", opened[0].uid, "--minutes", "0.001")
    answer = Viewer(site.hospital, requests.Session()).follow(made.stdout.strip())
    assert answer.status_code == 410 and "has expired" in answer.text
    assert site.rows("SELECT outcome FROM audit WHERE action = 'link-opened' ORDER BY id DESC LIMIT 1") == [
        {"outcome": "link-expired"}
    ]


def test_an_expired_signed_request_makes_no_link(site: Site, opened: tuple[Story, Viewer]) -> None:
    token = site.hospital.links.token(opened[0].uid, lifetime=-600)
    answer = requests.post(
        f"{site.hospital.public_url}/links", data=token, headers={"Content-Type": "application/jose"}, timeout=20
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "token")


def test_another_patients_study_is_refused_by_dicomweb_and_logged(site: Site, opened: tuple[Story, Viewer]) -> None:
    other = matched(site)
    answers: list[requests.Response] = []
    lines = log_after(site, lambda: answers.append(opened[1].ask(f"studies/{other.uid}/metadata")))
    assert (answers[0].status_code, answers[0].headers["Content-Type"]) == (403, "application/problem+json")
    assert [line["status"] for line in lines if line["msg"] == "dicomweb"] == [403]


def test_another_patients_study_looks_like_one_that_does_not_exist(site: Site, opened: tuple[Story, Viewer]) -> None:
    other = matched(site)
    answers = [opened[1].ask(f"studies/{uid}/metadata") for uid in (other.uid, new_uid())]
    assert answers[0].status_code == answers[1].status_code and answers[0].content == answers[1].content


def test_a_search_shows_no_other_patients_study(site: Site, opened: tuple[Story, Viewer]) -> None:
    matched(site)
    found = opened[1].ask("studies").json()
    assert [one["0020000D"]["Value"] for one in found] == [[opened[0].uid]]


def test_the_log_of_all_this_names_no_patient(site: Site) -> None:
    site.story().send()
    log = site.hospital.log.read_text()
    assert [word for word in ("MRN0", "Müller", "M\\u00fcller", "Testb", "19610504") if word in log] == []
