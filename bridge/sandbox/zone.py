"""The time zone that this machine's wall clock shows, by its IANA name: the pretend hospital lives in it."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

_LOCALTIME = Path("/etc/localtime")
_TIMEZONE = Path("/etc/timezone")


def machine_zone(localtime: Path = _LOCALTIME, timezone: Path = _TIMEZONE) -> str:
    """The name by TZ, else by where `localtime` points, else by what `timezone` says; '' when none of them tells."""
    told = os.environ.get("TZ")
    if told is not None:
        # Set, it rules alone: what the files say is then not what the clock shows.
        return _known(told.removeprefix(":"))
    name = os.path.realpath(localtime).partition("/zoneinfo/")[2]
    if not name and timezone.is_file():
        name = timezone.read_text().strip()
    return _known(name)


def _known(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return ""
    return name
