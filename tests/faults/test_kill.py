"""kill -9 of each role and of the supervisor in the middle of the story: same end state, nothing twice, no orphan.

Senders resend what was not answered, as real ones do, and keep a ledger of what was.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import requests
from pydicom import Dataset
from pynetdicom import AE

from bridge.errors import RemoteError, RemoteUnavailable
from bridge.hl7.ack import AckCode, read_ack
from bridge.hl7.client import MllpClient
from bridge.hl7.mllp import write_frame
from bridge.run.supervisor import DataFolderLock
from bridge.sandbox import ris as messages
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import ROLES, Hospital, Ports
from bridge.sandbox.ris import PLACER, DemoOrder
from tests.e2e.story import Site, pictures, until
from tests.faults.stories import make_order

T = TypeVar("T")
ORDERS, IMAGES, PUBLICATIONS = 30, 40, 8
pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def ehr() -> Iterator[PretendEhr]:
    with PretendEhr() as running:
        yield running


@pytest.fixture(scope="module")
def site(ehr: PretendEhr, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Hospital(tmp_path_factory.mktemp("killed"), fhir_base=ehr.fhir_base, quiet_seconds=2) as hospital:
        yield Site(hospital, ehr.fhir_base, ehr)


@dataclass
class Orders:
    """A sender of ORDERS orders on one connection; `acknowledged` is its ledger."""

    hospital: Hospital
    run: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    sent: list[DemoOrder] = field(default_factory=list)

    def play(self) -> None:
        start = datetime.now()
        self.sent = [make_order(n, start + timedelta(minutes=n), run=self.run) for n in range(ORDERS)]
        with MllpClient("127.0.0.1", self.hospital.ports.hl7, 5) as client:
            for number, order in enumerate(self.sent):
                control_id = f"{self.run}-{number}"
                raw = messages.omi_o23(order, datetime.now(UTC), control_id)
                answer = patiently(partial(client.send, raw))
                assert read_ack(answer).code is AckCode.AA
                self.acknowledged[control_id] = order.placer


def patiently(act: Callable[[], T], seconds: float = 40) -> T:
    """Again and again, as a sender does that got no answer."""
    end = time.monotonic() + seconds
    while True:
        try:
            return act()
        except RemoteError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def playing(play: Callable[[], None]) -> Iterator[None]:
    """`play` in a thread beside the block; its fault is the test's fault."""
    faults: list[BaseException] = []

    def run() -> None:
        try:
            play()
        except BaseException as fault:  # noqa: BLE001 - handed to the test
            faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(90)
    assert faults == [] and not thread.is_alive()


def restarted(hospital: Hospital, role: str, old: int | None) -> bool:
    return until(lambda: hospital.role_pid(role) not in (None, old), 30)


def assert_orders_once(site: Site, orders: Orders) -> None:
    """Every acknowledged order once in the database and once on the worklist, and nothing besides."""
    assert len(orders.acknowledged) == ORDERS
    wanted = dict.fromkeys(orders.acknowledged.values(), 1)
    like = f"P{orders.run}%"
    stored = site.rows("SELECT placer_order_number AS n FROM imaging_order WHERE placer_order_number LIKE :l", l=like)
    assert Counter(row["n"] for row in stored) == wanted
    kept = site.rows("SELECT control_id AS n FROM message WHERE control_id LIKE :l", l=f"{orders.run}-%")
    assert Counter(row["n"] for row in kept) == dict.fromkeys(orders.acknowledged, 1)
    shown = Counter(
        str(item.AccessionNumber)
        for item in site.hospital.scanner("CT1").worklist()
        if str(item.AccessionNumber).startswith(f"A{orders.run}")
    )
    assert shown == {order.accession: 1 for order in orders.sent}


def test_the_hl7_role_killed_among_orders_loses_and_doubles_none(site: Site) -> None:
    orders = Orders(site.hospital, "H")
    with playing(orders.play):
        assert until(lambda: len(orders.acknowledged) >= 8, 30)
        old = site.hospital.kill_role("hl7")
        assert restarted(site.hospital, "hl7", old)
    assert_orders_once(site, orders)


@dataclass
class Images:
    """A scanner that sends IMAGES slices and sends again from the first that was not answered."""

    site: Site
    run: str
    stored: list[str] = field(default_factory=list)
    order: DemoOrder = field(init=False)

    def play(self) -> None:
        self.order = make_order(0, datetime.now(), run=self.run)
        self.site.records.put_patient(self.order.patient)
        scanner = self.site.hospital.scanner("CT1")
        self.site.hospital.ris().send(messages.omi_o23, self.order)
        item = scanner.worklist(AccessionNumber=self.order.accession)[0]
        step = scanner.start(item)
        images = pictures(item, IMAGES, step)
        patiently(lambda: self._send(images))
        patiently(lambda: scanner.complete(step, images))

    def _send(self, images: list[Dataset]) -> None:
        """One association for what is left. RemoteUnavailable at the first that is not answered with 0000."""
        ae = AE("CT1")
        ae.add_requested_context(images[0].SOPClassUID, images[0].file_meta.TransferSyntaxUID)
        association = ae.associate("127.0.0.1", self.site.hospital.ports.dicom, ae_title="BRIDGE")
        if not association.is_established:
            raise RemoteUnavailable("no association")
        try:
            for image in images[len(self.stored) :]:
                if association.send_c_store(image).get("Status") != 0x0000:
                    raise RemoteUnavailable("not stored")
                self.stored.append(str(image.SOPInstanceUID))
        except RuntimeError:  # what pynetdicom says when the peer has gone
            raise RemoteUnavailable("the association was lost") from None
        finally:
            association.release()


def assert_images_once(site: Site, images: Images) -> None:
    """Every acknowledged instance once in the index, its file whole, and all of them in one ImagingStudy."""
    assert len(images.stored) == len(set(images.stored)) == IMAGES
    rows = site.rows(
        "SELECT i.sop_instance_uid AS uid, i.file, i.size FROM instance i JOIN series r ON r.id = i.series_id "
        "JOIN study s ON s.id = r.study_id WHERE s.study_instance_uid = :u",
        u=images.order.study_uid,
    )
    assert Counter(row["uid"] for row in rows) == dict.fromkeys(images.stored, 1)
    archive = site.hospital.data / "archive"
    assert [row["uid"] for row in rows if (archive / row["file"]).stat().st_size != row["size"]] == []
    site.published(images.order.study_uid, 40, numberOfInstances=IMAGES, numberOfSeries=1)


def test_the_dicom_role_killed_among_images_loses_and_doubles_none(site: Site) -> None:
    images = Images(site, "D")
    with playing(images.play):
        assert until(lambda: len(images.stored) >= 8, 30)
        old = site.hospital.kill_role("dicom")
        assert restarted(site.hospital, "dicom", old)
    assert_images_once(site, images)


def test_the_worker_killed_among_publications_publishes_each_once(site: Site) -> None:
    scanner, ris, orders = site.hospital.scanner("CT1"), site.hospital.ris(), []
    for number in range(PUBLICATIONS):
        order = make_order(number, datetime.now(), run="W")
        ris.send(messages.omi_o23, order)
        item = scanner.worklist(AccessionNumber=order.accession)[0]
        step = scanner.start(item)
        images = pictures(item, 1, step)
        scanner.send(images)
        scanner.complete(step, images)
        orders.append(order)
    for order in orders:  # until now every publication waits for its patient
        site.records.put_patient(order.patient)
    assert until(lambda: any(site.studies(order.study_uid) for order in orders), 30)
    old = site.hospital.kill_role("worker")
    assert restarted(site.hospital, "worker", old)
    for order in orders:
        site.published(order.study_uid, 30)
        requested = site.search("ServiceRequest", identifier=f"{PLACER.system}|{order.placer}")
        assert len(requested) == 1
    assert len(site.search("Endpoint")) == 1


def test_the_web_role_killed_keeps_sessions_and_used_links(site: Site) -> None:
    story = site.story()
    site.records.put_patient(story.patient)
    story.send()
    story.acquire()
    site.published(story.uid)
    link = site.hospital.links.link(site.hospital.public_url, story.uid)
    viewer = site.viewer(story.uid)
    viewer.follow(link)
    assert viewer.ask(f"studies/{story.uid}/metadata").status_code == 200
    old = site.hospital.kill_role("web")
    assert restarted(site.hospital, "web", old)
    assert viewer.ask(f"studies/{story.uid}/metadata").status_code == 200
    assert viewer.follow(link).status_code == 410


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def held(ports: Ports) -> list[int]:
    """The ports that somebody still listens on."""
    found = []
    for port in (ports.hl7, ports.dicom, ports.public, ports.viewer):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                found.append(port)
    return found


def pids_of(hospital: Hospital) -> list[int]:
    return [pid for role in ROLES if (pid := hospital.role_pid(role)) is not None]


def test_the_supervisor_killed_among_orders_and_images_leaves_no_orphan_and_loses_none(site: Site) -> None:
    orders, images = Orders(site.hospital, "S"), Images(site, "T")
    pids = pids_of(site.hospital)
    with playing(orders.play), playing(images.play):
        assert until(lambda: len(orders.acknowledged) >= 8 and len(images.stored) >= 4, 30)
        site.hospital.kill_supervisor()
        assert until(lambda: not alive(pids), 10), alive(pids)
        assert held(site.hospital.ports) == []
        site.hospital.start()
    assert_orders_once(site, orders)
    assert_images_once(site, images)


def test_a_bridge_started_at_once_after_its_supervisor_was_killed_takes_the_same_ports(site: Site) -> None:
    pids = pids_of(site.hospital)
    site.hospital.kill_supervisor()
    site.hospital.start()
    assert until(lambda: not alive(pids), 10)
    assert site.story().send().code is AckCode.AA
    site.hospital.scanner("CT1").echo()
    assert requests.get(f"{site.hospital.public_url}/health", timeout=10).ok


def test_a_second_run_on_the_same_data_folder_is_refused_in_words(site: Site) -> None:
    pids = pids_of(site.hospital)
    second = site.hospital.run("run")
    assert (second.returncode, "another bridge runs on this data folder" in second.stderr) == (2, True)
    assert pids_of(site.hospital) == pids


def test_sigterm_answers_the_message_in_hand_and_ends_with_0(ehr: PretendEhr, tmp_path: Path) -> None:
    hospital, statuses = Hospital(tmp_path, fhir_base=ehr.fhir_base), list[int]()
    hospital.start()
    pids = pids_of(hospital)
    first, second = (
        write_frame(messages.omi_o23(make_order(n, datetime.now()), datetime.now(UTC), f"X{n}")) for n in (1, 2)
    )
    with socket.create_connection(("127.0.0.1", hospital.ports.hl7), 20) as sock:
        sock.settimeout(20)
        sock.sendall(first)
        assert b"MSA|AA|X1" in sock.recv(4096)
        sock.sendall(second[:100])
        time.sleep(0.5)  # until the bridge has it in hand
        ended = threading.Thread(target=lambda: statuses.append(hospital.stop()))
        ended.start()
        assert until(lambda: hospital.role_pid("hl7") is None, 20)
        sock.sendall(second[100:])
        answer = sock.recv(4096)
    ended.join(45)
    assert (b"MSA|AA|X2" in answer, statuses, alive(pids)) == (True, [0], [])


def test_a_role_that_cannot_live_ends_the_service_with_an_error(ehr: PretendEhr, tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, fhir_base=ehr.fhir_base)
    taken = DataFolderLock(hospital.data / "run", "role-hl7")  # its hl7 role dies on its way up, again and again
    try:
        done = hospital.run("run")
    finally:
        taken.close()
    assert done.returncode not in (0, -signal.SIGKILL)
    assert "giving up" in done.stderr
    assert held(hospital.ports) == []


def test_a_port_that_another_program_has_is_told_in_a_word(ehr: PretendEhr, tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, fhir_base=ehr.fhir_base)
    with socket.create_server(("127.0.0.1", hospital.ports.hl7)):
        done = hospital.run("run")
    assert done.returncode == 2
    assert f"port {hospital.ports.hl7} on 127.0.0.1 cannot be taken" in done.stderr
