"""The worklist's answers to C-FIND (PS3.4 K.4.1; RAD-5): matches, cancel, one final status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from bridge.config import DicomPeer
from bridge.dicom import status
from bridge.dicom.charset import NOT_READABLE, chosen
from bridge.dicom.header import read_data_set
from bridge.dicom.notes import Notes
from bridge.dicom.query import Shape, read_query, response
from bridge.dicom.services import WorklistService
from bridge.dicom.walk import QUERY_ELEMENTS
from bridge.domain.identity import Issuers
from bridge.errors import BadValue, MissingField, TooLarge
from bridge.mapping.transliteration import NONE, Transliteration

Answer: TypeAlias = tuple[Dataset | int, Dataset | None]
_PATIENT_ID, _ISSUERS = 0x00100020, (0x00100021, 0x00100024)


class Finder:
    """Answers a query; the final 0000 is pynetdicom's, sent when the answers end."""

    def __init__(
        self,
        worklist: WorklistService,
        notes: Notes,
        issuers: Issuers,
        table: Transliteration = NONE,
    ) -> None:
        self.worklist = worklist
        self.notes = notes
        self.issuers = issuers
        self.table = table

    def answers(self, event: Event, peer: DicomPeer, calling: str, *, fuzzy: bool = False) -> Iterator[Answer]:
        """FF00 (FF01 when an optional key was not matched by) for each step, FE00 when cancelled.

        `fuzzy`: agreed on for the association. Raises what went wrong: the caller turns it into a status.
        """
        asked: Any = event.request
        identifier = asked.Identifier
        if identifier is None:
            raise MissingField("a C-FIND without an identifier")
        request = read_data_set(identifier.getvalue(), str(event.context.transfer_syntax), QUERY_ELEMENTS)
        query, shape = read_query(request, self.issuers), Shape(request)
        keys = replace(query.keys, fuzzy=fuzzy)
        self.notes.asked(calling, keys)
        character_set = chosen(peer, request)
        pending = status.PENDING_WARNING if query.warn else status.PENDING
        withheld: dict[int, str] = {}
        shown: set[int] = set()
        unnamed: set[str] = set()
        try:
            listing = self.worklist.find(keys, peer)
            for entry in listing:
                if event.is_cancelled:
                    yield status.CANCEL, None
                    return
                try:
                    answer = response(entry, shape, character_set, self.issuers, utf8=peer.utf8, table=self.table)
                except BadValue as fault:
                    if fault.code != NOT_READABLE:
                        raise
                    withheld[entry.step_pk] = fault.where
                    continue
                if not peer.utf8:
                    shown.add(entry.step_pk)
                if entry.patient_id and _PATIENT_ID in answer and not any(tag in answer for tag in _ISSUERS):
                    unnamed.add(entry.patient_issuer)
                yield pending, answer
            if listing.cut:  # 0000 would say that this is all
                raise TooLarge("the list is cut: more entries match", where="worklist.view.limit")
        finally:  # also of a query that was cancelled, or whose device has gone
            self.notes.told(peer, withheld, shown, unnamed)
