"""What the pages need of the workflow: the launch desk, fulfilled by `workflow/launching.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from flask import Blueprint

from bridge.clock import Clock
from bridge.config import Settings
from bridge.domain.access import Session, User
from bridge.domain.identity import Identifier
from bridge.smart.client import SmartClient


class PendingLaunch(Protocol):
    @property
    def state(self) -> str: ...
    @property
    def nonce(self) -> str: ...
    @property
    def verifier(self) -> str: ...
    @property
    def iss(self) -> str: ...
    @property
    def launch(self) -> str: ...
    @property
    def link(self) -> str: ...


class StudyLine(Protocol):
    @property
    def study_instance_uid(self) -> str: ...
    @property
    def date(self) -> date | None: ...
    @property
    def description(self) -> str: ...
    @property
    def modalities(self) -> Sequence[str]: ...
    @property
    def instances(self) -> int: ...


class LaunchSession(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def studies(self) -> Sequence[StudyLine]: ...


class Link(Protocol):
    @property
    def user(self) -> User | None: ...
    @property
    def study_instance_uid(self) -> str: ...


class LaunchDesk(Protocol):
    """Every secret it takes or gives is an opaque text; it keeps their SHA-256."""

    def begin(self, iss: str, launch: str, browser: str, link: str = "") -> PendingLaunch:
        """A launch that waits for the EHR's answer. `link` is a Study Instance UID to open after a mere sign-in."""
        ...

    def take(self, state: str, browser: str) -> PendingLaunch:
        """Single use. Raises `NotAllowed` (`state`): unknown, expired, used, or another browser's."""
        ...

    def open(
        self,
        user: User,
        *,
        patient: tuple[Identifier, ...],
        study_instance_uids: tuple[str, ...] | None,
        origin: str,
        quiet: bool = False,
    ) -> LaunchSession:
        """None = all matched studies of the patient. Raises `NotFound`, or `NotAllowed` (`patient-differs`). `quiet`
        spares the audit row of a `NotFound`: a page asks again."""
        ...

    def open_study(self, user: User, study_instance_uid: str, origin: str) -> LaunchSession: ...

    def hand_over(self, session_id: int, study_instance_uids: tuple[str, ...]) -> str:
        """A code for the viewer's origin; several may be made for one session."""
        ...

    def enter(self, code: str) -> tuple[str, tuple[str, ...]]:
        """(session token, Study Instance UIDs). Single use; raises `NotAllowed` (`handover`)."""
        ...

    def session(self, token: str) -> Session | None: ...

    def make_link(
        self, issuer: str, user: User | None, study_instance_uid: str, jti: str, lifetime_seconds: float
    ) -> str:
        """Raises `NotAllowed` (`replayed`) for a known jti, `NotFound` for an unknown study."""
        ...

    def take_link(self, opaque: str) -> Link:
        """Single use. Raises `NotAllowed` (`link-used`, `link-expired`, `link-unknown`)."""
        ...

    def revoke(self, session_id: int) -> None: ...

    def refuse(self, issuer: str, reason: str) -> None:
        """Audit a launch that failed before the user was known."""
        ...

    def turn_away(self, address: str, action: str, reason: str) -> None:
        """Audit, in bounds, what a caller tried whom nobody knows: a false issuer, state, code or link."""
        ...

    def refuse_images(self, session: Session, study_uid: str) -> None:
        """Audit, once a session and study, that a session asked for a study outside it."""
        ...


CurrentSession = Callable[[], Session | None]
"""The launch session of the request at hand, read from the database each time: revocation is at once."""


@dataclass(frozen=True, slots=True)
class Deps:
    """What the two applications are made of. `public` and `viewer` bring further pages; those of the viewer's origin
    are built around `CurrentSession`. `ready` names each check and whether it holds."""

    settings: Settings
    desk: LaunchDesk
    clock: Clock
    smart: SmartClient
    ready: Callable[[], Mapping[str, bool]]
    public: Sequence[Blueprint] = field(default=())
    viewer: Sequence[Callable[[CurrentSession], Blueprint]] = field(default=())
