"""What waits for a person, what alarmed, who did what, and signs of life."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table, UniqueConstraint, text

from bridge.store.schema.base import metadata, row_id, text_column
from bridge.store.types import Json, UtcDateTime

# What waits for a person. One open entry a subject and kind: an alarm is one line, not a storm.
review = Table(
    "review",
    metadata,
    row_id(),
    Column("kind", String, nullable=False),  # study-unmatched, study-ambiguous, order-parked, ...
    Column("subject", String, nullable=False),  # "study:12", "step:7", "message:3"
    Column("reason", String, nullable=False),
    Column("details", Json, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    text_column("closed_by"),
    text_column("resolution"),
    Index(
        "uq_review_open",
        "kind",
        "subject",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    Index("ix_review_subject", "subject", "kind"),  # what was decided of it before
)

# An alarm is one row when it begins, and the same row when it ends.
alarm = Table(
    "alarm",
    metadata,
    row_id(),
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

# Who, what, when, outcome; in the transaction of the act. `subject` is a key of ours, never a name.
audit = Table(
    "audit",
    metadata,
    row_id(),
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
    row_id(),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("count", BigInteger, nullable=False),
    text_column("note"),
    UniqueConstraint("kind", "name", name="uq_activity"),
)
