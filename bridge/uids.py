"""DICOM unique identifiers: the check that guards every file, key and URL, and UIDs of our own making.

PS3.5 9.1: digits and dots, at most 64 characters, no component with a leading zero (but `0` itself).
"""

from __future__ import annotations

import hashlib
import re
import uuid

_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")


def is_uid(text: str) -> bool:
    """True for a well-formed UID (PS3.5 9.1). `../`, line ends and 65 characters are not."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def new_uid() -> str:
    """A fresh UID under 2.25 (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def derived_uid(*parts: str) -> str:
    """The same UID for the same parts, always (PS3.5 B.2 form, from a hash)."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
    return f"2.25.{uuid.UUID(bytes=digest, version=5).int}"
