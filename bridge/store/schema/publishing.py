"""What EHRs are owed, and what they gave us."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, UniqueConstraint

from bridge.store.schema.base import foreign_key, metadata, row_id, text_column
from bridge.store.types import UtcDateTime

# One row a (connection, study, target): the outbox. Coalesced by itself: a new version only moves `version`.
publication = Table(
    "publication",
    metadata,
    row_id(),
    Column("connection", String, nullable=False),
    foreign_key("study_id", "study.id"),
    Column("target", String, nullable=False),
    Column("version", Integer, nullable=False),  # what should be there
    Column("published_version", Integer, nullable=False, server_default="0"),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    text_column("remote_id"),
    text_column("remote_version"),
    Column("last_status", Integer, nullable=False, server_default="0"),
    text_column("last_answer"),
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
    row_id(),
    Column("connection", String, nullable=False),
    Column("subject", String, nullable=False),  # "endpoint", "order:5"
    Column("type", String, nullable=False),
    Column("remote_id", String, nullable=False),
    UniqueConstraint("connection", "subject", name="uq_remote_resource"),
)
