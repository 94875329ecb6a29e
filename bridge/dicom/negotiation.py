"""Extended negotiation of the Worklist SOP class (PS3.4 K.5.1.1): whether names are matched by resemblance.

Bytes of the application information: relational queries (without a meaning here, always 1), combined date and time (in
force without being asked, always 1), fuzzy semantic matching of person names, timezone query adjustment (not made: 0).
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.uid import UID

from bridge.dicom.policy import WORKLIST

_FEWEST = 3
"""Bytes of a request; one with fewer is none, and is not answered."""
_FUZZY = 2


def answer(asked: Mapping[UID, bytes], *, fuzzy: bool) -> dict[UID, bytes]:
    """What is agreed of all that is asked, byte for byte; of other classes nothing. `fuzzy`: the device may have it."""
    wanted = asked.get(UID(WORKLIST), b"")
    if len(wanted) < _FEWEST:
        return {}
    agreed = bytes((1, 1, int(fuzzy and wanted[_FUZZY] == 1), 0))
    return {UID(WORKLIST): agreed[: len(wanted)]}


def is_fuzzy(agreed: Mapping[UID, bytes]) -> bool:
    """Whether fuzzy matching was agreed on for the association."""
    return agreed.get(UID(WORKLIST), b"")[_FUZZY : _FUZZY + 1] == b"\x01"
