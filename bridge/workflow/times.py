"""DICOM dates and times as FHIR dateTime: with a zone, or without a time (FHIR R4 2.24.0.1)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo


def fhir_time(date: str, time: str, offset: str, zone: ZoneInfo) -> str:
    """DA + TM (+ (0008,0201), else the site's zone) -> `2026-11-25T09:00:00+01:00`; a date alone -> itself; else ''."""
    try:
        day = datetime.strptime(date.replace(".", "")[:8], "%Y%m%d")  # noqa: DTZ007
    except ValueError:
        return ""
    digits = time.split(".")[0].replace(":", "")
    if not digits:
        return f"{day:%Y-%m-%d}"
    padded = (digits + "000000")[:6]
    if padded.endswith("60"):
        padded = padded[:4] + "59"  # a leap second has no FHIR form
    try:
        moment = datetime.strptime(f"{day:%Y%m%d}{padded}", "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return f"{day:%Y-%m-%d}"
    return moment.replace(tzinfo=_offset(offset) or zone).isoformat()


def _offset(text: str) -> timezone | None:
    if len(text) != 5 or text[0] not in "+-" or not text[1:].isdigit():
        return None
    delta = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    return timezone(delta if text[0] == "+" else -delta)
