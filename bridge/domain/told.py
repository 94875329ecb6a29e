"""What scanners are told for a value that is too long for DICOM; the whole one stays ours (PS3.5 6.2).

An identifier gets an alias: unique, the same for the same value, so that what comes back is compared with it. Words
are shortened in sight of who reads them.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata

SHORT_STRING = 16
"""SH: accession number, requested procedure id, step id."""
LONG_STRING = 64
"""LO: Patient ID and the order numbers."""
_MARK, _CUT = "~", "..."
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), " ")
_LINE = {**_CONTROLS, 0x5C: "/"}


def alias(value: str) -> str:
    """A stand-in for an identifier: a function of it, never a bare cut, which could be another one's."""
    return _MARK + base64.b32encode(hashlib.sha256(value.encode()).digest()).decode()[: SHORT_STRING - 1]


def is_alias(value: str) -> bool:
    """Whether it has the form of an alias; whose it is only a comparison tells."""
    return len(value) == SHORT_STRING and value.startswith(_MARK)


def told(value: str, most: int = LONG_STRING) -> str:
    """An identifier as scanners are told it: itself, or its alias."""
    return value if len(value) <= most else alias(value)


def told_id(value: str) -> str:
    """The same for what is an SH."""
    return told(value, SHORT_STRING)


def shortened(text: str, most: int) -> str:
    """Words of at most `most` characters; `...` says that some are left out. No letter loses its accent."""
    if len(text) <= most:
        return text
    end = most - len(_CUT)
    while end and unicodedata.combining(text[end]):
        end -= 1
    return text[:end].rstrip() + _CUT


def plain(text: str) -> str:
    """Text without what would break its encoding (PS3.5 6.2): backslashes (they part values), control characters."""
    return text.translate(_LINE).strip() if text else ""


def lines(text: str) -> str:
    """Text of several lines (LT, PS3.5 6.2): a backslash is a letter there, and a line ends with CR LF."""
    return "\r\n".join(line.translate(_CONTROLS).rstrip() for line in text.splitlines()).strip()
