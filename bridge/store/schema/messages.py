"""HL7 messages: what came, whole, and what is to go out."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, UniqueConstraint

from bridge.store.schema.base import metadata, row_id, text_column
from bridge.store.types import Bytes, Json, UtcDateTime

# Every message, whole, with two columns for two things: `fate` is what the bridge did, `ack` what it answered. A
# resend finds its first answer here, also after a restart or a restore.
message = Table(
    "message",
    metadata,
    row_id(),
    Column("feed", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    text_column("peer"),
    text_column("sending_application"),
    text_column("sending_facility"),
    Column("control_id", String),  # NULL when unreadable: junk is never a duplicate
    text_column("message_type"),
    Column("sha256", String, nullable=False),
    Column("raw", Bytes, nullable=False),
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

# What we send, a queue a destination in strict order: the oldest unsent one goes, and nothing overtakes it.
outbound_message = Table(
    "outbound_message",
    metadata,
    row_id(),
    Column("destination", String, nullable=False),
    Column("control_id", String, nullable=False, unique=True),
    Column("raw", Bytes, nullable=False),
    Column("subject", String, nullable=False),  # "order:5"
    Column("event", String, nullable=False),  # "started", "completed", "discontinued", "accepted", "cancelled", ...
    Column("state", String, nullable=False),  # due, sent, dead
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    text_column("last_answer"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    # The same event of the same order is told once.
    UniqueConstraint("destination", "subject", "event", name="uq_outbound_message"),
    Index("ix_outbound_message_queue", "destination", "state", "id"),
)
