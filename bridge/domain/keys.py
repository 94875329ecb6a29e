"""The matching rules of a DICOM query (PS3.4 C.2.2.2): what a key means, whatever attribute it is of.

A key becomes a test once a query, and the test is tried on every entry. Linear time, no regular expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

from bridge.domain.patient import PersonName, folded

Test: TypeAlias = Callable[[Any], bool]
Items: TypeAlias = Mapping[str, "Kind | Items"]
"""The attributes of a sequence's items that are keys, by name."""
ItemKey: TypeAlias = tuple[tuple[str, "str | ItemKey"], ...]
"""The one item of a sequence key: its keys by name."""


class Kind(StrEnum):
    """How the keys of an attribute are compared."""

    TEXT = "text"
    """Single value or wild card; any of several values, on either side."""
    NAME = "name"
    DATE = "date"
    TIME = "time"
    NUMBER = "number"
    UIDS = "list of UID"
    ITEMS = "sequence"


def is_universal(key: str | tuple[Any, ...], kind: Kind = Kind.TEXT) -> bool:
    """A key that asks for anything at all (C.2.2.2.3): nothing, stars alone, of a name its delimiters too, an item of
    such keys, or a list that holds one."""
    if isinstance(key, str):
        if kind is Kind.NAME:
            return not key.strip(" *^=")
        parts = [part for part in map(str.strip, key.split("\\")) if part]
        return not all(part.strip("*") for part in parts) if parts else True
    if kind is Kind.UIDS:
        return not key
    return all(is_universal(inner) for _, inner in key)


def value_test(kind: Kind, key: Any, items: Items | None = None) -> Test:
    """The test of a key, for the value of an entry: text, a tuple of several, a PersonName, or a tuple of items (name
    -> value). Empty values satisfy no real key."""
    match kind:
        case Kind.NAME:
            return _any_of(lambda name: name_matches(key, name))
        case Kind.DATE:
            return lambda value: when_matches(key, "", value, "")
        case Kind.TIME:
            return lambda value: when_matches("", key, "", value)
        case Kind.NUMBER:
            return _number_test(key)
        case Kind.UIDS:
            return frozenset(key).__contains__
        case Kind.ITEMS:
            return _items_test(key, items or {})
    return _any_of(_text_test(key))


def _any_of(test: Test) -> Test:
    """Any of several values satisfies a key (C.2.2.2.1)."""

    def fits(value: Any) -> bool:
        return any(map(test, value)) if isinstance(value, tuple) else test(value)

    return fits


def _text_test(key: str) -> Test:
    """A key of several values means any of them: some devices ask so for the modalities that they can do."""
    parts = [part for part in map(str.strip, key.split("\\")) if part]
    if len(parts) < 2:
        wanted = "".join(parts)
        return lambda value: text_matches(wanted, value)
    whole = frozenset((*parts, key.strip()))
    patterns = tuple(part for part in parts if "*" in part or "?" in part)

    def fits(value: str) -> bool:
        value = value.strip()
        return bool(value) and (value in whole or wildcard(patterns, value))

    return fits


def _number_test(key: str) -> Test:
    wanted = _number(key)
    return lambda value: wanted is not None and _number(value) == wanted


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _items_test(key: ItemKey, items: Items) -> Test:
    """All keys of the item hold together on one stored item (C.2.2.2.6)."""
    tests: list[tuple[str, Test]] = []
    for name, inner in key:
        kind = items[name]
        nested = None if isinstance(kind, Kind) else kind
        found = kind if isinstance(kind, Kind) else Kind.ITEMS
        if not is_universal(inner, found):
            tests.append((name, value_test(found, inner, nested)))

    def fits(stored: tuple[Mapping[str, Any], ...]) -> bool:
        return any(all(name in item and test(item[name]) for name, test in tests) for item in stored)

    return fits


@lru_cache(maxsize=256)
def _states(patterns: tuple[str, ...]) -> tuple[dict[str, int], int, int, int, int]:
    """Patterns as the sets (bits) of their states: a bit stands for "so many of its letters are matched". By letter
    those that go on with it, those that go on with any (`?`), those that stay with any (`*`), the first, the last."""
    letters: dict[str, int] = {}
    anything = stays = first = last = 0
    at = 1
    for pattern in patterns:
        first |= at
        for sign in pattern:
            if sign == "*":
                stays |= at
                continue
            if sign == "?":
                anything |= at
            else:
                letters[sign] = letters.get(sign, 0) | at
            at <<= 1
        last |= at
        at <<= 1
    return letters, anything, stays, first, last


def wildcard(patterns: str | tuple[str, ...], value: str) -> bool:
    """`*` any run, `?` one character; of several patterns any. One step a letter of the value, whatever the patterns:
    no device can choose keys that cost more (every place of a pattern is a bit, and all of them move at once)."""
    letters, anything, stays, states, last = _states((patterns,) if isinstance(patterns, str) else patterns)
    for letter in value:
        states = (states & (letters.get(letter, 0) | anything)) << 1 | states & stays
        if not states:
            return False
    return bool(states & last)


def text_matches(key: str, value: str) -> bool:
    """Single value or wild card (C.2.2.2.1, C.2.2.2.4): case-sensitive, padding aside; an empty value never matches,
    except a key that asks for anything at all: nothing, or stars alone."""
    key, value = key.strip(), value.strip()
    if not key.strip("*"):
        return True
    if not value:
        return False
    return wildcard(key, value) if "*" in key or "?" in key else key == value


def name_matches(key: str, name: PersonName) -> bool:
    """A person name key: no case, no accents, no trailing empty components, any component group.

    The key's own groups are compared position by position (`=山田*` asks the ideographic group); a key of one group
    is tried against all three. One of stars and delimiters alone (`*^*`) asks for anybody, also for who has no name.
    """
    if not key.strip(" *^="):
        return True
    groups = (name.alphabetic, name.ideographic, name.phonetic)
    asked = key.split("=")[:3]
    if len(asked) == 1:
        return any(_group_matches(asked[0], g) for g in groups if g)
    return all(_group_matches(a, g) for a, g in zip(asked, groups, strict=False) if a.strip(" *^"))


def _group_matches(key: str, group: str) -> bool:
    if not group:
        return False
    have = folded(group)
    return any(
        wildcard(wanted, have) if "*" in wanted or "?" in wanted else wanted == have for wanted in _patterns(key)
    )


@lru_cache(maxsize=256)
def _patterns(key: str) -> tuple[str, ...]:
    """The key as names are compared. `DOE^*` is `DOE` too: who has no given name has no `^` either."""
    found = [folded(key)]
    while found[-1].endswith("^*"):
        found.append(found[-1][:-2].rstrip("^"))
    return tuple(found)


def range_of(key: str) -> tuple[str, str]:
    """`a-b`, `a-`, `-b`, `a` -> inclusive (low, high), '' open."""
    low, dash, high = key.strip().partition("-")
    return (low.strip(), high.strip()) if dash else (low.strip(), low.strip())


def _time_low(text: str) -> str:
    return (text.split(".")[0] + "000000")[:6]


def _time_high(text: str) -> str:
    # A time given only to the minute covers the whole minute.
    whole = text.split(".")[0]
    return (whole + "235959"[len(whole) :])[:6] if whole else whole


def when_matches(date_key: str, time_key: str, date: str, time: str) -> bool:
    """Scheduled start: two ranges are ONE interval (K.4.1.1.3); a lone key is tested by itself."""
    date_key, time_key = date_key.strip(), time_key.strip()
    date_low, date_high = range_of(date_key)
    if not date_key and not time_key:
        return True
    moment = _time_low(time) if time else "000000"
    if date_key and time_key and "-" in date_key and "-" in time_key:
        time_low, time_high = range_of(time_key)
        at = date + moment
        low = date_low + _time_low(time_low) if date_low else ""
        high = date_high + (_time_high(time_high) or "235959") if date_high else ""
        return bool(date) and (not low or low <= at) and (not high or at <= high)
    if date_key and not (date and (not date_low or date_low <= date) and (not date_high or date <= date_high)):
        return False
    if not time_key:
        return True
    time_low, time_high = range_of(time_key)
    if "-" not in time_key:
        return bool(time) and _time_low(time_low) <= moment <= _time_high(time_high)
    return (
        bool(time)
        and (not time_low or _time_low(time_low) <= moment)
        and (not time_high or moment <= _time_high(time_high))
    )
