"""Studies, series and instances as they came, and their links to orders."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, text

from bridge.store.schema.base import BigId, foreign_key, metadata, row_id, text_column
from bridge.store.types import Bytes, Json, UtcDateTime

study = Table(
    "study",
    metadata,
    row_id(),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("study_instance_uid", String, nullable=False, unique=True),
    Column("state", String, nullable=False),
    Column("match_state", String, nullable=False),
    Column("first_received_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False, index=True),
    Column("completed_at", UtcDateTime),
    text_column("completed_by"),  # "MPPS" or "quiet"
    Column("judged_version", Integer),  # the version that matching last saw; NULL: never
    # As written by the device; never corrected here.
    text_column("patient_id", index=True),
    text_column("patient_issuer"),
    text_column("patient_name"),
    text_column("birth_date"),
    text_column("sex"),
    text_column("accession_number"),
    text_column("accession_issuer"),
    text_column("study_id"),
    text_column("study_date"),
    text_column("study_time"),
    text_column("timezone_offset"),
    text_column("description"),
    text_column("referring_physician"),
    Column("conflicting", Boolean, nullable=False, server_default=text("false")),  # instances disagree on the patient
    Column("unavailable", Boolean, nullable=False, server_default=text("false")),  # the archive has nothing of it left
    Index("ix_study_accession", "accession_number", "accession_issuer"),
    Index("ix_study_state", "state", "match_state"),
)

series = Table(
    "series",
    metadata,
    row_id(),
    foreign_key("study_id", "study.id"),
    Column("series_instance_uid", String, nullable=False, unique=True),
    text_column("modality"),
    text_column("number"),
    text_column("description"),
    text_column("date"),
    text_column("time"),
    text_column("body_part"),
    text_column("laterality"),
    Column("requests", Json, nullable=False),
)

instance = Table(
    "instance",
    metadata,
    row_id(),
    foreign_key("series_id", "series.id"),
    Column("sop_instance_uid", String, nullable=False, unique=True),
    Column("sop_class_uid", String, nullable=False),
    Column("transfer_syntax_uid", String, nullable=False),
    text_column("number"),
    Column("frames", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("columns", Integer, nullable=False),
    text_column("performed_step_uid"),
    Column("file", String, nullable=False, unique=True),  # what removes one row's file never takes another's
    Column("size", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    text_column("head_sha256"),
    Column("calling_ae_title", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    text_column("hidden"),  # why it is shown to nobody (domain/rejection.py)
)

# A known SOP Instance UID that came with other bytes: kept aside and shown, never mixed in, never dropped.
instance_aside = Table(
    "instance_aside",
    metadata,
    row_id(),
    foreign_key("instance_id", "instance.id"),
    Column("file", String, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String, nullable=False),
    text_column("head_sha256"),
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
    row_id(),
    foreign_key("study_id", "study.id"),
    foreign_key("procedure_id", "requested_procedure.id"),
    Column("rule", String, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("made_by", String, nullable=False),
    Column("ended_at", UtcDateTime),
    text_column("ended_by"),
    text_column("end_reason"),
    Index(
        "uq_study_link_live",
        "study_id",
        "procedure_id",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
