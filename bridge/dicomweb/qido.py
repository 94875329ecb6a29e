"""QIDO-RS (PS3.18 8.3.4 and 10.6): the query, and the search among what the session may see.

The session's studies are the whole world of a search: no parameter can widen it. An attribute that is not known here
narrows nothing and is answered with a Warning. Every known attribute of the level is always returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bridge.dicomweb.attributes import INSTANCE, KNOWN, SERIES, STUDY, Attribute, Json, Level, element, write_attributes
from bridge.dicomweb.ports import Images
from bridge.dicomweb.status import bad
from bridge.dicomweb.target import Kind, Target
from bridge.domain.access import Session
from bridge.domain.keys import name_matches, text_matches, when_matches
from bridge.domain.patient import PersonName
from bridge.domain.viewing import InstanceRow, SeriesRow, StudyRow
from bridge.uids import is_uid

LIMIT = 16 * 1024
"""Characters that a query may hold."""

_KEY_LIMIT = 1024
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_COUNT = re.compile(r"[0-9]{1,9}")
_DATE = re.compile(r"[0-9]{8}|[0-9]{8}-|-[0-9]{8}|[0-9]{8}-[0-9]{8}")
_ONE_TIME = r"[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?"
_TIME = re.compile(rf"{_ONE_TIME}|{_ONE_TIME}-|-{_ONE_TIME}|{_ONE_TIME}-{_ONE_TIME}")
_SEVERAL = re.compile(r"[,\\]")
_UNSUPPORTED = "The {} parameter is not supported. {} has not been performed."
_LEVELS = {Kind.SEARCH_STUDIES: Level.STUDY, Kind.SEARCH_SERIES: Level.SERIES, Kind.SEARCH_INSTANCES: Level.INSTANCE}


@dataclass(frozen=True, slots=True)
class Query:
    """`keys` are (attribute, text as sent, never empty or `*`); `limit` None is all; `warnings` are texts."""

    keys: tuple[tuple[Attribute[Any], str], ...] = ()
    limit: int | None = None
    offset: int = 0
    warnings: tuple[str, ...] = ()

    def asks(self, level: Level) -> bool:
        return any(a.level is level for a, _ in self.keys)

    def accepts(self, level: Level, row: StudyRow | SeriesRow | InstanceRow) -> bool:
        return all(_matches(a, key, a.value(row)) for a, key in self.keys if a.level is level)


def read_query(parameters: Iterable[tuple[str, str]]) -> Query:
    """The query parameters, decoded; raises `BadValue` for one that breaks its syntax, naming it by its place only."""
    keys: dict[str, tuple[Attribute[Any], str]] = {}
    numbers: dict[str, int] = {}
    warnings: dict[str, None] = {}
    given = list(parameters)
    if sum(len(n) + len(v) for n, v in given) > LIMIT:
        raise bad("the query is too long", "query")
    for name, value in given:
        if name in ("limit", "offset"):
            numbers[name] = _count(name, value)
        elif name in ("fuzzymatching", "emptyvaluematching"):
            if value not in ("true", "false"):
                raise bad("neither true nor false", name)
            if value == "true":
                what = "Fuzzy" if name == "fuzzymatching" else "Empty Value"
                warnings[_UNSUPPORTED.format(name, what + " Matching")] = None
        elif name == "includefield":
            _check_names(value)
        elif name not in ("accept", "charset"):
            attribute = _attribute(name)
            if attribute is None:
                warnings["Attributes that are not supported for matching were ignored."] = None
            else:
                _add(keys, attribute, value)
    return Query(tuple(keys.values()), numbers.get("limit"), numbers.get("offset", 0), tuple(warnings))


def search(images: Images, session: Session, target: Target, query: Query, root: str) -> tuple[list[Json], int]:
    """What matches as DICOM JSON after offset and limit, and how many more there are. `root` is the service's path."""
    hits = list(_hits(images, session, target, query))
    end = len(hits) if query.limit is None else query.offset + query.limit
    page = hits[query.offset : end]
    return [_write(hit, root, relational=not target.study) for hit in page], max(0, len(hits) - end)


@dataclass(frozen=True, slots=True)
class _Hit:
    study_uid: str
    study: StudyRow | None
    series: SeriesRow | None = None
    instance: InstanceRow | None = None


def _hits(images: Images, session: Session, target: Target, query: Query) -> Iterator[_Hit]:
    level = _LEVELS[target.kind]
    for study in _studies(images, session, target, query):
        if level is Level.STUDY:
            yield study
        elif level is Level.SERIES:
            yield from _series(images, session, study, query)
        else:
            yield from _instances(images, session, study, target.series, query)


def _studies(images: Images, session: Session, target: Target, query: Query) -> Iterator[_Hit]:
    if target.study and not query.asks(Level.STUDY):
        yield _Hit(target.study, None)
        return
    for row in images.studies(session):
        uid = row.study_instance_uid
        if uid in session.studies and target.study in ("", uid) and query.accepts(Level.STUDY, row):
            yield _Hit(uid, row)


def _series(images: Images, session: Session, study: _Hit, query: Query) -> Iterator[_Hit]:
    for row in images.series(session, study.study_uid):
        if query.accepts(Level.SERIES, row):
            yield _Hit(study.study_uid, study.study, row)


def _instances(images: Images, session: Session, study: _Hit, series_uid: str, query: Query) -> Iterator[_Hit]:
    series = {hit.series.series_instance_uid: hit for hit in _series(images, session, study, query) if hit.series}
    if not series and not series_uid:
        return
    # Else asked even when no series matches: one of another study must be "not found", never "nothing matches".
    for row in images.instances(session, study.study_uid, series_uid):
        hit = series.get(row.series_instance_uid)
        if hit is not None and query.accepts(Level.INSTANCE, row):
            yield _Hit(study.study_uid, study.study, hit.series, row)


def _write(hit: _Hit, root: str, *, relational: bool) -> Json:
    url = f"{root}/studies/{hit.study_uid}"
    found: Json = {"00080005": element("CS", "ISO_IR 192"), "00080056": element("CS", "ONLINE")}
    if hit.study is not None and (relational or hit.series is None):
        found |= write_attributes(STUDY, hit.study)
    found["0020000D"] = element("UI", hit.study_uid)
    if hit.series is not None:
        url += f"/series/{hit.series.series_instance_uid}"
        found |= write_attributes(SERIES, hit.series)
    if hit.instance is not None:
        url += f"/instances/{hit.instance.sop_instance_uid}"
        found |= write_attributes(INSTANCE, hit.instance)
    found["00081190"] = element("UR", url)
    return dict(sorted(found.items()))


def _attribute(name: str) -> Attribute[Any] | None:
    tag = name.upper() if _TAG.fullmatch(name) else name
    if tag not in KNOWN and not all(_TAG.fullmatch(p) or _NAME.fullmatch(p) for p in name.split(".")):
        raise bad("neither an attribute's keyword nor its tag", "query")
    return KNOWN.get(tag)


def _check_names(value: str) -> None:
    for name in value.split(","):
        if name and name != "all":
            _attribute(name)


def _count(name: str, value: str) -> int:
    if not _COUNT.fullmatch(value):
        raise bad("not a number of results", name)
    return int(value)


def _add(keys: dict[str, tuple[Attribute[Any], str]], attribute: Attribute[Any], value: str) -> None:
    value = value.strip()
    if value in ("", "*"):
        return
    wrong = (
        (attribute.vr == "UI" and not all(is_uid(u.strip()) for u in _SEVERAL.split(value)))
        or (attribute.vr == "DA" and not _DATE.fullmatch(value))
        or (attribute.vr == "TM" and not _TIME.fullmatch(value))
        or (attribute.vr != "UI" and len(value) > _KEY_LIMIT)
    )
    if wrong:
        raise bad("not a value of this attribute", attribute.keyword)
    if attribute.tag in keys:
        if attribute.vr != "UI":
            raise bad("given twice", attribute.keyword)
        value = f"{keys[attribute.tag][1]},{value}"
    keys[attribute.tag] = (attribute, value)


def _matches(attribute: Attribute[Any], key: str, value: Any) -> bool:
    """PS3.4 C.2.2.2 by VR: list of UID, range, person name, any of several values, wild card."""
    if attribute.vr == "UI":
        return value in {u.strip() for u in _SEVERAL.split(key)}
    if attribute.vr == "DA":
        return when_matches(key, "", value, "")
    if attribute.vr == "TM":
        return when_matches("", key, "", value)
    if isinstance(value, PersonName):
        return name_matches(key, value)
    if attribute.vr == "CS":
        values = value if isinstance(value, tuple) else (value,)
        return any(text_matches(k, v) for k in _SEVERAL.split(key) if k.strip() for v in values)
    return text_matches(key, str(value))
