"""What a mapping must know of the site beside its tables."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from bridge.domain.identity import IDENTIFYING, Issuers


@dataclass(frozen=True, slots=True)
class MappingContext:
    """`zone` is the wall clock of the worklist. The issuers are canonical names of `issuers`; a default stands for
    the authority that a sender leaves out, `preferred_patient_issuer` chooses among the repetitions of PID-3. Those
    of `identifying_types` (table 0203) say who the patient is."""

    zone: ZoneInfo
    issuers: Issuers
    default_patient_issuer: str = ""
    default_placer_issuer: str = ""
    default_filler_issuer: str = ""
    default_accession_issuer: str = ""
    preferred_patient_issuer: str = ""
    identifying_types: Set[str] = IDENTIFYING
