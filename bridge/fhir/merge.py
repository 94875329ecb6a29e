"""Our content laid into the resource that an EHR holds: our elements are ours, everything else stays.

What we have no value for is left as it is (somebody may have filled it in), but for links that we made and no longer
make: an accession number or an order that a person took off a study must leave the chart too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.domain.identity import Issuers
from bridge.fhir.coding import V2_0203
from bridge.fhir.endpoint import URI_SYSTEM
from bridge.fhir.identity import STUDY_UID_SYSTEM, relative

_ORDER_TYPES = frozenset({"PLAC", "FILL", "ACSN"})
_LISTS = ("identifier", "basedOn", "endpoint")


class Merger:
    """`base` is the server's FHIR base: by it `base/Patient/1` and `Patient/1` are one reference."""

    def __init__(self, base: str, issuers: Issuers) -> None:
        self._base = base
        self._issuers = issuers

    def merge(self, current: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
        """A new resource; equal to `current` when the EHR already says all that we say."""
        merged = dict(current)
        stale: dict[str, Callable[[dict[str, Any]], bool]] = {
            "identifier": lambda row: self._our_identifier(row, ours),
            "basedOn": _our_order,
            "endpoint": lambda row: False,
        }
        for key in _LISTS:
            rows = self._union(_rows(current.get(key)), ours.get(key, []), stale[key])
            if rows:
                merged[key] = rows
            else:
                merged.pop(key, None)
        for key, value in ours.items():
            if key in ("resourceType", "id", *_LISTS):
                continue
            if key == "series":
                merged[key] = self._series(_rows(current.get(key)), value)
            elif key == "status" and ours["resourceType"] == "Endpoint":
                continue  # an administrator who suspends the Endpoint shall not be overruled
            else:
                merged[key] = current[key] if self.covers(current.get(key), value) else value
        return merged

    def covers(self, have: object, want: object) -> bool:
        """Whether `have` says all that `want` says, and perhaps more."""
        if isinstance(want, dict):
            return isinstance(have, dict) and all(
                relative(have.get(k), self._base) == relative(v, self._base)
                if k == "reference"
                else k in have and self.covers(have[k], v)
                for k, v in want.items()
            )
        if isinstance(want, list):
            return (
                isinstance(have, list)
                and len(have) == len(want)
                and all(self.covers(h, w) for h, w in zip(have, want, strict=True))
            )
        return have == want

    def _union(
        self, have: list[dict[str, Any]], want: list[dict[str, Any]], stale: Callable[[dict[str, Any]], bool]
    ) -> list[dict[str, Any]]:
        rest, kept = list(want), []
        names = [self._name(w) for w in want]
        for row in have:
            twin = next((w for w in rest if self.covers(row, w)), None)
            if twin is not None:
                rest.remove(twin)
                kept.append(row)
            elif not stale(row) and self._name(row) not in names:
                kept.append(row)
        return kept + rest

    def _name(self, row: dict[str, Any]) -> object:
        if "reference" in row:
            return relative(row["reference"], self._base)
        return (row["system"], row.get("value")) if "system" in row else repr(row)

    def _series(self, have: list[dict[str, Any]], want: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ours = {series["uid"]: series for series in want}
        kept = []
        for row in have:
            series = ours.pop(str(row.get("uid")), None)
            if series is not None:
                changed = {k: v for k, v in series.items() if not self.covers(row.get(k), v)}
                kept.append({**row, **changed})
        return kept + list(ours.values())

    def _our_identifier(self, row: dict[str, Any], ours: dict[str, Any]) -> bool:
        system = row.get("system")
        if system == STUDY_UID_SYSTEM or (system == URI_SYSTEM and ours["resourceType"] == "Endpoint"):
            return True
        systems = {i.get("system") for i in ours.get("identifier", ())}
        known = not system or system in systems or self._issuers.name_of_system(str(system)) is not None
        return known and not _types(row).isdisjoint({"ACSN"})


def _our_order(row: dict[str, Any]) -> bool:
    """We write an order's identifier beside every basedOn: one without it is somebody else's."""
    identifier = row.get("identifier")
    return isinstance(identifier, dict) and not _types(identifier).isdisjoint(_ORDER_TYPES)


def _types(identifier: dict[str, Any]) -> set[str]:
    kind = identifier.get("type")
    codings = _rows(kind.get("coding")) if isinstance(kind, dict) else []
    return {str(c.get("code")) for c in codings if c.get("system") == V2_0203}


def _rows(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
