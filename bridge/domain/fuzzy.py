"""Fuzzy semantic matching of person names (PS3.4 C.2.2.2.1, K.5.1), for a device that has agreed on it.

The standard leaves the meaning to the provider; ours is made for a person at a console who spells by ear and does not
know which name is the family's. Every word of the key is the beginning of another word of the stored name, in any order
and any component group: without case, accents, apostrophes and hyphens, under the site's own spelling of foreign
letters, or by sounds that are written in several ways. Words that are written apart or as one are the same. What a
literal key finds is found as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from bridge.domain.keys import wildcard
from bridge.domain.patient import PersonName, folded

MOST_WORDS = 12
"""Words of a key; one with more is no name, and is compared literally only."""
_APART = re.compile(r"[\W_]+")
_DROPPED = dict.fromkeys(map(ord, "'’ʼ`´"), None)
_HIRAGANA = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}
_SOUNDS = (
    *(("sch", "s"), ("sh", "s"), ("ph", "f"), ("th", "t"), ("dt", "t"), ("ck", "k"), ("ch", "k"), ("qu", "kw")),
    *(("tz", "z"), ("cz", "z"), ("sz", "s"), ("ae", "e"), ("oe", "o"), ("ue", "u"), ("ey", "ei"), ("ay", "ei")),
    *(("ai", "ei"), ("y", "i"), ("c", "k"), ("w", "v")),
)
"""Written so, heard so, one after the other."""
_TWICE = re.compile(r"(.)\1+")
Spell = Callable[[str], str]


def fuzzy_test(key: str, spell: Spell = str) -> Callable[[object], bool]:
    """The test of a key, for a PersonName or a tuple of several."""
    asked = [(word, _sound(word)) for word in (one.rstrip("*") for one in _pattern_words(key, spell)) if word]
    joined = "".join(word for word, _ in asked)

    def fits(value: object) -> bool:
        names = value if isinstance(value, tuple) else (value,)
        return any(isinstance(name, PersonName) and _alike(asked, joined, name, spell) for name in names)

    return fits if 0 < len(asked) <= MOST_WORDS else lambda value: False


def _alike(asked: Sequence[tuple[str, str]], joined: str, name: PersonName, spell: Spell) -> bool:
    groups = [_words(group, spell) for group in (name.alphabetic, name.ideographic, name.phonetic) if group]
    if any("".join(words).startswith(joined) for words in groups):
        return True
    words = [word for group in groups for word in group]
    return len(asked) <= len(words) and _assigned([[_begins(one, word) for word in words] for one in asked])


def _words(text: str, spell: Spell) -> list[str]:
    return [word for word in _APART.split(_plain(text, spell)) if word]


def _pattern_words(key: str, spell: Spell) -> list[str]:
    """The same of a key, whose `*` and `?` stay."""
    return [word for word in re.split(r"[^\w*?]+|_+", _plain(key, spell)) if word]


def _plain(text: str, spell: Spell) -> str:
    return folded(spell(text.translate(_DROPPED)).replace("^", " ").replace("=", " ")).translate(_HIRAGANA)


def _begins(asked: tuple[str, str], word: str) -> bool:
    """Initials have no sound: two letters and less are compared as they are written."""
    written, heard = asked
    if "*" in written or "?" in written:
        return wildcard(written + "*", word)
    return word.startswith(written) or (
        len(written) > 2 and min(len(heard), len(word)) > 1 and _sound(word).startswith(heard)
    )


def _sound(word: str) -> str:
    for written, heard in _SOUNDS:
        word = word.replace(written, heard)
    return _TWICE.sub(r"\1", word)


def _assigned(fits: Sequence[Sequence[bool]]) -> bool:
    """Whether each asked word (a row) can have a stored word (a column) of its own: augmenting paths, as many steps at
    most as the table has fields times rows."""
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, fit in enumerate(fits[row]):
            if fit and column not in seen:
                seen.add(column)
                if column not in owner or place(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(fits)))
