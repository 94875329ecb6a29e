"""The worklist's answers to C-FIND (PS3.4 K.4.1; RAD-5): matches, cancel, one final status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from bridge.config import DicomPeer
from bridge.dicom import status
from bridge.dicom.answers import KEPT_QUERIES, Answers, Kept, Told, outline
from bridge.dicom.charset import NOT_READABLE, chosen
from bridge.dicom.header import read_data_set
from bridge.dicom.insides import encode_identifier
from bridge.dicom.notes import Notes
from bridge.dicom.query import Query, Shape, read_query, response
from bridge.dicom.services import WorklistService
from bridge.dicom.walk import QUERY_ELEMENTS
from bridge.domain.identity import Issuers
from bridge.domain.worklist import WorklistEntry
from bridge.errors import BadValue, MissingField, TooLarge
from bridge.mapping.transliteration import NONE, Transliteration

Answer: TypeAlias = tuple[Dataset | int, Dataset | bytes | None]
_PATIENT_ID, _ISSUERS = 0x00100020, (0x00100021, 0x00100024)


class _Asked(NamedTuple):
    """A query as it was read; two of one `outline` get the same answer for an entry."""

    request: Dataset
    query: Query
    shape: Shape
    outline: tuple[Any, ...]


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
        self._answers = Answers()
        self._queries: Kept[_Asked] = Kept(KEPT_QUERIES)

    def answers(
        self, event: Event, peer: DicomPeer, calling: str, *, fuzzy: bool = False, encoded: bool = False
    ) -> Iterator[Answer]:
        """FF00 (FF01 when an optional key was not matched by) for each step, FE00 when cancelled.

        `fuzzy`: agreed on for the association. `encoded`: identifiers come as bytes in the context's transfer syntax,
        those of before when nothing has changed. Raises what went wrong: the caller turns it into a status.
        """
        asked: Any = event.request
        identifier = asked.Identifier
        if identifier is None:
            raise MissingField("a C-FIND without an identifier")
        syntax = event.context.transfer_syntax
        read = self._read(identifier.getvalue(), str(syntax))
        query = read.query
        keys = replace(query.keys, fuzzy=fuzzy)
        self.notes.asked(calling, keys)
        character_set = chosen(peer, read.request)
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
                told = self._tell(entry, read, character_set, peer.utf8, syntax if encoded else None)
                if told.answer is None:
                    withheld[entry.step_pk] = told.where
                    continue
                if not peer.utf8:
                    shown.add(entry.step_pk)
                if told.unnamed:
                    unnamed.add(entry.patient_issuer)
                yield pending, told.answer
            if listing.cut:  # 0000 would say that this is all
                raise TooLarge("the list is cut: more entries match", where="worklist.view.limit")
        finally:  # also of a query that was cancelled, or whose device has gone
            self.notes.told(peer, withheld, shown, unnamed)

    def _read(self, identifier: bytes, syntax: str) -> _Asked:
        found = self._queries.get((identifier, syntax))
        if found is None:
            request = read_data_set(identifier, syntax, QUERY_ELEMENTS)
            found = _Asked(request, read_query(request, self.issuers), Shape(request), outline(request))
            self._queries.put((identifier, syntax), found)
        return found

    def _tell(self, entry: WorklistEntry, asked: _Asked, character_set: str, utf8: bool, syntax: Any) -> Told:
        """The answer for an entry, encoded unless `syntax` is None."""
        if syntax is None:
            return self._write(entry, asked.shape, character_set, utf8)
        form = (asked.outline, str(syntax), character_set, utf8)
        told = self._answers.get(entry, form)
        if told is None:
            told = self._write(entry, asked.shape, character_set, utf8)
            if isinstance(told.answer, Dataset):
                told = told._replace(answer=encode_identifier(told.answer, syntax))
            self._answers.put(entry, form, told)
        return told

    def _write(self, entry: WorklistEntry, shape: Shape, character_set: str, utf8: bool) -> Told:
        try:
            answer = response(entry, shape, character_set, self.issuers, utf8=utf8, table=self.table)
        except BadValue as fault:
            if fault.code != NOT_READABLE:
                raise
            return Told(None, fault.where, False)
        named = not entry.patient_id or _PATIENT_ID not in answer or any(tag in answer for tag in _ISSUERS)
        return Told(answer, "", not named)
