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
        mark = self.escape
        if not mark or mark not in value:
            return value
        pieces = value.split(mark)
        out, at, last = [pieces[0]], 1, len(pieces) - 1
        meanings = self._marks()
        while at < last:
            # Between two marks stands an escape or, with the first of them, literal text: a lone one swallows nothing.
            body = pieces[at]
            if not body:
                out.append(mark)
                at += 1
                continue
            meaning = meanings[body] if body in meanings else meanings.setdefault(body, self._longer(body))
            if meaning is None:
                out.append(mark + body)
                at += 1
            else:
                out.append(meaning)
                out.append(pieces[at + 1])
                at += 2
        if at == last:
            out.append(mark + pieces[last])
        return "".join(out)

    def may_keep_escapes(self, text: str) -> bool:
        """Whether `unread_escapes` can find any: a quick look."""
        return bool(self.escape) and _doubtful(self.escape).search(text) is not None

    def unread_escapes(self, text: str) -> Iterator[str]:
        """A word for each escape that stays literal: `\\C`, `\\M`, `\\Z` and `\\X` that does not decode."""
        if self.may_keep_escapes(text):
            kept = self.escape + "%s" + self.escape
            pieces, at = text.split(self.escape), 1
            while at < len(pieces) - 1:
                body = pieces[at]
                escape = (len(body) == 1 and body in "FSTREPHN") or _BODY.fullmatch(body)
                if escape and body[0] in "CMZX" and (body[0] != "X" or self._longer(body) == kept % body):
                    yield f"an escape that is not read was kept: {body[0]}"
                at += 2 if escape else 1

    def _marks(self) -> dict[str, str | None]:
        # A message that does without subcomponents may still escape the usual character.
        return {
            "F": self.field, "S": self.component or "^", "T": self.subcomponent or "&", "R": self.repetition or "~",
            "E": self.escape, "P": self.truncation or "#", "H": "", "N": "",
        }  # fmt: skip

    def _longer(self, body: str) -> str | None:
        """What an escape of more than one letter means; None when it is no escape."""
        found = _BODY.fullmatch(body)
        if found is None:
            return None
        if found["hexa"] is not None:
            try:
                return self.characters.decode(bytes.fromhex(found["hexa"]))
            except (ValueError, NotReadable):
                return self.escape + body + self.escape
        return _format(body[1:]) if found["format"] else self.escape + body + self.escape


PLAIN = Delimiters("|")
"""Nothing is cut or unescaped: for MSH-1 and MSH-2 themselves."""


def _is_mark(char: str) -> bool:
    return len(char) == 1 and "!" <= char <= "~" and not char.isalnum() and char != '"'


_BODY = re.compile(
    r"X(?P<hexa>[0-9A-Fa-f]*)|(?P<format>\.(?:br|ce|fi|nf|(?:sp|in|ti|sk)[+-]?[0-9]{0,4}))"
    r"|[CM][0-9A-Fa-f]{4,6}|Z[^\r\n]{0,100}"
)


@lru_cache(maxsize=64)
def _doubtful(escape: str) -> re.Pattern[str]:
    """Escapes that may stay literal; a little hexadecimal that is plain ASCII decodes in every set."""
    e = re.escape(escape)
    return re.compile(rf"{e}(?:[CMZ]|X(?!(?:[2-6][0-9A-Fa-f]|7[0-9A-Ea-e]){{0,64}}{e}))")


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
