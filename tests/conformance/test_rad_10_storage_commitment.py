"""RAD-10: Storage Commitment Push Model (PS3.4 Annex J) on the wire, to the device's own software (dcmjs-dimse)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association

from bridge.config import DicomPeer
from bridge.errors import StoreUnavailable
from bridge.sandbox.hospital import wait_for
from bridge.workflow.committing import SAME_SECONDS
from tests.conformance.test_rad_66_rejection_notes import KEY_OBJECTS, note
from tests.faults.archive_site import COMMITMENT, WELL_KNOWN, ArchiveSite, archive_site, request, scanner
from tests.peers.commitment import ask, free_port, modality
from tests.unit.dicom.support import CT, MPPS, FakeServices, associated, image, serving

MR = "1.2.840.10008.5.1.4.1.1.4"
OTHERS = "1.2.840.10008.1.1"
MAY = frozenset({"store", "commit", "reject"})


# -- N-ACTION -----------------------------------------------------------------------------------------------------


def act(
    tmp_path: Path, services: FakeServices, data: Dataset | None, *, action: int = 1, instance: str = WELL_KNOWN
) -> int:
    with serving(tmp_path, services) as server, associated(server, (COMMITMENT, ExplicitVRLittleEndian)) as device:
        return int(device.send_n_action(data, action, COMMITMENT, instance)[0].Status)


def asked(**changes: Any) -> Dataset:
    data = request("1.2.9", [(CT, "1.2.1"), (CT, "1.2.2")])
    for keyword, value in changes.items():
        if value is None:
            del data[keyword]
        else:
            setattr(data, keyword, value)
    return data


@pytest.mark.usefixtures("transport")
def test_a_request_is_taken_with_its_whole_list(tmp_path: Path, services: FakeServices) -> None:
    assert act(tmp_path, services, asked()) == 0x0000
    assert services.committing.requests["1.2.9"].references == ((CT, "1.2.1"), (CT, "1.2.2"))


def test_an_item_that_comes_twice_is_one(tmp_path: Path, services: FakeServices) -> None:
    act(tmp_path, services, request("1.2.9", [(CT, "1.2.1"), (CT, "1.2.1")]))
    assert services.committing.requests["1.2.9"].references == ((CT, "1.2.1"),)


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(("data", "more", "status"), [
    (asked(), {"action": 2}, 0x0123),
    (asked(), {"instance": "1.2.840.10008.1.20.1.2"}, 0x0112),
    (None, {}, 0x0114),
    (asked(TransactionUID=None), {}, 0x0114),
    (asked(ReferencedSOPSequence=None), {}, 0x0114),
    (asked(ReferencedSOPSequence=[]), {}, 0x0114),
    (asked(TransactionUID=""), {}, 0x0115),
    (request("1.2.9", [(CT, "../1")]), {}, 0x0115),
    (request("1.2.9", [("", "1.2.1")]), {}, 0x0115),
    (request("1.2.9", [(CT, "1.2.1"), (MR, "1.2.1")]), {}, 0x0115),
], ids=["another action", "another instance", "no information", "no transaction", "no list", "an empty list",
        "an empty transaction", "no UID", "no class", "one instance under two classes"])  # fmt: skip
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, services: FakeServices, data: Dataset | None, more: dict[str, Any], status: int
) -> None:
    assert act(tmp_path, services, data, **more) == status
    assert services.committing.requests == {}


@pytest.mark.usefixtures("transport")
def test_a_list_beyond_reason_is_0213(
    tmp_path: Path, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("bridge.dicom.commitment.MOST_REFERENCES", 1)
    assert act(tmp_path, services, asked()) == 0x0213


def test_a_store_that_is_away_is_0213(tmp_path: Path, services: FakeServices) -> None:
    services.committing.fault = StoreUnavailable("locked")
    assert act(tmp_path, services, asked()) == 0x0213


def test_the_same_request_again_is_0000_and_another_list_is_0131(tmp_path: Path) -> None:
    with archive_site(tmp_path) as site:
        first, other = [(CT, "1.2.1"), (CT, "1.2.2")], [(CT, "1.2.1")]
        answers = [site.ask("1.2.9", one) for one in (first, first[::-1], other, first)]
        assert answers == [0x0000, 0x0000, 0x0131, 0x0000]
        (row,) = site.rows()
        assert row.instances == [list(one) for one in first]


def test_two_devices_may_use_one_transaction_uid(tmp_path: Path) -> None:
    with archive_site(tmp_path, DicomPeer(ae_title="CT1"), DicomPeer(ae_title="MR1")) as site:
        assert site.ask("1.2.9", [(CT, "1.2.1")]) == site.ask("1.2.9", [(CT, "1.2.2")], title="MR1") == 0x0000


@pytest.mark.usefixtures("transport")
def test_a_peer_that_may_not_is_given_no_context(tmp_path: Path, services: FakeServices) -> None:
    viewer = DicomPeer(ae_title="CT1", may=frozenset({"echo", "store"}))
    contexts = (COMMITMENT, ExplicitVRLittleEndian), (OTHERS, "1.2.840.10008.1.2")
    with serving(tmp_path, services, peer=(viewer,)) as server, associated(server, *contexts) as device:
        assert [str(context.abstract_syntax) for context in device.accepted_contexts] == [OTHERS]


@pytest.mark.usefixtures("transport")
def test_it_is_not_asked_under_the_context_of_something_else(tmp_path: Path, services: FakeServices) -> None:
    with serving(tmp_path, services) as server, associated(server, (MPPS, ExplicitVRLittleEndian)) as device:
        answer, _ = device.send_n_action(asked(), 1, COMMITMENT, WELL_KNOWN, meta_uid=MPPS)
        assert answer.Status == 0x0124
    assert services.committing.requests == {}


# -- N-EVENT-REPORT, to software that is not ours ---------------------------------------------------------------------


def as_pairs(listed: list[list[Any]]) -> set[tuple[Any, ...]]:
    return {tuple(one) for one in listed}


def test_all_that_is_safe_is_told_in_one_event_of_type_1(tmp_path: Path) -> None:
    with modality() as device, archive_site(tmp_path, scanner(device.port)) as site:
        stored = site.store(3)
        assert ask(site.dicom.port, "1.2.9", stored)["status"] == 0x0000
        site.work()
        told = device.report()
        assert (told["type"], told["transaction"], told["failed"]) == (1, "1.2.9", [])
        assert as_pairs(told["committed"]) == set(stored)
        assert (told["calling"], told["called"]) == ("BRIDGE", "CT1")
        assert site.states() == ["delivered"]


def test_what_is_not_safe_is_told_apart_with_its_reason_and_each_instance_once(tmp_path: Path) -> None:
    with modality() as device, archive_site(tmp_path, scanner(device.port)) as site:
        stored = site.store(2)
        missing, unknown, other = (CT, "1.2.77"), ("1.2.826.0.1", "1.2.78"), (MR, stored[1][1])
        assert ask(site.dicom.port, "1.2.9", [stored[0], missing, unknown, other])["status"] == 0x0000
        site.work()
        told = device.report()
        assert (told["type"], as_pairs(told["committed"])) == (2, {stored[0]})
        assert as_pairs(told["failed"]) == {(*missing, 0x0112), (*unknown, 0x0122), (*other, 0x0119)}


def test_what_was_rejected_is_not_here_any_more_and_its_note_is(tmp_path: Path) -> None:
    with modality() as device, archive_site(tmp_path, scanner(device.port, may=MAY)) as site:
        stored = site.store(2)
        kos = note("113037", stored[0][1])
        with associated(site.dicom, (KEY_OBJECTS, ExplicitVRLittleEndian)) as sender:
            assert sender.send_c_store(kos).Status == 0x0000
        mine = (KEY_OBJECTS, str(kos.SOPInstanceUID))
        ask(site.dicom.port, "1.2.9", [*stored, mine])
        site.work()
        told = device.report()
        assert as_pairs(told["committed"]) == {stored[1], mine}
        assert as_pairs(told["failed"]) == {(*stored[0], 0x0112)}


def test_when_nothing_is_safe_there_is_no_list_of_what_is(tmp_path: Path) -> None:
    with modality() as device, archive_site(tmp_path, scanner(device.port)) as site:
        ask(site.dicom.port, "1.2.9", [(CT, "1.2.77")])
        site.work()
        told = device.report()
        assert (told["type"], told["committed"], as_pairs(told["failed"])) == (2, [], {(CT, "1.2.77", 0x0112)})


def test_a_request_that_comes_again_after_its_report_is_reported_again(tmp_path: Path) -> None:
    with modality() as device, archive_site(tmp_path, scanner(device.port)) as site:
        missing = [(CT, "1.2.3.1.1.1")]
        ask(site.dicom.port, "1.2.9", missing)
        site.work()
        site.store(1)  # the device heard that it was not there, and sent it
        ask(site.dicom.port, "1.2.9", missing)
        site.work()
        assert [device.report(n)["type"] for n in (0, 1)] == [2, 1]


def test_a_report_that_the_device_refuses_is_told_again(tmp_path: Path) -> None:
    port = free_port()
    with archive_site(tmp_path, scanner(port)) as site:
        stored = site.store(1)
        with modality(port, status=0x0110) as device:
            ask(site.dicom.port, "1.2.9", stored)
            site.work()
            device.report()
        assert [(row.state, row.last_answer) for row in site.rows()] == [("due", "answered-0110 CT1")]
        with modality(port) as device:
            site.clock.advance(3)
            site.work()
            assert device.report()["type"] == 1
        assert site.states() == ["delivered"]


# -- roles --------------------------------------------------------------------------------------------------------


@dataclass
class Device:
    """A device on pynetdicom, with what it was asked and told."""

    port: int
    roles: list[tuple[bool, bool]] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    got: threading.Event = field(default_factory=threading.Event)


@contextmanager
def device(scu_role: bool | None, scp_role: bool | None) -> Iterator[Device]:
    """What it answers to a proposal of roles; None: it says nothing of roles."""
    known = Device(free_port())

    def requested(event: evt.Event) -> None:
        known.roles += [(item.scu_role, item.scp_role) for item in event.assoc.requestor.role_selection.values()]

    def told(event: evt.Event) -> tuple[int, None]:
        known.events.append(event.event_type)
        known.got.set()
        return 0x0000, None

    entity = AE(ae_title="CT1")
    entity.add_supported_context(COMMITMENT, scu_role=scu_role, scp_role=scp_role)
    handlers = [(evt.EVT_REQUESTED, requested), (evt.EVT_N_EVENT_REPORT, told)]
    server = entity.start_server(("127.0.0.1", known.port), block=False, evt_handlers=handlers)
    try:
        yield known
    finally:
        server.shutdown()


def tell(site: ArchiveSite) -> list[str]:
    site.ask("1.2.9", site.store(1))
    site.work()
    return site.states()


@pytest.mark.parametrize(("scu_role", "scp_role"), [(True, True), (None, None)], ids=["agrees", "ignores it"])
def test_the_class_is_proposed_as_its_scp_and_a_device_that_ignores_roles_is_told_too(
    tmp_path: Path, scu_role: bool | None, scp_role: bool | None
) -> None:
    with device(scu_role, scp_role) as known, archive_site(tmp_path, scanner(known.port)) as site:
        assert tell(site) == ["delivered"]
        assert (known.roles, known.events) == ([(False, True)], [1])


def test_a_device_that_refuses_the_roles_is_told_when_it_has_been_put_right(tmp_path: Path) -> None:
    with device(False, False) as known, archive_site(tmp_path, scanner(known.port)) as site:
        assert tell(site) == ["due"]
        assert (known.events, site.rows()[0].last_answer) == ([], "class-not-accepted CT1")


# -- on the association that asked ----------------------------------------------------------------------------------


@dataclass
class Caller:
    """A device that listens nowhere: one association, and what it is told on it."""

    association: Association
    events: list[tuple[int, str]]

    def ask(self, instances: list[tuple[str, str]]) -> int:
        answer, _ = self.association.send_n_action(request("1.2.9", instances), 1, COMMITMENT, WELL_KNOWN)
        return int(answer.Status)

    def told(self, seconds: float = 10) -> list[tuple[int, str]]:
        wait_for(lambda: self.events, seconds, every=0.02)
        return self.events


@contextmanager
def caller(site: ArchiveSite, status: int = 0x0000) -> Iterator[Caller]:
    events: list[tuple[int, str]] = []

    def told(event: evt.Event) -> tuple[int, None]:
        events.append((event.event_type, str(event.event_information.TransactionUID)))
        return status, None

    entity = AE(ae_title="CT1")
    entity.add_requested_context(COMMITMENT, ExplicitVRLittleEndian)
    entity.add_requested_context(CT, ExplicitVRLittleEndian)
    association = entity.associate(
        "127.0.0.1", site.dicom.port, ae_title="BRIDGE", evt_handlers=[(evt.EVT_N_EVENT_REPORT, told)]
    )
    try:
        yield Caller(association, events)
    finally:
        if association.is_established:
            association.release()


@pytest.fixture
def same(tmp_path: Path, transport: str) -> Iterator[ArchiveSite]:
    """Of a device that is told on the association on which it asks, and listens nowhere."""
    with archive_site(tmp_path, DicomPeer(ae_title="CT1", commitment="same"), transport=transport) as site:
        yield site


def settled(site: ArchiveSite, *states: str) -> bool:
    return wait_for(lambda: site.states() == list(states), 5, every=0.02)


def test_a_device_that_stays_is_told_on_its_own_association(same: ArchiveSite) -> None:
    with caller(same) as device:
        assert device.ask(list(same.store(2))) == 0x0000
        same.work()
        assert same.states() == ["due"], "the worker leaves it to the association"
        assert device.told() == [(1, "1.2.9")]
        assert settled(same, "delivered")
        assert device.association.send_c_store(image("1.2.3.4.5")).Status == 0x0000, "and it goes on"


def test_it_is_not_interrupted(same: ArchiveSite) -> None:
    """One that waits for the answer to an image would take our report for it."""
    with caller(same) as device:
        device.ask(list(same.store(1)))
        same.work()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert device.association.send_c_store(image("1.2.3.4.5")).Status == 0x0000
            assert device.events == []
        assert device.told() == [(1, "1.2.9")]


def test_a_device_that_leaves_at_once_is_told_by_the_worker(tmp_path: Path, transport: str) -> None:
    with modality() as listens:
        peer = scanner(listens.port, commitment="same")
        with archive_site(tmp_path, peer, transport=transport) as site:
            site.ask("1.2.9", site.store(1))
            site.work()
            assert listens.reports == []
            site.clock.advance(SAME_SECONDS)
            site.work()
            assert listens.report()["type"] == 1


def test_what_it_refuses_there_is_told_by_the_worker_at_once(tmp_path: Path, transport: str) -> None:
    with modality() as listens:
        peer = scanner(listens.port, commitment="same")
        with archive_site(tmp_path, peer, transport=transport) as site, caller(site, status=0x0110) as device:
            device.ask(list(site.store(1)))
            site.work()
            assert device.told() == [(1, "1.2.9")]
            assert wait_for(lambda: site.rows()[0].last_answer == "answered-0110", 5, every=0.02)
            site.work()
            assert listens.report()["type"] == 1


def test_a_device_that_goes_in_the_middle_is_told_by_the_worker(tmp_path: Path, transport: str) -> None:
    with modality() as listens:
        peer = scanner(listens.port, commitment="same")
        with archive_site(tmp_path, peer, transport=transport) as site:
            with caller(site) as device:
                device.ask(list(site.store(1)))
                device.association.abort()
            site.work()
            site.clock.advance(SAME_SECONDS)
            site.work()
            assert listens.report()["type"] == 1
