"""What may be deleted, and when. Nothing is, unless a rule says so."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from bridge.config.base import Section

LEAST_AUDIT_DAYS = 365


class RetentionRule(Section):
    """Studies of these modalities ((): of any) go so many days after they were complete, or published too."""

    modalities: tuple[str, ...] = ()
    keep_days: int = Field(ge=1)
    after: Literal["complete", "published"] = "published"

    @property
    def words(self) -> str:
        return f"{', '.join(self.modalities) or 'any'}: {self.keep_days} days after {self.after}"


class Retention(Section):
    rule: tuple[RetentionRule, ...] = ()
    expired_notes: Literal["hide", "delete"] = "hide"
    aside_days: int = Field(0, ge=0)
    commitment_days: int = Field(90, ge=0)
    audit_days: int = Field(0, ge=0)

    @field_validator("audit_days")
    @classmethod
    def _a_year_at_least(cls, days: int) -> int:
        if 0 < days < LEAST_AUDIT_DAYS:
            raise ValueError(f"0 (for ever) or {LEAST_AUDIT_DAYS} days at least")
        return days
