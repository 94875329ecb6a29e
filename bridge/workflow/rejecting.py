"""Rejected objects (RAD-66): what a note hides, what it does to its study and its order, and how it is taken back.

Everything is in the transaction of the note's own row, so that its sender's 0000 means: nobody is shown them any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.domain.matching import Rule
from bridge.domain.performed import ScheduledReference
from bridge.domain.rejection import REFUSED, Hidden, RejectionNote, strongest
from bridge.domain.study import InstanceHeader, MatchState
from bridge.errors import NotFound, StateConflict
from bridge.store import audit, links, orders, outbound, performed, rejection, review, studies
from bridge.store.db import Connection
from bridge.workflow import leaving, notifying, performing, publishing
from bridge.workflow.context import Context

NOTE = "rejection-note"
WRONG_ENTRY = "wrong worklist entry"


def may_reject(header: InstanceHeader, calling_ae: str, context: Context) -> bool:
    """Whether an object is a note that is applied: of a peer that may, and whose evidence was read."""
    note = header.rejection
    return note is not None and note.readable and "reject" in context.settings.dicom.peer_of(calling_ae).may


def hidden_on_arrival(connection: Connection, header: InstanceHeader, context: Context, *, new: bool) -> Hidden:
    """How an object that comes now is hidden by notes that came before it; `new`: it is not here. Raises
    `StateConflict` (code `rejected`) for one that was here, and was rejected for safety or for its worklist entry."""
    found = rejection.standing(connection, header.sop_instance_uid)
    if any(one.applied_at is not None and Hidden(one.title) in REFUSED for one in found):
        raise StateConflict("the object was rejected", where="(0008,0018)", code="rejected")
    here = [one for one in found if one.study_instance_uid == header.study_instance_uid]
    expired = [one for one in here if one.title == Hidden.RETENTION and one.applied_at is not None]
    if new and expired:  # it was deleted, and is imported
        rejection.lift_imported(connection, header.sop_instance_uid, context.clock.now())
    return strongest(title for one in here if one not in expired and _hides(title := Hidden(one.title), context))


def _hides(title: Hidden, context: Context) -> bool:
    return title is not Hidden.QUALITY or context.settings.storage.rejected_for_quality == "hide"


def came_hidden(
    connection: Connection, study_id: int, header: InstanceHeader, hidden: Hidden, context: Context
) -> None:
    """An object has come after the note that rejects it."""
    at = context.clock.now()
    rejection.note_applied(connection, header.sop_instance_uid, header.study_instance_uid, at)
    if hidden is Hidden.WORKLIST:
        _off_the_order(connection, studies.get_study(connection, study_id), context)


def came_again(connection: Connection, known: Any, header: InstanceHeader, ae: str, context: Context) -> None:
    """A known object: a note whose sender may reject meanwhile is applied; what was hidden because its retention was
    over is imported again, and shown (RAD-66 4.66.4.4.3)."""
    note_came(connection, header, ae, context)
    if known.hidden != Hidden.RETENTION:
        return
    at, uid = context.clock.now(), known.sop_instance_uid
    rejection.lift_imported(connection, uid, at)
    _show_again(connection, known.id, uid, known.study_instance_uid, context)
    study = studies.find_study(connection, known.study_instance_uid)
    studies.grow_study(connection, study.id, context.clock.steady())  # type: ignore[union-attr]


def _show_again(connection: Connection, instance_id: int, uid: str, study_uid: str, context: Context) -> None:
    left = [Hidden(one.title) for one in rejection.standing(connection, uid) if one.study_instance_uid == study_uid]
    hidden = strongest(title for title in left if _hides(title, context))
    note = Hidden.NOTE if rejection.is_known(connection, uid) else Hidden.NO
    rejection.hide(connection, instance_id, hidden or note)


def note_came(connection: Connection, header: InstanceHeader, ae: str, context: Context) -> None:
    """A rejection note is kept; from a peer that may reject it is applied, from any other a person is told."""
    note, at = header.rejection, context.clock.now()
    if note is None or rejection.is_known(connection, header.sop_instance_uid):
        return
    instance_id = studies.find_instance(connection, header.sop_instance_uid).id  # type: ignore[union-attr]
    subject = f"instance:{instance_id}"
    details = {"from": ae, "title": note.title, "objects": len(note.instances)}
    if not may_reject(header, ae, context):
        reason = "rejection-unclear" if not note.readable else "rejection-not-allowed"
        review.open_review(connection, NOTE, subject, reason, at, details)
        audit.write_audit(
            connection, at=at, who=f"ae:{ae}", action="rejection", subject=subject, outcome=reason, details=details
        )
        return
    review.close_review(connection, (NOTE,), subject, at, "bridge", "applied")
    rejection.hide(connection, instance_id, Hidden.NOTE)
    _apply(connection, instance_id, header.sop_instance_uid, note, ae, context)


def _apply(connection: Connection, instance_id: int, uid: str, note: RejectionNote, ae: str, context: Context) -> None:
    at = context.clock.now()
    key = rejection.add_rejection(connection, uid, note, ae, at)
    assert key is not None
    hidden = note.title if _hides(note.title, context) else Hidden.NO
    for study_id, study_uid, count in rejection.apply_rejection(connection, key, hidden, at):
        audit.write_audit(
            connection,
            at=at,
            who=f"ae:{ae}",
            action="rejected",
            subject=f"study:{study_id}",
            outcome=note.title,
            details={"rejection": key, "objects": count, "hidden": hidden is not Hidden.NO},
        )
        if hidden is not Hidden.NO:
            _tell(connection, study_id, context)
        if note.title is Hidden.WORKLIST:
            _off_the_order(connection, studies.find_study(connection, study_uid), context)
    if elsewhere := rejection.named_elsewhere(connection, key):
        details = {"from": ae, "rejection": key, "objects": elsewhere}
        review.open_review(connection, NOTE, f"instance:{instance_id}", "objects-of-another-study", at, details)


def _tell(connection: Connection, study_id: int, context: Context) -> None:
    """What is shown of the study has changed: its EHRs are told, if they have it."""
    studies.new_version(connection, study_id)
    publishing.withdraw(connection, study_id, context)


# -- the wrong worklist entry (113038) --------------------------------------------------------------------------------


def _off_the_order(connection: Connection, study: Any, context: Context) -> None:
    """All of a study was acquired under another patient's or procedure's entry: it belongs to no order, and the steps
    that it had ended wait again. While some of it is shown still, which exam was done is for a person to find out."""
    at, subject = context.clock.now(), f"study:{study.id}"
    if studies.count_instances(connection, study.id):
        left = {"shown": studies.count_instances(connection, study.id)}
        review.open_review(connection, NOTE, subject, "rejected-in-part", at, left)
        return
    review.close_review(connection, (NOTE,), subject, at, "bridge", "all of it is rejected")
    live = links.live_links(connection, study.id)
    by_person = {link.procedure_id for link in live if link.rule == Rule.PERSON}
    # Whom a person gave it to was not chosen by the device: that exam was done, and corrected copies will come.
    steps = [step for step in _steps_done_by(connection, study, at) if step.procedure_pk not in by_person]
    live = [link for link in live if link.procedure_id not in by_person]
    for link in live:
        links.end_link(connection, link.id, at, "bridge", WRONG_ENTRY)
    if live and not by_person:
        studies.judged(connection, study.id, MatchState.UNMATCHED)
        publishing.withdraw(connection, study.id, context)
    for step in steps:
        _step_waits(connection, step, subject, context)
    if live or steps:
        details = {"orders": sorted({link.order_id for link in live}), "steps": sorted(step.id for step in steps)}
        audit.write_audit(
            connection,
            at=at,
            who="bridge",
            action="study-unlinked",
            subject=subject,
            outcome=WRONG_ENTRY,
            details=details,
        )


def _steps_done_by(connection: Connection, study: Any, at: Any) -> list[Any]:
    """The scheduled steps that the study has moved, by MPPS or by its images; its MPPS speak of them no more."""
    moved: dict[int, Any] = {}
    for step in performed.performed_of_study(connection, study.study_instance_uid):
        for reference in performed.references_of(connection, step.id):
            if reference.step_id is not None:
                moved[reference.step_id] = orders.get_step(connection, reference.step_id)
        performed.reject_performed(connection, step.id, at)
    for part in rejection.rejected_parts(connection, study.id):
        device = leaving.Device(part.modality, part.calling_ae_title, study.patient_id, study.patient_issuer)
        requests = [ScheduledReference(*request) for request in part.requests]
        for one in leaving.steps_of_image(connection, study.study_instance_uid, requests, device):
            if one.step is not None and not performed.performed_of_step(connection, one.step.id):
                moved[one.step.id] = orders.get_step(connection, one.step.id)
    return [step for step in moved.values() if step.status in leaving.PERFORMED]


def _step_waits(connection: Connection, step: Any, subject: str, context: Context) -> None:
    if performed.performed_of_step(connection, step.id):  # it was done once more, rightly
        performing.step_follows(connection, step.id, subject, context)
        return
    leaving.wait_again(connection, step, WRONG_ENTRY, context)
    told = {
        word.partition("#")[0]
        for destination in context.settings.hl7.destination
        for word in outbound.events_of(connection, destination.name, f"order:{step.order_id}")
    }
    if told & set(notifying.PROGRESS):
        # No message takes back what others were told.
        at, details = context.clock.now(), {"by": subject}
        review.open_review(connection, "performed-conflict", f"order:{step.order_id}", "told-and-rejected", at, details)


# -- a person takes a rejection back ----------------------------------------------------------------------------------


def lift(context: Context, number: int, who: str, reason: str) -> int:
    """A person takes a note back: what it alone hid is shown again, and may be stored again; returns how many objects
    are shown. Raises `NotFound`, or `StateConflict` for one that was taken back."""
    return context.database.write(lambda c: _lift(c, number, who, reason, context))


def _lift(connection: Connection, number: int, who: str, reason: str, context: Context) -> int:
    at, row = context.clock.now(), rejection.get_rejection(connection, number)
    if row is None:
        raise NotFound("no such rejection", where=f"rejection {number}")
    if row["lifted_at"] is not None:
        raise StateConflict("it was taken back already", where=f"rejection {number}")
    items = [one for one in rejection.items_of(connection, number) if one.lifted_at is None]
    rejection.lift(connection, number, at, who)
    here = [one for one in items if one.instance_id is not None and one.hidden == row["title"]]
    for one in here:
        _show_again(connection, one.instance_id, one.sop_instance_uid, one.study_instance_uid, context)
    for uid in dict.fromkeys(one.study_instance_uid for one in items):
        study = studies.find_study(connection, uid)
        if study is not None:
            _judge_again(connection, study, row["title"] == Hidden.WORKLIST, context)
            details = {"rejection": number, "reason": reason}
            audit.write_audit(
                connection, at=at, who=who, action="rejection-lifted", subject=f"study:{study.id}", details=details
            )
    return len(here)


def _judge_again(connection: Connection, study: Any, steps_too: bool, context: Context) -> None:
    """As if the note had never come: matching finds the order again, and its devices' words count."""
    _tell(connection, study.id, context)
    if steps_too and studies.count_instances(connection, study.id):
        keys = performed.rejected_of_study(connection, study.study_instance_uid)
        for key in keys:
            performed.reject_performed(connection, key, None)
        _follow(connection, keys, context)
        leaving.order_came(connection, study.study_instance_uid, context)


def _follow(connection: Connection, keys: Iterable[int], context: Context) -> None:
    for key in keys:
        performing.follow(connection, key, context)
