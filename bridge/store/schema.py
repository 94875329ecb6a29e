"""The tables. Each constraint says which fault it prevents.

Names are the standards' own (docs/architecture.md, Words). `..._at` are UTC. `version` grows with every change of a
row that something derived (an encoded answer, a publication) is keyed by.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from bridge.store.types import Bytes, Json, UtcDateTime

metadata = MetaData()
BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite gives row ids to INTEGER PRIMARY KEY only."""


def _id() -> Column[int]:
    return Column("id", BigId, primary_key=True, autoincrement=True)


def _fk(name: str, target: str, *, nullable: bool = False, index: bool = True) -> Column[int]:
    return Column(name, BigId, ForeignKey(target), nullable=nullable, index=index)


def _text(name: str, *, index: bool = False) -> Column[str]:
    return Column(name, String, nullable=False, server_default="", index=index)


# Every message, whole, with two columns for two things: `fate` is what the bridge did, `ack` what it answered. A
# resend finds its first answer here, also after a restart or a restore.
message = Table(
    "message",
    metadata,
    _id(),
    Column("feed", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    _text("peer"),
    _text("sending_application"),
    _text("sending_facility"),
    Column("control_id", String),  # NULL when unreadable: junk is never a duplicate
    _text("message_type"),
    Column("sha256", String, nullable=False),
    Column("raw", Bytes, nullable=False),
    Column("sent_at", UtcDateTime),  # MSH-7
    Column("fate", String, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("replays", Integer, nullable=False, server_default="0"),
    Column("ack_code", String, nullable=False, server_default=""),
    Column("ack", Bytes),
    # The race of one message on two connections is decided here, not by a look-up.
    UniqueConstraint("sending_application", "sending_facility", "control_id", "sha256", name="uq_message_resend"),
    Index("ix_message_feed_received", "feed", "received_at"),
    Index("ix_message_fate", "fate", "id"),
)

patient = Table(
    "patient",
    metadata,
    _id(),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("merged_into", BigId, ForeignKey("patient.id"), index=True),  # kept for ever: old identifiers still come
    Column("provisional", Boolean, nullable=False),  # known from an order only; the ADT feed wins over it
    _text("name"),  # PN with its three groups
    _text("birth_date"),
    _text("sex"),
    Column("event_at", UtcDateTime),  # of the newest message that spoke of the demographics
    Column("updated_at", UtcDateTime, nullable=False),
)

patient_identifier = Table(
    "patient_identifier",
    metadata,
    _id(),
    _fk("patient_id", "patient.id"),
    Column("value", String, nullable=False),
    Column("issuer", String, nullable=False),
    _text("type"),
    Column("retired", Boolean, nullable=False, server_default=text("false")),  # came by a merge: found by, never shown
    # Two first messages of a new patient at once make one patient.
    UniqueConstraint("value", "issuer", name="uq_patient_identifier"),
)

imaging_order = Table(
    "imaging_order",
    metadata,
    _id(),
    Column("version", Integer, nullable=False, server_default="1"),
    _fk("patient_id", "patient.id"),
    Column("placer_order_number", String),
    _text("placer_issuer"),
    Column("filler_order_number", String),
    _text("filler_issuer"),
    _text("accession_number"),  # whole, as sent
    _text("accession_issuer"),
    _text("accession_alias"),  # what scanners are told when the number is too long for DICOM; '' when it fits
    Column("status", String, nullable=False),
    Column("placeholder", Boolean, nullable=False, server_default=text("false")),  # spoken of before its NW came
    Column("event_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    _text("requesting_physician"),
    _text("referring_physician"),
    _text("department"),
    _text("admission_id"),
    _text("admission_issuer"),
    _text("account_number"),  # PID-18: what A44 moves
    _text("account_issuer"),
    _text("patient_class"),
    _text("patient_location"),
    _text("patient_state"),
    _text("medical_alerts"),
    Column("allergies", Json, nullable=False),
    _text("pregnancy_status"),
    _text("patient_weight_kg"),
    _text("patient_size_m"),
    CheckConstraint(
        "placer_order_number IS NOT NULL OR filler_order_number IS NOT NULL", name="ck_imaging_order_has_a_number"
    ),
    UniqueConstraint("placer_order_number", "placer_issuer", name="uq_imaging_order_placer"),
    UniqueConstraint("filler_order_number", "filler_issuer", name="uq_imaging_order_filler"),
    Index("ix_imaging_order_accession", "accession_number", "accession_issuer"),
)

# Everything said of an order, by whoever said it. The order's state is these events folded in the order of their own
# times, so that it does not depend on the order of arrival.
order_event = Table(
    "order_event",
    metadata,
    _id(),
    _fk("order_id", "imaging_order.id"),
    Column("message_id", BigId),  # no foreign key: messages are purged before what they made
    Column("happened_at", UtcDateTime, nullable=False),  # ORC-9, else MSH-7, else the receipt
    Column("sent_at", UtcDateTime, nullable=False),  # MSH-7, else the receipt
    Column("control", String, nullable=False),  # ORC-1, or MPPS
    Column("status", String, nullable=False),  # ORC-5, or the performed status
    Column("control_id", String, nullable=False),  # MSH-10: the named tie-break
    Column("request", Json),  # the order as the message gives it; NULL for a device's word
)

order_history = Table(
    "order_history",
    metadata,
    _id(),
    _fk("order_id", "imaging_order.id"),
    Column("at", UtcDateTime, nullable=False),
    Column("message_id", BigId),  # no foreign key: messages are purged before what they made
    Column("event", String, nullable=False),  # ORC-1/ORC-5, "MPPS", "study"
    Column("status_before", String, nullable=False),
    Column("status_after", String, nullable=False),
    _text("note"),
)

requested_procedure = Table(
    "requested_procedure",
    metadata,
    _id(),
    _fk("order_id", "imaging_order.id"),
    Column("requested_procedure_id", String, nullable=False),  # what scanners are told: at most 16 characters
    _text("requested_procedure_id_sent"),  # whole, when the sender's was longer
    # Not unique: a group acquisition gives two orders one study (PS3.4 F.7.2.1).
    Column("study_instance_uid", String, nullable=False, index=True),
    Column("study_instance_uid_generated", Boolean, nullable=False),
    _text("description"),
    Column("code", Json),
    _text("priority"),
    _text("reason"),
    _text("transport"),
    _text("comments"),
    UniqueConstraint("order_id", "requested_procedure_id", name="uq_requested_procedure"),
)

scheduled_procedure_step = Table(
    "scheduled_procedure_step",
    metadata,
    _id(),
    Column("version", Integer, nullable=False, server_default="1"),
    _fk("requested_procedure_id", "requested_procedure.id"),
    Column("scheduled_step_id", String, nullable=False),
    _text("scheduled_step_id_sent"),
    Column("status", String, nullable=False),
    # A parked step is on no worklist until what is missing is mended: the reason is the review list's.
    _text("parked"),
    _text("modality"),
    _text("modality_sent"),
    Column("start_date", String, nullable=False),  # DA, site-local: what a C-FIND range compares
    Column("start_time", String, nullable=False),  # TM
    Column("start_defaulted", Boolean, nullable=False),
    _text("station_name"),
    _text("location"),
    _text("description"),
    Column("protocol_codes", Json, nullable=False),
    _text("performing_physician"),
    UniqueConstraint("requested_procedure_id", "scheduled_step_id", name="uq_scheduled_procedure_step"),
    Index("ix_scheduled_procedure_step_list", "status", "start_date", "modality"),
)

scheduled_station = Table(
    "scheduled_station",
    metadata,
    _id(),
    _fk("step_id", "scheduled_procedure_step.id", index=False),
    Column("ae_title", String, nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("step_id", "ae_title", name="uq_scheduled_station"),
    Index("ix_scheduled_station_ae", "ae_title", "step_id"),
)

# A report of an imaging order (ORU^R01), tied to order and study when both are known.
report = Table(
    "report",
    metadata,
    _id(),
    Column("version", Integer, nullable=False, server_default="1"),
    _fk("patient_id", "patient.id"),
    Column("order_id", BigId, ForeignKey("imaging_order.id"), index=True),
    Column("study_id", BigId, ForeignKey("study.id"), index=True),
    Column("filler_order_number", String, nullable=False),  # OBR-3, else OBR-2: one report an order's result
    _text("filler_issuer"),
    Column("placer_order_number", String),  # OBR-2: by it an order that comes later finds its report
    _text("placer_issuer"),
    _text("accession_number"),
    _text("accession_issuer"),
    _text("study_instance_uid"),
    Column("status", String, nullable=False),  # OBR-25
    Column("code", Json),
    _text("text"),
    _text("impression"),
    Column("document", Bytes),
    _text("document_type"),
    _text("interpreter"),
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
    _id(),
    Column("placer_order_number", String),
    _text("placer_issuer"),
    Column("filler_order_number", String),
    _text("filler_issuer"),
    Column("patient", Json, nullable=False),  # the identifiers that the message gave: the order must be theirs
    Column("event", String, nullable=False),  # S12, S13, S14, S15, S17, S26
    Column("starts", Json, nullable=False),  # the site's wall clock
    Column("event_at", UtcDateTime, nullable=False),
    Column("message_id", BigId),
    Index("ix_appointment_placer", "placer_order_number", "placer_issuer"),
    Index("ix_appointment_filler", "filler_order_number", "filler_issuer"),
)

# Two records of one person, linked without a merge (A24, A37).
patient_link = Table(
    "patient_link",
    metadata,
    _id(),
    _fk("patient_id", "patient.id"),
    _fk("other_id", "patient.id"),
    Column("made_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("patient_id", "other_id", name="uq_patient_link"),
)

# What we send, a queue a destination in strict order: the oldest unsent one goes, and nothing overtakes it.
outbound_message = Table(
    "outbound_message",
    metadata,
    _id(),
    Column("destination", String, nullable=False),
    Column("control_id", String, nullable=False, unique=True),
    Column("raw", Bytes, nullable=False),
    Column("subject", String, nullable=False),  # "order:5"
    Column("event", String, nullable=False),  # "started", "completed", "discontinued", "accepted", "cancelled", ...
    Column("state", String, nullable=False),  # due, sent, dead
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    _text("last_answer"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    # The same event of the same order is told once.
    UniqueConstraint("destination", "subject", "event", name="uq_outbound_message"),
    Index("ix_outbound_message_queue", "destination", "state", "id"),
)

# An alarm is one row when it begins, and the same row when it ends.
alarm = Table(
    "alarm",
    metadata,
    _id(),
    Column("kind", String, nullable=False),  # feed-silent, feed-errors, quarantine, parked-old, outbound-old, ...
    Column("subject", String, nullable=False),
    Column("details", Json, nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Index(
        "uq_alarm_open",
        "kind",
        "subject",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

performed_procedure_step = Table(
    "performed_procedure_step",
    metadata,
    _id(),
    Column("sop_instance_uid", String, nullable=False, unique=True),  # a repeated N-CREATE is 0111, not a second step
    Column("status", String, nullable=False),
    Column("attributes", Json, nullable=False),
    _text("calling_ae_title"),
    _text("station_ae_title"),
    _text("modality"),
    _text("start"),
    _text("end"),
    _text("discontinuation"),
    Column("instances", Integer, nullable=False, server_default="0"),
    Column("series", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

performed_reference = Table(
    "performed_reference",
    metadata,
    _id(),
    _fk("performed_step_id", "performed_procedure_step.id"),
    _text("study_instance_uid", index=True),
    _text("accession_number"),
    _text("accession_issuer"),
    _text("requested_procedure_id"),
    _text("scheduled_step_id"),
    Column("step_id", BigId, ForeignKey("scheduled_procedure_step.id"), index=True),  # NULL: unscheduled, or not yet
)

study = Table(
    "study",
    metadata,
    _id(),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("study_instance_uid", String, nullable=False, unique=True),
    Column("state", String, nullable=False),
    Column("match_state", String, nullable=False),
    Column("first_received_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False, index=True),
    Column("completed_at", UtcDateTime),
    _text("completed_by"),  # "MPPS" or "quiet"
    Column("judged_version", Integer),  # the version that matching last saw; NULL: never
    # As written by the device; never corrected here.
    _text("patient_id", index=True),
    _text("patient_issuer"),
    _text("patient_name"),
    _text("birth_date"),
    _text("sex"),
    _text("accession_number"),
    _text("accession_issuer"),
    _text("study_id"),
    _text("study_date"),
    _text("study_time"),
    _text("timezone_offset"),
    _text("description"),
    _text("referring_physician"),
    Column("conflicting", Boolean, nullable=False, server_default=text("false")),  # instances disagree on the patient
    Index("ix_study_accession", "accession_number", "accession_issuer"),
    Index("ix_study_state", "state", "match_state"),
)

series = Table(
    "series",
    metadata,
    _id(),
    _fk("study_id", "study.id"),
    Column("series_instance_uid", String, nullable=False, unique=True),
    _text("modality"),
    _text("number"),
    _text("description"),
    _text("date"),
    _text("time"),
    _text("body_part"),
    _text("laterality"),
    Column("requests", Json, nullable=False),
)

instance = Table(
    "instance",
    metadata,
    _id(),
    _fk("series_id", "series.id"),
    Column("sop_instance_uid", String, nullable=False, unique=True),
    Column("sop_class_uid", String, nullable=False),
    Column("transfer_syntax_uid", String, nullable=False),
    _text("number"),
    Column("frames", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("columns", Integer, nullable=False),
    _text("performed_step_uid"),
    Column("file", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("calling_ae_title", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

# A known SOP Instance UID that came with other bytes: kept aside and shown, never mixed in, never dropped.
instance_aside = Table(
    "instance_aside",
    metadata,
    _id(),
    _fk("instance_id", "instance.id"),
    Column("file", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    Column("calling_ae_title", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

# Derived from the file, made after the answer; may be dropped and made again.
instance_document = Table(
    "instance_document",
    metadata,
    Column("instance_id", BigId, ForeignKey("instance.id"), primary_key=True),
    Column("json", Bytes, nullable=False),
    Column("frames", Json, nullable=False),
)

# Study <-> requested procedure: a table with history, so that one acquisition serves two orders and a link can end.
study_link = Table(
    "study_link",
    metadata,
    _id(),
    _fk("study_id", "study.id"),
    _fk("procedure_id", "requested_procedure.id"),
    Column("rule", String, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("made_by", String, nullable=False),
    Column("ended_at", UtcDateTime),
    _text("ended_by"),
    _text("end_reason"),
    Index(
        "uq_study_link_live",
        "study_id",
        "procedure_id",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

# What waits for a person. One open entry a subject and kind: an alarm is one line, not a storm.
review = Table(
    "review",
    metadata,
    _id(),
    Column("kind", String, nullable=False),  # study-unmatched, study-ambiguous, order-parked, ...
    Column("subject", String, nullable=False),  # "study:12", "step:7", "message:3"
    Column("reason", String, nullable=False),
    Column("details", Json, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    _text("closed_by"),
    _text("resolution"),
    Index(
        "uq_review_open",
        "kind",
        "subject",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)

# One row a (connection, study, target): the outbox. Coalesced by itself: a new version only moves `version`.
publication = Table(
    "publication",
    metadata,
    _id(),
    Column("connection", String, nullable=False),
    _fk("study_id", "study.id"),
    Column("target", String, nullable=False),
    Column("version", Integer, nullable=False),  # what should be there
    Column("published_version", Integer, nullable=False, server_default="0"),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    _text("remote_id"),
    _text("remote_version"),
    Column("last_status", Integer, nullable=False, server_default="0"),
    _text("last_answer"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("owed_since", UtcDateTime, nullable=False),  # when it was first asked for after it last was done
    UniqueConstraint("connection", "study_id", "target", name="uq_publication"),
    Index("ix_publication_due", "state", "next_attempt_at"),
)

# What an EHR gave us once and for all: its Endpoint, an order's ServiceRequest.
remote_resource = Table(
    "remote_resource",
    metadata,
    _id(),
    Column("connection", String, nullable=False),
    Column("subject", String, nullable=False),  # "endpoint", "order:5"
    Column("type", String, nullable=False),
    Column("remote_id", String, nullable=False),
    UniqueConstraint("connection", "subject", name="uq_remote_resource"),
)

# Secrets stand here only as SHA-256: a copy of the database opens nothing.
launch_pending = Table(
    "launch_pending",
    metadata,
    _id(),
    Column("state_hash", String, nullable=False, unique=True),
    Column("browser_hash", String, nullable=False),
    Column("iss", String, nullable=False),
    _text("launch"),
    Column("nonce", String, nullable=False),
    Column("verifier", String, nullable=False),
    _text("link"),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)

launch_session = Table(
    "launch_session",
    metadata,
    _id(),
    Column("token_hash", String, unique=True),  # NULL until the hand-over is redeemed
    Column("origin", String, nullable=False),  # "smart" or "link"
    Column("user_issuer", String, nullable=False),
    Column("user_subject", String, nullable=False),
    _text("user_name"),
    Column("patient_id", BigId, ForeignKey("patient.id"), index=True),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

launch_study = Table(
    "launch_study",
    metadata,
    _id(),
    _fk("session_id", "launch_session.id", index=False),
    _fk("study_id", "study.id"),
    Column("accessed_at", UtcDateTime),
    UniqueConstraint("session_id", "study_id", name="uq_launch_study"),
)

hand_over = Table(
    "hand_over",
    metadata,
    _id(),
    Column("code_hash", String, nullable=False, unique=True),
    _fk("session_id", "launch_session.id", index=False),
    Column("studies", Json, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)

launch_link = Table(
    "launch_link",
    metadata,
    _id(),
    Column("link_hash", String, nullable=False, unique=True),
    Column("issuer", String, nullable=False),
    Column("token_id", String, nullable=False),  # jti: a signed token makes one link
    Column("user_subject", String),  # NULL: whoever logs in
    _text("user_name"),
    _fk("study_id", "study.id"),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    UniqueConstraint("issuer", "token_id", name="uq_launch_link_token"),
)

# Who, what, when, outcome; in the transaction of the act. `subject` is a key of ours, never a name.
audit = Table(
    "audit",
    metadata,
    _id(),
    Column("at", UtcDateTime, nullable=False),
    Column("who", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("details", Json, nullable=False),
    Index("ix_audit_subject", "subject"),
)

# The newest sign of life of each role, feed and device: for `bridge status` and `/ready`.
activity = Table(
    "activity",
    metadata,
    _id(),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("count", BigInteger, nullable=False),
    _text("note"),
    UniqueConstraint("kind", "name", name="uq_activity"),
)
