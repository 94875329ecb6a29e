"""Storage commitment (PS3.4 Annex J; RAD-10): asked, checked on the disk, told until the device has heard it.

"Committed" lets a device delete its images. So it is said of what the disk holds at that moment, and of nothing else:
a verdict that a device was away for is made again before it is told.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeAlias

from bridge.domain.commitment import (
    FAULT_OF_FILE,
    ClaimedReport,
    CommitmentRequest,
    CommitmentState,
    Reference,
    fault_of_row,
    result_of,
)
from bridge.domain.publication import backoff
from bridge.domain.study import FileCondition, StoredFile
from bridge.errors import BridgeError, RemoteRefused, StateConflict
from bridge.log import work
from bridge.store import audit, commitment, review
from bridge.store.commitment import Claim
from bridge.store.db import Connection
from bridge.workflow import leaping
from bridge.workflow.context import Context
from bridge.workflow.leasing import has_ended, this_process
from bridge.workflow.ports import CommitmentReporter

Condition: TypeAlias = Callable[[StoredFile], FileCondition]
"""What the disk has of a stored file; raises `StoreUnavailable` when that cannot be found out now."""

LEASE = timedelta(minutes=3)
FRESH = timedelta(minutes=5)
"""An older verdict is not told: the disk is asked again."""
LONGEST = timedelta(hours=1)
"""No pause is longer; a later moment is a clock's mistake."""
SAME_SECONDS = 30.0
"""So long a report is left to the association that asked for it, where the device's row says so."""
PAGE = 200
FORGET = 20
"""Rows at once: each may hold the list of a whole study."""
REST = timedelta(hours=1)
"""Between two looks for what may be forgotten."""
SLOTS = 8
FAILED, NO_ADDRESS = "commitment-failed", "commitment-undeliverable"
REVIEWS = (FAILED, NO_ADDRESS)
log = logging.getLogger("bridge.committing")


class Commitments:
    """The requests of devices, and what a person decides about them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._owner = this_process()

    def take_request(self, request: CommitmentRequest, calling_ae: str) -> None:
        """N-ACTION: kept when this returns. The same request again is asked anew, for its device has lost our word.

        Raises `StateConflict` when the Transaction UID is in use for another list.
        """
        self._context.database.write(lambda c: self._take(c, request, calling_ae))

    def _take(self, connection: Connection, request: CommitmentRequest, ae: str) -> None:
        at, due = self._context.clock.now(), self._context.clock.steady()
        new = commitment.add_commitment(connection, request, ae, at, due)
        row = commitment.find_commitment(connection, ae, request.transaction_uid)
        assert row is not None
        if not new:
            if set(commitment.request_of(row).references) != set(request.references):
                raise StateConflict("the Transaction UID is in use for another list", where="(0008,1195)")
            commitment.ask_again(connection, row.id, row.epoch, due)
        self._audit(connection, row.id, f"ae:{ae}", "commitment-asked", {"instances": len(request.references)})

    def claim_report(self, calling_ae: str, transaction_uid: str) -> ClaimedReport | None:
        """For the association that asked: what was found, if it is and nobody else tells it."""
        now = self._context.clock.steady()

        def change(connection: Connection) -> Claim | None:
            row = commitment.find_commitment(connection, calling_ae, transaction_uid)
            if row is None or row.state != CommitmentState.DUE:
                return None
            return commitment.claim_commitment(connection, row.id, CommitmentState.DUE, self._owner, now, now + LEASE)

        with self._context.database.read() as connection:
            row = commitment.find_commitment(connection, calling_ae, transaction_uid)
        if row is None or row.state != CommitmentState.DUE:
            return None
        claim = self._context.database.write(change)
        return ClaimedReport(result_of(claim.request, claim.failures), claim) if claim else None

    def settle_report(self, report: ClaimedReport, status: int | None) -> None:
        """What the device answered; None = nothing. What it did not take is told on an association of our own."""
        claim, now = report.claim, self._context.clock.steady()
        assert isinstance(claim, Claim)
        if status == 0:
            self._context.database.write(lambda c: delivered(c, claim, self._owner, self._context, "role:dicom"))
            return
        answer = "no-answer" if status is None else f"{commitment.REFUSED}{status:04X}"
        self._context.database.write(
            lambda c: commitment.settle_claim(
                c, claim, self._owner, CommitmentState.DUE, answer, next_at=now, failed=True
            )
        )

    def retry(self, key: int, who: str) -> bool:
        """A person: check it and tell its device at once, also again. False when there is none."""

        def change(connection: Connection) -> bool:
            row = commitment.get_commitment(connection, key)
            if row is None or not commitment.ask_again(connection, key, row.epoch, self._context.clock.steady()):
                return False
            self._audit(connection, key, who, "commitment-again", {})
            return True

        return self._context.database.write(change)

    def drop(self, key: int, who: str, reason: str) -> bool:
        """A person: its device will never hear of it. False when there is none, or it has been told."""

        def change(connection: Connection) -> bool:
            if not commitment.drop_commitment(connection, key):
                return False
            at = self._context.clock.now()
            review.close_review(connection, REVIEWS, f"commitment:{key}", at, who, reason)
            self._audit(connection, key, who, "commitment-dropped", {"reason": reason})
            return True

        return self._context.database.write(change)

    def _audit(self, connection: Connection, key: int, who: str, action: str, details: dict[str, object]) -> None:
        audit.write_audit(
            connection,
            at=self._context.clock.now(),
            who=who,
            action=action,
            subject=f"commitment:{key}",
            details=details,
        )


class Committing:
    """The worker's part: `check_due` and `report_due`, each from one thread; reports go out from threads of its own.

    `stored` are the SOP classes that we take.
    """

    def __init__(
        self,
        context: Context,
        condition: Condition,
        reporter: CommitmentReporter,
        stored: Set[str],
        *,
        on_free: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_free` is called when there may be something to report."""
        self._context = context
        self._condition = condition
        self._reporter = reporter
        self._stored = stored
        self._on_free = on_free
        self._owner = this_process()
        self._pool = ThreadPoolExecutor(max_workers=SLOTS, thread_name_prefix="commitment")
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._pauses: dict[str, _Pause] = {}
        self._ending = threading.Event()
        self._resting_until = 0.0

    def take_over(self) -> None:
        """At start: free the claims of those who are gone; who has an address now is told what waited for it."""

        def change(connection: Connection) -> None:
            now, due = self._context.clock.now(), self._context.clock.steady()
            ended = [o for o in commitment.claim_owners(connection) if o == self._owner or has_ended(o)]
            commitment.release_claims(connection, ended)
            for key, ae, epoch in commitment.waiting_for_address(connection):
                if self._context.settings.dicom.peer_of(ae).address:
                    commitment.ask_again(connection, key, epoch, due)
                    review.close_review(connection, (NO_ADDRESS,), f"commitment:{key}", now, "bridge", "it has one now")

        self._context.database.write(change)

    def end(self) -> None:
        """Before the loops are stopped: a check in hand is left for the next start."""
        self._ending.set()

    def close(self) -> None:
        """Wait for the reports under way."""
        self._ending.set()
        self._pool.shutdown(wait=True)

    def forget_due(self) -> int:
        """Delete the next of what was told long ago: 1 while there is more, else 0."""
        clock, days = self._context.clock, self._context.settings.retention.commitment_days
        if not days or clock.monotonic() < self._resting_until:
            return 0
        before = clock.steady() - timedelta(days=days)
        with self._context.database.read() as connection:
            certain = leaping.may_delete(connection, clock.steady())
        if certain and self._context.database.write(partial(self._forget, before=before)) == FORGET:
            return 1
        self._resting_until = clock.monotonic() + REST.total_seconds()
        return 0

    def _forget(self, connection: Connection, before: datetime) -> int:
        count = commitment.forget(connection, before, FORGET)
        if count:
            at, details = self._context.clock.now(), {"count": count}
            audit.write_audit(
                connection, at=at, who="worker", action="commitment-purge", subject="commitments", details=details
            )
        return count

    # Checking

    def check_due(self) -> int:
        """Check the oldest request that was asked; 1 when there was one."""
        now = self._context.clock.steady()
        with self._context.database.read() as connection:
            key = commitment.next_to_check(connection, now, now + LONGEST)
        claim = self._claim(key, CommitmentState.ASKED) if key is not None else None
        if claim is None:
            return 0
        try:
            found = self._check(claim)
        except BridgeError as fault:
            self._later(claim, CommitmentState.ASKED, fault)
            return 1
        if found is not None and self._context.database.write(partial(self._judged, claim=claim, found=found)):
            asked, failed = len(claim.request.references), len(found.failures)
            work(log, "commitment checked", commitment_id=claim.id, count=asked, failed=failed)
            self._on_free()
        return 1

    def _check(self, claim: Claim) -> _Found | None:
        """None when the end came, or the lease was lost."""
        found = _Found({}, [])
        renewed = self._context.clock.steady()
        for page in _pages(claim.request.references):
            with self._context.database.read() as connection:
                holdings = [commitment.held(connection, one.sop_instance_uid) for one in page]
            for reference, holding in zip(page, holdings, strict=True):
                if self._ending.is_set():
                    self._settle(claim, CommitmentState.ASKED, "", self._context.clock.steady())
                    return None
                if self._context.clock.steady() - renewed > LEASE / 3:
                    if not self._keep(claim):
                        return None
                    renewed = self._context.clock.steady()
                reason = fault_of_row(reference, holding, self._stored)
                if reason is None and holding is not None:
                    reason = FAULT_OF_FILE[self._condition(holding.file)]
                    if reason is not None:
                        found.damaged.append(reference.sop_instance_uid)
                if reason is not None:
                    found.failures[reference.sop_instance_uid] = int(reason)
        return found

    def _judged(self, connection: Connection, claim: Claim, found: _Found) -> bool:
        at, subject = self._context.clock.now(), f"commitment:{claim.id}"
        same = self._context.settings.dicom.peer_of(claim.calling_ae_title).commitment == "same"
        checked = self._context.clock.steady()
        next_at = checked + timedelta(seconds=SAME_SECONDS) if same else checked
        if not commitment.judge_claim(connection, claim, self._owner, found.failures, checked, next_at):
            return False
        if found.damaged:
            # The device keeps what is not committed, but what befell our file may befall others.
            details = {"aet": claim.calling_ae_title, "instances": len(found.damaged), "first": found.damaged[0]}
            review.open_review(connection, FAILED, subject, "stored-file-damaged", at, details)
        else:
            review.close_review(connection, (FAILED,), subject, at, "bridge", "checked again: every file is whole")
        return True

    # Telling

    def report_due(self) -> int:
        """Begin a report to each device for which one is due, one at a time; returns how many began."""
        now = self._context.clock.steady()
        with self._context.database.read() as connection:
            due = {
                ae: key
                for ae in commitment.peers_to_tell(connection, now, now + LONGEST)
                if self._free(ae)
                and (key := commitment.next_to_tell(connection, ae, now, now + LONGEST)) is not None
            }  # fmt: skip
        begun = 0
        for ae, key in due.items():
            if self._ending.is_set():
                break
            with self._lock:
                if len(self._busy) >= SLOTS:
                    break
                self._busy.add(ae)
            claim = self._claim(key, CommitmentState.DUE)
            if claim is None:
                self._done(ae)
                continue
            begun += 1
            self._pool.submit(self._report, claim)
        return begun

    def _free(self, ae: str) -> bool:
        with self._lock:
            pause = self._pauses.get(ae)
            return ae not in self._busy and (pause is None or self._context.clock.monotonic() >= pause.until)

    def _done(self, ae: str) -> None:
        with self._lock:
            self._busy.discard(ae)
        self._on_free()

    def _report(self, claim: Claim) -> None:
        outcome = "internal"
        try:
            outcome = self._tell(claim)
        except BridgeError as fault:
            outcome = fault.code  # of our own store: the lease ends, and it is tried again
        except Exception:
            log.exception("a report of commitment failed")
        finally:
            work(log, "commitment reported", commitment_id=claim.id, aet=claim.calling_ae_title, outcome=outcome,
                 attempt=claim.attempts + 1)  # fmt: skip
            self._done(claim.calling_ae_title)

    def _tell(self, claim: Claim) -> str:
        ae = claim.calling_ae_title
        peer = self._context.settings.dicom.peer_of(ae)
        if not peer.address:
            self._context.database.write(partial(self._no_address, claim=claim))
            return "no-address"
        if not self._keep(claim):
            return "lease-lost"
        try:
            if self._stale(claim):
                self._reporter.reach(peer)
                self._settle(claim, CommitmentState.ASKED, "to-be-checked-again", self._context.clock.steady())
                return "to-be-checked-again"
            self._reporter.report(peer, result_of(claim.request, claim.failures))
        except RemoteRefused as fault:
            # It is there, and does not take this one: others may go.
            self._later(claim, CommitmentState.DUE, fault)
            return fault.code
        except BridgeError as fault:
            self._later(claim, CommitmentState.DUE, fault, self._pause(ae))
            return fault.code
        with self._lock:
            self._pauses.pop(ae, None)
        told = self._context.database.write(lambda c: delivered(c, claim, self._owner, self._context, "role:worker"))
        return "delivered" if told else "lease-lost"

    def _stale(self, claim: Claim) -> bool:
        now = self._context.clock.steady()
        return claim.checked_at is None or not now - FRESH <= claim.checked_at <= now

    def _pause(self, ae: str) -> float:
        """A device that is away is tried by one of its requests at a time, less and less often: in so many seconds."""
        with self._lock:
            pause = self._pauses.setdefault(ae, _Pause())
            pause.failures += 1
            seconds = backoff(pause.failures)
            pause.until = self._context.clock.monotonic() + seconds
        return seconds

    def _no_address(self, connection: Connection, claim: Claim) -> None:
        at, details = self._context.clock.now(), {"aet": claim.calling_ae_title}
        if commitment.settle_claim(
            connection, claim, self._owner, CommitmentState.WAITING, "no-address", next_at=self._context.clock.steady()
        ):  # fmt: skip
            review.open_review(connection, NO_ADDRESS, f"commitment:{claim.id}", "no-address", at, details)

    # The lease

    def _claim(self, key: int, wanted: CommitmentState) -> Claim | None:
        now = self._context.clock.steady()
        return self._context.database.write(
            lambda c: commitment.claim_commitment(c, key, wanted, self._owner, now, now + LEASE)
        )

    def _keep(self, claim: Claim) -> bool:
        until = self._context.clock.steady() + LEASE
        return self._context.database.write(lambda c: commitment.renew_claim(c, claim, self._owner, until))

    def _later(self, claim: Claim, state: CommitmentState, fault: BridgeError, seconds: float = 0) -> None:
        next_at = self._context.clock.steady() + timedelta(seconds=seconds or backoff(claim.attempts + 1))
        self._settle(claim, state, f"{fault.code} {fault.where}".strip(), next_at, failed=True)

    def _settle(
        self, claim: Claim, state: CommitmentState, answer: str, next_at: datetime, *, failed: bool = False
    ) -> bool:
        return self._context.database.write(
            lambda c: commitment.settle_claim(c, claim, self._owner, state, answer, next_at=next_at, failed=failed)
        )


def delivered(connection: Connection, claim: Claim, owner: str, context: Context, who: str) -> bool:
    """The device has confirmed the report. False: the lease was lost."""
    at, due, failed = context.clock.now(), context.clock.steady(), len(claim.failures)
    told = commitment.settle_claim(
        connection, claim, owner, CommitmentState.DELIVERED, "0000", next_at=due, delivered_at=at
    )
    if told:
        commitment.hurry(connection, claim.calling_ae_title, due)
        safe = len(claim.request.references) - failed
        audit.write_audit(
            connection,
            at=at,
            who=who,
            action="commitment-reported",
            subject=f"commitment:{claim.id}",
            outcome="failures-exist" if failed else "committed",
            details={"aet": claim.calling_ae_title, "committed": safe, "failed": failed},
        )
    return told


class _Found(NamedTuple):
    """Failure Reasons by SOP Instance UID; `damaged` are those whose file is at fault, not their row."""

    failures: dict[str, int]
    damaged: list[str]


class _Pause:
    """Of a device that is away: `until` is monotonic."""

    __slots__ = ("failures", "until")

    def __init__(self) -> None:
        self.failures, self.until = 0, 0.0


def _pages(references: tuple[Reference, ...]) -> Iterator[tuple[Reference, ...]]:
    for start in range(0, len(references), PAGE):
        yield references[start : start + PAGE]
