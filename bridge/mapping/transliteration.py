"""Letters that a device cannot show, spelt in letters that it can: `dicom/transliteration`, a declared table.

Only what the device's own character set lacks is respelt, and only by a row; what has no row cannot be told.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping

from bridge.mapping.load import Mapping as Node
from bridge.mapping.load import Scalar

FILE = "dicom/transliteration"
_SECTION_KEYS = ("source", "other_marks", "letters")
# They have a meaning of their own in DICOM text, or look like a letter that was lost.
_FORBIDDEN = frozenset("\\^=?")


class Transliteration:
    """`rows` map one to a few letters, in lower case, to printable ASCII. `drop_marks`: an accented letter without a
    row is spelt as the letter beneath."""

    def __init__(self, rows: Mapping[str, str], *, drop_marks: bool = False) -> None:
        self._rows = dict(rows)
        self._longest = max(map(len, self._rows), default=0)
        self._drop_marks = drop_marks

    def spell(self, text: str, known: Callable[[str], bool]) -> str | None:
        """`text` in letters that are `known` to the device; None when some letter of it cannot be told."""
        text = unicodedata.normalize("NFC", text)
        told: list[str] = []
        at = 0
        while at < len(text):
            size, row = self._row(text, at)
            taken = text[at : at + max(size, 1)]
            if all(map(known, taken)):
                taken = text[at]
                told.append(taken)
            elif row is not None:
                told.append(_cased(row, text, at, at + size))
            else:
                plain = self._unmarked(text[at], known)
                if plain is None:
                    return None
                taken = text[at]
                told.append(plain)
            at += len(taken)
        return "".join(told)

    def plain(self, text: str) -> str:
        """`text` in ASCII as far as the table goes: what the plainest device may send back."""
        return self.spell(text, str.isascii) or text

    def _row(self, text: str, at: int) -> tuple[int, str | None]:
        """The longest row that begins here, and how many letters it takes."""
        for size in range(min(self._longest, len(text) - at), 0, -1):
            row = self._rows.get(_lower(text[at : at + size]))
            if row is not None:
                return size, row
        return 0, None

    def _unmarked(self, letter: str, known: Callable[[str], bool]) -> str | None:
        """The letter beneath its accents: marks above, below and through it (combining class 200 and up). Others make
        another letter: without its voicing mark the kana of Gatou are those of Katou."""
        base, *marks = list(unicodedata.normalize("NFD", letter))
        if not self._drop_marks or not all(map(_is_accent, marks)):
            return None
        if _is_accent(base):
            return ""  # of no letter that Unicode has in one piece: the letter has been told
        if not marks:
            return None
        if known(base):
            return base
        row = self._rows.get(_lower(base))
        return None if row is None else _cased(row, base, 0, 1)


def _is_accent(letter: str) -> bool:
    return unicodedata.combining(letter) >= 200


def _lower(text: str) -> str:
    """In lower case, letter by letter: the dotted capital I of Turkish is one letter and stays one."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _cased(row: str, text: str, begin: int, end: int) -> str:
    """`row` in the case of the letters it stands for: Щ is `SHCH` in ЩЕДРИН and `Shch` in Щедрин."""
    if not text[begin].isupper():
        return row
    beside = text[begin + 1 : end + 1] or text[max(begin - 1, 0) : begin]
    return row.capitalize() if beside[-1:].islower() else row.upper()


NONE = Transliteration({})


def compile_table(root: Node, faults: list[str]) -> Transliteration:
    """The file's sections in one table; whatever is wrong with them goes to `faults` as `file:line: text`."""
    rows: dict[str, str] = {}
    drop = False
    for name, section in root.entries.items():
        at = root.keys[name]
        if not isinstance(section, Node):
            faults.append(f"{at}: '{name}' needs source and letters")
            continue
        faults += [
            f"{mark}: the key '{key}' is not known; known are {', '.join(_SECTION_KEYS)}"
            for key, mark in section.keys.items()
            if key not in _SECTION_KEYS
        ]
        if not isinstance(section.entries.get("source"), Scalar):
            faults.append(f"{at}: '{name}' names no source")
        marks = section.entries.get("other_marks")
        if marks is not None:
            if not isinstance(marks, Scalar) or marks.text not in ("drop", "keep"):
                faults.append(f"{section.keys['other_marks']}: 'other_marks' is one of keep, drop")
            else:
                drop = marks.text == "drop"
        letters = section.entries.get("letters", Node({}, {}, section.mark))
        if not isinstance(letters, Node):
            faults.append(f"{letters.mark}: 'letters' maps letters to how they are spelt")
            continue
        for letter, node in letters.entries.items():
            told = node.text if isinstance(node, Scalar) else None
            if told is None or not _tellable(told) or not letter:
                faults.append(f"{letters.keys[letter]}: '{letter}' is spelt in printable ASCII without \\ ^ = ?")
            else:
                letter = unicodedata.normalize("NFC", letter)
                rows[_lower(letter)] = told.lower() if letter.lower() != letter.upper() else told
    return Transliteration(rows, drop_marks=drop)


def _tellable(text: str) -> bool:
    return text.isascii() and (text.isprintable() or not text) and not set(text) & _FORBIDDEN
