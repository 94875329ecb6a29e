"""Orders that were taken before the ADT feed spoke, for somebody who is another person than the feed says.

They are on no worklist until a person accepts them, or a message of theirs agrees with the record.
"""

from __future__ import annotations

from datetime import datetime

from bridge.domain.order import StepStatus
from bridge.store import orders, review, visits
from bridge.store.db import Connection
from bridge.workflow.scheduling import ANOTHERS, park_reason

PARKED = "order-parked"
_DONE = frozenset({StepStatus.STARTED, StepStatus.COMPLETED, StepStatus.DISCONTINUED})


def withhold(connection: Connection, patient_id: int, at: datetime) -> None:
    """Every open order of the patient: nobody has compared what each of them said."""
    for order in visits.open_orders(connection, patient_id):
        for step in orders.steps_of_order(connection, order.id):
            if step.status not in _DONE:
                orders.change_step(connection, step.id, {"parked": ANOTHERS})
                details = {"order": order.id, "patient": patient_id}
                review.open_review(connection, PARKED, f"step:{step.id}", ANOTHERS, at, details)


def release(connection: Connection, order_id: int, at: datetime, by: str, why: str) -> None:
    """The order is its patient's: what was withheld is shown again, unless something else hides it."""
    withheld = [step for step in orders.steps_of_order(connection, order_id) if step.parked == ANOTHERS]
    if not withheld:
        return
    patient_id = orders.get_order(connection, order_id).patient_id
    uids = {one.id: one.study_instance_uid for one in orders.procedures_of(connection, order_id)}
    for step in withheld:
        foreign = orders.study_uid_of_another(connection, uids[step.requested_procedure_id], patient_id)
        parked = park_reason(step.modality, orders.stations_of(connection, step.id), foreign)
        orders.change_step(connection, step.id, {"parked": parked})
        # Heard of just now: not to be taken for a patient who does not come.
        orders.change_order(connection, order_id, {"updated_at": at})
        subject = f"step:{step.id}"
        review.close_review(connection, (PARKED,), subject, at, by, why)
        if parked:
            details = {"modality_sent": step.modality_sent, "room": step.location}
            review.open_review(connection, PARKED, subject, parked, at, details)
