"""Values as their VR can hold them (PS3.5 6.2): a device that is strict may drop a whole answer for one of them.

Lengths are characters, for a name those of a component group. An identifier gets its alias, words are shortened.
"""

from __future__ import annotations

from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset

from bridge.domain.told import SHORT_STRING, alias, shortened, told

MOST = {"SH": 16, "LO": 64, "ST": 1024, "LT": 10240, "CS": 16}
PN_GROUP = 64
EXACT = frozenset(
    {
        *(0x00080050, 0x00080100, 0x00080102, 0x00080119, 0x00080120, 0x00100020, 0x00100021, 0x00380010, 0x00400009),
        *(0x00400031, 0x00400032, 0x00400033, 0x00401001, 0x00402016, 0x00402017),
    }
)
"""Identifiers and codes: cut, or spelt otherwise, they are others."""


def fitted(tag: int, vr: str, value: Any) -> Any:
    """The value of an attribute, of several values each."""
    if isinstance(value, list):
        return [fitted(tag, vr, one) for one in value]
    if not isinstance(value, str):
        return value
    if vr == "PN":
        return "=".join(shortened(group, PN_GROUP) for group in value.split("=")) if len(value) > PN_GROUP else value
    most = MOST.get(vr, len(value))
    if len(value) <= most:
        return value
    return told(value, most) if tag in EXACT else shortened(value, most)


def may_be(tag: str, vr: str) -> bool:
    """Whether a tag, written `(gggg,eeee)`, has that VR in the dictionary (PS3.6)."""
    number = int(tag[1:5] + tag[6:10], 16)
    return dictionary_has_tag(number) and dictionary_VR(number) == vr


def fit_item(item: Dataset) -> Dataset:
    """The same for each attribute of an item of a sequence."""
    for element in item:
        if element.VR in MOST and isinstance(element.value, str) and len(element.value) > MOST[element.VR]:
            element.value = fitted(element.tag, element.VR, element.value)
    return item


def set_code(item: Dataset, value: str, scheme: str) -> None:
    """Code and scheme of an item (PS3.3 Table 8.8-1): URN Code Value, Long Code Value, or Code Value as they fit.

    A local scheme's name begins with 99, and so does the alias of one that is too long.
    """
    if value.lower().startswith(("urn:", "http://", "https://")):
        item.URNCodeValue = value
    elif len(value) > SHORT_STRING:
        item.LongCodeValue = value
    else:
        item.CodeValue = value
    if scheme or "URNCodeValue" not in item:
        item.CodingSchemeDesignator = scheme if len(scheme) <= SHORT_STRING else f"99{alias(scheme)[1:15]}"
