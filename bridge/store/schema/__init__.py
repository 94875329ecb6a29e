"""The tables. Each constraint says which fault it prevents.

Names are the standards' own (docs/architecture.md, Words). `..._at` are UTC. `version` grows with every change of a
row that something derived (an encoded answer, a publication) is keyed by.
"""

from __future__ import annotations

from bridge.store.schema.archive import availability_notice, commitment, remote_instance
from bridge.store.schema.base import BigId, metadata
from bridge.store.schema.launching import hand_over, launch_link, launch_pending, launch_session, launch_study
from bridge.store.schema.messages import message, outbound_message
from bridge.store.schema.orders import (
    appointment,
    imaging_order,
    order_event,
    order_history,
    report,
    requested_procedure,
    scheduled_procedure_step,
    scheduled_station,
)
from bridge.store.schema.patients import patient, patient_identifier, patient_link
from bridge.store.schema.performed import performed_instance, performed_procedure_step, performed_reference
from bridge.store.schema.publishing import publication, remote_resource
from bridge.store.schema.storage import rejected_instance, rejection, retirement, study_hold
from bridge.store.schema.studies import instance, instance_aside, instance_document, series, study, study_link
from bridge.store.schema.watching import activity, alarm, audit, review

__all__ = [
    "BigId",
    "activity",
    "alarm",
    "appointment",
    "audit",
    "availability_notice",
    "commitment",
    "hand_over",
    "imaging_order",
    "instance",
    "instance_aside",
    "instance_document",
    "launch_link",
    "launch_pending",
    "launch_session",
    "launch_study",
    "message",
    "metadata",
    "order_event",
    "order_history",
    "outbound_message",
    "patient",
    "patient_identifier",
    "patient_link",
    "performed_instance",
    "performed_procedure_step",
    "performed_reference",
    "publication",
    "rejected_instance",
    "rejection",
    "remote_instance",
    "remote_resource",
    "report",
    "requested_procedure",
    "retirement",
    "review",
    "scheduled_procedure_step",
    "scheduled_station",
    "series",
    "study",
    "study_hold",
    "study_link",
]
