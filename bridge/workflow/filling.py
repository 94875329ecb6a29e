"""What an order leaves out, made by the rules that the settings name (`[filling]`), once; its sender is told of each.

A made value is stored with the order in the transaction that makes it, and found there by every later message, on
whatever node: nothing is made twice. An accession number is more than an id of ours, for others keep books by it: it is
made only where a setting allows it, and its owner is told (`notifying`).
"""

from __future__ import annotations

import base64
import hashlib
from itertools import count

from bridge import uids
from bridge.config import Settings
from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import ENDED
from bridge.domain.order import OrderRequest
from bridge.domain.told import SHORT_STRING
from bridge.store import orders
from bridge.store.db import Connection
from bridge.store.orders import OrderRow
from bridge.workflow.context import Context

MADE = "no {} in the order: one was made"
ACCESSION = MADE.format("accession number")
REPLACED = "the accession number that was made here is replaced by the one told"
IN_USE = "accession-number-in-use"


def procedure_ids(order: OrderRequest, settings: Settings) -> list[str]:
    """The requested procedure id as sent, then the order's numbers that may stand for it, by the rule."""
    numbers = {"accession": order.accession, "filler": order.filler, "placer": order.placer}
    first = settings.filling.requested_procedure_id
    ranked = [numbers.pop(first), *numbers.values()]
    return [i for i in (order.procedure.procedure_id, *(n.value for n in ranked if n)) if i]


def study_uid(order: OrderRequest, procedure_id: str, settings: Settings) -> str:
    if settings.filling.study_instance_uid == "random":
        return uids.new_uid()
    number = order.placer or order.filler or Identifier("")
    return uids.derived_uid("study", settings.site.name, *number.key, procedure_id)


def fill_accession(connection: Connection, order_id: int, context: Context) -> list[str]:
    """Give an order without accession number one, where the settings allow it; the warnings."""
    rule = context.settings.filling
    if rule.accession_number == "none":
        return []
    row = orders.get_order(connection, order_id)
    number = row.placer or row.filler
    if row.placeholder or row.accession or row.status in ENDED or number is None:
        return []
    issuer = rule.accession_issuer or context.settings.defaults.accession_issuer
    value = next(
        made
        for turn in count()
        if not orders.has_accession(connection, made := derived_accession(number, turn), issuer)
    )
    told = {"accession_number": value, "accession_issuer": issuer, "accession_told": value, "accession_made": True}
    orders.change_order(connection, order_id, told)
    return [ACCESSION]


def derived_accession(number: Identifier, turn: int) -> str:
    """The same for the same number and issuer, 75 bits of their SHA-256; `turn` where another order has it already."""
    parts = "\x1f".join((*number.key, *([str(turn)] if turn else [])))
    digest = hashlib.sha256(parts.encode()).digest()
    return "B" + base64.b32encode(digest).decode()[: SHORT_STRING - 1]


def accept_accession(connection: Connection, row: OrderRow, told: Identifier | None) -> bool:
    """Whether the number that a sender tells takes the place of one that was made: not once a device has used it."""
    if not row.accession_made or told is None or row.accession is None or told.key == row.accession.key:
        return True
    return not orders.accession_used(connection, row.id)
