"""A sender's ledger: what it sent and every answer it got, so that what was acknowledged can be looked for here.

One JSON object a line, written and synced by a program that is not the bridge, on a disk that is not the bridge's:
`{"kind": "hl7", "id": "MSG0001", "sent": true}`, and when its answer came `{"kind": "hl7", "id": "MSG0001", "answer":
"AA"}`. Any further member is a fact of the act.

| kind     | id                       | answer           | further facts |
|----------|--------------------------|------------------|---------------|
| hl7      | MSH-10                   | MSA-1            | order: the placer number that it makes |
| store    | SOP Instance UID         | status, `0000`   | sha256: of the data set |
| n-create | SOP Instance UID of MPPS | status           | |
| n-set    | SOP Instance UID of MPPS | status           | status: (0040,0252) as set |
| commit   | Transaction UID          | status           | |
| publish  | Study Instance UID       | HTTP status      | resource: the id that the EHR gave |
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bridge.errors import BadInput

KINDS = ("hl7", "store", "n-create", "n-set", "commit", "publish")


@dataclass(frozen=True, slots=True)
class Entry:
    """One act and the newest answer to it; `answer` '' when none came."""

    kind: str
    id: str
    answer: str = ""
    order: str = ""
    sha256: str = ""
    status: str = ""
    resources: tuple[str, ...] = ()
    """Of a publication: every resource that the EHR holds for it."""

    @property
    def acknowledged(self) -> bool:
        """AA or CA; a DIMSE success or warning (PS3.7 C); an HTTP 2xx."""
        if self.kind == "hl7":
            return self.answer in ("AA", "CA")
        if self.kind == "publish":
            return self.answer.startswith("2")
        return self.answer == "0000" or self.answer.startswith("B")


def read_ledger(lines: Iterable[str]) -> list[Entry]:
    """Every act once, in the order of their first lines. A last line that was cut short is no entry.

    A later line adds to the earlier ones; an answer that was positive stays so. Raises `BadInput` naming the line.
    """
    found: dict[tuple[str, str], Entry] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            key = str(said["kind"]), str(said["id"])
        except (ValueError, KeyError, TypeError):
            if not line.endswith("\n"):
                break  # its writer died in the middle
            raise BadInput("not a line of a ledger", where=f"line {number}") from None
        if key[0] not in KINDS:
            raise BadInput(f"no such kind: {key[0]}", where=f"line {number}")
        found[key] = _with(found.get(key, Entry(*key)), said)
    return list(found.values())


def _with(entry: Entry, said: dict[str, object]) -> Entry:
    newer = replace(
        entry,
        answer=str(said.get("answer", "")),
        order=str(said.get("order") or entry.order),
        sha256=str(said.get("sha256") or entry.sha256),
        status=str(said.get("status") or entry.status),
    )
    # What was acknowledged is owed; a later refusal of the same act, or its repetition, takes nothing back.
    if entry.acknowledged and not newer.acknowledged:
        newer = entry
    resource = str(said.get("resource", ""))
    if resource and resource not in newer.resources:
        newer = replace(newer, resources=(*newer.resources, resource))
    return newer
