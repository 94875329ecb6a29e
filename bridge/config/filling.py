"""What an order leaves out and a scanner must be told: by which rule it is made."""

from __future__ import annotations

from typing import Literal

from bridge.config.base import Section


class Filling(Section):
    """Each rule is stable: what was made once is stored with the order, and stays through resends and changes.

    `accession_number`: "none", or "derived" from the order's own number; it is then one of `accession_issuer`, ''
    being `defaults.accession_issuer`. `study_instance_uid`: "random", or "derived" from `site.name`, the order's
    number and the requested procedure's id. `requested_procedure_id`: whose number comes first.
    `scheduled_step_id`: the requested procedure's id and the number of the step (`RP1-1`). `start`: the time of
    "receipt", or of the "event" (ORC-9, else MSH-7).
    """

    accession_number: Literal["none", "derived"] = "none"
    accession_issuer: str = ""
    study_instance_uid: Literal["random", "derived"] = "random"
    requested_procedure_id: Literal["accession", "filler", "placer"] = "accession"
    scheduled_step_id: Literal["procedure-number"] = "procedure-number"
    start: Literal["receipt", "event"] = "receipt"
