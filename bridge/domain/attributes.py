"""Further attributes of a worklist entry, by the rows of `attributes` in `mappings/hl7/order.yaml`.

A dict by tag (`00402008`) of `[VR, value ...]`: text, dates and times as DICOM writes them, names as PN, codes as
`[value, scheme, meaning]`. Without a value the sender deleted it: a device that asks is told that it is empty.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from bridge.domain.coding import Code
from bridge.domain.order import NO_CODE
from bridge.domain.patient import DELETED, NO_NAME, PersonName

Attributes: TypeAlias = dict[str, list[Any]]
TEXT_VRS = frozenset({"CS", "LO", "LT", "SH", "ST", "UC", "UT"})


def element(vr: str, value: object) -> list[Any]:
    """What is kept of a value of ours; the null of any kind leaves it empty."""
    values = value if isinstance(value, tuple) else (value,)
    return [vr, *(_kept(one) for one in values if one not in (DELETED, NO_NAME, NO_CODE))]


def _kept(value: object) -> object:
    if isinstance(value, PersonName):
        return value.dicom
    if isinstance(value, Code):
        return [value.value, value.scheme, value.meaning]
    return value
