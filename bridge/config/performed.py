"""What devices do by MPPS, where the standard leaves it to the site."""

from __future__ import annotations

from typing import Literal

from bridge.config.base import Section


class Performed(Section):
    """`discontinued`: what becomes of a scheduled step that a device discontinues without a reason that we know.

    `strict`: N-CREATE and N-SET that break Table F.7.2-1 in what nothing hangs on are refused, not only logged.
    """

    discontinued: Literal["end", "again"] = "end"
    strict: bool = False
