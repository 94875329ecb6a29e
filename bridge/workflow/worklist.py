"""What a scanner's query finds (RAD-5): its keys, the site's rules, and a limit that never cuts in silence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import cast

from bridge.config import DicomPeer, WorklistView
from bridge.config.worklist import ASKER
from bridge.domain.keys import is_universal
from bridge.domain.told import is_alias
from bridge.domain.worklist import Matcher, Spell, Telling, WorklistEntry, WorklistKeys
from bridge.domain.worklist_view import Listing, Reason, View, days, list_keys, moved, nearest, opened, reasons
from bridge.errors import TooLarge
from bridge.store import audit, review, worklist
from bridge.store.db import Connection
from bridge.workflow.context import Context

ASKED = "worklist-keys"
PARKED, NOT_READABLE = "order-parked", "not-readable"
IDENTIFIERS, OF_ANOTHER = "patient-identifiers", "patient-id-of-another-authority"


@dataclass(frozen=True, slots=True)
class Explained:
    """A step, and what hides it; () = it is shown."""

    entry: WorklistEntry
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query for a list: since when a device asks so, and its keys by their names in `WorklistKeys`."""

    since: datetime
    keys: Mapping[str, str]


class WorklistDesk:
    def __init__(self, context: Context, spell: Spell = str) -> None:
        """`spell` writes a name as devices that lack its letters are told it."""
        self._context = context
        self._telling = Telling(context.settings.issuers, spell)
        self._noted: set[tuple[str, str]] = set()
        self._asked: dict[str, tuple[dict[str, str], date]] = {}

    def find(self, keys: WorklistKeys, peer: DicomPeer) -> Listing:
        """The entries that the device is shown, in order of start; over the limit of its view the nearest, and marked
        so, where the view says "cut". Raises `TooLarge` over any other limit, `StoreUnavailable`."""
        rules, now = self._rules(peer), self._now()
        keys = self._meant(keys, peer, rules)
        view = opened(_view(rules, self._context, now), keys)
        low, high = days(view, keys)
        wanted = Matcher(keys, self._telling)
        with self._context.database.read() as connection:
            steps = worklist.find_entries(
                connection,
                statuses=tuple(view.listed),
                kept_since=view.kept_since,
                earliest=low,
                latest=high,
                modality=_exact(keys.modality) or _only(view.modalities),
                station=_exact(keys.station_ae_title) or _only(view.stations),
                accession_number=_exact(keys.accession_number),
                study_instance_uid=keys.study_instance_uids[0] if len(keys.study_instance_uids) == 1 else "",
                patient_id=_exact(keys.patient_id),
                preferred_issuers=self._issuers(keys, peer),
                number=_number(keys, rules),
                zone=self._context.settings.site.zone,
            )
            shown = (entry for entry, standing in steps if not any(reasons(view, wanted, entry, standing)))
            if rules.over_limit == "cut":
                return nearest(shown, rules.limit, now)
            listing = Listing(islice(shown, rules.limit + 1))
        if len(listing) > rules.limit:
            raise TooLarge("more entries match than the view's limit", where="worklist.view.limit")
        return listing

    def explain(self, accession_number: str, keys: WorklistKeys, peer: DicomPeer) -> list[Explained]:
        """Each step of an accession number, with all that hides it from a device that asks by these keys."""
        rules = self._rules(peer)
        keys = self._meant(keys, peer, rules)
        view = opened(_view(rules, self._context, self._now()), keys)
        with self._context.database.read() as connection:
            steps = worklist.steps_of_accession(
                connection,
                accession_number,
                preferred_issuers=self._issuers(keys, peer),
                number=_number(keys, rules),
                zone=self._context.settings.site.zone,
            )
        wanted = Matcher(keys, self._telling)
        return [Explained(entry, tuple(reasons(view, wanted, entry, standing))) for entry, standing in steps]

    def stations(self) -> list[str]:
        """Every AE title that has something to do, by name."""
        with self._context.database.read() as connection:
            return worklist.stations_due(connection)

    def _rules(self, peer: DicomPeer) -> WorklistView:
        return self._context.settings.worklist.view_of(peer.ae_title)

    def _now(self) -> datetime:
        """On the clocks of the site."""
        return self._context.clock.now().astimezone(self._context.settings.site.zone)

    def note_asked(self, title: str, keys: WorklistKeys) -> None:
        """Remember how the device asks for its list, for whoever is asked why a patient is not on it. Written when it
        asks otherwise than before, and once a day: whether it asks for another day is part of it."""
        asked, today = list_keys(keys), self._now().date()
        if asked is None or (asked, today) == self._asked.get(title):
            return
        at, note = self._context.clock.now(), json.dumps(asked)
        self._context.database.write(lambda c: audit.note_activity(c, ASKED, title, at, note=note))
        self._asked[title] = asked, today

    def last_asked(self, title: str) -> Asked | None:
        """How the device last asked for its list, its days counted from today; None when it never did."""
        with self._context.database.read() as connection:
            known = [r for r in audit.activities(connection) if (r["kind"], r["name"]) == (ASKED, title)]
        if not known:
            return None
        at = cast("datetime", known[0]["at"])
        keys = json.loads(str(known[0]["note"]))
        since = self._now().date() - at.astimezone(self._context.settings.site.zone).date()
        if "start_date" in keys:
            keys["start_date"] = moved(keys["start_date"], since)
        return Asked(at, keys)

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

    def _meant(self, keys: WorklistKeys, peer: DicomPeer, rules: WorklistView) -> WorklistKeys:
        """The keys as the site's rules understand them: whose number a Patient ID is, how names are compared."""
        fuzzy = rules.fuzzy == "always" or (keys.fuzzy and rules.fuzzy == "negotiated")
        own = self._authority(peer) if rules.issuer_of_key == "own" and _names_no_issuer(keys) else ""
        return replace(keys, fuzzy=fuzzy, patient_issuer=own or keys.patient_issuer)

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


def _view(rules: WorklistView, context: Context, now: datetime) -> View:
    settings, zone = context.settings.worklist, context.settings.site.zone

    def moment(hours: float) -> str:
        # By UTC: so many hours also in the night when the clocks change.
        return f"{(now.astimezone(UTC) + timedelta(hours=hours)).astimezone(zone):%Y%m%d%H%M%S}"

    return View(
        stations=tuple(rules.peers[0] if title == ASKER else title for title in rules.stations),
        modalities=rules.modalities,
        locations=rules.locations,
        statuses=rules.statuses,
        beyond=rules.beyond,
        earliest=f"{now - timedelta(days=settings.age_days):%Y%m%d}",
        today=f"{now:%Y%m%d}",
        window=(moment(-rules.window_hours[0]), moment(rules.window_hours[1])),
        default_window=rules.default_window,
        kept_since=now - timedelta(minutes=rules.keep_minutes) if rules.keep_minutes else None,
        missed=moment(-settings.no_show_hours) if settings.no_show_hours else "",
    )


def _names_no_issuer(keys: WorklistKeys) -> bool:
    named = is_universal(keys.patient_issuer) and is_universal(keys.patient_issuer_qualifiers)
    return named and not is_universal(keys.patient_id)


def _number(keys: WorklistKeys, rules: WorklistView) -> str:
    """The number to be told as the Patient ID, if it is one of the patient's; '' = the site's choice."""
    return _exact(keys.patient_id) if rules.issuer_of_key == "any" and _names_no_issuer(keys) else ""


def _exact(key: str) -> str:
    """The key for SQL when it is one plain value, else '' (the rules of the domain decide)."""
    key = key.strip()
    return "" if set("*?\\") & set(key) or is_alias(key) else key


def _only(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else ""
