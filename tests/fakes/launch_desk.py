"""A launch desk in memory, with the manners of the real one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import date, timedelta

from bridge.clock import ManualClock
from bridge.domain.access import Session, User
from bridge.domain.identity import Identifier
from bridge.errors import NotAllowed, NotFound


@dataclass(frozen=True)
class Pending:
    state: str
    nonce: str
    verifier: str
    iss: str
    launch: str
    link: str


@dataclass(frozen=True)
class Line:
    study_instance_uid: str
    date: date | None = None
    description: str = ""
    modalities: tuple[str, ...] = ("CT",)
    instances: int = 1


@dataclass(frozen=True)
class Opened:
    id: int
    studies: tuple[Line, ...]


@dataclass(frozen=True)
class Link:
    user: User | None
    study_instance_uid: str


@dataclass
class FakeDesk:
    """`patients` holds the studies of each (value, issuer)."""

    clock: ManualClock
    patients: dict[tuple[str, str], list[Line]] = field(default_factory=dict)
    pending: dict[str, tuple[Pending, str]] = field(default_factory=dict)
    opened: dict[int, tuple[User, str, frozenset[str]]] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    codes: dict[str, tuple[int, tuple[str, ...], object]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    links: dict[str, tuple[Link, object]] = field(default_factory=dict)
    spent_links: set[str] = field(default_factory=set)
    jtis: set[tuple[str, str]] = field(default_factory=set)
    refused: list[tuple[str, str]] = field(default_factory=list)
    turned_away: list[tuple[str, str, str]] = field(default_factory=list)
    images_refused: list[tuple[int, str]] = field(default_factory=list)
    quiet: list[bool] = field(default_factory=list)

    def begin(self, iss: str, launch: str, browser: str, link: str = "") -> Pending:
        p = Pending(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), iss, launch, link)
        self.pending[p.state] = p, browser
        self.began = self.clock.now()
        return p

    def take(self, state: str, browser: str) -> Pending:
        found = self.pending.get(state)
        if found is None or found[1] != browser or self.clock.now() > self.began + timedelta(seconds=300):
            raise NotAllowed("state", where="state", code="state")
        return self.pending.pop(state)[0]

    def open(
        self,
        user: User,
        *,
        patient: tuple[Identifier, ...],
        study_instance_uids: tuple[str, ...] | None,
        origin: str,
        quiet: bool = False,
    ) -> Opened:
        self.quiet.append(quiet)
        own = [line for i in patient for line in self.patients.get(i.key, [])]
        if study_instance_uids is not None:
            for uid in study_instance_uids:
                if uid in self._all() and uid not in {line.study_instance_uid for line in own}:
                    raise NotAllowed("another patient's", code="patient-differs")
            own = [line for line in own if line.study_instance_uid in study_instance_uids]
        if not own:
            raise NotFound("no such patient or study")
        return self._session(user, origin, own)

    def open_study(self, user: User, study_instance_uid: str, origin: str) -> Opened:
        if study_instance_uid not in self._all():
            raise NotFound("no such study")
        return self._session(user, origin, [Line(study_instance_uid)])

    def hand_over(self, session_id: int, study_instance_uids: tuple[str, ...]) -> str:
        code = secrets.token_urlsafe(32)
        self.codes[code] = session_id, study_instance_uids, self.clock.now() + timedelta(seconds=60)
        return code

    def enter(self, code: str) -> tuple[str, tuple[str, ...]]:
        session_id, studies, until = self.codes.pop(code, (0, (), self.clock.now()))
        if until <= self.clock.now():  # type: ignore[operator]
            raise NotAllowed("spent", code="handover")
        self.tokens = {t: s for t, s in self.tokens.items() if s != session_id}  # as the real one: the newest counts
        token = secrets.token_urlsafe(32)
        self.tokens[token] = session_id
        return token, studies

    def session(self, token: str) -> Session | None:
        session_id = self.tokens.get(token)
        if session_id is None or session_id in self.revoked:
            return None
        user, _, studies = self.opened[session_id]
        return Session(session_id, user, 1, studies, self.clock.now() + timedelta(hours=1))

    def make_link(
        self, issuer: str, user: User | None, study_instance_uid: str, jti: str, lifetime_seconds: float
    ) -> str:
        if (issuer, jti) in self.jtis:
            raise NotAllowed("known", where="jti", code="replayed")
        if study_instance_uid not in self._all():
            raise NotFound("no such study", where="study")
        self.jtis.add((issuer, jti))
        opaque = secrets.token_urlsafe(32)
        until = self.clock.now() + timedelta(seconds=lifetime_seconds)
        self.links[opaque] = Link(user, study_instance_uid), until
        return opaque

    def take_link(self, opaque: str) -> Link:
        if opaque in self.spent_links:
            raise NotAllowed("used", code="link-used")
        if opaque not in self.links:
            raise NotAllowed("unknown", code="link-unknown")
        link, until = self.links[opaque]
        if until <= self.clock.now():  # type: ignore[operator]
            raise NotAllowed("expired", code="link-expired")
        self.spent_links.add(opaque)
        return link

    def refuse(self, issuer: str, reason: str) -> None:
        self.refused.append((issuer, reason))

    def turn_away(self, address: str, action: str, reason: str) -> None:
        self.turned_away.append((address, action, reason))

    def refuse_images(self, session: Session, study_uid: str) -> None:
        self.images_refused.append((session.id, study_uid))

    def revoke(self, session_id: int) -> None:
        self.revoked.add(session_id)

    def _all(self) -> set[str]:
        return {line.study_instance_uid for lines in self.patients.values() for line in lines}

    def _session(self, user: User, origin: str, lines: list[Line]) -> Opened:
        session_id = len(self.opened) + 1
        self.opened[session_id] = user, origin, frozenset(line.study_instance_uid for line in lines)
        return Opened(session_id, tuple(lines))
