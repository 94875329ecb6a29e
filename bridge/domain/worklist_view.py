"""What a device may be shown of the worklist, whatever it asks: the site's rules come on top of the query's keys.

A key never loosens a rule: a wild card, or another station's name, finds no more than the device's own part.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.domain.worklist import WorklistEntry


@dataclass(frozen=True, slots=True)
class View:
    """`stations`: only steps of one of these AE titles; () = any."""

    stations: tuple[str, ...] = ()


def hides(view: View, entry: WorklistEntry) -> str:
    """The rule that keeps the entry from the device, '' for none."""
    if view.stations and not set(view.stations) & set(entry.station_ae_titles):
        return "station"
    return ""
