"""Coded values (HL7 v2.5.1 2A.3 CE; PS3.3 8 code sequences; FHIR Coding)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """`value` and `scheme` name the concept (`scheme` is a DICOM coding scheme designator), `meaning` is its text."""

    value: str
    scheme: str = ""
    meaning: str = ""
