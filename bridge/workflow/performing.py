"""What a modality says it does (MPPS: RAD-6, RAD-7): the state machine, and the scheduled steps that follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bridge.domain.lifecycle import GIVEN_UP, STEP_OF_ORDER
from bridge.domain.order import StepStatus
from bridge.domain.performed import RESCHEDULE, PerformedStatus, PerformedStep
from bridge.errors import NotFound, StateConflict
from bridge.store import audit, orders, performed, review
from bridge.store.db import Connection
from bridge.workflow import leaving
from bridge.workflow.context import Context

Read = Callable[[PerformedStatus, dict[str, Any]], tuple[PerformedStep, dict[str, Any]]]
"""Given the stored status and attributes, what an N-SET makes of them; raises what the device must be told."""


class PerformedSteps:
    def __init__(self, context: Context) -> None:
        self._context = context

    def take_create(self, step: PerformedStep, attributes: dict[str, Any], calling_ae: str) -> None:
        """N-CREATE. Raises `StateConflict` (code `duplicate`) for a UID that is known: nothing changes."""
        self._context.database.write(lambda c: self._create(c, step, attributes, calling_ae))

    def take_set(self, sop_instance_uid: str, read: Read, calling_ae: str) -> None:
        """N-SET. Raises `NotFound`, `StateConflict` when final, or what `read` raises."""
        self._context.database.write(lambda c: self._set(c, sop_instance_uid, read, calling_ae))

    def _create(self, connection: Connection, step: PerformedStep, attributes: dict[str, Any], ae: str) -> None:
        at = self._context.clock.now()
        key = performed.add_performed(connection, step, attributes, ae, at)
        if key is None:
            raise StateConflict("the performed procedure step exists", where="(0000,1000)", code="duplicate")
        default = self._context.settings.dicom.peer_of(ae).accession_issuer
        default = default or self._context.settings.defaults.accession_issuer
        device = leaving.Device(step.modality, step.station_ae_title or ae, step.patient_id, step.patient_issuer)
        doubt = ""
        for reference in step.scheduled:
            whole = replace(reference, accession_issuer=reference.accession_issuer or default)
            found = leaving.meant(connection, whole, device)
            performed.add_reference(connection, key, reference, found.step.id if found.step else None)
            if found.step is not None:
                self._move(connection, found.step, StepStatus.STARTED, "MPPS IN PROGRESS", key)
            doubt = doubt or found.doubt
        if doubt:
            review.open_review(connection, "performed-conflict", f"performed:{key}", doubt, at, {"aet": ae})
        audit.write_audit(
            connection,
            at=at,
            who=f"ae:{ae}",
            action="mpps-create",
            subject=f"performed:{key}",
            details={"unscheduled": not any(r.scheduled_step_id for r in step.scheduled)},
        )
        audit.note_activity(connection, "mpps", ae, at)

    def _set(self, connection: Connection, uid: str, read: Read, ae: str) -> None:
        at = self._context.clock.now()
        row = performed.find_performed(connection, uid)
        if row is None:
            raise NotFound("no such performed procedure step", where="(0000,1001)")
        step, attributes = read(PerformedStatus(row.status), row.attributes)
        performed.change_performed(connection, row.id, step, attributes, at)
        audit.write_audit(
            connection, at=at, who=f"ae:{ae}", action="mpps-set", subject=f"performed:{row.id}", outcome=step.status
        )
        audit.note_activity(connection, "mpps", ae, at)
        if step.status is PerformedStatus.IN_PROGRESS:
            return
        for reference in performed.references_of(connection, row.id):
            if reference.step_id is not None:
                self._finish(connection, reference.step_id, step, row.id)

    def _finish(self, connection: Connection, step_id: int, said: PerformedStep, key: int) -> None:
        """A scheduled step ends when every performed step of it has (append case), by the last one's word."""
        statuses = performed.statuses_of_step(connection, step_id)
        if PerformedStatus.IN_PROGRESS in statuses:
            return
        step = orders.get_step(connection, step_id)
        if PerformedStatus.COMPLETED in statuses:
            after = StepStatus.COMPLETED
        elif said.discontinuation in RESCHEDULE:
            after = self._waits_again(connection, step)
        else:
            after = StepStatus.DISCONTINUED
        self._move(connection, step, after, f"MPPS {after}", key)

    def _waits_again(self, connection: Connection, step: Any) -> StepStatus:
        given_up = orders.get_order(connection, step.order_id).status
        return STEP_OF_ORDER[given_up] if given_up in GIVEN_UP else StepStatus.SCHEDULED

    def _move(self, connection: Connection, step: Any, after: StepStatus, event: str, key: int) -> None:
        if after is StepStatus.STARTED and step.status == StepStatus.COMPLETED:
            return
        leaving.move(connection, step, after, event, f"performed:{key}", self._context)
