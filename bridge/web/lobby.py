"""Launches that wait on the public origin: for the user to choose a study, or for images to arrive.

Kept in memory, each under an opaque id of its own (two tabs never mix) and bound to the browser that launched. What is
lost by a restart is only the page: the user launches again. Several nodes behind a balancer need sticky clients.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.domain.access import User
from bridge.errors import NotAllowed
from bridge.smart.context import Subject
from bridge.web.browser import new_opaque
from bridge.web.ports import LaunchSession

MOST = 2000


@dataclass(slots=True)
class Guest:
    """`session` is None while there are no images."""

    browser: str
    user: User
    subject: Subject
    session: LaunchSession | None
    until: float


class Lobby:
    def __init__(self, clock: Clock, keep_seconds: float) -> None:
        self._clock = clock
        self._keep = keep_seconds
        self._lock = threading.Lock()
        self._guests: OrderedDict[str, Guest] = OrderedDict()

    def add(self, browser: str, user: User, subject: Subject, session: LaunchSession | None) -> str:
        """The opaque id of the waiting launch; beyond `MOST` the oldest has to leave."""
        opaque = new_opaque()
        with self._lock:
            self._guests[opaque] = Guest(browser, user, subject, session, self._clock.monotonic() + self._keep)
            while len(self._guests) > MOST:
                self._guests.popitem(last=False)
        return opaque

    def get(self, opaque: str, browser: str) -> Guest:
        """Raise `NotAllowed` (`no-session`) when unknown, over, or another browser's."""
        with self._lock:
            guest = self._guests.get(opaque)
            if guest is not None and guest.until <= self._clock.monotonic():
                del self._guests[opaque]
                guest = None
        if guest is None or not browser or guest.browser != browser:
            raise NotAllowed("no such launch in this browser", where="launch", code="no-session")
        return guest

    def remove(self, opaque: str) -> None:
        with self._lock:
            self._guests.pop(opaque, None)
