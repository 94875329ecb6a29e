"""Identifiers: two are equal only with equal issuers (HL7 v2.5.1 2A.14 CX; PS3.3 C.7.1.1 Issuer of Patient ID)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identifier:
    """`issuer` is the canonical name from `Issuers`, or '' when the sender named none; `type` is table 0203."""

    value: str
    issuer: str = ""
    type: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.value, self.issuer


@dataclass(frozen=True, slots=True)
class Issuer:
    """One assigning authority under all its names.

    `name` is ours; `namespace` is HD.1 and (0010,0021)/(0040,0031); `universal_id` with `universal_id_type` is
    HD.2/HD.3 and (0040,0032)/(0040,0033); `system` is the FHIR identifier system.
    """

    name: str
    namespace: str = ""
    universal_id: str = ""
    universal_id_type: str = ""
    system: str = ""


class Issuers:
    """The site's authorities. What it does not know keeps its universal id, else its namespace, as its name."""

    def __init__(self, known: Iterable[Issuer]) -> None:
        self._known = tuple(known)
        self._by_name = {i.name: i for i in self._known}
        self._by_namespace = {i.namespace: i for i in self._known if i.namespace}
        self._by_universal = {(i.universal_id, i.universal_id_type): i for i in self._known if i.universal_id}

    def canonical(self, namespace: str, universal_id: str = "", universal_id_type: str = "") -> str:
        """The one name of an authority that a sender spelt in its own way; the universal id beats the namespace."""
        if universal_id:
            found = self._by_universal.get((universal_id, universal_id_type))
            return found.name if found else f"{universal_id_type}:{universal_id}"
        found = self._by_namespace.get(namespace) or self._by_name.get(namespace)
        return found.name if found else namespace

    def find(self, name: str) -> Issuer:
        """All names of an authority; one that the site did not configure is described by what its name tells."""
        if name in self._by_name:
            return self._by_name[name]
        kind, _, value = name.partition(":")
        if value and kind in ("ISO", "UUID", "URI", "DNS"):
            system = {"ISO": f"urn:oid:{value}", "UUID": f"urn:uuid:{value}", "URI": value}.get(kind, "")
            return Issuer(name, "", value, kind, system)
        return Issuer(name, name)

    def name_of_system(self, system: str) -> str | None:
        """The authority behind a FHIR identifier system, or None."""
        return next((i.name for i in self._known if i.system == system), None)
