"""What an order message does to an order: order control (table 0119) x order status (table 0038) -> one action.

The table is HL7 v2.5.1 4.5.1 with IHE RAD TF-2 4.4 / 4.13 for the messages of a filler. It says nothing of *when*:
`newer` decides between what is stored and what is late.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from bridge.domain.order import OrderStatus, StepStatus


class Action(Enum):
    UPSERT = "create it, or change it in place"
    STATUS = "only its status changes"
    CANCEL = "it leaves the worklist"
    DISCONTINUE = "it was begun and is given up"
    HOLD = "hidden, kept"
    RELEASE = "shown again"
    NOTHING = "an answer or a query: no effect"


_CONTROL: dict[str, Action] = {
    **dict.fromkeys(("NW", "XO", "XX", "SN", "RO", "CH"), Action.UPSERT),
    **dict.fromkeys(("SC", "NA"), Action.STATUS),
    **dict.fromkeys(("CA", "OC", "RP", "RU", "UA"), Action.CANCEL),
    **dict.fromkeys(("DC", "OD"), Action.DISCONTINUE),
    **dict.fromkeys(("HD", "OH", "PA"), Action.HOLD),  # PA: its children are orders of their own, it is hidden
    **dict.fromkeys(("RL", "OE"), Action.RELEASE),  # OE: the filler's own release
    **dict.fromkeys(
        (
            "OK", "CR", "DR", "HR", "OR", "XR", "RQ", "RR",  # granted: answers to ourselves
            "UC", "UD", "UH", "UM", "UR", "UX",  # not granted
            "RE", "PR", "CN", "SS", "SR",  # results and queries
            "RF", "AF", "DF", "FU", "OF", "UF", "OP", "PN", "PY",  # refills and dispensing: a pharmacy's
            "LI", "UN", "MC", "RC", "DE",  # links to problems and goals, charges, advice, errors in data
        ),
        Action.NOTHING,
    ),
}  # fmt: skip

_STATUS: dict[str, OrderStatus] = {
    "A": OrderStatus.CM,
    "CA": OrderStatus.CA,
    "CD": OrderStatus.DC,
    "CM": OrderStatus.CM,
    "DC": OrderStatus.DC,
    "HD": OrderStatus.HD,
    "IP": OrderStatus.IP,
    "RP": OrderStatus.CA,
    "SC": OrderStatus.SC,
}

_STATUS_OF_NEW = {word: status for word, status in _STATUS.items() if word not in ("A", "IP", "SC")}
"""ORC-5 of an NW: an export tells orders that are over or on hold. A and IP only say that it is active."""
ERROR = "ER"
"""ORC-5: the filler cannot find the order, or found fault with it."""

STEP_OF_ORDER: dict[OrderStatus, StepStatus] = {
    OrderStatus.SC: StepStatus.SCHEDULED,
    OrderStatus.IP: StepStatus.STARTED,
    OrderStatus.CM: StepStatus.COMPLETED,
    OrderStatus.CA: StepStatus.CANCELED,
    OrderStatus.DC: StepStatus.DISCONTINUED,
}
"""What an order's status means for its steps; HD hides them by the order and leaves them as they are."""

GIVEN_UP = frozenset({OrderStatus.CA, OrderStatus.DC})
ENDED = frozenset({OrderStatus.CM, OrderStatus.CA, OrderStatus.DC})
VISIBLE = frozenset({StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY, StepStatus.DEPARTED})
"""Steps that a worklist shows (PS3.3 C.4.10); STARTED by the site's setting."""


def action_of(control: str) -> Action | None:
    """What an ORC-1 asks for; None for a code that table 0119 does not hold."""
    return _CONTROL.get(control)


def status_of(control: str, status: str, current: OrderStatus | None = None) -> OrderStatus:
    """The status an order has after the message; ORC-5 rules where ORC-1 is neutral about it.

    `current` is None for an order that is new. What says nothing of the status leaves it: only NW under a number that
    was given up (a re-order), or an explicit ORC-5, brings back what was cancelled.
    """
    action = _CONTROL[control]
    if action is Action.CANCEL:
        return OrderStatus.CA
    if action is Action.DISCONTINUE:
        return OrderStatus.DC
    if action is Action.HOLD:
        return current if current in ENDED and current else OrderStatus.HD
    if action is Action.RELEASE:
        return current if current and current is not OrderStatus.HD else OrderStatus.SC
    if control == "NW":
        told = _STATUS_OF_NEW.get(status)
        return told or (current if current and current not in GIVEN_UP else OrderStatus.SC)
    return _STATUS.get(status, current or OrderStatus.SC)


def newer(event: datetime | None, stored: datetime | None) -> bool:
    """Whether a message speaks later than what is stored: ORC-9, else MSH-7. Without times, arrival counts."""
    return event is None or stored is None or event >= stored
