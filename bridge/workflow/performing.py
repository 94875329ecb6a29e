"""What a modality says it does (MPPS: RAD-6, RAD-7): the state machine, and the scheduled steps that follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bridge.domain.coding import Code
from bridge.domain.lifecycle import GIVEN_UP, STEP_OF_ORDER
from bridge.domain.matching import Rule
from bridge.domain.order import StepStatus
from bridge.domain.performed import Fate, PerformedStatus, PerformedStep, ScheduledReference, changed, fate_of
from bridge.domain.study import MatchState
from bridge.errors import NotFound, StateConflict
from bridge.store import audit, links, orders, performed, review, studies
from bridge.store.db import Connection
from bridge.workflow import leaving, publishing
from bridge.workflow.context import Context

CONFLICT = "performed-conflict"
UID_AGAIN = "performed-uid-again"
OPEN = "performed-open"
UNSCHEDULED = "performed-unscheduled"
DISCONTINUED = "performed-discontinued"
WRONG_ENTRY = "wrong-entry"
Read = Callable[[PerformedStatus, dict[str, Any]], tuple[PerformedStep, dict[str, Any]]]
"""Given the stored status and attributes, what an N-SET makes of them; raises what the device must be told."""


def _none_known(reason: Code) -> str:
    return ""


class PerformedSteps:
    """`known` gives the fate of a reason for discontinuing, or '' (`mapping.Mappings.fate`)."""

    def __init__(self, context: Context, known: Callable[[Code], str] = _none_known) -> None:
        self._context = context
        self._known = known

    def take_create(self, step: PerformedStep, attributes: dict[str, Any], calling_ae: str) -> None:
        """N-CREATE. Raises `StateConflict` (code `duplicate`) for a UID that is known: nothing changes.

        A device that lost our answer says the same again. One that tells of another exam under the UID, or is another
        device, would lose that exam: a person is told.
        """
        if not self._context.database.write(lambda c: self._create(c, step, attributes, calling_ae)):
            raise StateConflict("the performed procedure step exists", where="(0000,1000)", code="duplicate")

    def take_set(self, sop_instance_uid: str, read: Read, calling_ae: str) -> None:
        """N-SET. Raises `NotFound`, `StateConflict` when final, or what `read` raises."""
        self._context.database.write(lambda c: self._set(c, sop_instance_uid, read, calling_ae))

    def find(self, sop_instance_uid: str) -> tuple[PerformedStatus, dict[str, Any]]:
        """What a device told of a step, and how it stands. Raises `NotFound`."""
        with self._context.database.read() as connection:
            row = performed.find_performed(connection, sop_instance_uid)
        if row is None:
            raise NotFound("no such performed procedure step", where="(0000,1001)")
        return PerformedStatus(row.status), row.attributes

    def finish(self, sop_instance_uid: str, status: PerformedStatus, who: str, reason: str) -> None:
        """A person ends a step that its device will not end (PS3.4 F.7.2.2: the SCP may). Raises `NotFound`,
        `StateConflict` when it has ended."""
        self._context.database.write(lambda c: self._finish(c, sop_instance_uid, status, who, reason))

    def _finish(self, connection: Connection, uid: str, status: PerformedStatus, who: str, reason: str) -> None:
        at, row = self._context.clock.now(), performed.find_performed(connection, uid)
        if row is None:
            raise NotFound("no such performed procedure step", where="UID")
        performed.end_performed(connection, row.id, changed(PerformedStatus(row.status), status), at)
        details = {"reason": reason}
        subject = f"performed:{row.id}"
        audit.write_audit(
            connection, at=at, who=who, action="mpps-finished", subject=subject, outcome=status, details=details
        )
        follow(connection, row.id, self._context)

    def _create(self, connection: Connection, step: PerformedStep, attributes: dict[str, Any], ae: str) -> bool:
        at = self._context.clock.now()
        key = performed.add_performed(connection, step, attributes, ae, at)
        if key is None:
            self._again(connection, step, ae)
            return False
        default = self._context.settings.dicom.peer_of(ae).accession_issuer
        default = default or self._context.settings.defaults.accession_issuer
        for reference in step.scheduled:
            issuer = reference.accession_issuer or (default if reference.accession_number else "")
            performed.add_reference(connection, key, replace(reference, accession_issuer=issuer))
        follow(connection, key, self._context)
        audit.write_audit(
            connection,
            at=at,
            who=f"ae:{ae}",
            action="mpps-create",
            subject=f"performed:{key}",
            details={"unscheduled": not any(r.scheduled_step_id for r in step.scheduled)},
        )
        audit.note_activity(connection, "mpps", ae, at)
        return True

    def _again(self, connection: Connection, step: PerformedStep, ae: str) -> None:
        row, at = performed.find_performed(connection, step.sop_instance_uid), self._context.clock.now()
        assert row is not None
        told = {one.study_instance_uid for one in performed.references_of(connection, row.id)}
        same = told == {one.study_instance_uid for one in step.scheduled} and row.patient_id == step.patient_id
        if row.calling_ae_title != ae or not same:
            reason = "uid-of-another-exam" if row.calling_ae_title == ae else "uid-of-another-device"
            subject, details = f"performed:{row.id}", {"aet": ae}
            if not review.newest_of(connection, UID_AGAIN, subject, reason):
                review.open_review(connection, UID_AGAIN, subject, reason, at, details)

    def _set(self, connection: Connection, uid: str, read: Read, ae: str) -> None:
        at = self._context.clock.now()
        row = performed.find_performed(connection, uid)
        if row is None:
            raise NotFound("no such performed procedure step", where="(0000,1001)")
        step, attributes = read(PerformedStatus(row.status), row.attributes)
        fate = fate_of(step.discontinuation, self._known) if step.status is PerformedStatus.DISCONTINUED else None
        performed.change_performed(connection, row.id, step, attributes, at, fate)
        audit.write_audit(
            connection,
            at=at,
            who=f"ae:{ae}",
            action="mpps-set",
            subject=f"performed:{row.id}",
            outcome=step.status,
            details={} if ae == row.calling_ae_title else {"begun_by": row.calling_ae_title},
        )
        audit.note_activity(connection, "mpps", ae, at)
        if step.status is PerformedStatus.IN_PROGRESS:
            return
        follow(connection, row.id, self._context)


def order_came(connection: Connection, study_uid: str, order_id: int, context: Context) -> None:
    """An order with new steps: what was performed before it came is tied to it, by MPPS or by images alone."""
    order = orders.get_order(connection, order_id)
    issuer = order.accession.issuer if order.accession else ""
    for key in performed.waiting_for(connection, study_uid, order.accession_told, issuer):
        follow(connection, key, context)
    leaving.order_came(connection, study_uid, context)


def follow(connection: Connection, key: int, context: Context) -> None:
    """A performed step was told of, or an order that it may belong to: it is tied to the scheduled steps that it
    names, as far as they are known, and they follow it. The same way whichever came first."""
    row, at, subject = performed.get_performed(connection, key), context.clock.now(), f"performed:{key}"
    if row.rejected_at is not None:
        return
    ae = row.calling_ae_title
    device = leaving.Device(row.modality, row.station_ae_title or ae, row.patient_id, row.patient_issuer)
    doubt, news, steps = "", False, dict[int, None]()
    references = performed.references_of(connection, key)
    for reference in references:
        step_id = reference.step_id
        if step_id is None:
            found = leaving.meant(connection, _read(reference), device, shared=leaving.is_group(references))
            doubt = doubt or found.doubt
            if found.step is None:
                continue
            step_id, news = found.step.id, True
            performed.resolve_reference(connection, reference.id, step_id)
        steps[step_id] = None
    if doubt:
        if not review.newest_of(connection, CONFLICT, subject, doubt):  # what a person has dealt with stays so
            review.open_review(connection, CONFLICT, subject, doubt, at, {"aet": ae})
    elif news:
        review.close_review(connection, (CONFLICT,), subject, at, "bridge", "the step that it belongs to is known now")
    if row.unscheduled and (doubt or steps):
        performed.looked_after(connection, key, "unscheduled")
    if steps:
        review.close_review(connection, (UNSCHEDULED,), subject, at, "bridge", "its order is known now")
    if row.status != PerformedStatus.IN_PROGRESS:
        review.close_review(connection, (OPEN,), subject, at, "bridge", "it has ended")
    for step_id in steps:
        step_follows(connection, step_id, subject, context)
    if row.fate == Fate.WRONG_ENTRY:
        _take_off(connection, row, [orders.get_step(connection, step_id) for step_id in steps], context)


def _read(reference: Any) -> ScheduledReference:
    return ScheduledReference(
        study_instance_uid=reference.study_instance_uid,
        accession_number=reference.accession_number,
        accession_issuer=reference.accession_issuer,
        requested_procedure_id=reference.requested_procedure_id,
        scheduled_step_id=reference.scheduled_step_id,
        original_study_uid=reference.original_study_uid,
    )


def step_follows(connection: Connection, step_id: int, subject: str, context: Context) -> None:
    """A scheduled step ends when every performed step of it has (append case), by the last one's word."""
    said = performed.performed_of_step(connection, step_id)
    statuses = {one.status for one in said}
    step, fate = orders.get_step(connection, step_id), None
    if PerformedStatus.IN_PROGRESS in statuses:
        after, word = StepStatus.STARTED, PerformedStatus.IN_PROGRESS  # of what was completed: a retake
    elif PerformedStatus.COMPLETED in statuses:
        after, word = StepStatus.COMPLETED, PerformedStatus.COMPLETED
    else:
        fate = said[-1].fate or (Fate.AGAIN if context.settings.performed.discontinued == "again" else Fate.END)
        after, word = _discontinued(connection, step, fate), PerformedStatus.DISCONTINUED
    if fate == Fate.WRONG_ENTRY:
        leaving.wait_again(connection, step, f"MPPS {word}", context)  # nobody has begun this one
    else:
        leaving.move(connection, step, after, f"MPPS {word}", subject, context)
    _ask_whether_wanted(connection, step, said[-1] if fate == Fate.PROPOSE else None, context)


def _discontinued(connection: Connection, step: Any, fate: str) -> StepStatus:
    """What waits again waits no more when its order was given up meanwhile."""
    if fate != Fate.AGAIN:
        return StepStatus.DISCONTINUED
    given_up = orders.get_order(connection, step.order_id).status
    return STEP_OF_ORDER[given_up] if given_up in GIVEN_UP else StepStatus.SCHEDULED


def _ask_whether_wanted(connection: Connection, step: Any, said: Any, context: Context) -> None:
    """A reason such as the patient's death speaks for cancelling the order; that is for its filler to say."""
    subject, at = f"step:{step.id}", context.clock.now()
    if said is None:
        review.close_review(connection, (DISCONTINUED,), subject, at, "bridge", "a device has begun it again")
    elif orders.get_order(connection, step.order_id).status not in GIVEN_UP:
        why = " ".join(said.discontinuation[0][:2])
        details = {"order": step.order_id, "performed": said.id, "reason": why}
        if review.newest_of(connection, DISCONTINUED, subject, "cancel-proposed") != details:
            review.open_review(connection, DISCONTINUED, subject, "cancel-proposed", at, details)


def _take_off(connection: Connection, row: Any, steps: list[Any], context: Context) -> None:
    """The wrong entry had been chosen: the study that was made under it is off its order at once, and out of the
    patient's record. Matching keeps it off (`performed.procedures_of_study`); a person's own link stays, in sight."""
    at, named = context.clock.now(), {step.procedure_pk for step in steps}
    for study_id in performed.studies_of_performed(connection, row.id):
        uid = studies.get_study(connection, study_id).study_instance_uid
        # The entry had perhaps been done before, and no image was made by mistake.
        wrong = named & performed.procedures_of_study(connection, uid)[1]
        live = [link for link in links.live_links(connection, study_id) if link.procedure_id in wrong]
        if any(link.rule == Rule.PERSON for link in live):
            details = {"study": study_id}
            review.open_review(connection, CONFLICT, f"performed:{row.id}", "wrong-entry-linked", at, details)
            continue
        studies.new_version(connection, study_id)
        for link in live:
            links.end_link(connection, link.id, at, "bridge", WRONG_ENTRY)
        if live:
            subject = f"study:{study_id}"
            who = f"ae:{row.calling_ae_title}"
            audit.write_audit(
                connection, at=at, who=who, action="study-unlinked", subject=subject, outcome=WRONG_ENTRY,
                details={"performed": row.id},
            )  # fmt: skip
            review.open_review(connection, "study-ambiguous", subject, WRONG_ENTRY, at, {})
            studies.change_study(connection, study_id, {"match_state": MatchState.AMBIGUOUS})
            publishing.withdraw(connection, study_id, context)
