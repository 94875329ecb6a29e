"""Opening images from the record: launches, sessions, one-time hand-overs and links.

A session names one user, one patient and the studies it was opened for. What it may see is asked anew at every
request: an unlink, a merge or a revocation takes effect at once. Secrets are random, and only their hash is kept.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from bridge.domain.access import Session, User
from bridge.domain.identity import Identifier
from bridge.errors import NotAllowed, NotFound
from bridge.store import audit, launches, patients, studies
from bridge.store.db import Connection
from bridge.workflow.context import Context


@dataclass(frozen=True, slots=True)
class PendingLaunch:
    """A launch that waits for the EHR's answer; `link` is a Study Instance UID to open after a mere sign-in."""

    state: str
    nonce: str
    verifier: str
    iss: str
    launch: str
    link: str


@dataclass(frozen=True, slots=True)
class StudyLine:
    study_instance_uid: str
    date: date | None
    description: str
    modalities: tuple[str, ...]
    instances: int


@dataclass(frozen=True, slots=True)
class LaunchSession:
    id: int
    studies: tuple[StudyLine, ...]


@dataclass(frozen=True, slots=True)
class Link:
    user: User | None
    study_instance_uid: str


STRANGER_SECONDS = 60
MOST_STRANGERS = 100
WAITING = frozenset({"study-unknown", "patient-unknown"})


class _Strangers:
    """Bounds the rows of callers whom nobody vouches for, a process: one a key in `STRANGER_SECONDS`, and
    `MOST_STRANGERS` of all keys. The log has every attempt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[tuple[str, ...], float] = {}

    def due(self, now: float, *key: str) -> bool:
        with self._lock:
            self._last = {k: at for k, at in self._last.items() if now - at < STRANGER_SECONDS}
            if key in self._last or len(self._last) >= MOST_STRANGERS:
                return False
            self._last[key] = now
            return True


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _who(user: User) -> str:
    return f"user:{user.issuer}|{user.subject}"


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


class LaunchDesk:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._strangers = _Strangers()
        self._refused_images: set[tuple[int, str]] = set()

    def begin(self, iss: str, launch: str, browser: str, link: str = "") -> PendingLaunch:
        """Remember a launch: `state` and `nonce` go out, the PKCE `verifier` stays here (RFC 7636)."""
        pending = PendingLaunch(_new_secret(), _new_secret(), secrets.token_urlsafe(48), iss, launch, link)
        at = self._context.clock.now()
        values = {
            "state_hash": _hash(pending.state),
            "browser_hash": _hash(browser),
            "iss": iss,
            "launch": launch,
            "nonce": pending.nonce,
            "verifier": pending.verifier,
            "link": link,
            "expires_at": at + timedelta(seconds=self._context.settings.launch.pending_seconds),
        }
        self._context.database.write(lambda c: launches.add_pending(c, values))
        return pending

    def take(self, state: str, browser: str) -> PendingLaunch:
        """Single use. Raises `NotAllowed` (`state`): unknown, expired, used, or another browser's."""

        def change(connection: Connection) -> PendingLaunch | None:
            at = self._context.clock.now()
            row = launches.find_pending(connection, _hash(state))
            if row is None or row.browser_hash != _hash(browser) or row.expires_at <= at:
                return None
            if not launches.use_pending(connection, row.id, at):
                return None
            return PendingLaunch(state, row.nonce, row.verifier, row.iss, row.launch, row.link)

        pending = self._context.database.write(change)
        if pending is None:
            raise NotAllowed("the launch is unknown, late or used", where="state", code="state")
        return pending

    def open(
        self,
        user: User,
        *,
        patient: tuple[Identifier, ...],
        study_instance_uids: tuple[str, ...] | None,
        origin: str,
        quiet: bool = False,
    ) -> LaunchSession:
        """A session for the patient's matched studies (None: all). Raises `NotFound` when there is none to see, or
        `NotAllowed` when a named study is another patient's. Every outcome is audited; `quiet`, for a page that asks
        again while it waits, leaves out that there is still nothing to see."""

        def change(connection: Connection) -> LaunchSession | str:
            result = decide(connection)
            if isinstance(result, str) and not (quiet and result in WAITING):
                self._refused(connection, user, origin, result)
            return result

        def decide(connection: Connection) -> LaunchSession | str:
            owners = patients.find_patient(connection, patient)
            if len(owners) != 1:
                return "several-patients" if owners else "patient-unknown"
            rows = launches.studies_of_patient(connection, owners[0])
            if study_instance_uids is not None:
                wanted = set(study_instance_uids)
                rows = [r for r in rows if r.study_instance_uid in wanted]
                if len(rows) != len(wanted):
                    known = {r.study_instance_uid for r in rows}
                    foreign = any(studies.find_study(connection, uid) for uid in wanted - known)
                    return "patient-differs" if foreign else "study-unknown"
            return self._open(connection, user, owners[0], rows, origin) if rows else "study-unknown"

        return _opened(self._context.database.write(change))

    def open_study(self, user: User, study_instance_uid: str, origin: str) -> LaunchSession:
        """A session for one study, whose link's issuer has decided on it. Raises `NotFound` unless it is matched."""

        def change(connection: Connection) -> LaunchSession | str:
            row = studies.find_study(connection, study_instance_uid)
            owners = launches.patients_of_study(connection, row.id) if row else []
            if row is None or len(owners) != 1:
                return self._refused(connection, user, origin, "study-unknown")
            rows = [r for r in launches.studies_of_patient(connection, owners[0]) if r.id == row.id]
            return (
                self._open(connection, user, owners[0], rows, origin)
                if rows
                else self._refused(connection, user, origin, "study-unknown")
            )

        return _opened(self._context.database.write(change))

    def _open(self, connection: Connection, user: User, patient_id: int, rows: list[Any], origin: str) -> LaunchSession:
        at = self._context.clock.now()
        session_id = launches.add_session(
            connection,
            {
                "origin": origin,
                "user_issuer": user.issuer,
                "user_subject": user.subject,
                "user_name": user.name,
                "patient_id": patient_id,
                "opened_at": at,
                "expires_at": at + self._context.settings.session_life,
            },
            [row.id for row in rows],
        )
        self._audit(connection, user, "launch", f"session:{session_id}", "ok", origin, [r.id for r in rows])
        lines = tuple(
            StudyLine(
                row.study_instance_uid,
                _day(row.study_date),
                row.description,
                tuple(dict.fromkeys(s.modality for s in studies.series_of(connection, row.id) if s.modality)),
                studies.count_instances(connection, row.id),
            )
            for row in rows
        )
        return LaunchSession(session_id, lines)

    def _refused(self, connection: Connection, user: User, origin: str, reason: str) -> str:
        self._audit(connection, user, "launch", "session:-", reason, origin, [])
        return reason

    def refuse(self, issuer: str, reason: str) -> None:
        """A launch that failed before anybody was known by name: audited all the same."""
        self._context.database.write(
            lambda c: self._audit(c, User(issuer, "-"), "launch", "session:-", reason, "smart", [])
        )

    def turn_away(self, address: str, action: str, reason: str) -> None:
        """Audit what a caller tried whom nobody knows: a false issuer, state, code or link. See `_Strangers` for how
        many rows that may be."""
        if self._strangers.due(self._context.clock.monotonic(), address, action, reason):
            self._context.database.write(lambda c: self._note(c, f"address:{address}", action, "session:-", reason))

    def refuse_images(self, session: Session, study_uid: str) -> None:
        """Audit that a live session asked for a study outside it: one row a session and study, and one a session for
        all studies that are not here, whose numbers are not kept."""
        with self._context.database.read() as connection:
            row = studies.find_study(connection, study_uid)
        subject = f"study:{row.id if row else '-'}"
        if (session.id, subject) in self._refused_images:
            return

        def change(connection: Connection) -> None:
            before = audit.find_audit(connection, subject)
            if not any(a["action"] == "images-refused" and a["details"] == {"session": session.id} for a in before):
                details: dict[str, object] = {"session": session.id}
                self._note(connection, _who(session.user), "images-refused", subject, "not-allowed", details)

        self._context.database.write(change)
        if len(self._refused_images) > 10_000:
            self._refused_images.clear()  # only spares a look: the trail itself knows
        self._refused_images.add((session.id, subject))

    def _audit(
        self,
        connection: Connection,
        user: User,
        action: str,
        subject: str,
        outcome: str,
        origin: str,
        study_ids: list[int],
    ) -> None:
        details: dict[str, object] = {"origin": origin, "studies": study_ids}
        self._note(connection, _who(user), action, subject, outcome, details)

    def _note(
        self,
        connection: Connection,
        who: str,
        action: str,
        subject: str,
        outcome: str,
        details: dict[str, object] | None = None,
    ) -> None:
        at = self._context.clock.now()
        audit.write_audit(connection, at=at, who=who, action=action, subject=subject, outcome=outcome, details=details)

    def hand_over(self, session_id: int, study_instance_uids: tuple[str, ...]) -> str:
        """A code that carries the session to the viewer's origin, once and soon."""
        code = _new_secret()
        values = {
            "code_hash": _hash(code),
            "session_id": session_id,
            "studies": list(study_instance_uids),
            "expires_at": self._context.clock.now() + timedelta(seconds=self._context.settings.launch.handover_seconds),
        }
        self._context.database.write(lambda c: launches.add_hand_over(c, values))
        return code

    def enter(self, code: str) -> tuple[str, tuple[str, ...]]:
        """(session token, Study Instance UIDs). Single use; raises `NotAllowed` (`handover`)."""
        token = _new_secret()

        def change(connection: Connection) -> tuple[str, ...] | None:
            at = self._context.clock.now()
            row = launches.find_hand_over(connection, _hash(code))
            if row is None or row.expires_at <= at or not launches.use_hand_over(connection, row.id, at):
                return None
            if not launches.give_token(connection, row.session_id, _hash(token)):
                return None
            return tuple(row.studies)

        entered = self._context.database.write(change)
        if entered is None:
            raise NotAllowed("the hand-over code is unknown, late or used", where="code", code="handover")
        return token, entered

    def session(self, token: str) -> Session | None:
        """The live session of a token with the studies that are its patient's at this moment, or None."""
        with self._context.database.read() as connection:
            row = launches.find_session(connection, _hash(token))
            if row is None or row.revoked_at is not None or row.expires_at <= self._context.clock.now():
                return None
            rows = launches.studies_of_session(connection, row.id, row.patient_id)
        user = User(row.user_issuer, row.user_subject, row.user_name)
        return Session(row.id, user, row.patient_id, frozenset(r.study_instance_uid for r in rows), row.expires_at)

    def revoke(self, session_id: int) -> None:
        def change(connection: Connection) -> None:
            row = launches.get_session(connection, session_id)
            if launches.end_session(connection, session_id, self._context.clock.now()):
                user = User(row.user_issuer, row.user_subject)
                self._audit(connection, user, "logout", f"session:{session_id}", "ok", row.origin, [])

        self._context.database.write(change)

    def make_link(
        self, issuer: str, user: User | None, study_instance_uid: str, jti: str, lifetime_seconds: float
    ) -> str:
        """An opaque single-use link. Raises `NotAllowed` (`replayed`) for a known jti, `NotFound` for the study."""
        opaque = _new_secret()

        def change(connection: Connection) -> str:
            at = self._context.clock.now()
            row = studies.find_study(connection, study_instance_uid)
            if row is None:
                return "study-unknown"
            made = launches.add_link(
                connection,
                {
                    "link_hash": _hash(opaque),
                    "issuer": issuer,
                    "token_id": jti,
                    "user_subject": user.subject if user else None,
                    "user_name": user.name if user else "",
                    "study_id": row.id,
                    "expires_at": at + timedelta(seconds=lifetime_seconds),
                },
            )
            outcome = "ok" if made else "replayed"
            self._note(connection, f"issuer:{issuer}", "link-made", f"study:{row.id}", outcome)
            return outcome

        result = self._context.database.write(change)
        if result == "study-unknown":
            raise NotFound("no such study", where="study")
        if result != "ok":
            raise NotAllowed("the token has made a link before", where="jti", code=result)
        return opaque

    def take_link(self, opaque: str) -> Link:
        """Single use. Raises `NotAllowed` (`link-used`, `link-expired`, `link-unknown`)."""

        def change(connection: Connection) -> Link | str:
            at = self._context.clock.now()
            row = launches.find_link(connection, _hash(opaque))
            if row is None:
                return "link-unknown"
            outcome = "ok"
            if row.expires_at <= at:
                outcome = "link-expired"
            elif not launches.use_link(connection, row.id, at):
                outcome = "link-used"
            if outcome == "ok" or self._strangers.due(self._context.clock.monotonic(), f"link:{row.id}", outcome):
                self._note(connection, f"issuer:{row.issuer}", "link-opened", f"study:{row.study_id}", outcome)
            if outcome != "ok":
                return outcome
            user = User(row.issuer, row.user_subject, row.user_name) if row.user_subject is not None else None
            return Link(user, row.study_instance_uid)

        result = self._context.database.write(change)
        if isinstance(result, str):
            raise NotAllowed("the link does not open", where="link", code=result)
        return result


def _opened(result: LaunchSession | str) -> LaunchSession:
    """The refusal is audited and committed first, raised after."""
    if isinstance(result, LaunchSession):
        return result
    if result in ("patient-differs", "several-patients"):
        raise NotAllowed("the study is not this patient's", where="study", code=result)
    raise NotFound("nothing to open", where="study", code=result)


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007
    except ValueError:
        return None
