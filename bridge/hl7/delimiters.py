"""The delimiters of a message and its escapes (HL7 v2.5.1 2.5.4, 2.7)."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from bridge.errors import NotReadable
from bridge.hl7.charset import ASCII, CharacterSet, Switched

# A peer may ask for blank lines and skipped columns, and switch sets; more than a page of it is an attack.
_MOST_LINES = 20
_MOST_COLUMNS = 80
_MOST_SWITCHES = 1000


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
        switched = self._follow(value)
        if switched is not None:
            return switched
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
        """A word for each escape that stays literal: `\\Z`, and `\\C`, `\\M` and `\\X` that do not decode."""
        if not self.may_keep_escapes(text):
            return
        marks = self.field + self.repetition + self.component + self.subcomponent
        for value in re.split(f"[{re.escape(marks)}]", text):
            if self.escape not in value:
                continue
            followed = self._follow(value)
            for body, _ in self._cut(value):
                if body and self._is_kept(body, followed):
                    yield f"an escape that is not read was kept: {body[0]}"

    def _is_kept(self, body: str, followed: str | None) -> bool:
        """Whether an escape stands in the text as it came; `followed` is its value when sets are switched in it."""
        literal = self.escape + body + self.escape
        if body[0] == "X":
            return self._longer(body) == literal and (followed is None or literal in followed)
        return body[0] == "Z" or (body[0] in "CM" and followed is None)

    def _cut(self, value: str) -> Iterator[tuple[str, str]]:
        """The escapes of a value, each with the text behind it; the first, and a mark that is none, have ''."""
        pieces, at = value.split(self.escape), 1
        last = len(pieces) - 1
        yield "", pieces[0]
        while at <= last:
            body = pieces[at]
            if at < last and body and ((len(body) == 1 and body in "FSTREPHN") or _BODY.fullmatch(body)):
                yield body, pieces[at + 1]
                at += 2
            else:
                yield "", self.escape + body
                at += 1

    def _follow(self, value: str) -> str | None:
        """The value as its `\\C..\\` and `\\M..\\` switch sets (2.7.2, 2.7.3); None when it has none, or one that
        spells no designation that we know, or text that is not in the set: half understood would be misread."""
        switches = value.count(self.escape + "C") + value.count(self.escape + "M")
        if not 0 < switches <= _MOST_SWITCHES:
            return None
        text, followed, meanings = Switched(self.characters), False, self._marks()
        for body, behind in self._cut(value):
            if body.startswith(("C", "M")):
                if not text.designate(body[0] == "M", body[1:]):
                    return None
                followed = True
            elif body:
                meaning = (meanings[body] if body in meanings else self._longer(body)) or ""
                text.add(meaning, body[1:] if body[0] == "X" else "")
            text.add(behind)
        return text.whole() if followed else None

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
            with contextlib.suppress(ValueError, NotReadable):
                decoded = self.characters.decode(bytes.fromhex(found["hexa"]))
                if "\x00" not in decoded:  # no text: PostgreSQL holds none of it
                    return decoded
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
