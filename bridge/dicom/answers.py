"""Encoded answers that are kept: writing one costs a hundred times what finding it again does.

What is kept is compared with the entry at hand, whole, each time: an answer can't be stale, whatever has changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from pydicom.dataset import Dataset

from bridge.dicom.header import items
from bridge.domain.worklist import WorklistEntry

KEPT_BYTES = 32 * 1024**2
KEPT_QUERIES = 256
Value = TypeVar("Value")


class Told(NamedTuple):
    """An answer; None when the device cannot read it, for the attribute at `where`.

    `unnamed`: it has a Patient ID without the name of its authority.
    """

    answer: Dataset | bytes | None
    where: str
    unnamed: bool


class Kept(Generic[Value]):
    """The values used last, up to `most` in weight. For any number of threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Value, weight: int = 1) -> None:
        with self._lock:
            self._weight += weight - self._values.pop(key, (None, 0))[1]
            self._values[key] = (value, weight)
            while self._weight > self._most:
                self._weight -= self._values.popitem(last=False)[1][1]

    def __len__(self) -> int:
        return len(self._values)


class Answers:
    """Each step's answer in each form: what was asked for, transfer syntax, character set, whether UTF-8 may be."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._kept: Kept[tuple[WorklistEntry, Told]] = Kept(most)

    def get(self, entry: WorklistEntry, form: Hashable) -> Told | None:
        found = self._kept.get((entry.step_pk, form))
        return found[1] if found is not None and found[0] == entry else None

    def put(self, entry: WorklistEntry, form: Hashable, told: Told) -> None:
        # An entry and its place weigh about as much as two answers.
        size = len(told.answer) if isinstance(told.answer, bytes) else 0
        self._kept.put((entry.step_pk, form), (entry, told), 4096 + size)


def outline(request: Dataset) -> tuple[Any, ...]:
    """What is asked for, without what it must match: two requests of one outline get the same answer for an entry."""
    found = []
    for tag in sorted(request.keys()):
        item = next(iter(items(request, tag)), None)
        found.append((int(tag), None if item is None or not len(item) else outline(item)))
    return tuple(found)
