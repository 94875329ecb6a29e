"""What a VR can hold (PS3.5 6.2): a device that is strict may drop a whole answer for one value that is longer.

Lengths are characters, for a name those of a component group.
"""

from __future__ import annotations

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from bridge.domain.told import shortened

MOST = {"SH": 16, "LO": 64, "ST": 1024, "LT": 10240, "CS": 16}
PN_GROUP = 64
EXACT = frozenset(
    {
        *(0x00080050, 0x00080100, 0x00080102, 0x00080119, 0x00080120, 0x00100020, 0x00100021, 0x00380010, 0x00400009),
        *(0x00400031, 0x00400032, 0x00400033, 0x00401001, 0x00402016, 0x00402017),
    }
)
"""Identifiers and codes: cut, or spelt otherwise, they are others."""


def fitted(vr: str, value: str) -> str:
    """Words as their VR can hold them."""
    if vr == "PN":
        return "=".join(shortened(group, PN_GROUP) for group in value.split("="))
    return shortened(value, MOST.get(vr, len(value)))


def may_be(tag: str, vr: str) -> bool:
    """Whether a tag, written `(gggg,eeee)`, has that VR in the dictionary (PS3.6)."""
    number = int(tag[1:5] + tag[6:10], 16)
    return dictionary_has_tag(number) and dictionary_VR(number) == vr
