"""Which groups of an order message are one order, one requested procedure, one scheduled step (IHE RAD-4, RAD-13).

A sender writes one ORC/OBR group for each step and protocol code (ORM^O01, OMG^O19), or one IPC (OMI^O23). What tells
them apart is their ids; a sender without ids tells them apart by what is ordered. Nothing that is told twice
differently is told as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import Action, action_of
from bridge.domain.order import left
from bridge.errors import BadValue, TooLarge
from bridge.mapping.apply import Values
from bridge.mapping.source import Source

CONTRADICTION = "groups-contradict"
MOST_OF_ONE_ORDER = 100
"""More groups and IPC than this under one order number are a fault of the sender; each is compared with the others."""
_CHANGES = frozenset({Action.UPSERT, Action.STATUS, Action.RELEASE})
Numbers = tuple[Identifier | None, Identifier | None]


@dataclass(frozen=True, slots=True)
class Unit:
    """One scheduled step as one group, or one IPC of it, tells it; `placer` and `filler` name its order."""

    control: str
    placer: Identifier | None
    filler: Identifier | None
    order: Values
    procedure: Values
    step: Values
    modality_sent: str
    source: Source

    @property
    def detail(self) -> Numbers:
        """OBR-2 and OBR-3."""
        return self.order.identifier("detail_placer"), self.order.identifier("detail_filler")

    @property
    def code(self) -> tuple[str, str] | None:
        """The universal service (OBR-44, OBR-4): what is ordered."""
        code = left(self.procedure.code("code"))
        return (code.value, code.scheme) if code else None

    @property
    def step_key(self) -> tuple[object, ...]:
        """OBR-20 or IPC-4; without it, a step is known by what is made and when."""
        step_id = self.step.kept("step_id")
        return (step_id,) if step_id else ("", self.modality_sent, self.step.moment("start"), self.code)


@dataclass(slots=True)
class Procedure:
    """The groups of one requested procedure."""

    units: list[Unit] = field(default_factory=list)

    def said(self, name: str) -> str:
        return next((text for unit in self.units if (text := unit.procedure.kept(name))), "")

    def holds(self, unit: Unit) -> bool:
        """OBR-19 says it; else the study, which a ZDS shares among all steps of a procedure; else a shared step; else
        what is ordered, by which filler number."""
        own, other = self.said("procedure_id"), unit.procedure.kept("procedure_id")
        if own and other:
            return own == other
        uid, other_uid = self.said("study_instance_uid"), unit.procedure.kept("study_instance_uid")
        if uid and other_uid:
            return uid == other_uid
        step_id = unit.step.kept("step_id")
        if step_id and any(one.step.kept("step_id") == step_id for one in self.units):
            return True
        fillers = {filler for one in (*self.units, unit) if (filler := one.detail[1])}
        codes = {code for one in (*self.units, unit) if (code := one.code)}
        return len(codes) < 2 and len(fillers) < 2


@dataclass(frozen=True, slots=True)
class Order:
    """The groups of one order number and one order control, by procedure; `detail` is OBR-2 and OBR-3 where they differ
    from the order's own numbers."""

    procedures: list[Procedure]
    detail: Numbers
    contradiction: str


def grouped(units: list[Unit]) -> Iterator[Order]:
    """The orders of a message. Raises BadValue for two accession numbers in one order."""
    if len(units) == 1:
        yield Order([Procedure(units)], _other_detail(units[0]), "")
        return
    by_number: dict[Identifier | None, list[Unit]] = {}
    for unit in units:
        by_number.setdefault(unit.placer or unit.filler, []).append(unit)
    for of_one in by_number.values():
        for own in _split(of_one):
            if len(own) > MOST_OF_ONE_ORDER:
                raise TooLarge(f"more than {MOST_OF_ONE_ORDER} steps under one order number", where="OBR")
            yield from _order(own)


def _split(units: list[Unit]) -> list[list[Unit]]:
    """Groups under one ORC-2 whose OBR-2 differ are orders of their own: ORC-2 is the number of their group."""
    details: dict[Identifier | None, list[Unit]] = {}
    for unit in units:
        details.setdefault(unit.detail[0], []).append(unit)
    if len(details.keys() - {None}) < 2:
        return [units]
    tellers: dict[Identifier | None, set[Identifier | None]] = {}
    for unit in units:
        tellers.setdefault(unit.filler, set()).add(unit.detail[0])
    found = []
    for placer, of_one in details.items():
        filler = next((unit.detail[1] for unit in of_one if unit.detail[1]), of_one[0].filler)
        if tellers.get(filler, set()) - {placer}:
            filler = None  # an ORC-3 of all of them names none of them
        found.append([replace(unit, placer=placer or unit.placer, filler=filler) for unit in of_one])
    return found


def _order(units: list[Unit]) -> Iterator[Order]:
    controls = dict.fromkeys(unit.control for unit in units)
    accessions = {number for unit in units if (number := unit.order.identifier("accession"))}
    if len({number.key for number in accessions}) > 1:
        # One order has one; told for both exams, the images of one would be filed under the other.
        raise BadValue("two accession numbers under one order number", where="OBR-18")
    mixed = len(controls) > 1 and not {action_of(control) for control in controls} <= _CHANGES
    for control in controls:
        procedures: list[Procedure] = []
        own = [unit for unit in units if unit.control == control]
        for unit in own:
            found = next((one for one in procedures if one.holds(unit)), None)
            if found is None:
                procedures.append(found := Procedure())
            found.units.append(unit)
        yield Order(procedures, _other_detail(own[0]), CONTRADICTION if mixed else "")


def _other_detail(unit: Unit) -> Numbers:
    placer, filler = unit.detail
    return (
        placer if placer and unit.placer and placer != unit.placer else None,
        filler if filler and unit.filler and filler != unit.filler else None,
    )
