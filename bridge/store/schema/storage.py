"""What was rejected, what may not go yet, and what is going."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, text

from bridge.store.schema.base import BigId, foreign_key, metadata, row_id, text_column
from bridge.store.types import Json, UtcDateTime

# A rejection note that was applied (RAD-66). It outlives the note's own object and what it rejects: what may not be
# taken again is known by it alone.
rejection = Table(
    "rejection",
    metadata,
    row_id(),
    Column("sop_instance_uid", String, nullable=False, unique=True),  # the same note again does nothing
    Column("title", String, nullable=False),  # quality, safety, worklist, retention
    Column("reason", Json, nullable=False),  # [value, scheme, meaning] of CID 7011, or []
    Column("calling_ae_title", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("lifted_at", UtcDateTime),
    text_column("lifted_by"),
)

rejected_instance = Table(
    "rejected_instance",
    metadata,
    Column("rejection_id", BigId, ForeignKey("rejection.id"), primary_key=True),
    Column("sop_instance_uid", String, primary_key=True),
    Column("study_instance_uid", String, nullable=False),
    Column("applied_at", UtcDateTime),  # NULL: the note came before its object
    Column("lifted_at", UtcDateTime),  # it stands no more: a person took it back, or the object was imported again
    Index("ix_rejected_instance_uid", "sop_instance_uid"),
)

# A study that no rule deletes until somebody says so.
study_hold = Table(
    "study_hold",
    metadata,
    row_id(),
    foreign_key("study_id", "study.id"),
    Column("reason", String, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("made_by", String, nullable=False),
    Column("ended_at", UtcDateTime),
    text_column("ended_by"),
    Index(
        "uq_study_hold_live",
        "study_id",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

# Images that are being deleted, or were. The row comes with the decision: after a stop it is gone on from.
retirement = Table(
    "retirement",
    metadata,
    row_id(),
    foreign_key("study_id", "study.id"),
    Column("rule", String, nullable=False),  # in words: what the rule said when it was applied
    Column("began_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("instances", Integer, nullable=False, server_default="0"),  # deleted so far
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Index(
        "uq_retirement_open",
        "study_id",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
