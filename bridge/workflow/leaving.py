"""How a scheduled step leaves the worklist: which step a device means, and what becomes of it and of its order.

A device names a step by its id, or by no more than the study or the accession number. What fits several steps is
narrowed by what the device told of itself; what is then still unclear moves nothing: a patient whose entry is gone
is not examined, one whose entry stays too long is only asked again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from bridge.domain.lifecycle import GIVEN_UP, STEP_OF_ORDER, VISIBLE
from bridge.domain.matching import Rule
from bridge.domain.order import OrderStatus, StepStatus
from bridge.domain.performed import DERIVED, ScheduledReference
from bridge.domain.study import StudyState
from bridge.store import orders, patients, performed, review, studies
from bridge.store.db import Connection
from bridge.workflow import notifying, order_events
from bridge.workflow.context import Context

STEP_UNCLEAR = "step-unclear"
WAITS = VISIBLE | {StepStatus.CANCELED}
PERFORMED = frozenset({StepStatus.STARTED, StepStatus.COMPLETED})
ENDED_STEPS = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED})
_ENDS: dict[str, frozenset[StepStatus]] = {
    "first-image": frozenset({StepStatus.STARTED}),
    "completion": WAITS | {StepStatus.STARTED},
    "age": frozenset(),
}
"""What the end of a study ends, by the leave rule of the device that performs (`[[worklist.view]]`)."""


class Device(NamedTuple):
    """What a device told of itself and of whom it examined."""

    modality: str
    station: str
    patient_id: str
    patient_issuer: str


class Meant(NamedTuple):
    """The scheduled step that a device means; None when it names none that we know, or when `doubt` says why not."""

    step: Any | None
    doubt: str = ""


def meant(connection: Connection, reference: ScheduledReference, device: Device, *, shared: bool = False) -> Meant:
    """The one step that a reference names. `shared`: others name the same study (the group case)."""
    linked = _linked(connection, reference.study_instance_uid)
    if linked:
        return _meant_of(connection, linked, reference, device, shared)
    found = _named(connection, reference, shared)
    if not found:
        # An id that we never gave, in a procedure that we know: perhaps a step whose order is still to come.
        known = reference.scheduled_step_id and _named(connection, replace(reference, scheduled_step_id=""), shared)
        return Meant(None, STEP_UNCLEAR if known else "")
    if device.patient_id:
        own = [step for step in found if _is_whose(connection, step, device)]
    else:
        # Without a patient only the UID that we gave counts.
        given = {reference.study_instance_uid, reference.original_study_uid}
        own = [s for s in found if s.study_instance_uid in given]
    if not own:
        # A number typed by hand: the order of somebody else stays on the worklist.
        return Meant(None, "patient-differs" if device.patient_id else "patient-missing")
    own = _narrowed(connection, own, device)
    return Meant(own[0]) if len(own) == 1 else Meant(None, STEP_UNCLEAR)


def _is_whose(connection: Connection, step: Any, device: Device) -> bool:
    return patients.carries(connection, step.patient_pk, device.patient_id, device.patient_issuer)


def _linked(connection: Connection, study_uid: str) -> list[Any]:
    """The steps that a study belongs to by its link, where its UID does not tell: the device made one of its own, or
    the wrong entry was chosen, and a person has said whose it is."""
    found = orders.steps_of_link(connection, study_uid) if study_uid else []
    return found if any(step.study_instance_uid != study_uid for step in found) else []


def _meant_of(
    connection: Connection, linked: list[Any], reference: ScheduledReference, device: Device, shared: bool
) -> Meant:
    """What a person has tied together is so, whatever the device called the patient."""
    step_id, known = reference.scheduled_step_id, {step.id for step in _named(connection, reference, shared)}
    named = [step for step in linked if step.id in known]
    named = named or [step for step in linked if step_id and step.scheduled_step_id == step_id]
    if step_id and not named and not known:
        return Meant(None, STEP_UNCLEAR)
    own = [step for step in named or linked if step.rule == Rule.PERSON or _is_whose(connection, step, device)]
    if not own:
        return Meant(None, "patient-differs" if device.patient_id else "patient-missing")
    found = _narrowed(connection, own, device)
    return Meant(found[0]) if len(found) == 1 else Meant(None, STEP_UNCLEAR)


def _named(connection: Connection, reference: ScheduledReference, shared: bool = False) -> list[Any]:
    """By the study that was planned, else by the one that was made, else by the accession number.

    A study that several share is perhaps that of one of them, and a step id is often a plain counter: there the
    numbers of each decide, and one that is not known yet is waited for.
    """
    planned = reference.original_study_uid
    if planned and (found := _find(connection, replace(reference, study_instance_uid=planned))):
        return found
    own = shared and (planned or reference.accession_number)
    return _find(connection, replace(reference, study_instance_uid="") if own else reference)


def is_group(references: Iterable[Any]) -> bool:
    """Whether several orders are named (PS3.4 F.7.2.1), and not several steps of one."""
    return len({(r.accession_number, r.accession_issuer, r.original_study_uid) for r in references}) > 1


def _find(connection: Connection, reference: ScheduledReference) -> list[Any]:
    return orders.find_steps(
        connection,
        study_instance_uid=reference.study_instance_uid,
        accession_number=reference.accession_number,
        accession_issuer=reference.accession_issuer,
        requested_procedure_id=reference.requested_procedure_id,
        scheduled_step_id=reference.scheduled_step_id,
    )


def _narrowed(connection: Connection, found: list[Any], device: Device) -> list[Any]:
    """Of several steps those of the device's modality, and of these those that were planned for it."""
    if len(found) > 1 and device.modality:
        found = [step for step in found if step.modality == device.modality]
    if len(found) > 1 and device.station:
        found = [step for step in found if device.station in orders.stations_of(connection, step.id)]
    return found


def move(connection: Connection, step: Any, after: StepStatus, event: str, subject: str, context: Context) -> None:
    """A device has moved the step: its order follows, and whoever asked for it is told. An order is done when all its
    steps have ended and one at least was completed.

    `subject` is what said so, on the review list: an order that was given up or held, and is performed all the same,
    stays what its owner made it, in sight of a person.
    """
    if after in PERFORMED and step.status not in PERFORMED:
        _look_whether_wanted(connection, step, subject, context)
    if step.status != after:
        ended = context.clock.now() if after in ENDED_STEPS else None
        orders.set_step_status(connection, step.id, after, ended_at=ended)
    statuses = {StepStatus(one.status) for one in orders.steps_of_order(connection, step.order_id)}
    if after in ENDED_STEPS and statuses <= ENDED_STEPS and StepStatus.COMPLETED in statuses:
        said = OrderStatus.CM
    elif after in PERFORMED:
        said = OrderStatus.IP
    else:
        said = None
    if said is not None:
        order_events.device_says(connection, step.order_id, said, event, context.clock.now())
    notifying.tell_progress(connection, step.order_id, context)


def wait_again(connection: Connection, step: Any, event: str, context: Context) -> None:
    """What was performed was not this step: it is on the worklist again, and its order is as if nothing had been done,
    unless it was given up meanwhile."""
    status = orders.get_order(connection, step.order_id).status
    orders.set_step_status(connection, step.id, STEP_OF_ORDER[status] if status in GIVEN_UP else StepStatus.SCHEDULED)
    if not any(one.status in PERFORMED for one in orders.steps_of_order(connection, step.order_id)):
        order_events.device_says(connection, step.order_id, OrderStatus.SC, event, context.clock.now())


def _look_whether_wanted(connection: Connection, step: Any, subject: str, context: Context) -> None:
    order, at = orders.get_order(connection, step.order_id), context.clock.now()
    details = {"order": order.id, "status": str(order.status)}
    if order.status in GIVEN_UP:
        review.open_review(connection, "performed-conflict", subject, "order-given-up", at, details)
    elif order.status is OrderStatus.HD:
        review.open_review(connection, "performed-conflict", subject, "order-on-hold", at, details)


# -- devices without MPPS -----------------------------------------------------------------------------------------


def image_came(
    connection: Connection, study: Any, requests: Iterable[ScheduledReference], device: Device, context: Context
) -> None:
    """A device without MPPS: the first image of a series starts the scheduled step that it belongs to, where the site
    lets it leave the list so early."""
    if _leave(device, context) != "first-image":
        return
    for one in steps_of_image(connection, study.study_instance_uid, requests, device):
        if one.step is not None and one.step.status in WAITS and not _told_of(connection, one.step):
            move(connection, one.step, StepStatus.STARTED, "first image", f"study:{study.id}", context)


def order_came(connection: Connection, study_uid: str, context: Context) -> None:
    """An order that is made, or found, when images of it are here is told what they tell, as if it had come before."""
    study = studies.find_study(connection, study_uid)
    if study is None:
        return
    for part, sender in studies.senders_of(connection, study.id):
        device = Device(part.modality, sender, study.patient_id, study.patient_issuer)
        image_came(connection, study, [ScheduledReference(*request) for request in part.requests], device, context)
    if study.state == StudyState.COMPLETE:
        study_ended(connection, study, context)


def study_ended(connection: Connection, study: Any, context: Context) -> None:
    """The quiet time is over: silence is such a device's way of saying that it is done. Of one whose entries leave by
    age alone, images say nothing."""
    unclear: list[str] = []
    # Of those modalities MPPS speaks, and its doubts are its own.
    told = {step.modality for step in performed.performed_of_study(connection, study.study_instance_uid)}
    for part, sender in studies.senders_of(connection, study.id):
        device = Device(part.modality, sender, study.patient_id, study.patient_issuer)
        ends = _ENDS[_leave(device, context)]
        if not ends:
            continue
        requests = [ScheduledReference(*request) for request in part.requests]
        for one in steps_of_image(connection, study.study_instance_uid, requests, device):
            if one.step is None:
                if one.doubt == STEP_UNCLEAR and part.modality not in DERIVED | told:
                    unclear.append(sender)
            elif one.step.status in ends and not _told_of(connection, one.step):
                move(connection, one.step, StepStatus.COMPLETED, "study complete", f"study:{study.id}", context)
    subject, at = f"study:{study.id}", context.clock.now()
    if unclear and not review.newest_of(connection, "performed-conflict", subject, "step-unclear"):
        review.open_review(connection, "performed-conflict", subject, "step-unclear", at, {"aet": unclear[0]})


def steps_of_image(
    connection: Connection, study_uid: str, requests: Iterable[ScheduledReference], device: Device
) -> Iterable[Meant]:
    """By the step ids of its Request Attributes (0040,0275), else by the study alone. One that names nobody: none."""
    if not device.patient_id and not _linked(connection, study_uid):
        return
    named = [replace(r, study_instance_uid=r.study_instance_uid or study_uid) for r in requests if r.scheduled_step_id]
    for reference in named or [ScheduledReference(study_uid)]:
        yield meant(connection, reference, device, shared=is_group(named))


def _leave(device: Device, context: Context) -> str:
    """The leave rule of the device that performs, by the title that its images come from."""
    return context.settings.worklist.view_of(device.station).leave


def _told_of(connection: Connection, step: Any) -> bool:
    """Whether MPPS speaks of the step: then it alone says when it starts and ends."""
    return bool(performed.performed_of_step(connection, step.id))
