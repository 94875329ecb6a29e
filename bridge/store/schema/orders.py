"""Orders with their history, their procedures and scheduled steps; appointments and reports."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from bridge.store.schema.base import BigId, foreign_key, metadata, row_id, text_column
from bridge.store.types import Bytes, Json, UtcDateTime

imaging_order = Table(
    "imaging_order",
    metadata,
    row_id(),
    Column("version", Integer, nullable=False, server_default="1"),
    foreign_key("patient_id", "patient.id"),
    Column("placer_order_number", String),
    text_column("placer_issuer"),
    Column("filler_order_number", String),
    text_column("filler_issuer"),
    text_column("accession_number"),  # whole, as sent
    text_column("accession_issuer"),
    Column("accession_made", Boolean, nullable=False, server_default=text("false")),  # by us: the owner must be told
    text_column("accession_told"),  # what scanners are told and images come back with: the number, or its alias
    Column("status", String, nullable=False),
    Column("placeholder", Boolean, nullable=False, server_default=text("false")),  # spoken of before its NW came
    # What the next event needs to know of all before it, so that not every message reads them all; NULL: read them all.
    Column("fold", Json),
    Column("event_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    text_column("requesting_physician"),
    text_column("referring_physician"),
    text_column("department"),
    text_column("admission_id"),
    text_column("admission_issuer"),
    text_column("account_number"),  # PID-18: what A44 moves
    text_column("account_issuer"),
    text_column("patient_class"),
    text_column("patient_location"),
    # When each of class, place and physician was told, by ADT or by an order message: older words change nothing.
    Column("visit_times", Json),
    text_column("patient_state"),
    text_column("confidentiality"),  # PV1-16
    text_column("medical_alerts"),
    Column("allergies", Json, nullable=False),
    Column("attributes", Json),  # what a device is told on top, when it asks: `domain/attributes.py`
    text_column("pregnancy_status"),
    text_column("patient_weight_kg"),
    text_column("patient_size_m"),
    CheckConstraint(
        "placer_order_number IS NOT NULL OR filler_order_number IS NOT NULL", name="ck_imaging_order_has_a_number"
    ),
    UniqueConstraint("placer_order_number", "placer_issuer", name="uq_imaging_order_placer"),
    UniqueConstraint("filler_order_number", "filler_issuer", name="uq_imaging_order_filler"),
    Index("ix_imaging_order_told", "accession_told", "accession_issuer"),
    Index("ix_imaging_order_accession", "accession_number", "accession_issuer"),
)

# Everything said of an order, by whoever said it. The order's state is these events folded in the order of their own
# times, so that it does not depend on the order of arrival.
order_event = Table(
    "order_event",
    metadata,
    row_id(),
    foreign_key("order_id", "imaging_order.id", index=False),
    Column("message_id", BigId, index=True),  # no foreign key: messages are purged before what they made
    # ORC-9, else MSH-7, else the receipt; never later than MSH-7, nor than the receipt where a clock runs ahead
    Column("happened_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime, nullable=False),  # MSH-7, else the receipt
    Column("control", String, nullable=False),  # ORC-1, or MPPS
    Column("status", String, nullable=False),  # ORC-5, or the performed status
    Column("control_id", String, nullable=False),  # MSH-10: the named tie-break
    Column("request", Json),  # the order as the message gives it; NULL for a device's word
    Index("ix_order_event_order", "order_id", "happened_at"),
)

order_history = Table(
    "order_history",
    metadata,
    row_id(),
    foreign_key("order_id", "imaging_order.id"),
    Column("at", UtcDateTime, nullable=False),
    Column("message_id", BigId),  # no foreign key: messages are purged before what they made
    Column("event", String, nullable=False),  # ORC-1/ORC-5, "MPPS", "study"
    Column("status_before", String, nullable=False),
    Column("status_after", String, nullable=False),
    text_column("note"),
)

requested_procedure = Table(
    "requested_procedure",
    metadata,
    row_id(),
    foreign_key("order_id", "imaging_order.id"),
    Column("requested_procedure_id", String, nullable=False),  # what scanners are told: at most 16 characters
    text_column("requested_procedure_id_sent"),  # whole, when the sender's was longer
    # Not unique: a group acquisition gives two orders one study (PS3.4 F.7.2.1).
    Column("study_instance_uid", String, nullable=False, index=True),
    Column("study_instance_uid_generated", Boolean, nullable=False),
    text_column("description"),
    Column("code", Json),
    text_column("priority"),
    text_column("reason"),
    text_column("transport"),
    text_column("comments"),
    UniqueConstraint("order_id", "requested_procedure_id", name="uq_requested_procedure"),
)

scheduled_procedure_step = Table(
    "scheduled_procedure_step",
    metadata,
    row_id(),
    Column("version", Integer, nullable=False, server_default="1"),
    foreign_key("requested_procedure_id", "requested_procedure.id"),
    Column("scheduled_step_id", String, nullable=False),
    text_column("scheduled_step_id_sent"),
    Column("status", String, nullable=False),
    # A parked step is on no worklist until what is missing is mended: the reason is the review list's.
    text_column("parked"),
    text_column("modality"),
    text_column("modality_sent"),
    Column("start_date", String, nullable=False),  # DA, site-local: what a C-FIND range compares
    Column("start_time", String, nullable=False),  # TM
    Column("start_defaulted", Boolean, nullable=False),
    text_column("station_name"),
    text_column("location"),
    text_column("description"),
    Column("protocol_codes", Json, nullable=False),
    text_column("performing_physician"),
    Column("ended_at", UtcDateTime),  # when a device ended it: lists may keep it for a retake
    # The start (DA and TM) that has passed without the patient: hidden while it is still the step's. Another start, or
    # another status, makes it void.
    text_column("no_show"),
    UniqueConstraint("requested_procedure_id", "scheduled_step_id", name="uq_scheduled_procedure_step"),
    Index("ix_scheduled_procedure_step_list", "status", "start_date", "modality"),
)

scheduled_station = Table(
    "scheduled_station",
    metadata,
    row_id(),
    foreign_key("step_id", "scheduled_procedure_step.id", index=False),
    Column("ae_title", String, nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("step_id", "ae_title", name="uq_scheduled_station"),
    Index("ix_scheduled_station_ae", "ae_title", "step_id"),
)

# A report of an imaging order (ORU^R01), tied to order and study when both are known.
report = Table(
    "report",
    metadata,
    row_id(),
    Column("version", Integer, nullable=False, server_default="1"),
    foreign_key("patient_id", "patient.id"),
    Column("order_id", BigId, ForeignKey("imaging_order.id"), index=True),
    Column("study_id", BigId, ForeignKey("study.id"), index=True),
    Column("filler_order_number", String, nullable=False),  # OBR-3, else OBR-2: one report an order's result
    text_column("filler_issuer"),
    Column("placer_order_number", String),  # OBR-2: by it an order that comes later finds its report
    text_column("placer_issuer"),
    text_column("accession_number"),
    text_column("accession_issuer"),
    text_column("study_instance_uid"),
    Column("status", String, nullable=False),  # OBR-25
    Column("code", Json),
    text_column("text"),
    text_column("impression"),
    Column("document", Bytes),
    text_column("document_type"),
    text_column("interpreter"),
    Column("issued_at", UtcDateTime),
    Column("event_at", UtcDateTime, nullable=False),
    Column("message_id", BigId),  # no foreign key: messages are purged before what they made
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("filler_order_number", "filler_issuer", name="uq_report"),
    Index("ix_report_placer", "placer_order_number", "placer_issuer"),
    Index("ix_report_accession", "accession_number", "accession_issuer"),
)

# The newest word of scheduling (SIU) on an order. It outlives the message, so that one that comes before its order
# is not lost, and goes when a newer order message names a time of its own.
appointment = Table(
    "appointment",
    metadata,
    row_id(),
    Column("placer_order_number", String),
    text_column("placer_issuer"),
    Column("filler_order_number", String),
    text_column("filler_issuer"),
    Column("patient", Json, nullable=False),  # the identifiers that the message gave: the order must be theirs
    Column("event", String, nullable=False),  # S12, S13, S14, S15, S17, S26
    Column("starts", Json, nullable=False),  # the site's wall clock
    Column("places", Json, nullable=False),  # rooms, as the station table knows them
    Column("event_at", UtcDateTime, nullable=False),
    Column("message_id", BigId),
    Index("ix_appointment_placer", "placer_order_number", "placer_issuer"),
    Index("ix_appointment_filler", "filler_order_number", "filler_issuer"),
)
