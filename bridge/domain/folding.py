"""An order's state as a function of what was said of it, in the order of the sayings' own times.

Messages overtake one another; a device speaks between them. What an order *is* must not depend on who arrived first,
so it is folded from its events sorted by (ORC-9 else MSH-7, MSH-7, rank, MSH-10). The rank is the named tie-break of
equal times: create, change, mere status, end; then the control id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, TypeVar

from bridge.domain.lifecycle import ENDED, Action, action_of, status_of
from bridge.domain.order import OrderRequest, OrderStatus, ProcedureRequest, StepRequest

T = TypeVar("T")
DEVICE = "MPPS"
"""The order control of a device's word: its `status` is IP or CM."""
CREATING = frozenset({"NW", "SN", "RO", "CH", "PA"})
_RANK = {Action.UPSERT: 1, Action.STATUS: 2, Action.HOLD: 3, Action.RELEASE: 4, Action.CANCEL: 5, Action.DISCONTINUE: 5}


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One thing said of an order. `request` is None for a device's word."""

    happened: datetime
    sent: datetime
    control: str
    status: str
    control_id: str
    request: OrderRequest | None = None

    @property
    def key(self) -> tuple[datetime, datetime, int, str]:
        if self.control in CREATING:
            rank = 0
        elif self.control == DEVICE:
            rank = 2
        else:
            action = action_of(self.control)
            rank = _RANK.get(action, 2) if action else 2
        return self.happened, self.sent, rank, self.control_id


@dataclass(frozen=True, slots=True)
class Folded:
    """`created` is False for a placeholder: spoken of, but never ordered. `reordered` counts the NW after an end."""

    status: OrderStatus
    created: bool
    reordered: int
    request: OrderRequest | None


def fold(events: Iterable[OrderEvent]) -> Folded:
    """The state after all events, whatever order they came in."""
    status: OrderStatus | None = None
    created, reordered = False, 0
    merged: OrderRequest | None = None
    for event in sorted(events, key=lambda e: e.key):
        if event.request is not None:
            merged = event.request if merged is None else merge(merged, event.request)
        before = status
        status = after(before, event.control, event.status, created)
        if event.control in CREATING:
            reordered += created and before in ENDED and status not in ENDED
            created = True
    return Folded(status or OrderStatus.SC, created, reordered, merged)


def after(current: OrderStatus | None, control: str, status: str, created: bool) -> OrderStatus:
    """The status after one event.

    A newer NW under an ended number is a real re-order. A placer's request to cancel (CA with no ORC-5) is granted
    only while nothing is performed (HL7 v2.5.1 4.5.1: CR or UC); a filler's cancel (CA/CA, OC) is a fact. A status or
    change never revives what has ended: only NW does, or an explicit status of the filler.
    """
    if control == DEVICE:
        if current in ENDED and current is not None:
            return current
        return OrderStatus(status)
    if control in CREATING and control != "PA" and current in ENDED and created:
        return status_of(control, status, None)
    if control == "CA" and not status and current in (OrderStatus.IP, OrderStatus.CM):
        return current
    return status_of(control, status, current)


def merge(earlier: OrderRequest, later: OrderRequest) -> OrderRequest:
    """Later values win, empty ones keep (HL7 v2.5.1 2.5.3)."""
    procedure = _procedure(earlier.procedure, later.procedure)
    visit = _overlay(earlier.visit, later.visit)
    return replace(_overlay(earlier, later), procedure=procedure, visit=visit)


def _procedure(earlier: ProcedureRequest, later: ProcedureRequest) -> ProcedureRequest:
    if earlier.procedure_id and later.procedure_id and earlier.procedure_id != later.procedure_id:
        return later
    steps = list(earlier.steps)
    for step in later.steps:
        at = _place(steps, step)
        if at is None:
            steps.append(step)
        else:
            unknown = step.modality_sent and not step.modality  # never made good by what it was before
            steps[at] = replace(_overlay(steps[at], step), modality="") if unknown else _overlay(steps[at], step)
    return replace(_overlay(earlier, later), steps=tuple(steps))


def _place(steps: list[StepRequest], step: StepRequest) -> int | None:
    for number, one in enumerate(steps):
        if one.step_id == step.step_id:
            return number
    if len(steps) == 1 and not (steps[0].step_id and step.step_id):
        return 0
    return None


def _overlay(earlier: T, later: T) -> T:
    """A copy of `later` with the empty fields filled from `earlier`."""
    empty: dict[str, Any] = {
        f.name: getattr(earlier, f.name)
        for f in fields(later)  # type: ignore[arg-type]
        if not getattr(later, f.name)
    }
    return replace(later, **empty) if empty else later  # type: ignore[type-var]
