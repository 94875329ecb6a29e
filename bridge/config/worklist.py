"""What each scanner's worklist shows: one table, a row for the scanners that it names."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from bridge.config.base import Section
from bridge.config.dicom import AeTitle
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import StepStatus

EVERYONE = ("*",)
ASKER = "@"
"""Of `stations`: the AE title that asks."""
_SHOWN = VISIBLE | {StepStatus.STARTED}
WindowHours = Annotated[float, Field(ge=0, le=168)]


class WorklistView(Section):
    """A row: what the scanners `peers` (AE titles, or `*` for all) are shown, on top of the keys that they ask by.

    Empty `stations`, `modalities` and `locations` limit nothing. `beyond`: keys that lift these three. What a row does
    not say, the row of `*` says, and what that does not say either is as here.
    """

    peers: tuple[AeTitle, ...] = Field(min_length=1)
    stations: tuple[AeTitle, ...] = ()
    modalities: tuple[Annotated[str, Field(min_length=1, max_length=16)], ...] = ()
    locations: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    statuses: frozenset[StepStatus] = Field(VISIBLE, min_length=1)
    beyond: frozenset[Literal["patient", "accession", "procedure", "step"]] = frozenset()
    window_hours: tuple[WindowHours, WindowHours] = (0, 0)
    default_window: bool = False
    limit: int = Field(500, ge=1)
    over_limit: Literal["A700", "cut"] = "A700"
    keep_minutes: int = Field(0, ge=0, le=24 * 60)
    leave: Literal["first-image", "completion", "age"] = "first-image"
    fuzzy: Literal["never", "negotiated", "always"] = "negotiated"
    issuer_of_key: Literal["told", "own", "any"] = "told"

    @field_validator("peers")
    @classmethod
    def _everyone_alone(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        if EVERYONE[0] in peers and peers != EVERYONE:
            raise ValueError('"*" is everyone that no row names: it stands alone')
        return peers

    @field_validator("statuses")
    @classmethod
    def _before_the_end(cls, statuses: frozenset[StepStatus]) -> frozenset[StepStatus]:
        if ended := statuses - _SHOWN:
            raise ValueError(f"what has ended is on no worklist: {', '.join(sorted(ended))}")
        return statuses


class Worklist(Section):
    """`no_show_hours`: so long after its start a step that nobody has begun is hidden; 0 = never."""

    age_days: int = Field(30, ge=1)
    no_show_hours: int = Field(0, ge=0)
    view: tuple[WorklistView, ...] = ()

    @model_validator(mode="after")
    def _one_row_each(self) -> Self:
        titles = [title for row in self.view for title in row.peers]
        if twice := {title for title in titles if titles.count(title) > 1}:
            raise ValueError(f"two [[worklist.view]] rows name {', '.join(sorted(twice))}")
        return self

    @property
    def titles(self) -> frozenset[str]:
        """The scanners that rows name."""
        return frozenset(title for row in self.view for title in row.peers if title not in EVERYONE)

    def view_of(self, ae_title: str) -> WorklistView:
        """What the scanner is shown: its row over that of everyone."""
        told: dict[str, Any] = {"peers": (ae_title,)}
        for wanted in (*EVERYONE, ae_title):
            for row in self.view:
                if wanted in row.peers:
                    told |= {name: getattr(row, name) for name in row.model_fields_set - {"peers"}}
        return WorklistView.model_construct(**told)
