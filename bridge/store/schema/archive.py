"""What we promise of what is stored (Storage Commitment), and what other archives say of theirs (IAN)."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, UniqueConstraint

from bridge.store.schema.base import foreign_key, metadata, row_id, text_column
from bridge.store.types import Json, UtcDateTime

# What a device asked to be safe, kept before it is told that it was asked. The list is one value: it comes whole, is
# checked whole and told whole, and a thousand rows would hold everybody else's turn up.
commitment = Table(
    "commitment",
    metadata,
    row_id(),
    Column("calling_ae_title", String, nullable=False),
    Column("transaction_uid", String, nullable=False),
    Column("instances", Json, nullable=False),  # [SOP Class UID, SOP Instance UID], each instance once
    Column("failures", Json, nullable=False),  # Failure Reason by SOP Instance UID, as of checked_at
    Column("state", String, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("checked_at", UtcDateTime),  # in steady time: how old the verdict is
    Column("delivered_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),  # of the lease: who was overtaken changes nothing
    Column("lease_owner", String),
    Column("lease_until", UtcDateTime),
    text_column("last_answer"),
    # A device that repeats its request has lost our answer: it is the same request.
    UniqueConstraint("calling_ae_title", "transaction_uid", name="uq_commitment"),
    Index("ix_commitment_due", "state", "next_attempt_at"),
)

# A notice as it came, kept before its archive is answered; the worker applies it in pieces.
availability_notice = Table(
    "availability_notice",
    metadata,
    row_id(),
    Column("sop_instance_uid", String, nullable=False, unique=True),  # one that comes again is 0111
    Column("calling_ae_title", String, nullable=False),
    Column("study_instance_uid", String, nullable=False),
    Column("instances", Json, nullable=False),  # as `store/availability.py` writes them; [] once applied
    Column("count", Integer, nullable=False),
    Column("applied", Integer, nullable=False, server_default="0"),
    Column("received_at", UtcDateTime, nullable=False),
)

# Where an instance can be had by the newest word of each archive.
remote_instance = Table(
    "remote_instance",
    metadata,
    row_id(),
    Column("sop_instance_uid", String, nullable=False),
    Column("calling_ae_title", String, nullable=False),
    Column("study_instance_uid", String, nullable=False, index=True),
    Column("series_instance_uid", String, nullable=False),
    Column("sop_class_uid", String, nullable=False),
    Column("availability", String, nullable=False),
    Column("retrieve_ae_title", String, nullable=False),
    text_column("location"),
    foreign_key("notice_id", "availability_notice.id"),
    UniqueConstraint("sop_instance_uid", "calling_ae_title", name="uq_remote_instance"),
)
