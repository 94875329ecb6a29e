"""What devices said that they did (MPPS)."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, text

from bridge.store.schema.base import BigId, foreign_key, metadata, row_id, text_column
from bridge.store.types import Json, UtcDateTime

performed_procedure_step = Table(
    "performed_procedure_step",
    metadata,
    row_id(),
    Column("sop_instance_uid", String, nullable=False, unique=True),  # a repeated N-CREATE is 0111, not a second step
    Column("status", String, nullable=False, index=True),  # those in progress are few, and looked at all day
    Column("attributes", Json, nullable=False),
    text_column("calling_ae_title"),
    text_column("station_ae_title"),
    text_column("modality"),
    text_column("patient_id"),  # whom the device says it examined, for an order that comes later
    text_column("patient_issuer"),
    text_column("start"),
    text_column("end"),
    Column("discontinuation", Json, nullable=False),  # [value, scheme, meaning] of each reason
    text_column("fate"),  # of its scheduled steps by those reasons; '': no reason that is known
    Column("instances", Integer, nullable=False, server_default="0"),
    Column("series", Json, nullable=False),
    # What a worker still has to look after: no order known yet, and listed images not known to be here.
    Column("unscheduled", Boolean, nullable=False, server_default=text("false")),
    Column("awaited", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("rejected_at", UtcDateTime),  # the wrong worklist entry was chosen: it says nothing of any scheduled step
    # Few rows of many, and looked at all day.
    Index(
        "ix_performed_procedure_step_unscheduled",
        "created_at",
        sqlite_where=text("unscheduled"),
        postgresql_where=text("unscheduled"),
    ),
    Index(
        "ix_performed_procedure_step_awaited",
        "updated_at",
        sqlite_where=text("awaited"),
        postgresql_where=text("awaited"),
    ),
)

# What the device says it made: a study is whole when these very instances are here, not when as many are.
performed_instance = Table(
    "performed_instance",
    metadata,
    Column("performed_step_id", BigId, ForeignKey("performed_procedure_step.id"), primary_key=True),
    Column("sop_instance_uid", String, primary_key=True),
    text_column("sop_class_uid"),
)

performed_reference = Table(
    "performed_reference",
    metadata,
    row_id(),
    foreign_key("performed_step_id", "performed_procedure_step.id"),
    text_column("study_instance_uid", index=True),
    text_column("accession_number"),
    text_column("accession_issuer"),
    text_column("requested_procedure_id"),
    text_column("scheduled_step_id"),
    text_column("original_study_uid"),  # of a group case: what was planned, where the study is a new one
    Column("step_id", BigId, ForeignKey("scheduled_procedure_step.id"), index=True),  # NULL: unscheduled, or not yet
    # What waits for an order is found by its accession number too, and is few rows of many.
    Index(
        "ix_performed_reference_waiting",
        "accession_number",
        sqlite_where=text("step_id IS NULL"),
        postgresql_where=text("step_id IS NULL"),
    ),
    Index(
        "ix_performed_reference_original",
        "original_study_uid",
        sqlite_where=text("step_id IS NULL"),
        postgresql_where=text("step_id IS NULL"),
    ),
)
