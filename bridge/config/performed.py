"""What devices do by MPPS, where the standard leaves it to the site."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bridge.config.base import Section


class Performed(Section):
    """`discontinued`: what becomes of a scheduled step that a device discontinues without a reason that we know.

    `strict`: N-CREATE and N-SET that break Table F.7.2-1 in what nothing hangs on are refused, not only logged.
    `unscheduled_minutes`, `images_missing_minutes`: when a person is told of an exam without an order, and of images
    that a device lists and that do not come; 0 is never.
    """

    discontinued: Literal["end", "again"] = "end"
    strict: bool = False
    unscheduled_minutes: float = Field(120, ge=0)
    images_missing_minutes: float = Field(60, ge=0)
