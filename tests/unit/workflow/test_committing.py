"""Storage commitment, without a network: what is checked, what is told, and by whom when two could."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.config import Dicom, DicomPeer
from bridge.domain.commitment import CommitmentRequest, CommitmentResult, CommitmentState, FailureReason, Reference
from bridge.domain.study import FileCondition, StoredFile
from bridge.errors import RemoteRefused, RemoteUnavailable, StateConflict, StoreUnavailable
from bridge.store import audit, commitment
from bridge.workflow.committing import FRESH, LEASE, Commitments, Committing
from tests.unit.workflow.house import House

CT = "1.2.840.10008.5.1.4.1.1.2"
DEVICE = DicomPeer(ae_title="CT1", host="127.0.0.1", port=104)
Build = Callable[..., House]


@dataclass
class FakeReporter:
    reports: list[CommitmentResult] = field(default_factory=list)
    reached: int = 0
    fault: Exception | None = None
    during: Callable[[], object] = lambda: None

    def reach(self, peer: DicomPeer) -> None:
        if self.fault:
            raise self.fault
        self.reached += 1

    def report(self, peer: DicomPeer, result: CommitmentResult) -> None:
        self.during()
        if self.fault:
            raise self.fault
        self.reports.append(result)


class Desk:
    """A house with its commitments; two images of it are stored."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.reporter = FakeReporter()
        self.conditions: dict[str, FileCondition | Exception] = {}
        self.looked: list[str] = []
        self.commitments = Commitments(house.context)
        self.worker = self.another()
        for number in (1, 2):
            house.image(sop_instance_uid=f"1.2.9.{number}", sop_class_uid=CT)
        self.files = {r.sop_instance_uid: r.file for r in house.rows("instance")}

    def another(self) -> Committing:
        return Committing(self.house.context, self._condition, self.reporter, frozenset({CT}))

    def _condition(self, file: StoredFile) -> FileCondition:
        self.looked.append(file.name)
        found = self.conditions.get(file.name, FileCondition.WHOLE)
        if isinstance(found, Exception):
            raise found
        return found

    def ask(self, *uids: str, transaction: str = "1.2.77") -> None:
        references = tuple(Reference(CT, uid) for uid in uids or ("1.2.9.1", "1.2.9.2"))
        self.commitments.take_request(CommitmentRequest(transaction, references), "CT1")

    def work(self, worker: Committing | None = None) -> None:
        one = worker or self.worker
        while one.check_due() + one.report_due():
            self.settle(one)

    def settle(self, worker: Committing) -> None:
        for _ in range(5000):
            if not worker._busy:
                return
            threading.Event().wait(0.001)
        raise AssertionError("a report does not end")

    @property
    def row(self) -> Any:
        (row,) = self.house.rows("commitment")
        return row


@pytest.fixture
def desk(build: Build) -> Desk:
    return Desk(build(dicom=Dicom(peer=(DEVICE,))))


# -- asking -------------------------------------------------------------------------------------------------------


def test_a_request_is_kept_and_in_the_audit_trail(desk: Desk) -> None:
    desk.ask()
    assert (desk.row.state, desk.house.audited("commitment-asked")) == ("asked", 1)


def test_another_list_under_one_transaction_changes_nothing(desk: Desk) -> None:
    desk.ask()
    with pytest.raises(StateConflict):
        desk.ask("1.2.9.1")
    assert len(desk.row.instances) == 2


def test_a_request_that_comes_again_while_it_waits_is_tried_at_once(desk: Desk) -> None:
    desk.ask()
    desk.reporter.fault = RemoteUnavailable("away")
    desk.work()
    desk.reporter.fault = None
    desk.ask()
    assert desk.row.state == CommitmentState.ASKED
    desk.work(desk.another())
    assert len(desk.reporter.reports) == 1


# -- checking -----------------------------------------------------------------------------------------------------


def test_every_file_is_looked_at(desk: Desk) -> None:
    desk.ask()
    desk.work()
    assert desk.looked == list(desk.files.values())
    assert [len(r.committed) for r in desk.reporter.reports] == [2]


@pytest.mark.parametrize(("condition", "reason"), [
    (FileCondition.GONE, FailureReason.NO_SUCH_OBJECT),
    (FileCondition.DAMAGED, FailureReason.PROCESSING_FAILURE),
])  # fmt: skip
def test_what_the_disk_says_is_what_is_told(desk: Desk, condition: FileCondition, reason: FailureReason) -> None:
    desk.conditions[desk.files["1.2.9.2"]] = condition
    desk.ask()
    desk.work()
    (told,) = desk.reporter.reports
    assert told.event_type == 2
    assert (told.committed, told.failed) == ((Reference(CT, "1.2.9.1"),), ((Reference(CT, "1.2.9.2"), reason),))
    assert desk.house.reviews() >= {("commitment-failed", "stored-file-damaged")}


def test_what_never_came_is_no_fault_of_our_disk(desk: Desk) -> None:
    desk.ask("1.2.9.1", "1.2.9.99")
    desk.work()
    assert desk.reporter.reports[0].failed == ((Reference(CT, "1.2.9.99"), FailureReason.NO_SUCH_OBJECT),)
    assert "commitment-failed" not in {kind for kind, _ in desk.house.reviews()}


def test_a_disk_that_cannot_be_asked_makes_no_verdict(desk: Desk) -> None:
    desk.conditions[desk.files["1.2.9.1"]] = StoreUnavailable("away", where="archive")
    desk.ask()
    desk.work()
    assert (desk.row.state, desk.row.last_answer) == ("asked", "store-unavailable archive")
    assert desk.reporter.reports == []


def test_an_end_in_the_middle_of_a_check_leaves_it_for_the_next_start(desk: Desk) -> None:
    desk.ask()
    desk.worker.end()
    desk.worker.check_due()
    assert (desk.row.state, desk.row.lease_owner, desk.looked) == ("asked", None, [])


# -- telling ------------------------------------------------------------------------------------------------------


def test_what_was_told_is_delivered_and_audited_with_its_counts(desk: Desk) -> None:
    desk.ask("1.2.9.1", "1.2.9.99")
    desk.work()
    assert (desk.row.state, desk.row.last_answer) == ("delivered", "0000")
    (entry,) = [e for e in desk.house.rows("audit") if e.action == "commitment-reported"]
    assert (entry.outcome, entry.details) == ("failures-exist", {"aet": "CT1", "committed": 1, "failed": 1})


def test_a_verdict_that_has_grown_old_is_made_again_before_it_is_told(desk: Desk) -> None:
    desk.ask()
    desk.reporter.fault = RemoteUnavailable("away")
    desk.work()
    desk.house.clock.advance(FRESH.total_seconds() + 1)
    desk.conditions[desk.files["1.2.9.1"]] = FileCondition.GONE
    desk.reporter.fault = None
    desk.work()
    assert (desk.reporter.reached, [len(r.failed) for r in desk.reporter.reports]) == (1, [1])


def test_a_device_that_is_away_does_not_have_the_disk_read_again_and_again(desk: Desk) -> None:
    desk.ask()
    desk.reporter.fault = RemoteUnavailable("away")
    for _ in range(100):
        desk.house.clock.advance(60)
        desk.work()
    assert len(desk.looked) == 2


def test_a_report_that_is_refused_holds_up_no_other(desk: Desk) -> None:
    desk.ask()
    desk.reporter.fault = RemoteRefused("no", code="answered-0110")
    desk.work()
    desk.reporter.fault = None
    desk.ask(transaction="1.2.78")
    desk.work()
    assert [row.state for row in desk.house.rows("commitment")] == ["due", "delivered"]
    assert [one.transaction_uid for one in desk.reporter.reports] == ["1.2.78"]


def test_two_workers_never_report_one_at_once(desk: Desk) -> None:
    other = desk.another()
    desk.ask()
    desk.worker.check_due()
    desk.reporter.during = lambda: other.report_due()
    desk.work()
    desk.settle(other)
    assert len(desk.reporter.reports) == 1


def test_a_worker_that_slept_through_its_lease_tells_nothing(desk: Desk) -> None:
    """Stopped between its claim and its report, while another took over."""
    desk.ask()
    desk.worker.check_due()
    now = desk.house.clock.now()
    slept = desk.house.database.write(
        lambda c: commitment.claim_commitment(c, desk.row.id, CommitmentState.DUE, desk.worker._owner, now, now + LEASE)
    )
    assert slept is not None
    desk.house.clock.advance(LEASE.total_seconds() + 1)
    desk.work(desk.another())
    assert desk.worker._tell(slept) == "lease-lost"
    assert len(desk.reporter.reports) == 1


# -- a clock that is moved ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [0.5, -0.5, 24 * 3650, -24 * 3650])
def test_a_clock_that_is_moved_holds_up_no_report(desk: Desk, hours: float) -> None:
    desk.house.clock.jump(hours * 3600)
    desk.ask()
    desk.work()
    assert len(desk.reporter.reports) == 1


def test_a_clock_that_is_set_back_makes_no_old_verdict_young(desk: Desk) -> None:
    desk.ask()
    desk.reporter.fault = RemoteUnavailable("away")
    desk.work()
    desk.house.clock.advance(7200)
    desk.house.clock.jump(-7200)
    desk.reporter.fault = None
    desk.work()
    assert (len(desk.looked), len(desk.reporter.reports)) == (4, 1)


# -- a device without an address ----------------------------------------------------------------------------------


def test_a_device_whose_address_is_not_known_is_a_persons_to_mend(build: Build) -> None:
    desk = Desk(build(dicom=Dicom(peer=(DicomPeer(ae_title="CT1"),))))
    desk.ask()
    desk.work()
    assert desk.row.state == CommitmentState.WAITING
    assert ("commitment-undeliverable", "no-address") in desk.house.reviews()


def test_once_it_has_an_address_it_is_told(build: Build, desk: Desk) -> None:
    worker = Committing(
        type(desk.house.context)(desk.house.database, desk.house.settings.model_copy(
            update={"dicom": Dicom(peer=(DicomPeer(ae_title="CT1"),))}), desk.house.clock),
        desk._condition, desk.reporter, frozenset({CT}),
    )  # fmt: skip
    desk.ask()
    desk.work(worker)
    assert desk.reporter.reports == []
    desk.worker.take_over()
    desk.work()
    assert len(desk.reporter.reports) == 1
    assert "commitment-undeliverable" not in {kind for kind, _ in desk.house.reviews()}


# -- a person -----------------------------------------------------------------------------------------------------


def test_a_person_has_one_told_again(desk: Desk) -> None:
    desk.ask()
    desk.work()
    assert desk.commitments.retry(desk.row.id, "cli:x")
    desk.work()
    assert len(desk.reporter.reports) == 2


def test_a_person_gives_one_up_for_a_device_that_is_gone(desk: Desk) -> None:
    desk.ask()
    desk.reporter.fault = RemoteUnavailable("away")
    desk.work()
    assert desk.commitments.drop(desk.row.id, "cli:x", "scrapped")
    desk.reporter.fault = None
    desk.house.clock.advance(3600)
    desk.work()
    assert (desk.reporter.reports, desk.row.state) == ([], "dropped")
    found = desk.house.read(lambda c: audit.find_audit(c, f"commitment:{desk.row.id}"))
    assert (found[-1]["action"], found[-1]["details"]) == ("commitment-dropped", {"reason": "scrapped"})


@pytest.mark.parametrize("act", ["retry", "drop"])
def test_one_that_does_not_exist_is_neither(desk: Desk, act: str) -> None:
    arguments = (99, "cli:x") if act == "retry" else (99, "cli:x", "r")
    assert not getattr(desk.commitments, act)(*arguments)


# -- what was told long ago -----------------------------------------------------------------------------------------


def test_what_was_told_is_forgotten_in_time_and_what_was_not_never(desk: Desk) -> None:
    desk.ask()
    desk.work()
    desk.reporter.fault = RemoteUnavailable("away")
    desk.ask(transaction="1.2.78")
    desk.work()
    desk.house.clock.advance(89 * 86400)
    assert (desk.worker.forget_due(), len(desk.house.rows("commitment"))) == (0, 2)
    desk.house.clock.advance(2 * 86400)
    desk.worker.forget_due()
    assert desk.row.transaction_uid == "1.2.78"
    assert desk.house.audited("commitment-purge") == 1


def test_a_clock_that_is_moved_makes_nobody_forget(desk: Desk) -> None:
    desk.ask()
    desk.work()
    desk.house.clock.jump(3650 * 86400)
    desk.worker.forget_due()
    assert desk.row.state == CommitmentState.DELIVERED
