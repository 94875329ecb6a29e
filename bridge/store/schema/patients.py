"""Patients, every identifier of theirs, and what joins two of them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, UniqueConstraint, text

from bridge.store.schema.base import BigId, foreign_key, metadata, row_id, text_column
from bridge.store.types import Json, UtcDateTime

patient = Table(
    "patient",
    metadata,
    row_id(),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("merged_into", BigId, ForeignKey("patient.id"), index=True),  # kept for ever: old identifiers still come
    Column("provisional", Boolean, nullable=False),  # known from an order only; the ADT feed wins over it
    text_column("name"),  # PN with its three groups
    text_column("birth_date"),
    text_column("sex"),
    # [value, issuer, type] of SS, AN, VN, PID-2, PID-4 ...: shown, never looked up: two people may share one.
    Column("other_identifiers", Json, nullable=False, server_default=text("'[]'")),
    Column("event_at", UtcDateTime),  # of the newest message that spoke of the demographics
    Column("updated_at", UtcDateTime, nullable=False),
)

patient_identifier = Table(
    "patient_identifier",
    metadata,
    row_id(),
    foreign_key("patient_id", "patient.id"),
    Column("value", String, nullable=False),
    Column("issuer", String, nullable=False),
    text_column("type"),
    Column("retired", Boolean, nullable=False, server_default=text("false")),  # came by a merge: found by, never shown
    # Two first messages of a new patient at once make one patient.
    UniqueConstraint("value", "issuer", name="uq_patient_identifier"),
)

# Two records of one person, linked without a merge (A24, A37).
patient_link = Table(
    "patient_link",
    metadata,
    row_id(),
    foreign_key("patient_id", "patient.id"),
    foreign_key("other_id", "patient.id"),
    Column("made_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("patient_id", "other_id", name="uq_patient_link"),
)
