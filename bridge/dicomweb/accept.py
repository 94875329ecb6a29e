"""Accept (RFC 9110 12.5.1; PS3.18 8.7.4): what a client takes against what we hold, never transcoded.

Both `type="application/dicom"` and the unquoted `type=application/dicom` are read: viewers send either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MULTIPART = "multipart/related"
_LIMIT = 4096
_ITEM = re.compile(r'(?:[^,"]|"[^"]*")+')
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*("[^"]*"|[^;,"\s]+)')
_NOUGHT = re.compile(r"\s*q\s*=\s*0(?:\.0*)?\s*")


@dataclass(frozen=True, slots=True)
class Range:
    """One element of Accept: `type` and `transfer_syntax` are '' when not given."""

    media: str
    type: str = ""
    transfer_syntax: str = ""
    q: float = 1.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation that can be sent: `type` is that of the parts when `media` is multipart.

    `explicit`: only for a range that names a transfer syntax, be it `*` (OHIF asks for every frame, compressed or
    not, as `type=application/octet-stream; transfer-syntax=*`).
    """

    media: str
    type: str = ""
    transfer_syntax: str = ""
    explicit: bool = False


def read_accept(header: str) -> tuple[Range, ...]:
    """The ranges of the header; elements that cannot be read are left out. An empty header takes everything."""
    if not header.strip():
        return (Range("*/*"),)
    ranges = []
    for item in _ITEM.findall(header[:_LIMIT]):
        media = item.partition(";")[0].strip().lower()
        found = {k.lower(): v.strip('"').strip() for k, v in _PARAMETER.findall(item)}
        if media.count("/") == 1:
            ranges.append(Range(media, found.get("type", "").lower(), found.get("transfer-syntax", ""), _q(found)))
    return tuple(ranges)


def choose(ranges: Sequence[Range], offers: Sequence[Offer]) -> Offer | None:
    """The offer with the highest quality, the first of equals; None when nothing is acceptable."""
    best = max(offers, key=lambda offer: quality(ranges, offer), default=None)
    return best if best is not None and quality(ranges, best) > 0 else None


def quality(ranges: Sequence[Range], offer: Offer) -> float:
    """The q of the most specific range that covers the offer, 0 when none does."""
    fits = [(specific, r.q) for r in ranges if (specific := _specific(r, offer)) >= 0]
    return max(fits)[1] if fits else 0.0


def takes_gzip(header: str) -> bool:
    """Whether Accept-Encoding names gzip with a quality above 0 (RFC 9110 12.5.3)."""
    for item in header[:_LIMIT].split(","):
        coding, _, parameter = item.partition(";")
        if coding.strip().lower() == "gzip":
            return _NOUGHT.fullmatch(parameter) is None
    return False


def _q(parameters: dict[str, str]) -> float:
    text = parameters.get("q", "1")
    return min(1.0, float(text)) if re.fullmatch(r"[01](?:\.[0-9]{0,3})?", text) else 0.0


def _specific(wanted: Range, offer: Offer) -> int:
    """How exactly the range names the offer, -1 when it does not cover it."""
    media = _covers(wanted.media, offer.media)
    part = _covers(wanted.type, offer.type) if wanted.type else 0
    syntax = wanted.transfer_syntax
    if media < 0 or part < 0 or (syntax and syntax not in ("*", offer.transfer_syntax)):
        return -1
    if offer.explicit and not syntax:
        return -1
    return media + part + (0 if not syntax else 1 if syntax == "*" else 2)


def _covers(pattern: str, value: str) -> int:
    if pattern == "*/*":
        return 0
    if pattern.endswith("/*"):
        return 1 if value.startswith(pattern[:-1]) else -1
    return 2 if pattern == value else -1
