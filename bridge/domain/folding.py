"""An order's state as a function of what was said of it, in the order of the sayings' own times.

Messages overtake one another; a device speaks between them. What an order *is* must not depend on who arrived first,
so it is folded from its events sorted by (ORC-9 else MSH-7, MSH-7, rank, MSH-10). The rank is the named tie-break of
equal times: create, change, mere status, end; then the control id.

`advance` takes one event that is newer than all before it: that is how nearly all come, and what it needs is small and
stored with the order. Only what comes late needs `fold` and all events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from bridge.domain.lifecycle import ENDED, Action, action_of, status_of
from bridge.domain.order import OrderRequest, OrderStatus, ProcedureRequest
from bridge.domain.pairing import UNCLEAR, ProcedureKey, find_procedure, pair_steps, procedure_key, step_key

T = TypeVar("T")
DEVICE = "MPPS"
"""The order control of a device's word: its `status` is IP or CM, or SC for what was not this order after all."""
CREATING = frozenset({"NW", "SN", "RO", "CH", "PA"})
_RANK = {Action.UPSERT: 1, Action.STATUS: 2, Action.HOLD: 3, Action.RELEASE: 4, Action.CANCEL: 5, Action.DISCONTINUE: 5}
NO_PROCEDURE = ProcedureRequest()
Key = tuple[datetime, datetime, int, str]


def key_of(happened: datetime, sent: datetime, control: str, control_id: str) -> Key:
    """Where a saying stands among all that were said of an order."""
    if control in CREATING:
        rank = 0
    elif control == DEVICE:
        rank = 2
    else:
        action = action_of(control)
        rank = _RANK.get(action, 2) if action else 2
    return happened, sent, rank, control_id


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
    def key(self) -> Key:
        return key_of(self.happened, self.sent, self.control, self.control_id)


@dataclass(frozen=True, slots=True)
class OrderState:
    """What the next event needs to know of all before it.

    `created` is False for a placeholder: spoken of, but never ordered. `held` is what the order was before it was put
    on hold. `performed` is the last word of a device since it was ordered: no message takes it back.
    """

    status: OrderStatus | None = None
    created: bool = False
    held: OrderStatus | None = None
    performed: OrderStatus | None = None


NOTHING_SAID = OrderState()


@dataclass(frozen=True, slots=True)
class Folded:
    """`reordered` counts the NW after an end. `requests` are what all messages together order, one a procedure."""

    state: OrderState
    reordered: int
    requests: tuple[OrderRequest, ...]

    @property
    def status(self) -> OrderStatus:
        return self.state.status or OrderStatus.SC

    @property
    def created(self) -> bool:
        return self.state.created

    @property
    def request(self) -> OrderRequest | None:
        return self.requests[0] if self.requests else None

    def requests_like(self, requests: Sequence[OrderRequest]) -> list[OrderRequest]:
        """For each what all messages together say of the procedure that it speaks of."""
        procedures = [one.procedure for one in self.requests]
        keys = [procedure_key(one) for one in procedures]
        found = []
        for request in requests:
            place = _place(procedures, keys, request)
            if place is not None and place != UNCLEAR:
                found.append(self.requests[place])
            else:
                found.append(replace(self.requests[0], procedure=request.procedure) if self.requests else request)
        return found


def fold(events: Iterable[OrderEvent]) -> Folded:
    """The state after all events, whatever order they came in."""
    state, reordered = NOTHING_SAID, 0
    merged = _Merged()
    for event in sorted(events, key=lambda e: e.key):
        if event.request is not None:
            merged.add(event.request)
        state, again = advance(state, event.control, event.status)
        reordered += again
    return Folded(state, reordered, merged.requests())


def advance(state: OrderState, control: str, status: str) -> tuple[OrderState, bool]:
    """The state after one newer event, and whether it orders again what had ended.

    A newer NW under an ended number is a real re-order. A status or change never revives what has ended: only NW does,
    or an explicit status of the filler, which in turn never takes back what a device has said.
    """
    before = state.status
    if control == DEVICE:
        return _performed(state, OrderStatus(status)), False
    if control in CREATING and control != "PA" and state.created and before in ENDED:
        after = status_of(control, status, None)
        if after in ENDED:  # an echo of the end, under the code of its beginning
            return replace(state, status=_kept(state, after)), False
        return OrderState(after, True), True
    created = state.created or control in CREATING
    if not_granted(control, status, before):
        return replace(state, created=created), False
    if action_of(control) is Action.RELEASE and before is OrderStatus.HD:
        after = state.held or OrderStatus.SC
    else:
        after = _kept(state, status_of(control, status, before))
    held = None
    if after is OrderStatus.HD:
        held = state.held if before is OrderStatus.HD else before
    return OrderState(after, created, held, state.performed), False


def not_granted(control: str, status: str, current: OrderStatus | None) -> bool:
    """Whether a placer's request comes too late (HL7 v2.5.1 4.5.1: UC, UD, UH, UM).

    What is begun is not cancelled, held or replaced, and what has ended is not stopped. A filler's word (CA with
    ORC-5, OC, DC with ORC-5, OD, OH, RU) is no request but a fact.
    """
    if control == "RP" or (control == "CA" and not status):
        return current in (OrderStatus.IP, OrderStatus.CM)
    if control == "HD":
        return current is OrderStatus.IP
    return control == "DC" and not status and current in ENDED


def _performed(state: OrderState, said: OrderStatus) -> OrderState:
    if said is OrderStatus.SC:  # another exam: what was said of this one is taken back
        back = state.status is not None and state.status is state.performed
        return replace(state, status=said if back else state.status, performed=None)
    retake = state.status is OrderStatus.CM and state.performed is OrderStatus.CM
    if state.status in ENDED and not retake:
        return replace(state, performed=said)
    return replace(state, status=said, held=None, performed=said)


def _kept(state: OrderState, after: OrderStatus) -> OrderStatus:
    """A device's word stands: what it completed is not open again, what it began is not yet to begin."""
    if state.performed is OrderStatus.CM and after not in ENDED:
        return OrderStatus.CM
    if state.performed is OrderStatus.IP and after is OrderStatus.SC:
        return OrderStatus.IP
    return after


class _Merged:
    """What all messages order, gathered: later values win, empty ones keep (HL7 v2.5.1 2.5.3).

    What is said of the order is said of all its procedures, so it is held once: the work does not grow with the square
    of their number.
    """

    def __init__(self) -> None:
        self._order: OrderRequest | None = None
        self._procedures: list[ProcedureRequest] = []
        self._keys: list[ProcedureKey] = []

    def add(self, later: OrderRequest) -> None:
        said = later.procedure
        if self._order is None:
            self._order, self._procedures, self._keys = later, [said], [procedure_key(said)]
            return
        place = _place(self._procedures, self._keys, later)
        self._order = replace(
            _overlay(self._order, later),
            visit=_overlay(self._order.visit, later.visit),
            attributes={**self._order.attributes, **later.attributes},
        )
        if place is None:
            self._procedures.append(said)
            self._keys.append(procedure_key(said))
        elif place != UNCLEAR:
            both = _procedure(self._procedures[place], said)
            self._procedures[place], self._keys[place] = both, procedure_key(both)

    def requests(self) -> tuple[OrderRequest, ...]:
        order = self._order
        return () if order is None else tuple(replace(order, procedure=one) for one in self._procedures)


def _place(known: Sequence[ProcedureRequest], keys: Sequence[ProcedureKey], request: OrderRequest) -> int | None:
    procedure = request.procedure
    if len(known) == 1 and known[0] == NO_PROCEDURE:
        return 0  # so far nothing was said of any
    if procedure == NO_PROCEDURE:
        return UNCLEAR
    return find_procedure(keys, procedure_key(procedure), alone=request.alone)


def _procedure(earlier: ProcedureRequest, later: ProcedureRequest) -> ProcedureRequest:
    steps = list(earlier.steps)
    places = pair_steps([step_key(step) for step in earlier.steps], [step_key(step) for step in later.steps])
    for place, step in zip(places, later.steps, strict=True):
        if place is None:
            steps.append(step)
        elif place != UNCLEAR:
            unknown = step.modality_sent and not step.modality  # never made good by what it was before
            merged = _overlay(steps[place], step)
            steps[place] = replace(merged, modality="") if unknown else merged
    return replace(_overlay(earlier, later), steps=tuple(steps))


def _overlay(earlier: T, later: T) -> T:
    """A copy of `later` with the empty fields filled from `earlier`."""
    names = _names(type(later))  # type: ignore[arg-type]
    empty: dict[str, Any] = {name: getattr(earlier, name) for name in names if not getattr(later, name)}
    return replace(later, **empty) if empty else later  # type: ignore[type-var]


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
