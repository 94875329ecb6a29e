"""What a scanner's query finds (RAD-5): its keys, the site's rules, and a limit that never cuts in silence."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import timedelta

from bridge.config import DicomPeer
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import StepStatus
from bridge.domain.told import is_alias
from bridge.domain.worklist import Spell, WorklistEntry, WorklistKeys, matches, range_of
from bridge.domain.worklist_view import Reason, View, hidden, reasons
from bridge.errors import TooLarge
from bridge.store import review, worklist
from bridge.store.db import Connection
from bridge.workflow.context import Context

PARKED, NOT_READABLE = "order-parked", "not-readable"
IDENTIFIERS, OF_ANOTHER = "patient-identifiers", "patient-id-of-another-authority"


@dataclass(frozen=True, slots=True)
class Explained:
    """A step, and what hides it; () = it is shown."""

    entry: WorklistEntry
    reasons: tuple[Reason, ...]


class WorklistDesk:
    def __init__(self, context: Context, spell: Spell = str) -> None:
        """`spell` writes a name as devices that lack its letters are told it."""
        self._context = context
        self._spell = spell
        self._noted: set[tuple[str, str]] = set()

    def find(self, keys: WorklistKeys, peer: DicomPeer) -> list[WorklistEntry]:
        """The entries that match, in order of start. Raises `TooLarge` over the limit, `StoreUnavailable`."""
        settings = self._context.settings
        view = self._view(peer)
        low, high = _dates(keys)
        found: list[WorklistEntry] = []
        with self._context.database.read() as connection:
            for entry in worklist.find_entries(
                connection,
                statuses=tuple(view.statuses),
                earliest=max(low, view.earliest),
                latest=high,
                modality=_exact(keys.modality),
                station=_exact(keys.station_ae_title) or (view.stations[0] if len(view.stations) == 1 else ""),
                accession_number=_exact(keys.accession_number),
                study_instance_uid=keys.study_instance_uids[0] if len(keys.study_instance_uids) == 1 else "",
                patient_id=_exact(keys.patient_id),
                preferred_issuers=self._issuers(keys, peer),
                zone=settings.site.zone,
            ):
                if any(hidden(view, entry)) or not matches(keys, entry, self._spell):
                    continue
                if len(found) >= settings.worklist.limit:
                    raise TooLarge("more entries match than worklist.limit allows", where="worklist.limit")
                found.append(entry)
        return found

    def explain(self, accession_number: str, keys: WorklistKeys, peer: DicomPeer) -> list[Explained]:
        """Each step of an accession number, with all that hides it from a device that asks by these keys."""
        view = self._view(peer)
        with self._context.database.read() as connection:
            steps = worklist.steps_of_accession(
                connection,
                accession_number,
                preferred_issuers=self._issuers(keys, peer),
                zone=self._context.settings.site.zone,
            )
        return [Explained(entry, tuple(reasons(view, keys, entry, standing, self._spell))) for entry, standing in steps]

    def _view(self, peer: DicomPeer) -> View:
        settings = self._context.settings
        today = self._context.clock.now().astimezone(settings.site.zone)
        return View(
            stations=(peer.stations or (peer.ae_title,)) if peer.own_worklist_only else (),
            statuses=VISIBLE | {StepStatus.STARTED} if settings.worklist.show_started else VISIBLE,
            earliest=f"{today - timedelta(days=settings.worklist.age_days):%Y%m%d}",
        )

    def note_unreadable(self, peer: DicomPeer, withheld: Mapping[int, str], shown: Set[int]) -> None:
        """Keep the review list true for steps that this device could not be told, or now was.

        An entry is one a step; its details name each device and the tag to blame. It is closed with the order's end.
        """
        title = peer.ae_title

        def known(connection: Connection) -> dict[str, dict[str, object]]:
            return review.reviews_of(connection, PARKED, NOT_READABLE)

        def changes(entries: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
            wanted: dict[str, dict[str, object]] = {}
            for step, tag in withheld.items():
                told = dict(entries.get(f"step:{step}", {}))
                if told.get(title) != tag:
                    wanted[f"step:{step}"] = {**told, title: tag}
            for subject in entries.keys() & {f"step:{step}" for step in shown}:
                if title in entries[subject]:
                    wanted[subject] = {name: tag for name, tag in entries[subject].items() if name != title}
            return wanted

        def write(connection: Connection) -> None:
            at = self._context.clock.now()
            for subject, details in changes(known(connection)).items():
                if details:
                    review.open_review(connection, PARKED, subject, NOT_READABLE, at, details)
                else:
                    review.close_review(connection, (PARKED,), subject, at, "bridge", "every device can be told it")

        with self._context.database.read() as connection:
            entries = known(connection)
        if changes(entries):
            self._context.database.write(write)

    def note_issuers(self, peer: DicomPeer, told: Set[str]) -> None:
        """Authorities whose Patient IDs the device was told without their names: its images bring the number back under
        the authority that its row means, where it is nobody's or another's. A person hears of each once, also when they
        have closed the entry: matching stops every such study by itself (`patient-differs`)."""
        title, own = peer.ae_title, self._authority(peer)
        others = {issuer for issuer in told if own and issuer != own and (title, issuer) not in self._noted}
        if not others:
            return

        def write(connection: Connection) -> None:
            subject = f"device:{title}"
            before = set(review.newest_of(connection, IDENTIFIERS, subject, OF_ANOTHER).get("told", ()))
            if others - before:
                details = {"means": own, "told": sorted(before | others)}
                review.open_review(connection, IDENTIFIERS, subject, OF_ANOTHER, self._context.clock.now(), details)

        self._context.database.write(write)
        self._noted |= {(title, issuer) for issuer in others}

    def _authority(self, peer: DicomPeer) -> str:
        """Whose numbers the device means when it names no authority ('' = not known)."""
        settings = self._context.settings
        named = peer.patient_issuer or settings.defaults.patient_issuer
        return settings.issuers.canonical(named) if named else ""

    def _issuers(self, keys: WorklistKeys, peer: DicomPeer) -> tuple[str, ...]:
        """Whose number is told as the Patient ID: of the authority asked for, else the device's, else the site's."""
        settings = self._context.settings
        wanted = (_exact(keys.patient_issuer), self._authority(peer), settings.defaults.patient_issuer)
        return tuple(dict.fromkeys(filter(None, wanted)))


def _exact(key: str) -> str:
    """The key for SQL when it is one plain value, else '' (the rules of the domain decide)."""
    key = key.strip()
    return "" if "*" in key or "?" in key or is_alias(key) else key


def _dates(keys: WorklistKeys) -> tuple[str, str]:
    return range_of(keys.start_date) if keys.start_date.strip() else ("", "")
