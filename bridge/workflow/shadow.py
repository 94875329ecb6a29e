"""Two worklists side by side: what only one of them shows, and where they tell a device different things.

An entry is what a device reads of one scheduled step: attribute -> text. Nothing here knows how it was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Entry = Mapping[str, str]
_STEP = "ScheduledProcedureStepSequence."
_NOT_COMPARED = frozenset({"SpecificCharacterSet"})
_UNKNOWN = {"PregnancyStatus": "4"}
"""Words for `unknown`, which some worklists write where others leave the attribute empty (PS3.3 C.2.4)."""
_Key = Callable[[Entry], tuple[str, ...]]


def _key(*names: str) -> _Key:
    return lambda entry: tuple(entry.get(name, "") for name in names)


_ID, _MODALITY = _STEP + "ScheduledProcedureStepID", _STEP + "Modality"
_WHEN = (_STEP + "ScheduledProcedureStepStartDate", _STEP + "ScheduledProcedureStepStartTime")
# From sure to likely: each pairs what the ones before it left over. A key pairs only when all of it is valued.
_KEYS: tuple[_Key, ...] = (
    _key("AccessionNumber", _ID),
    _key("StudyInstanceUID", _ID),
    _key("AccessionNumber", _MODALITY),
    _key("StudyInstanceUID", _MODALITY),
    _key("PatientID", _MODALITY, *_WHEN),
    _key("PatientID", "RequestedProcedureID", _MODALITY),
)


@dataclass(frozen=True, slots=True)
class Different:
    """One step that both show: attribute -> (told by the old one, told by ours)."""

    entry: Entry
    attributes: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`untold` counts, by attribute, the entries where ours says something that the old one never says at all."""

    same: int = 0
    only_old: tuple[Entry, ...] = ()
    only_ours: tuple[Entry, ...] = ()
    different: tuple[Different, ...] = ()
    untold: Counter[str] = field(default_factory=Counter)

    @property
    def agrees(self) -> bool:
        return not (self.only_old or self.only_ours or self.different)


def compare(old: Sequence[Entry], ours: Sequence[Entry]) -> Comparison:
    """Pair the entries of two worklists and tell where they differ, in the order of ours.

    A name loses its empty tail first, a time gets its missing seconds, and `unknown` is as good as nothing. What the
    old one gives in no entry is an attribute that it does not support: counted, not listed.
    """
    left, pairs = list(old), dict[int, Entry]()
    for key in _KEYS:
        _pair(left, ours, pairs, key)
    supported = {name for entry in old for name in entry}
    untold: Counter[str] = Counter()
    different: list[Different] = []
    for index, theirs in sorted(pairs.items()):
        mine = ours[index]
        untold.update(name for name in mine if name not in supported and name not in _NOT_COMPARED)
        found = _differences(theirs, mine, supported)
        if found:
            different.append(Different(mine, found))
    return Comparison(
        len(pairs) - len(different),
        tuple(left),
        tuple(entry for index, entry in enumerate(ours) if index not in pairs),
        tuple(different),
        untold,
    )


def _pair(left: list[Entry], ours: Sequence[Entry], pairs: dict[int, Entry], key: _Key) -> None:
    """Pair what has this key to itself on both sides; what shares it stays for the next, as does what lacks it."""
    theirs = Counter(map(key, left))
    open_ones = [index for index in range(len(ours)) if index not in pairs]
    mine = Counter(key(ours[index]) for index in open_ones)
    by_key = {key(entry): entry for entry in left}
    for index in open_ones:
        wanted = key(ours[index])
        if all(wanted) and theirs[wanted] == mine[wanted] == 1:
            pairs[index] = by_key[wanted]
            left.remove(by_key[wanted])


def _differences(old: Entry, ours: Entry, supported: set[str]) -> dict[str, tuple[str, str]]:
    names = [*ours, *(name for name in old if name not in ours)]
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        told = old.get(name, ""), ours.get(name, "")
        if name in supported - _NOT_COMPARED and _plain(name, told[0]) != _plain(name, told[1]):
            found[name] = told
    return found


def _plain(name: str, value: str) -> str:
    if value == _UNKNOWN.get(name):
        return ""
    if name.endswith("Time"):
        return (value.split(".")[0] + "000000")[:6] if value else ""
    if name.endswith("Name"):
        return "=".join(group.rstrip("^ ") for group in value.split("=")).rstrip("=")
    return value.strip()
