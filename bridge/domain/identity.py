"""Identifiers: two are equal only with equal issuers (HL7 v2.5.1 2A.14 CX; PS3.3 C.7.1.1 Issuer of Patient ID)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

IDENTIFYING = frozenset({"", "U", "MR", "MRT", "PI", "PE", "PN", "PNT", "ANON"})
"""Types (table 0203) that say who a person is, when the site names no others: record numbers and the untyped. Accounts,
visits, insurances, licences and social security numbers are shared, lent and mistyped: they are the person's, and name
nobody."""


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
    """The site's authorities. What it does not know keeps its namespace, else its universal id, as its name.

    A sender that gives both names today gave one yesterday, and an order of the same number must not become two: so a
    universal id that the site does not know leaves the word to the namespace, unless the site knows that namespace
    under another universal id. Two authorities of one namespace are kept apart by two rows of `[[issuer]]`.
    """

    def __init__(self, known: Iterable[Issuer]) -> None:
        self._known = tuple(known)
        self._by_name = {i.name: i for i in self._known}
        self._by_namespace = {i.namespace: i for i in self._known if i.namespace}
        self._by_universal = {(i.universal_id, i.universal_id_type): i for i in self._known if i.universal_id}

    def canonical(self, namespace: str, universal_id: str = "", universal_id_type: str = "") -> str:
        """The one name of an authority that a sender spelt in its own way; a known universal id beats the namespace
        (HL7 v2.5.1 2A.33: both name the same authority)."""
        known = self._by_universal.get((universal_id, universal_id_type)) if universal_id else None
        if known is not None:
            return known.name
        found = self._by_namespace.get(namespace) or self._by_name.get(namespace)
        if universal_id and (not namespace or (found is not None and found.universal_id)):
            return f"{universal_id_type}:{universal_id}"
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
