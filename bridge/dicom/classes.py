"""The SOP classes of objects that are stored: the standard's, retired ones that old devices send, and a site's own."""

from __future__ import annotations

from collections.abc import Iterable

from pynetdicom import register_uid
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

_RETIRED = frozenset(
    {
        "1.2.840.10008.5.1.1.27",  # stored print
        "1.2.840.10008.5.1.1.29",  # hardcopy, grayscale and colour
        "1.2.840.10008.5.1.1.30",
        "1.2.840.10008.5.1.4.1.1.3",  # ultrasound multi-frame, nuclear medicine, ultrasound: before 1994
        "1.2.840.10008.5.1.4.1.1.5",
        "1.2.840.10008.5.1.4.1.1.6",
        "1.2.840.10008.5.1.4.1.1.8",  # overlay, curve, waveform trial, modality and VOI LUT by themselves
        "1.2.840.10008.5.1.4.1.1.9",
        "1.2.840.10008.5.1.4.1.1.9.1",
        "1.2.840.10008.5.1.4.1.1.10",
        "1.2.840.10008.5.1.4.1.1.11",
        "1.2.840.10008.5.1.4.1.1.12.3",  # biplane angiography
        "1.2.840.10008.5.1.4.1.1.77.1",  # visible light, trial
        "1.2.840.10008.5.1.4.1.1.77.2",
        "1.2.840.10008.5.1.4.1.1.88.1",  # structured reports, trial
        "1.2.840.10008.5.1.4.1.1.88.2",
        "1.2.840.10008.5.1.4.1.1.88.3",
        "1.2.840.10008.5.1.4.1.1.88.4",
        "1.2.840.10008.5.1.4.1.1.129",  # PET curve
        "1.2.840.10008.5.1.4.34.1",  # RT beams delivery instruction, trial
    }
)
STORAGE = _RETIRED | {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
"""What is stored without a word in the settings. Without: objects that belong to no patient (hanging protocols, colour
palettes, implants, protocols, inventories), and those of baggage and materials (DICOS, eddy current)."""


def stored(private: Iterable[str] = ()) -> frozenset[str]:
    """The classes to accept, each known to pynetdicom as one of storage: else it would abort the association."""
    classes = STORAGE | frozenset(private)
    for uid in classes:
        if uid_to_service_class(uid) is not StorageServiceClass:
            register_uid(uid, f"Stored_{uid.replace('.', '_')}", StorageServiceClass)
    return classes
