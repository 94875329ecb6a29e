"""Which scanner: the site's station table. Most orders name none, and the worklist must (PS3.4 K.6-1, type 1)."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import Station


@dataclass(frozen=True, slots=True)
class Placement:
    ae_titles: tuple[str, ...]
    name: str = ""
    location: str = ""


def place(
    table: tuple[Station, ...], *, modality: str, room: str, department: str, procedure: str, patient_class: str = ""
) -> Placement | None:
    """The stations of every row whose conditions all hold, most specific rows only; None when no row does.

    A row with more conditions beats one with fewer: a room's own scanner before the department's pool.
    """
    best: list[Station] = []
    score = -1
    for row in table:
        wanted = (
            (row.modality, modality),
            (row.room, room),
            (row.department, department),
            (row.procedure, procedure),
            (row.patient_class, patient_class),
        )
        if any(condition and condition != value for condition, value in wanted):
            continue
        conditions = sum(1 for condition, _ in wanted if condition)
        if conditions > score:
            best, score = [row], conditions
        elif conditions == score:
            best.append(row)
    if not best:
        return None
    titles = tuple(dict.fromkeys(title for row in best for title in row.ae_titles))
    only = best[0] if len(best) == 1 else None
    return Placement(titles, only.name if only else "", only.location if only else "")
