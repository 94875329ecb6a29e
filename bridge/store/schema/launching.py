"""Launches and links: awaited, open, handed over."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table, UniqueConstraint

from bridge.store.schema.base import BigId, foreign_key, metadata, row_id, text_column
from bridge.store.types import Json, UtcDateTime

# Secrets stand here only as SHA-256: a copy of the database opens nothing.
launch_pending = Table(
    "launch_pending",
    metadata,
    row_id(),
    Column("state_hash", String, nullable=False, unique=True),
    Column("browser_hash", String, nullable=False),
    Column("iss", String, nullable=False),
    text_column("launch"),
    Column("nonce", String, nullable=False),
    Column("verifier", String, nullable=False),
    text_column("link"),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)

launch_session = Table(
    "launch_session",
    metadata,
    row_id(),
    Column("token_hash", String, unique=True),  # NULL until the hand-over is redeemed
    Column("origin", String, nullable=False),  # "smart" or "link"
    Column("user_issuer", String, nullable=False),
    Column("user_subject", String, nullable=False),
    text_column("user_name"),
    Column("patient_id", BigId, ForeignKey("patient.id"), index=True),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

launch_study = Table(
    "launch_study",
    metadata,
    row_id(),
    foreign_key("session_id", "launch_session.id", index=False),
    foreign_key("study_id", "study.id"),
    Column("accessed_at", UtcDateTime),
    UniqueConstraint("session_id", "study_id", name="uq_launch_study"),
)

hand_over = Table(
    "hand_over",
    metadata,
    row_id(),
    Column("code_hash", String, nullable=False, unique=True),
    foreign_key("session_id", "launch_session.id", index=False),
    Column("studies", Json, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)

launch_link = Table(
    "launch_link",
    metadata,
    row_id(),
    Column("link_hash", String, nullable=False, unique=True),
    Column("issuer", String, nullable=False),
    Column("token_id", String, nullable=False),  # jti: a signed token makes one link
    Column("user_subject", String),  # NULL: whoever logs in
    text_column("user_name"),
    foreign_key("study_id", "study.id"),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    UniqueConstraint("issuer", "token_id", name="uq_launch_link_token"),
)
