"""What a scanner's query finds (RAD-5): its keys, the site's rules, and a limit that never cuts in silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bridge.config import DicomPeer
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import StepStatus
from bridge.domain.worklist import WorklistEntry, WorklistKeys, matches, range_of
from bridge.errors import TooLarge
from bridge.store import worklist
from bridge.workflow.context import Context


class WorklistDesk:
    def __init__(self, context: Context) -> None:
        self._context = context

    def find(self, keys: WorklistKeys, peer: DicomPeer) -> list[WorklistEntry]:
        """The entries that match, in order of start. Raises `TooLarge` over the limit, `StoreUnavailable`."""
        settings = self._context.settings
        if peer.own_worklist_only and keys.station_ae_title.strip() in ("", "*"):
            keys = replace(keys, station_ae_title=peer.ae_title)
        statuses = (*VISIBLE, StepStatus.STARTED) if settings.worklist.show_started else tuple(VISIBLE)
        low, high = _dates(keys)
        oldest = self._context.clock.now().astimezone(settings.site.zone) - timedelta(days=settings.worklist.age_days)
        found: list[WorklistEntry] = []
        with self._context.database.read() as connection:
            for entry in worklist.find_entries(
                connection,
                statuses=statuses,
                earliest=max(low, f"{oldest:%Y%m%d}"),
                latest=high,
                modality=_exact(keys.modality),
                station=_exact(keys.station_ae_title),
                accession_number=_exact(keys.accession_number),
                study_instance_uid=keys.study_instance_uids[0] if len(keys.study_instance_uids) == 1 else "",
                patient_id=_exact(keys.patient_id),
            ):
                if not matches(keys, entry):
                    continue
                if len(found) >= settings.worklist.limit:
                    raise TooLarge("more entries match than worklist.limit allows", where="worklist.limit")
                found.append(entry)
        return found


def _exact(key: str) -> str:
    """The key for SQL when it is one plain value, else '' (the rules of the domain decide)."""
    key = key.strip()
    return "" if "*" in key or "?" in key else key


def _dates(keys: WorklistKeys) -> tuple[str, str]:
    return range_of(keys.start_date) if keys.start_date.strip() else ("", "")
