"""The delimiters of a message and its escapes (HL7 v2.5.1 2.5.4, 2.7)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from bridge.errors import NotReadable
from bridge.hl7.charset import ASCII, CharacterSet

# A peer may ask for blank lines and skipped columns; more than a page of them is an attack.
_MOST_LINES = 20
_MOST_COLUMNS = 80


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2; one that the message does without is ''."""

    field: str
    component: str = ""
    repetition: str = ""
    escape: str = ""
    subcomponent: str = ""
    truncation: str = ""
    characters: CharacterSet = dataclasses.field(default=ASCII, compare=False)

    @classmethod
    def read(cls, separator: str, encoding: str) -> Delimiters:
        """Raises NotReadable (`where` MSH-1 or MSH-2) when they cannot be told apart from data or from one another."""
        if not _is_mark(separator):
            raise NotReadable("not a field separator", where="MSH-1")
        if not 1 <= len(encoding) <= 5 or not all(map(_is_mark, encoding)):
            raise NotReadable("not encoding characters", where="MSH-2")
        if len({separator, *encoding}) != len(encoding) + 1:
            raise NotReadable("the same character twice", where="MSH-2")
        return cls(separator, *encoding)

    def decoding(self, characters: CharacterSet) -> Delimiters:
        """The same, with the set that `\\X..\\` is read in."""
        return dataclasses.replace(self, characters=characters)

    def unescape(self, value: str) -> str:
        """Decode every escape once; what is none, or cannot be read, stays as it stands."""
        if not self.escape or self.escape not in value:
            return value
        marks = self._marks()
        return _pattern(self.escape).sub(
            lambda match: marks[match[1]] if match.lastindex == 1 else self._longer(match), value
        )

    def may_keep_escapes(self, text: str) -> bool:
        """Whether `unread_escapes` can find any: a quick look."""
        e = self.escape
        return bool(e) and (e + "X" in text or e + "Z" in text or e + "C" in text or e + "M" in text)

    def unread_escapes(self, text: str) -> Iterator[str]:
        """A word for each escape that stays literal: `\\C`, `\\M`, `\\Z` and `\\X` that does not decode."""
        if self.may_keep_escapes(text):
            for match in _pattern(self.escape).finditer(text):
                if match.lastgroup in ("kept", "hexa") and self._longer(match) == match[0]:
                    yield f"an escape that is not read was kept: {match[0][1]}"

    def _marks(self) -> dict[str, str]:
        # A message that does without subcomponents may still escape the usual character.
        return {
            "F": self.field, "S": self.component or "^", "T": self.subcomponent or "&", "R": self.repetition or "~",
            "E": self.escape, "P": self.truncation or "#", "H": "", "N": "",
        }  # fmt: skip

    def _longer(self, match: re.Match[str]) -> str:
        if match.lastgroup == "hexa":
            try:
                return self.characters.decode(bytes.fromhex(match["hexa"]))
            except (ValueError, NotReadable):
                return match[0]
        return _format(match["format"]) if match.lastgroup == "format" else match[0]


PLAIN = Delimiters("|")
"""Nothing is cut or unescaped: for MSH-1 and MSH-2 themselves."""


def _is_mark(char: str) -> bool:
    return len(char) == 1 and "!" <= char <= "~" and not char.isalnum() and char != '"'


@lru_cache(maxsize=64)
def _pattern(escape: str) -> re.Pattern[str]:
    """Only whole, known escapes match, so that a lone `\\` swallows nothing; linear, for none spans another."""
    e = re.escape(escape)
    return re.compile(
        rf"{e}(?:(?P<mark>[FSTREPHN])|X(?P<hexa>[0-9A-Fa-f]*)|\.(?P<format>(?:br|ce|fi|nf)|(?:sp|in|ti|sk)[+-]?[0-9]{{0,4}})"
        rf"|(?P<kept>[CM][0-9A-Fa-f]{{4,6}}|Z[^{e}\r\n]{{0,100}})){e}"
    )


def _format(command: str) -> str:
    """Formatting commands (2.7.6) as plain text: line ends and blanks; indents and fill modes are no text."""
    count = int(re.sub(r"\D", "", command) or 1)
    match command[:2]:
        case "br" | "ce":
            return "\n"
        case "sp":
            return "\n" * min(count, _MOST_LINES)
        case "sk":
            return " " * min(count, _MOST_COLUMNS)
    return ""
