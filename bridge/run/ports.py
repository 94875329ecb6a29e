"""The ports that the roles listen on, and whether they can be taken."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from bridge.config import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """`role` listens at `host`:`port` (0: any free one) for `what`."""

    role: str
    what: str
    host: str
    port: int


def places(settings: Settings) -> tuple[Place, ...]:
    web = settings.web
    return (
        *(Place("hl7", f"hl7 feed {feed.name}", feed.host, feed.port) for feed in settings.hl7.feed),
        Place("dicom", "dicom", settings.dicom.host, settings.dicom.port),
        Place("web", "web public", web.host, web.port),
        Place("web", "web viewer", web.viewer_host, web.viewer_port),
    )


def fault_of(place: Place) -> str:
    """Why the port cannot be taken, '' when it can."""
    with socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((place.host, place.port))
        except OSError as fault:
            return f"{place.what}: port {place.port} on {place.host} cannot be taken ({fault.strerror})"
    return ""


def wait_free(wanted: tuple[Place, ...], seconds: float) -> list[str]:
    """The faults that are left after `seconds`: the roles of a killed bridge may still be draining."""
    end = time.monotonic() + seconds
    while faults := [fault for place in wanted if (fault := fault_of(place))]:
        if time.monotonic() >= end:
            return faults
        time.sleep(0.2)
    return []
