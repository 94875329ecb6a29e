"""Code tables: what a sender writes -> what we write, without regard to case and padding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from bridge.mapping.load import Mark

_MOST_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Row:
    sent: str
    ours: str
    mark: Mark


def folded_key(text: str) -> str:
    """As table keys are compared: no case, single blanks."""
    return " ".join(text.split()).casefold()


class CodeTable:
    """A table of `mappings/codes/`. What it does not know becomes '', or stays as it is when `keep_unknown`."""

    def __init__(self, name: str, source: str, rows: Iterable[Row], *, keep_unknown: bool = False) -> None:
        self.name = name
        self.source = source
        self.keep_unknown = keep_unknown
        self._rows = {folded_key(row.sent): row for row in rows}
        # A feed's words are few. Nothing long is remembered.
        self._remembered = lru_cache(maxsize=512)(self._row)

    def row(self, text: str) -> Row | None:
        """The row that `text` meets, or None."""
        return self._remembered(text) if len(text) <= _MOST_REMEMBERED else self._row(text)

    def _row(self, text: str) -> Row | None:
        return self._rows.get(folded_key(text))

    def get(self, text: str) -> str:
        """Our word for `text`."""
        row = self._remembered(text) if len(text) <= _MOST_REMEMBERED else self._row(text)
        if row:
            return row.ours
        return text if self.keep_unknown else ""

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(self._rows.values())
