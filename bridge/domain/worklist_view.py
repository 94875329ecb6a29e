"""What a device may be shown of the worklist, whatever it asks: the site's rules come on top of the query's keys.

A key never loosens a rule: a wild card, or another station's name, finds no more than the device's own part. Each rule
that hides an entry has a name, so that a person can be told why it is on no list: none of them hides in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import OrderStatus, StepStatus
from bridge.domain.worklist import Spell, WorklistEntry, WorklistKeys, failing

WITHDRAWN = frozenset({OrderStatus.HD, OrderStatus.CA, OrderStatus.DC})
"""Orders on hold or given up: none of their steps is shown, whatever the step says."""


@dataclass(frozen=True, slots=True)
class View:
    """`stations`: only steps of one of these AE titles; () = any. `earliest`: the first day (DA) that is shown."""

    stations: tuple[str, ...] = ()
    statuses: frozenset[StepStatus] = VISIBLE
    earliest: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about a step and is not in its entry. `placeholder`: only spoken of so far, not ordered."""

    order_status: str
    placeholder: bool = False
    parked: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that hides an entry, and what the entry has of it; of the rule `key` the key's name in `WorklistKeys`."""

    rule: str
    found: str = ""


def hidden(view: View, entry: WorklistEntry) -> Iterator[Reason]:
    """The rules of the view that keep the entry from the device."""
    if entry.step_status not in view.statuses:
        yield Reason("step-status", entry.step_status)
    if not entry.start_date:
        yield Reason("no-start")
    elif entry.start_date < view.earliest:
        yield Reason("too-old", entry.start_date)
    if view.stations and not set(view.stations) & set(entry.station_ae_titles):
        yield Reason("station", ", ".join(entry.station_ae_titles))


def reasons(
    view: View, keys: WorklistKeys, entry: WorklistEntry, standing: Standing, spell: Spell = str
) -> Iterator[Reason]:
    """All that keeps a step from a device that asks by these keys, first what no query can change. None: shown."""
    if standing.placeholder:
        yield Reason("placeholder")
    if standing.order_status in WITHDRAWN:
        yield Reason("order-status", standing.order_status)
    if standing.parked:
        yield Reason("parked", standing.parked)
    yield from hidden(view, entry)
    for name in failing(keys, entry, spell):
        yield Reason("key", name)
