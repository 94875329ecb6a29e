"""What every step of the workflow is given."""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.clock import Clock
from bridge.config import Settings
from bridge.domain.identity import Issuers
from bridge.store.db import Database


@dataclass(frozen=True, slots=True)
class Context:
    database: Database
    settings: Settings
    clock: Clock
    issuers: Issuers = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "issuers", self.settings.issuers)
