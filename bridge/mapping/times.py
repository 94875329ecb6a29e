"""HL7 dates and times (v2.5.1 2A, DT and DTM) to the site's wall clock and to UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from bridge.errors import BadValue

_DTM = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6})\d*)?)?)?)?)?)?([+-]\d{4})?", re.ASCII
)


def read_date(text: str) -> str | None:
    """YYYYMMDD from a DT or DTM; None when it names only a month or a year. Raises BadValue for what is no date."""
    found = _DTM.fullmatch(text)
    if not found:
        raise BadValue("not a date")
    year, month, day = found.group(1, 2, 3)
    if day is None:
        return None
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        raise BadValue("no day of the calendar") from None
    return f"{year}{month}{day}"


def _read(text: str) -> datetime:
    """Naive without an offset, aware with one; a bare date is its midnight. Raises BadValue."""
    return _usual(text) or _any_precision(text)


def _usual(text: str) -> datetime | None:
    """To the second, as nearly all senders write; None for every other form and for what is no moment."""
    seconds, offset = text[:14], text[14:]
    if seconds.isdecimal() and text.isascii() and (not offset or _is_offset(offset)) and text[8:10] < "24":
        try:
            return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")
        except ValueError:
            pass
    return None


def _is_offset(text: str) -> bool:
    return len(text) == 5 and text[0] in "+-" and text[1:].isdecimal()


def _any_precision(text: str) -> datetime:
    found = _DTM.fullmatch(text)
    if not found or found.group(3) is None:
        raise BadValue("not a time of at least a day")
    *parts, fraction, offset = found.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    try:
        moment = datetime(year, month, day, hour, minute, second, int((fraction or "").ljust(6, "0")))  # noqa: DTZ001
        if offset is None:
            return moment
        minutes = int(offset[1:3]) * 60 + int(offset[3:5])
        return moment.replace(tzinfo=timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    except ValueError:
        raise BadValue("no moment of the calendar") from None


def read_local(text: str, zone: ZoneInfo) -> datetime:
    """The naive wall clock of `zone`: a time with an offset is carried there, one without stays as written."""
    moment = _read(text)
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(zone).replace(tzinfo=None, fold=0)
    except OverflowError:
        raise BadValue("no moment of the calendar") from None


def read_time(text: str, zone: ZoneInfo) -> str | None:
    """HHMMSS on the wall clock of `zone`; None of what names only a day."""
    return read_local(text, zone).strftime("%H%M%S") if text[8:10].isdecimal() else None


def read_instant(text: str, zone: ZoneInfo) -> datetime:
    """Aware UTC. Without an offset the site's zone rules: of an hour that comes twice the first, and an hour that
    the clocks skip is read as if they had not (PEP 495, fold 0)."""
    moment = _read(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise BadValue("no moment of the calendar") from None
