"""Orders for the fault tests: many, alike, each with its own numbers."""

from __future__ import annotations

from datetime import date, datetime

from bridge.sandbox.ris import DemoOrder, DemoPatient
from bridge.uids import new_uid


def make_order(number: int, start: datetime, *, run: str = "", modality: str = "CT", **values: str) -> DemoOrder:
    """Order `number` of `run` (a letter), for a patient of its own."""
    mark = f"{run}{number:04}"
    patient = DemoPatient(f"M{mark}", "Fault", f"Test{run}", date(1970, 1, 1), "O", visit=f"V{mark}")
    return DemoOrder(
        patient,
        f"P{mark}",
        f"F{mark}",
        f"A{mark}",
        f"R{mark}",
        f"S{mark}",
        f"{modality}X",
        "of a fault test",
        modality,
        f"{modality}1",
        start,
        new_uid(),
    )
