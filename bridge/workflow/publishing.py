"""Telling the EHR: what a study's publication says, and the outbox's worker.

A publication is a row. The worker claims it by lease, does its calls with no lock held, and writes what came of it.
A missing Patient is no failure: the EHR owns it, so the row waits with the reason shown and is tried again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from bridge.config import Ehr
from bridge.domain.identity import Identifier
from bridge.domain.publication import (
    OrderContent,
    PublicationState,
    SeriesContent,
    StudyContent,
    Target,
    backoff,
)
from bridge.domain.rejection import ENTERED_IN_ERROR, withdrawn_status
from bridge.domain.study import MatchState
from bridge.errors import BridgeError, RemoteError, RemoteRefused, RemoteUnavailable, Retry
from bridge.log import work
from bridge.store import audit, outbox, patients, rejection, review, studies
from bridge.store.db import Connection
from bridge.store.outbox import Claim
from bridge.workflow.context import Context
from bridge.workflow.leasing import has_ended, this_process
from bridge.workflow.ports import EhrPort, Reference
from bridge.workflow.times import fhir_time

log = logging.getLogger("bridge.publishing")
LEASE = timedelta(seconds=120)


def request(connection: Connection, study_id: int, context: Context) -> None:
    """Ask for the study's present version to be at every EHR that takes it."""
    version = studies.get_study(connection, study_id).version
    for ehr in context.settings.ehr:
        if ehr.imaging_study != "off":
            outbox.request_publication(
                connection,
                ehr.name,
                study_id,
                Target.IMAGING_STUDY,
                version,
                context.clock.now(),
                context.clock.steady(),
            )


def withdraw(connection: Connection, study_id: int, context: Context) -> None:
    """A study that was published and is no longer matched must not stay in a patient's record.

    Also one whose first delivery is still under way: the EHR may have it before we know its id there.
    """
    if outbox.publications_of(connection, study_id):
        request(connection, study_id, context)


def gather(connection: Connection, study_id: int, context: Context) -> tuple[StudyContent, MatchState]:
    """Everything one publication says. The subject is the orders' patient, never the header's."""
    row = studies.get_study(connection, study_id)
    linked = outbox.orders_of_study(connection, study_id)
    patient_ids = {patient_id for patient_id, _ in linked}
    identifiers: tuple[Identifier, ...] = ()
    if len(patient_ids) == 1:
        identifiers = patients.identifiers_of(
            connection, next(iter(patient_ids)), context.settings.defaults.patient_issuer
        )
    zone = context.settings.site.zone
    orders = tuple(replace(o, scheduled=fhir_time(o.scheduled[:8], o.scheduled[8:], "", zone)) for _, o in linked)
    counts = outbox.instances_by_series(connection, study_id)
    series = tuple(
        SeriesContent(
            uid=s.series_instance_uid,
            modality=s.modality,
            description=s.description,
            number=int(s.number) if s.number.isdigit() else None,
            started=fhir_time(s.date, s.time, row.timezone_offset, zone),
            instances=counts.get(s.id, 0),
            body_part=s.body_part,
            laterality=s.laterality,
        )
        for s in studies.series_of(connection, study_id)  # those of which something is shown
    )
    content = StudyContent(
        study_id=study_id,
        version=row.version,
        study_instance_uid=row.study_instance_uid,
        patient=identifiers,
        accessions=_accessions(orders),
        started=fhir_time(row.study_date, row.study_time, row.timezone_offset, zone),
        description=row.description,
        modalities=tuple(dict.fromkeys(s.modality for s in series if s.modality)),
        series=series,
        orders=orders,
        status=_status(connection, row, bool(series)),
    )
    return content, MatchState(row.match_state)


def _status(connection: Connection, row: Any, shown: bool) -> str:
    """Of an ImagingStudy of a study that is matched. What an archive has no more is no error of the record's."""
    if not shown:
        return withdrawn_status(rejection.hidden_of_study(connection, row.id))
    return "cancelled" if row.unavailable else "available"


def _accessions(orders: tuple[OrderContent, ...]) -> tuple[Identifier, ...]:
    return tuple(dict.fromkeys(o.accession for o in orders if o.accession is not None))


class LeaseLost(BridgeError):
    """Somebody else's by now, or nobody's: whoever claims it next begins anew."""

    code = "lease-lost"


class Waiting(RemoteUnavailable):
    """The EHR lacks what it owns: not a failure, and not counted as one."""

    code = "waiting"


class Publisher:
    """The outbox's worker: one for the process, `slots` calls at once to each EHR."""

    def __init__(
        self, context: Context, ehrs: dict[str, EhrPort], *, on_free: Callable[[], None] = lambda: None
    ) -> None:
        """`on_free` is called when a delivery has ended: who asks for what is due then need not wait to be woken."""
        self._context = context
        self._on_free = on_free
        self._ehrs = ehrs
        self._owner = this_process()
        self._settings = {e.name: e for e in context.settings.ehr}
        self._busy: dict[str, set[int]] = {name: set() for name in ehrs}
        self._lock = threading.Lock()
        self._first = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=max(1, sum(e.slots for e in context.settings.ehr)))

    def take_over(self) -> int:
        """At start: free the claims of a process of this host that is gone, for nobody needs to wait for its lease."""

        def change(connection: Connection) -> int:
            gone = [o for o in outbox.claim_owners(connection) if o == self._owner or has_ended(o)]
            return outbox.release_claims(connection, gone, self._context.clock.steady()) if gone else 0

        return self._context.database.write(change)

    def publish_due(self) -> int:
        """Claim what is due and start it; returns how many were claimed."""
        started = 0
        for name in self._ehrs:
            with self._lock:
                busy = frozenset(self._busy[name])
            free = self._settings[name].slots - len(busy)
            if free <= 0:
                continue
            now = self._context.clock.steady()
            with self._context.database.read() as connection:
                if not outbox.anything_due(connection, name, now):
                    continue
            take = partial(
                outbox.claim_publications,
                name=name,
                owner=self._owner,
                now=now,
                until=now + LEASE,
                limit=free,
                besides=busy,
            )
            claims = self._context.database.write(take)
            with self._lock:
                self._busy[name].update(claim.id for claim in claims)
            for claim in claims:
                self._pool.submit(self._deliver, claim)
            started += len(claims)
        return started

    def close(self) -> None:
        """Finish what is in hand; the rest stays a row."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _deliver(self, claim: Claim) -> None:
        begun = self._context.clock.monotonic()
        try:
            try:
                outcome = self._publish(claim)
            except LeaseLost as fault:
                outcome = fault.code
            except BridgeError as fault:
                outcome = self._failed(claim, fault)
            except Exception:
                log.exception("publication", extra={"fields": {"connection": claim.connection}})
                outcome = self._failed(claim, RemoteUnavailable("an error of ours", code="internal"))
            ms = round((self._context.clock.monotonic() - begun) * 1000, 1)
            work(
                log,
                "publication",
                connection=claim.connection,
                target=claim.target,
                study_id=claim.study_id,
                version=claim.version,
                attempt=claim.attempts + 1,
                outcome=outcome,
                ms=ms,
            )
        finally:
            with self._lock:
                self._busy[claim.connection].discard(claim.id)
            self._on_free()

    def _publish(self, claim: Claim) -> str:
        with self._context.database.read() as connection:
            content, state = gather(connection, claim.study_id, self._context)
            known_endpoint = outbox.remote_id(connection, claim.connection, "endpoint")
        known = Reference("ImagingStudy", claim.remote_id, claim.remote_version) if claim.remote_id else None
        endpoint = Reference("Endpoint", known_endpoint) if known_endpoint else None
        if state is not MatchState.MATCHED or content.status != "available":
            withdrawn = self._held(claim).withdraw_imaging_study(
                content.study_instance_uid,
                endpoint=endpoint,
                known=known,
                status=content.status if state is MatchState.MATCHED else ENTERED_IN_ERROR,
                emptied=not content.series,
            )
            return self._done(claim, withdrawn, "withdrawn")
        patient = self._patient(claim, content.patient)
        based_on = self._requests(claim, content, patient)
        endpoint = self._endpoint(claim, endpoint)
        written = self._held(claim).write_imaging_study(
            content,
            patient=patient,
            based_on=based_on,
            endpoint=endpoint,
            known=known,
        )
        return self._done(claim, written, "")

    def _endpoint(self, claim: Claim, known: Reference | None) -> Reference:
        """Our Endpoint at the EHR. The first is made by one at a time: of several at once each might make its own."""
        with self._first if known is None else nullcontext():
            if known is None:
                with self._context.database.read() as connection:
                    made = outbox.remote_id(connection, claim.connection, "endpoint")
                known = Reference("Endpoint", made) if made else None
            endpoint = self._held(claim).ensure_endpoint(known)
            if known is None or endpoint.id != known.id:
                self._remember(claim.connection, "endpoint", endpoint)
            return endpoint

    def _held(self, claim: Claim) -> EhrPort:
        """The claim's EHR, while its lease is ours. Asked for each call: the process may have been stopped meanwhile (a
        paused machine, a debugger), and another node has the study in hand now. Raises `LeaseLost`."""
        if self._context.clock.steady() >= claim.lease_until:
            raise LeaseLost("the lease has ended", where=claim.connection)
        return self._ehrs[claim.connection]

    def _patient(self, claim: Claim, identifiers: tuple[Identifier, ...]) -> Reference:
        """The EHR's Patient. None, or two because it has not merged what we have: it owns them, so we wait."""
        try:
            patient = self._held(claim).find_patient(identifiers) if identifiers else None
        except RemoteRefused as fault:
            if fault.code != "several-matches":
                raise
            raise Waiting("the EHR has several Patients with these identifiers", code="several-patients") from None
        if patient is None:
            raise Waiting("the EHR has no Patient with this identifier yet", code="waiting-for-patient")
        return patient

    def _requests(self, claim: Claim, content: StudyContent, patient: Reference) -> tuple[Reference | None, ...]:
        settings, found = self._settings[claim.connection], list[Reference | None]()
        for order in content.orders:
            request = self._held(claim).find_service_request(order)
            if request is None and settings.create_service_request:
                request = self._held(claim).create_service_request(order, patient)
            if request is not None:
                self._remember(settings.name, f"order:{order.order_id}", request)
            found.append(request)
        return tuple(found)

    def _remember(self, connection_name: str, subject: str, reference: Reference) -> None:
        self._context.database.write(
            lambda c: outbox.set_remote_id(c, connection_name, subject, reference.type, reference.id)
        )

    def _done(self, claim: Claim, written: Reference | None, answer: str) -> str:
        now, due = self._context.clock.now(), self._context.clock.steady()

        def change(connection: Connection) -> bool:
            if not outbox.finish_publication(
                connection,
                claim,
                self._owner,
                state=PublicationState.DONE,
                now=due,
                next_attempt_at=due,
                remote_id=written.id if written else claim.remote_id,
                remote_version=written.version if written else claim.remote_version,
                status=200,
                answer=answer,
                failed=False,
            ):
                return False
            audit.write_audit(
                connection,
                at=now,
                who=f"ehr:{claim.connection}",
                action=answer or "published",
                subject=f"study:{claim.study_id}",
                details={"version": claim.version, "target": claim.target},
            )
            review.close_review(
                connection,
                ("publication-dead", "publication-waiting"),
                f"publication:{claim.id}",
                now,
                "bridge",
                "delivered",
            )
            return True

        return "done" if self._context.database.write(change) else LeaseLost.code

    def _failed(self, claim: Claim, fault: BridgeError) -> str:
        now, due = self._context.clock.now(), self._context.clock.steady()
        settings = self._settings[claim.connection]
        waiting = isinstance(fault, Waiting) or fault.code == "endpoint-paused"
        attempts = claim.attempts + 1
        dead = fault.retry is Retry.NEVER or (not waiting and attempts >= settings.dead_after_attempts)
        state = PublicationState.DEAD if dead else PublicationState.WAITING if waiting else PublicationState.DUE
        delay = _delay(fault, attempts, settings)

        def change(connection: Connection) -> bool:
            if not outbox.finish_publication(
                connection,
                claim,
                self._owner,
                state=state,
                now=due,
                next_attempt_at=due + timedelta(seconds=delay),
                remote_id=claim.remote_id,
                remote_version=claim.remote_version,
                status=fault.status if isinstance(fault, RemoteError) else 0,
                answer=f"{fault.code} {fault.where}".strip(),
                failed=True,
            ):
                return False
            if dead or fault.code == "several-patients":
                review.open_review(
                    connection,
                    "publication-dead" if dead else "publication-waiting",
                    f"publication:{claim.id}",
                    fault.code,
                    now,
                    {"connection": claim.connection, "study": claim.study_id},
                )
            return True

        return f"{state} {fault.code}" if self._context.database.write(change) else LeaseLost.code


def _delay(fault: BridgeError, attempts: int, settings: Ehr) -> float:
    if isinstance(fault, RemoteError) and fault.retry_after is not None:
        return min(fault.retry_after, 900.0)
    if isinstance(fault, Waiting):
        return backoff(min(attempts, 6), base=0.5, cap=settings.patient_wait_seconds)
    return backoff(attempts)
